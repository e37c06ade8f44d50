"""The command line: results on standard output, errors in one line on standard error.

Tests marked `process` start interpreters and shells; the others fork.
"""

from __future__ import annotations

import csv
import io
import json
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import sqgen as package
from sqgen import Design, build, parse_net, preset, read_net
from sqgen.generator.presets import PHASES
from sqgen.nets.definition import parse_solver
from sqgen.tools.cli import cli

from .conftest import Run

PYTHON = shlex.quote(sys.executable)
SIMPLE = build(Design(bypass="simple"))


def test_no_escape_sequence_of_a_net_reaches_the_terminal(sqgen: Run, tmp_path: Path) -> None:
    title = r"\033]0;title\007"
    text = SIMPLE.replace('"fire9/concat"', f'"fire9{title}"').replace('name: "', f'name: "{title}')
    (tmp_path / "net").write_text(text)
    (tmp_path / "other").write_text(text.replace("num_output: 1000", "num_output: 10"))
    (tmp_path / "odd").write_text(text.replace('bottom: "pool10"', f'bottom: "{title}"'))
    for arguments in (
        ["summary", "net", "--phase", "both"],
        ["lint", "net"],
        ["lint", "odd"],
        ["diff", "net", "other"],
        ["upgrade", "net"],
    ):
        done = sqgen(*arguments)
        shown = (done.stdout + done.stderr).splitlines()
        assert shown
        assert not [line for line in shown if not line.isprintable()]


def assert_one_line(done: subprocess.CompletedProcess[str], *words: str) -> None:
    """Exit code 2, nothing on stdout, one line on stderr that has the words."""
    assert done.returncode == 2, done
    assert done.stdout == ""
    assert done.stderr.startswith("sqgen: ")
    assert done.stderr.count("\n") == 1
    assert done.stderr[:-1].isprintable()
    for word in words:
        assert word in done.stderr


def test_a_file_without_a_command_names_the_command_that_reads_it(
    sqgen: Run, tmp_path: Path
) -> None:
    (tmp_path / "a.log").touch()
    (tmp_path / "folder").mkdir()
    for group, command in (("log", "parse"), ("weights", "show")):
        done = sqgen(group, "a.log")
        meant = f"did you mean sqgen {group} {command} a.log? See sqgen {group} --help"
        assert_one_line(done, f"no command 'a.log'; {meant}")
        for other in ("gone.log", "folder", "a\0b"):
            assert_one_line(sqgen(group, other), "; one of ", command)
    assert_one_line(sqgen("compress", "a.log"), "no command 'a.log'; one of decode, encode, eval")


