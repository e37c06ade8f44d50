"""The experiments of `studies/`: the results they keep, their comparisons and their claims."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sqgen.errors import DesignError, RunError
from sqgen.formats.constraints import FREE, ZERO, BlobName, Constraint
from sqgen.search.methods import METHODS
from sqgen.studies import (
    dsd_experiment,
    experiment,
    pruned_digits_experiment,
    pruning_experiment,
    quantization_experiment,
    quantized_digits_experiment,
    retraining_experiment,
    search_table,
)
from sqgen.studies.dsd_experiment import CONTINUED, DSD, WAYS, compare, shuffle_masks
from sqgen.studies.retraining_experiment import DENSE, ENCODED, RETRAINED, SIZED


def test_a_result_is_measured_once(tmp_path: Path) -> None:
    measured: list[Path] = []

    def measure(folder: Path) -> dict[str, Any]:
        measured.append(folder)
        assert list(folder.iterdir()) == []
        (folder / "half").write_text("")
        if len(measured) == 1:
            raise KeyboardInterrupt
        return {"top1": 0.5}

    place = tmp_path / "seed1" / "dense"
    with pytest.raises(KeyboardInterrupt):
        experiment.kept(place, measure)
    assert experiment.kept(place, measure) == {"top1": 0.5}
    assert experiment.kept(place, measure) == {"top1": 0.5}
    assert measured == [place, place]


def test_results_of_other_settings_are_not_mixed(tmp_path: Path) -> None:
    experiment.check_settings(tmp_path / "out", {"iterations": 600})
    experiment.check_settings(tmp_path / "out", {"iterations": 600})
    with pytest.raises(DesignError, match="has results of other settings; give -o another"):
        experiment.check_settings(tmp_path / "out", {"iterations": 300})


def test_a_command_that_fails_is_told_with_its_last_line(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"sqgen train --solver none: .*none: no such file"):
        experiment.sqgen("train", "--solver", "none", cwd=tmp_path)


def test_p_is_that_of_the_paired_t_test() -> None:
    """By hand: mean 1, deviation 1, t = sqrt 3 with 2 degrees of freedom."""
    assert experiment.one_sided_p([0.0, 1.0, 2.0]) == pytest.approx(0.1127, abs=1e-4)
    assert experiment.one_sided_p([0.0, -1.0, -2.0]) == pytest.approx(1 - 0.1127, abs=1e-4)
    assert (experiment.one_sided_p([1.0, 1.0]), experiment.one_sided_p([0.0, 0.0])) == (0.0, 1.0)


def test_shuffled_masks_have_as_many_zeros_elsewhere() -> None:
    codes = np.where(np.arange(60).reshape(3, 4, 5) < 20, ZERO, FREE).astype(np.int32)
    masks = {BlobName("conv", 0): Constraint(codes, np.zeros(0))}
    shuffled = shuffle_masks(masks, 1)[BlobName("conv", 0)].codes
    assert shuffled.shape == codes.shape
    assert (shuffled == ZERO).sum() == 20
    assert (shuffled != codes).any()
    again = shuffle_masks(masks, 1)[BlobName("conv", 0)].codes
    assert (again == shuffled).all()


def dsd_rows() -> list[dsd_experiment.Row]:
    gains = {way: place / 100 for place, way in enumerate(WAYS)}
    gains[DSD] = gains[CONTINUED] + 0.02
    return [
        dsd_experiment.Row(labels, seed, way, 0.9 + gains[way] - 0.01 * seed, 0.3)
        for labels in ("right labels", "20% wrong")
        for seed in (1, 2, 3)
        for way in WAYS
    ]


def test_ways_are_compared_seed_by_seed() -> None:
    by_way = {each.way: each for each in compare(dsd_rows()) if each.labels == "20% wrong"}
    assert by_way[DSD].differences == pytest.approx((2, 2, 2))
    assert by_way[CONTINUED].differences == (0, 0, 0)
    assert by_way[DSD].top1.error == pytest.approx(1 / np.sqrt(3))
    lines = dsd_experiment.summary_lines(dsd_rows())
    assert any("dsd" in line and "+2.00 +- 0.00" in line for line in lines)


def compressed_rows(retrained: float, sized: int) -> list[retraining_experiment.Row]:
    rows = []
    for seed in (1, 2):
        rows += [
            retraining_experiment.Row(seed, DENSE, None, None, None, 70000, 0.98),
            retraining_experiment.Row(seed, ENCODED, 1.0, 4, None, 10000, 0.97),
            retraining_experiment.Row(seed, RETRAINED, 1.0, 4, None, 10000, 0.98),
            retraining_experiment.Row(seed, ENCODED, 0.3, 4, None, 6000, 0.90),
            retraining_experiment.Row(seed, RETRAINED, 0.3, 4, None, 6000, retrained),
            retraining_experiment.Row(seed, SIZED, None, None, sized, sized, 0.98),
        ]
    return rows


def test_claims_are_held_against_the_means() -> None:
    good = retraining_experiment.claim_lines(compressed_rows(0.976, 12000))
    assert "density 0.3, 4 bits: 8.00 +- 0.00 points lost, retrained 0.40 +- 0.00: holds" in good
    assert good[-1].endswith("encoded 12,000, retrained 6,000: holds")
    bad = retraining_experiment.claim_lines(compressed_rows(0.97, 8000))
    assert any(line.endswith("retrained 1.00 +- 0.00: does not hold") for line in bad)
    assert bad[-1].endswith("encoded 8,000, retrained 10,000: does not hold")


def test_searches_are_compared_over_seeds() -> None:
    rows = [
        search_table.Row("uniform", 1, 900, 0.4, 0.5, 0.1, 0.0),
        search_table.Row("random", 1, 890, 0.5, 0.3, 0.1, 2.0),
        search_table.Row("random", 2, 899, 0.6, 0.5, 0.1, 4.0),
    ]
    lines = [line.split() for line in search_table.summary_lines(rows, "MACs")]
    assert lines[1] == ["uniform", "1", "900", "40.0", "0.500", "+-", "0.100", "0.0"]
    assert lines[2] == ["random", "2", "899", "55.0", "+-", "5.0", "0.400", "+-", "0.100", "3.0"]


def test_pruned_digits_are_averaged_over_seeds() -> None:
    row = pruned_digits_experiment.Row
    rows = [row("whole", 1, 900, None, 0.9), row("whole", 2, 900, None, 0.92)]
    rows += [row("ddpg", 1, 440, 0.5, 0.8), row("ddpg", 2, 450, 0.7, 0.9)]
    lines = [line.split() for line in pruned_digits_experiment.summary_lines(rows)]
    assert lines[1] == ["whole", "900", "91.00", "+-", "1.00"]
    assert lines[2] == ["ddpg", "450", "60.00", "+-", "10.00", "85.00", "+-", "5.00"]


def test_quantized_digits_are_averaged_over_seeds() -> None:
    row = quantized_digits_experiment.Row
    rows = [row(*way, seed, None, None, 0.9) for way in [("whole", None)] for seed in (1, 2)]
    rows += [
        row(way, bits, seed, 1000 + seed, 0.5 + 0.2 * (seed - 1), 0.8 + 0.1 * (seed - 1))
        for way, bits in quantized_digits_experiment.WAYS[1:]
        for seed in (1, 2)
    ]
    lines = [line.split() for line in quantized_digits_experiment.summary_lines(rows)]
    assert lines[1] == ["whole", "90.00", "+-", "0.00"]
    assert lines[2] == ["equal", "2", "1,002", "60.00", "+-", "10.00", "85.00", "+-", "5.00"]
    assert [line[:2] for line in lines[4:6]] == [["knapsack", "3"], ["haq", "3"]]


def test_experiments_know_all_methods() -> None:
    """They name them themselves, as the command does."""
    assert list(pruning_experiment.METHODS) == [
        method for method in METHODS if method not in ("fisher", "haq")
    ]
    own = quantization_experiment
    assert [*own.UNTRIED, *own.SEARCHES] == list(METHODS)


def test_a_budget_of_time_needs_a_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["w", "--net", "n", "--data", "d", "--ms", "0.5", "-o", str(tmp_path / "out")]
    assert pruning_experiment.main(arguments) == 2
    assert "--ms: give --latency" in capsys.readouterr().err


def test_a_stopped_search_keeps_its_journal(tmp_path: Path) -> None:
    (tmp_path / "seed1").mkdir()
    (tmp_path / "seed1" / "trials.jsonl").write_text("{}")

    def measure(folder: Path) -> dict[str, Any]:
        return {"left": [path.name for path in folder.iterdir()]}

    assert experiment.kept(tmp_path / "seed1", measure, again=True) == {"left": ["trials.jsonl"]}


@pytest.mark.parametrize("name", ["dsd_experiment", "retraining_experiment"])
def test_what_is_done_is_reported_without_running_anything(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("vl_convert", reason="needs the extra sqgen[draw]")
    module = {"dsd_experiment": dsd_experiment, "retraining_experiment": retraining_experiment}[
        name
    ]
    rows = dsd_rows() if name == "dsd_experiment" else compressed_rows(0.976, 12000)
    monkeypatch.setattr(module, "_run", lambda *arguments: rows)
    assert module.main(["-o", str(tmp_path / "out")]) == 0
    shown = capsys.readouterr().out
    assert (tmp_path / "out" / "table.txt").read_text() == shown
    table = (tmp_path / "out" / "results.csv").read_text().splitlines()
    assert len(table) == 1 + len(rows)
    assert json.loads((tmp_path / "out" / "settings.json").read_text())
    assert len(list((tmp_path / "out").glob("*.svg"))) == 1


@pytest.mark.parametrize("arguments", [["--seeds", "1"], ["--jobs", "0"], ["--seeds", "x"]])
def test_a_wrong_number_ends_it(
    tmp_path: Path, arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        dsd_experiment.main(["-o", str(tmp_path / "out"), *arguments])
    assert f"argument {arguments[0]}: " in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