WRONG = [
    (["build", "--sr", "0.001"], "--sr 0.001: gives fire2 0 squeeze filters; raise --sr"),
    (["build", "--freq", "0"], "--freq 0: must be from 1 to 64"),
    (["build", "--freq", "two"], "--freq two: must be a whole number"),
    (["build", "--pct3x3", "nan"], "--pct3x3 nan: must be a finite number"),
    (["build", "--bypass", "4"], "fire4 has 128 input and 256 output channels"),
    (["build", "--bypass", "3,11"], "there is no fire11"),
    (["build", "--bypass", "smple"], "did you mean 'simple'?"),
    (["build", "--size", "16", "--stem", "1.0"], "--size 16: shrinks to nothing at pool8"),
    (["build", "--preset", "v1.2"], "--preset v1.2: not known; did you mean 'v1.1'?"),
    (["build", "--name", 'a"b'], 'a"b: a name may hold'),
    (["build", "--name", "a\nb"], r"a\nb: a name may hold"),
    (["build", "--name", "{% raw %}"], "{% raw %}: a name may hold"),
    (["build", "--classifier", "{{ x }}"], "{{ x }}: a name may hold"),
    (["build", "--net", "deplyo"], "--net deplyo: not known; did you mean 'deploy'?"),
    (["build", "--preset", "v1.0", "--design", "x.toml"], "--preset and --design: give one"),
    (["build", "--desgin", "x.toml"], "no option '--desgin'; did you mean '--design'?"),
    (["build", "extra"], "unexpected extra argument"),
    (["build", "--bypass"], "requires an argument"),
    (["build", "--design", "nowhere.toml"], "nowhere.toml: no such file"),
    (["build", "--design", "bad.toml"], "bad.toml: not a TOML file"),
    (["build", "--design", "typo.toml"], "typo.toml: [net] has no 'clases'; did you mean"),
    (["build", "--design", "wrong.toml"], "wrong.toml: --classes 1: must be from 2"),
    (["build", "--out", "full"], "solver.prototxt: exists already; --force replaces it"),
    (["build", "--out", "file.txt"], "file.txt: is a file; give a folder"),
    (["build", "--out", "locked/new"], "can't write: permission denied"),
    (["solver", "--batch-size", "48"], "--effective-batch 528 would do, or give --iter-size"),
    (["solver", "--lr-policy", "step"], "--lr-policy step: needs --gamma"),
    (["solver", "--iter-size", "3", "--effective-batch", "512"], "give one of the two"),
    (["solver", "--gpus", "2", "--cpu"], "--gpus 2: --cpu runs on none"),
    (["build", "--out", "x", "--net", "deploy"], "--out writes all three files"),
    (["build", "--out", "x", "--dump-design"], "--out writes all three files"),
    (["build", "--force"], "--force goes with --out"),
    (["build", "--out", ""], "--out '': give a folder"),
    (["build", "--preset", "simple"], "--bypass simple places bypasses"),
    (["build", "--design", "deep.toml"], "deep.toml: not a TOML file"),
    (["build", "--design", "long.toml"], "long.toml: not a TOML file"),
    (["build", "--design", "outside.toml"], "classes is outside of a table; put it under [net]"),
    (["build", "--design", "flag.toml"], "[net] has no 'sr'; did you mean 'squeeze_ratio'?"),
    (["build", "--batch-size", "2048"], "is more than Caffe can count"),
    (["build", "--classifier", "relu_conv10"], "an earlier one has its name"),
    (["lint", "-", "-"], "standard input can be read once"),
    (["lint", "net.prototxt", "--images", "9"], "--images goes with a solver"),
    (["lint", "--rules", "net.prototxt"], "--rules goes alone"),
    (["upgrade", "/dev/null"], "/dev/null: is empty"),
    (["zoo", "download", "v1.1", "--from", ""], "--from '': give a file or an address"),
    (["summary", "nowhere.prototxt"], "nowhere.prototxt: no such file"),
    (["summary", "locked"], "locked: is a folder"),
    (["summary", "junk"], "junk: is binary, not text"),
    (["summary", "typo.prototxt"], "typo.prototxt:2:3: LayerParameter has no field 'nmae'"),
    (["summary", "braces.prototxt"], "braces.prototxt"),
    (["summary", "huge.prototxt"], "huge.prototxt: larger than 16 MiB"),
    (["summary", "net.prototxt", "--image", "227"], "write channels, height and width as"),
    (["summary", "net.prototxt", "--json", "--csv"], "--json and --csv: give one"),
    (["summary", "unwired.prototxt"], "unwired.prototxt:1: layer 'a': no layer makes 'b'"),
    (["summary", "full/solver.prototxt"], "is a solver, not a net"),
    (["summary"], "missing argument"),
    (["lint", "typo.prototxt"], "typo.prototxt:2:3"),
    (["lint", "huge.prototxt"], "larger than 16 MiB"),
    (["diff", "net.prototxt", "typo.prototxt"], "typo.prototxt:2:3"),
    (["diff", "net.prototxt"], "missing argument"),
    (["upgrade", "junk"], "junk is binary: say where to write it with -o"),
    (["upgrade", "junk", "-o", "out"], "junk: is not a .caffemodel"),
    (["upgrade", "net.prototxt", "-o", "net.prototxt"], "exists already; --force"),
    (["upgrade", "huge.prototxt", "-o", "out"], "huge.prototxt"),
    (["bild"], "no command 'bild'; did you mean 'build'?"),
    (["zoo", "shwo"], "no command 'shwo'; did you mean 'show'?"),
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Files to stumble over."""
    files = {
        "net.prototxt": SIMPLE,
        "typo.prototxt": 'layer {\n  nmae: "a"\n}\n',
        "braces.prototxt": "layer {" * 5000,
        "unwired.prototxt": 'layer { name: "a" type: "ReLU" bottom: "b" top: "a" }',
        "bad.toml": "[net\n",
        "typo.toml": "[net]\nclases = 10\n",
        "wrong.toml": "[net]\nclasses = 1\n",
        "deep.toml": "a=" + "[" * 5000,
        "long.toml": "[net]\nsize=" + "9" * 5000,
        "outside.toml": "classes = 10\n",
        "flag.toml": "[net]\nsr = 0.5\n",
        "file.txt": "",
        "full/solver.prototxt": 'net: "mine"\n',
    }
    (tmp_path / "full").mkdir()
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    (tmp_path / "junk").write_bytes(bytes(range(256)) * 9)
    with open(tmp_path / "huge.prototxt", "wb") as file:
        file.truncate(100 << 20)
    (tmp_path / "locked").mkdir(mode=0o500)
    return tmp_path


def snapshot(folder: Path) -> dict[str, tuple[int, int]]:
    return {
        str(path.relative_to(folder)): (path.stat().st_size, path.stat().st_mtime_ns)
        for path in folder.rglob("*")
    }


@pytest.mark.parametrize(("arguments", "message"), WRONG, ids=[" ".join(w[0]) for w in WRONG])
def test_a_mistake_gets_one_line(
    arguments: list[str], message: str, sqgen: Run, folder: Path
) -> None:
    if "locked/new" in arguments and os.access(folder / "locked", os.W_OK):
        pytest.skip("this user may write everywhere")
    before = snapshot(folder)
    assert_one_line(sqgen(*arguments), message)
    assert snapshot(folder) == before


def test_net_goes_to_stdout_and_nothing_else(sqgen: Run) -> None:
    done = sqgen("build", "--bypass", "simple")
    assert (done.returncode, done.stdout, done.stderr) == (0, SIMPLE, "")


def test_out_writes_three_files(sqgen: Run, tmp_path: Path) -> None:
    done = sqgen("build", "--preset", "v1.1", "--out", "nets/v1.1")
    assert (done.returncode, done.stdout) == (0, "")
    folder = tmp_path / "nets" / "v1.1"
    written = {path.name: path.read_text() for path in folder.iterdir()}
    assert written.keys() == {"train_val.prototxt", "deploy.prototxt", "solver.prototxt"}
    assert written["train_val.prototxt"] == build(preset("v1.1"))
    assert_one_line(sqgen("build", "--out", "nets/v1.1"), "exists already")
    assert (folder / "deploy.prototxt").read_text() == written["deploy.prototxt"]
    assert sqgen("build", "--out", "nets/v1.1", "--force").returncode == 0
    assert (folder / "deploy.prototxt").read_text() == build(Design(), "deploy")
    assert len(list(folder.iterdir())) == 3


def test_a_preset_that_trains_in_phases_has_a_solver_of_each(sqgen: Run, tmp_path: Path) -> None:
    """The one printed without --phase is what `sqgen train --dsd` takes for both."""
    sqgen("build", "--preset", "dsd", "--base-lr", "0.004", "--out", "dsd")
    solvers = {path.name: path.read_text() for path in (tmp_path / "dsd").glob("solver*")}
    assert solvers.keys() == {"solver_sparse.prototxt", "solver_dense.prototxt"}
    sparse, dense = (parse_solver(solvers[f"solver_{name}.prototxt"]) for name in PHASES)
    assert (sparse.base_lr, dense.base_lr) == pytest.approx((0.004, 0.0004))
    assert sparse.snapshot_prefix != dense.snapshot_prefix
    for text in solvers.values():
        words = shlex.split(text.splitlines()[0])[2:]
        assert sqgen(*words).stdout == text  # the header is the command
    published = parse_solver(sqgen("solver", "--preset", "dsd", "--phase", "dense").stdout)
    images = published.max_iter * published.iter_size * 32
    assert images / 1_281_167 == pytest.approx(20, abs=1e-3)
    assert published.base_lr == pytest.approx(1e-4)
    plain = sqgen("solver", "--preset", "dsd").stdout
    assert plain == sqgen("solver", "--preset", "dsd", "--phase", "sparse").stdout
    assert_one_line(sqgen("solver", "--phase", "dens"), "--phase dens: not known; did you mean")


def test_design_files(sqgen: Run, tmp_path: Path) -> None:
    dumped = sqgen("build", "--bypass", "complex", "--mean-values", "1,2,3", "--dump-design").stdout
    (tmp_path / "design.toml").write_text(dumped)
    straight = sqgen("build", "--bypass", "complex", "--mean-values", "1,2,3").stdout
    assert sqgen("build", "--design", "design.toml").stdout == straight
    assert sqgen("build", "--design", "-", stdin=dumped).stdout == straight
    on_top = sqgen("build", "--design", "-", "--bypass", "none", stdin='preset = "v1.1"\n').stdout
    assert on_top == build(preset("v1.1"))


@pytest.mark.process
def test_the_header_is_the_command(sqgen: Run) -> None:
    """What the first line says, given to a shell, prints the file again."""
    bash = shutil.which("bash")
    if bash is None:
        pytest.skip("needs bash, which is not here")
    text = build(Design(bypass="3,5", train_source='it\'s a\tpath\u2028 $HOME "x"', classes=10))
    line = text.splitlines()[0].removeprefix("# ").replace("sqgen", f"{PYTHON} -m sqgen", 1)
    done = subprocess.run([bash, "-c", line], capture_output=True, text=True, check=True)
    assert done.stdout == text


@pytest.mark.process
def test_pipes(sqgen: Run, tmp_path: Path) -> None:
    assert "1,248,424 parameters" in sqgen("summary", "-", stdin=SIMPLE).stdout
    (tmp_path / "a").write_text(SIMPLE)
    assert sqgen("diff", "-", "a", stdin=SIMPLE).returncode == 0
    script = f"{PYTHON} -m sqgen build | head -c 10"
    done = subprocess.run(["sh", "-c", script], capture_output=True, check=True)
    assert done.stderr == b""


@pytest.mark.process
@pytest.mark.parametrize("command", ["build", "zoo", "lint --rules", "solver"])
def test_a_closed_pipe_is_141_and_quiet(command: str) -> None:
    bash = shutil.which("bash")
    if bash is None:
        pytest.skip("needs bash, which is not here")
    script = f"{PYTHON} -m sqgen {command} | true; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run([bash, "-c", script], capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (141, b"")


@pytest.mark.process
def test_closed_streams() -> None:
    for script, words in (
        (f"{PYTHON} -m sqgen build >&-", b"standard output is closed"),
        (f"{PYTHON} -m sqgen summary - <&-", b"standard input is closed"),
        (f"{PYTHON} -m sqgen build | {PYTHON} -m sqgen summary - --csv >&-", b"output is closed"),
    ):
        done = subprocess.run(["sh", "-c", script], capture_output=True, check=False)
        assert done.returncode == 2
        assert words in done.stderr
        assert done.stderr.count(b"\n") == 1


@pytest.mark.process
def test_an_output_that_has_not_all_characters(sqgen: Run) -> None:
    done = sqgen("build", "--train-source", "\u4e2d", env={"PYTHONIOENCODING": "latin-1"})
    assert_one_line(done, "standard output is latin-1", "PYTHONIOENCODING=utf-8")


def test_newlines_in_names_of_old_files(sqgen: Run) -> None:
    text = 'layers { bottom: "q\\nz" top: "y" layer { name: "a\\nb" type: "relu" } }'
    assert_one_line(sqgen("summary", "-", stdin=text), "a\\nb")


def test_macs_an_image_where_the_first_blob_is_no_batch(sqgen: Run) -> None:
    text = (
        'layer { name: "r" type: "Input" top: "r" input_param { shape { dim: 5 dim: 5 } } }'
        'layer { name: "d" type: "Input" top: "d" input_param { shape { dim: 2 dim: 3 dim: 8'
        ' dim: 8 } } } layer { name: "c" type: "Convolution" bottom: "d" top: "c"'
        " convolution_param { num_output: 1 kernel_size: 1 } }"
    )
    assert "192 MACs an image" in sqgen("summary", "-", stdin=text).stdout


def test_fields_of_forks_in_a_solver_are_named(sqgen: Run) -> None:
    text = "net: 'x' store_blobs_in_old_format: true solver_type: ADAM"
    done = sqgen("upgrade", "-", stdin=text)
    assert "SolverParameter.store_blobs_in_old_format (NVCaffe) is dropped" in done.stderr


def test_no_arguments_print_the_help(sqgen: Run) -> None:
    done = sqgen()
    assert (done.returncode, done.stdout) == (2, "")
    assert "Commands:" in done.stderr
    assert done.stderr.count("\n") > 10


def test_names_with_control_characters_stay_in_their_line(sqgen: Run) -> None:
    text = 'layer { name: "a\\n\\033[31m" type: "Input" top: "a" input_param { shape { dim: 1 } } }'
    shown = sqgen("summary", "-", stdin=text).stdout
    assert "\x1b" not in shown
    assert "a\\n\\x1b[31m" in shown


def test_records_of_unknown_channels_are_told(sqgen: Run) -> None:
    four = sqgen("summary", "-", stdin=build(Design(channels=4)))
    assert "assuming records of 3 channels; --image CxHxW overrides this" in four.stderr
    gray = sqgen("summary", "-", stdin=build(Design(channels=1)))
    assert gray.stderr == ""
    assert "1,239,016" in gray.stdout
    unread = sqgen("summary", "-", "--image", "3x9x9", stdin=build(Design(), "deploy"))
    assert "no layer of the net reads images" in unread.stderr


def test_summary_forms(sqgen: Run, tmp_path: Path) -> None:
    (tmp_path / "net").write_text(SIMPLE)
    table = sqgen("summary", "net").stdout.splitlines()
    assert table[0].split() == "layer type bottom top parameters MACs bytes".split()
    assert "861,339,936" in table[-2]
    both = json.loads(sqgen("summary", "net", "--phase", "both", "--json").stdout)
    assert [one["phase"] for one in both] == ["TRAIN", "TEST"]
    assert both[1]["totals"]["parameters"] == 1_248_424
    assert both[1]["layers"][1]["tops"] == {"conv1": [25, 96, 111, 111]}
    rows = list(csv.DictReader(io.StringIO(sqgen("summary", "net", "--csv").stdout)))
    assert sum(int(row["macs"]) for row in rows) == 861_339_936
    assert rows[1]["tops"] == "25x96x111x111"
    train = json.loads(sqgen("summary", "net", "--phase", "train", "--json").stdout)[0]
    assert train["totals"]["batch"] == 32


def test_colour_is_for_terminals(sqgen: Run) -> None:
    done = sqgen("lint", "-", stdin='layer { name: "a" type: "ReLU" bottom: "b" top: "a" }')
    assert "\x1b" not in done.stdout


def subcommands(group: click.Group) -> Iterator[list[str]]:
    """Yield the words of every command below a group, of groups too."""
    context = click.Context(group)
    for name in group.list_commands(context):
        yield [name]
        command = group.get_command(context, name)
        if isinstance(command, click.Group):
            for words in subcommands(command):
                yield [name, *words]


@pytest.mark.parametrize("command", [[], *subcommands(cli)], ids=" ".join)
def test_help_has_an_example_and_fits_80_columns(sqgen: Run, command: list[str]) -> None:
    done = sqgen(*command, "--help")
    assert (done.returncode, done.stderr) == (0, "")
    _, _, examples = done.stdout.partition("Example")
    assert " ".join(["sqgen", *command, ""]) in examples
    assert [line for line in done.stdout.splitlines() if len(line) > 80] == []


def test_version(sqgen: Run) -> None:
    assert sqgen("--version").stdout == f"sqgen, version {package.__version__}\n"


@pytest.mark.process
def test_a_full_disk_is_told() -> None:
    if not Path("/dev/full").exists():
        pytest.skip("needs /dev/full, which is not here")
    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            [sys.executable, "-m", "sqgen", "build"],
            stdout=full,
            stderr=subprocess.PIPE,
            check=False,
        )
    assert done.returncode == 2
    assert done.stderr == (
        b"sqgen: standard output: can't write: no space left on device; redirect it elsewhere\n"
    )


@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_any_bytes_are_a_net_or_one_line(sqgen: Run, data: bytes) -> None:
    done = sqgen("summary", "-", stdin=data)
    if done.returncode != 0:
        assert_one_line(done)


@settings(max_examples=150)
@given(st.data())
def test_a_damaged_net_never_raises_anything_else(data: st.DataObject) -> None:
    """Cut, doubled and overwritten pieces of a real net: read, or refused as sqgen refuses."""
    text = SIMPLE[:4000]
    start = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(start, min(len(text), start + 300)))
    middle = data.draw(st.sampled_from(["", "}", "{", '"', "\0", text[start:end] * 2, "kernel: 3"]))
    try:
        net = parse_net(text[:start] + middle + text[end:])
        package.lint_net(net)
        package.summary(net)
    except package.SqgenError as error:
        assert str(error).isprintable()


def test_reading_back_what_was_written(sqgen: Run, tmp_path: Path) -> None:
    (tmp_path / "net").write_text(SIMPLE)
    net = read_net(tmp_path / "net")
    assert net.place(net.param.layer[0]) == f"{tmp_path / 'net'}:4"
