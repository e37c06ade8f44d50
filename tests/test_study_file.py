"""The file of a study: what it means, and one line for each mistake in it."""

from __future__ import annotations

from copy import deepcopy
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sqgen.errors import SqgenError
from sqgen.formats import toml
from sqgen.sweep.plan import Plan, make_plan
from sqgen.sweep.points import baseline_of
from sqgen.sweep.ready_studies import FOLDER, find_study, ready_names
from sqgen.sweep.study_file import parse_study, read_study, with_settings
from sqgen.tools.study_commands import CommandOptions


def plan_of(text: str, given: tuple[str, ...] = (), only: tuple[str, ...] = ()) -> Plan:
    study = parse_study(toml.parse(text.encode(), "s.toml"), "s.toml")
    return make_plan(with_settings(study, given), CommandOptions(), only)


SMALL = """
format = 1
seeds = 2
[data]
command = "data digits"
[build]
size = 32
classes = 10
[train]
max_iter = 5
"""


def test_entries_times_grid_times_seeds() -> None:
    plan = plan_of(
        SMALL
        + """
[grid]
build.sr = [0.125, 0.25]
build.bypass = ["none", "simple"]
[[list]]
name = "plain"
[[list]]
name = "slow"
train.base-lr = 0.001
steps = ["build"]
"""
    )
    assert len(plan.trials) == 2 * 4 * 2
    labels = [point.label for point in plan.points]
    assert labels[:2] == ["plain, sr=0.125, bypass=none", "plain, sr=0.125, bypass=simple"]
    trial = plan.trials[5]
    assert (trial.seed, trial.folder) == (1, "runs/slow,sr=0.125,bypass=simple/seed-1")
    assert [step["name"] for step in trial.spec["steps"]] == ["build"]
    assert trial.spec["steps"][0]["options"][4:8] == ["--sr", "0.125", "--bypass", "simple"]
    # Half of the first axis of the grid is compared with the other half.
    base = baseline_of(plan.study, plan.points[3], plan.points)
    assert base is not None
    assert base.label == "plain, sr=0.125, bypass=simple"
    assert plan.trials[0].cost is not None


def test_options_become_words(tmp_path: Path) -> None:
    """Switches, lists, sizes of Fire modules, and paths beside the file."""
    options = CommandOptions()
    (tmp_path / "net.toml").write_text("")

    def words(command: str, flag: str, value: Any) -> list[str]:
        return options.words(command, flag, value, tmp_path)

    assert words("build", "classifier-relu", False) == ["--no-classifier-relu"]
    assert words("build", "cpu", True) == ["--cpu"]
    assert words("build", "pool-after", [3, 5]) == ["--pool-after", "3,5"]
    assert words("build", "fires", [[16, 64, 64], [8, 32, 32]]) == ["--fires", "16/64/64,8/32/32"]
    assert words("build", "design", "net.toml") == ["--design", str(tmp_path / "net.toml")]
    assert words("build", "name", "net.toml") == ["--name", "net.toml"]
    assert words("train", "freeze", ["conv1", "fire2/*"]) == [
        *("--freeze", "conv1", "--freeze", "fire2/*"),
    ]
    assert words("prune", "no-proof", False) == []


def test_a_setting_replaces_an_option() -> None:
    plan = plan_of(SMALL, ("train.max_iter=7",))
    assert plan.trials[0].spec["steps"][1]["options"] == ["--max-iter", "7"]


def test_the_end_of_each_training_is_tested() -> None:
    tune = "[tune]\ncommand = 'train'\nmax-iter = 3\n"
    for more, interval in {
        "": "5",
        "[grid]\nbuild.sr = [1.0]": "5",
        f"[prune]\nmacs = 0.5\n{tune}": "1",
        f"[[list]]\nname = 'a'\nsteps = ['build', 'tune']\n{tune}": "3",
    }.items():
        words = plan_of(SMALL + more).trials[0].spec["steps"][0]["options"]
        assert words[-2:] == ["--test-interval", interval]
    own = plan_of(SMALL.replace("size = 32", "size = 32\ntest-interval = 2"))
    assert own.trials[0].spec["steps"][0]["options"].count("--test-interval") == 1


def test_data_is_made_once_for_each_seed_and_size() -> None:
    plan = plan_of(SMALL + "[grid]\ndata.train = [300, 1500]")
    assert len(plan.datasets) == 4
    assert plan.datasets[0].words == ("data", "digits", "--train", "300", "--seed", "1")
    folder = plan.trials[0].spec["data"]["train"]
    assert folder == f"../../../{plan.datasets[0].folder}/train_lmdb"
    plan = plan_of(SMALL.replace("[data]", "[data]\nseed = 7"))
    assert len(plan.datasets) == 1


GRID = "format = 1\n[build]\n[grid]\nbuild."
MISTAKES = {
    "": "is no study: it has no format = 1",
    "format = 2\n[build]": "is a study of format 2; this sqgen reads format 1",
    'format = "1"\n[build]': 'is a study of format "1"; this sqgen reads format 1',
    "format = 1": "has no steps",
    "format = 1\nsede = 3\n[build]": "no key 'sede'; did you mean 'seeds'?",
    "format = 1\nseeds = 0\n[build]": "seeds: give a number from 1 to 1000",
    "format = 1\nseeds = [1, 1]\n[build]": "seeds: one is there twice",
    "format = 1\n[biuld]": "[biuld]: no such step; did you mean 'build'?",
    "format = 1\n[solver]\nbase-lr = 1": "its options go to [build]",
    "format = 1\nmeasure = ['paramters']\n[build]": "did you mean 'parameters'?",
    "format = 1\n[build]\nbypas = 'simple'": "build.bypas: sqgen build has no --bypas;"
    " did you mean 'bypass'?",
    "format = 1\n[build]\nsqueeze_ratio = 0.5": "did you mean 'sr'?",
    "format = 1\n[build]\nlr = 0.5": "did you mean 'base-lr'?",
    "format = 1\n[build]\ncpu = 3": "build.cpu: is a switch: give true or false",
    "format = 1\n[build]\nout = 'x'": "build.out: the study sets --out itself",
    "format = 1\n[build]\n[grid]\nbypass = ['none']": "name the step, too, such as build.bypass",
    "format = 1\n[build]\n[grid]\ntrain.epochs = [1]": "no step 'train'; there: build",
    "format = 1\n[build]\n[grid]\nbuild.sr = []": "give a list of values",
    "format = 1\n[build]\n[grid]\nbuild.sr = [1.0, 1.0]": "a value is there twice",
    "format = 1\n[build]\n[grid]\nbuild.bypass = ['none', '11']": "11: [build] --bypass 11:"
    " there is no fire11; this net has fire2 to fire9",
    "format = 1\n[build]\n[grid]\nbuild.sr = [0.5, 1]\nbuild.size = [32, 4]": "sr=0.5, size=4:"
    " [build] --size 4",
    f"{SMALL}batch-size = 0": "[train] invalid value for '--batch-size'",
    "format = 1\n[train]": "[train]: give solver, or put [build] before it",
    "format = 1\n[build]\n[prune]\nmacs = 0.5": "[prune]: put [train] before it",
    "format = 1\n[build]\n[[list]]\nname = 'a'\n[[list]]\nname = 'a'": "two entries are named 'a'",
    "format = 1\n[build]\n[[list]]": "entry 1 has no name",
    "format = 1\n[build]\n[[list]]\nname = 'a'\nsteps = ['biuld']": "did you mean 'build'?",
    "format = 1\n[build]\n[baseline]\nbuild.sr = 1": "[baseline] build.sr: does not vary",
    "format = 1\n[build]\n[grid]\nbuild.sr = [0.5, 1]\n[baseline]\nbuild.sr = 0.25": "[baseline]"
    " build.sr: no '0.25'; there: 0.5, 1",
    "format = 1\n[build]\n[[list]]\nname = 'none'\n[baseline]\nlist = 'nome'": "[baseline] list: no"
    " 'nome'; did you mean 'none'?",
    "format = 1\nmeasure = ['tune.top1']\n[build]": "tune.top1: no step 'tune'; there: build",
    "format = 1\nmeasure = ['ms']\n[build]": "measure ms: a step [time] measures it; add one",
    "format = 1\n[build]\n[resources]\nthread = 1": "did you mean 'threads'?",
    "format = 1\n[build]\n[resources]\nthreads = 0": "give 1 to 4096, not 0",
    "format = 1\n[build]\n[chart]\nx = 'byte'": "[chart] x: no 'byte'; did you mean 'bytes'?",
    "format = 1\n[build]\nsr = 2026-01-01": "[build] sr: give a number, a text, true, false or",
    "format = 1\n[build]\n[chart]\nkind = 'pie'": "[chart] kind: no 'pie'",
    "format = 1\n[build]\n[train]": "[train]: give data, or train in [data]",
    "format = 1\n[data]\ntrain = 'a'\n[build]\n[train]": "[train]: give val-data, or val in [data]",
    "format = 1\n[build]\ntrain-source = 'a'\nval-source = 'b'\n[train]\n[quantize]": "[quantize]:"
    " give data, or train in [data]",
    "format = 1\nmeasure = ['build.top1']\n[build]": "build.top1: [build] tests nothing",
    "format = 1\nmeasure = ['build.macs']\n[build]": "macs is of the whole run; write macs",
    "format = 1\nmeasure = ['top1']\n[build]": "measure top1: no step tests; add [train]",
    "format = 1\nmeasure = ['seconds']\n[build]": "measure seconds: no step trains; add [train]",
    "format = 1\nmeasure = ['bytes']\n[time]\nmodel = 'm'": "of the net that [build] makes",
    SMALL.replace("[data]", "[data]\ntrain = 3000"): "[data] --train 3000: there are 1,797 digits",
    f"{SMALL}patience = 3": "[train] --patience 3: give 1 or more tests",
    f"{SMALL}epochs = 3": "[train] --max-iter and --epochs: give one",
    f"{SMALL}base-lr = -1": "[train] --base-lr -1: give a rate above 0",
    f"{SMALL}bits = 9": "[train] 9 bits: give 2 to 8",
    f"{SMALL}dsd = '0.3'": "[train] --dsd starts from trained weights",
    f"{SMALL}[tune]\ncommand = 'train'\ndsd = '3'": "[tune] --dsd 3: a sparsity is above 0",
    f"{SMALL}[prune]\nlossless = true": "[prune] --data: --lossless leaves nothing to reconstruct",
    f"{SMALL}[prune]\nms = 3": "[prune] --ms X and --latency FILE go together",
    f"{SMALL}[quantize]\nactivations = true": "[quantize] no budget: give --bytes",
    f"{SMALL}[quantize]\nms = 1\nactivations = true\nhardware = 'x.toml'": "[quantize] x.toml",
    f"{SMALL}[encode]\ncommand = 'compress encode'\nbits = 9": "[encode] 9 bits: a shared weight",
    f"{SMALL}[shrink]\ncommand = 'compress train'\nsteps = 3": "[shrink] --steps 3: of pruning",
    f"{SMALL}[test]\nexpect = 'top1'": "[test] --expect top1",
    f"{SMALL}[time]\nworkers = 2": "sqgen time has no --workers",
    f"measure = ['top2']{SMALL}": "measure top2: no run has it; there: top1, top5, loss",
    f"measure = ['train.accuracy']{SMALL}": "train.accuracy: no run has it; there: top1, top5",
    "format = 1\n[build]\n[chart]\nkind = 'curve'": "[chart] kind: a curve needs an option of 3 or"
    " more numbers; none varies",
    f"{GRID}bypass = ['none', 'simple', 'complex']\n[chart]\nx = 'build.bypass'": "[chart] x: a"
    " curve needs an option of 3 or more numbers; none varies",
    f"{GRID}sr = [0.5, 0.75, 1]\n[chart]\nkind = 'curve'\nx = 'bytes'": "there: build.sr",
    f"{GRID}sr = [0.5, 0.75, 1]\n[chart]\nkind = 'bars'\nx = 'bytes'": "[chart] x: bars have none",
    f"{GRID}sr = [0.5, 0.75, 1]\n[chart]\nx = 'ms'": "[chart] x: ms is not measured",
    f"{GRID}sr = [1, 1.0]": "[grid] build.sr: a value is there twice",
    f"{GRID}sr = [1, 0.5]\n[[list]]\nname = 'a'\nbuild.sr = 1": "[[list]] a: build.sr: varies in"
    " [grid], too",
    "format = 1\n[build]\nbase-lr = 1\nbase_lr = 2": "[build] base-lr: is there twice",
    "format = 1\n[build]\n[resources]\nmemory = 'lots'": "as Slurm takes it, such as 8G",
    "format = 1\n[build]\n[resources]\ntime = 'soon'": "as Slurm takes it, such as 2:00:00",
    "format = 1\n[data]\ncommand = 'data create'\n[build]": "give data digits, or train and val",
    "format = 1\n[data]\ntrian = 'a'\n[build]": "[data] has no 'trian'; did you mean 'train'?",
    "format = 1\nseeds = 1000\n[build]\n[grid]\nbuild.classes = "
    + str(list(range(2, 20))): "makes 18,000 runs; at most 10,000",
}


TUNE, LATER = f"{SMALL}[tune]\ncommand = 'train'\n", "[tune]\ncommand = 'train'\n"
SMALL_NET = SMALL.replace("size = 32", "size = 32\nfire-modules = 2\npool-after = 'none'")
QUANTIZED, PRUNED = f"{SMALL_NET}[quantize]\n", f"{SMALL_NET}[prune]\n"
ENCODED = f"{SMALL_NET}[encode]\ncommand = 'compress encode'\n"
SHRUNK = f"{SMALL_NET}[shrink]\ncommand = 'compress train'\n"
PRUNED_LATER = f"{PRUNED}macs = 0.5\n{LATER}"
# What a command refuses of its net, without weights or data.
MISFITS = {
    f"{SMALL}freeze = 'nosuch*'": "[train] --freeze nosuch*: matches no layer with parameters of"
    " train_val.prototxt; it has conv1",
    f"{SMALL}freeze = '*'": "[train] --freeze *: freezes all",
    f"{SMALL}keep-best = 'top7'": "[train] no score 'top7' in train_val.prototxt; did you mean",
    f"{SMALL.replace('max_iter = 5', '')}keep-best = 'top1'\n[grid]\nbuild.max-iter = [5]\n"
    "build.test-interval = [9]": "[train] --keep-best: solver.prototxt: max_iter 5 comes before",
    f"{SMALL}batch-size = 1000000": "is more than Caffe can count",
    f"{SMALL}gpu = '0'\ncpu = true": "[train] --gpu and --cpu: give one",
    f"{SMALL}print-slurm = true": "train.print-slurm: the study sets --print-slurm itself",
    f"{TUNE}dsd = '0.3'\nleave = 'nosuch'": "[tune] --leave nosuch: matches no layer that could",
    f"{TUNE}dsd = '0.3'\nsparsity-for = 'x=0.5'": "[tune] --sparsity-for x: matches no layer",
    f"{TUNE}dsd = '0.99999'": "[tune] layer 'fire2/squeeze1x1': a sparsity of 0.99999 leaves none",
    f"{TUNE}dsd = '0.3'\nfreeze = 'fire*,conv10_10'": "[tune] --dsd: no layer would be sparse",
    f"{SMALL}[test]\nexpect = 'top7=0.5'": "[test] no score 'top7' in train_val.prototxt",
    f"{SMALL}[test]\nper-class = true\nblob = 'x'": "[test] train_val.prototxt: no blob 'x'",
    f"{SMALL}[test]\nblob = 'x'": "[test] --blob names the scores of --predictions FILE",
    f"{SMALL}[test]\npredictions = 'p.txt'": "[test] --predictions p.txt: predictions are",
    f"{SMALL}[test]\ncalibrated = 'c.toml'": "[test] --calibrated FILE is for a quantized net",
    f"{SMALL}[test]\nlabels = 'nosuch'": "[test] nosuch: no such file",
    f"{SMALL}[time]\ndata = '.'": "deploy.prototxt has no Data, ImageData or HDF5Data layer in TE",
    f"{SMALL}[time]\nimage = '3x32x32'": "[time] --image goes with --table or --hardware",
    f"{SMALL}[time]\ntable = 't'": "time.table: no step has it; run sqgen time --table before",
    f"{PRUNED}macs = 0.0001": "[prune] --macs 0.0001: can't be met;",
    f"{PRUNED}parameters = 1e9": "[prune] --parameters 1,000,000,000: the whole net has",
    f"{PRUNED}macs = 0.0001\nby = 'uniform'\ncriterion = 'taylor'": "[prune] --macs 0.0001: can't",
    f"{PRUNED}bytes = 0.5\ntrials = 2": "[prune] --trials 2: --by knapsack tries each of",
    f"{PRUNED}bytes = 0.5\nleave = 'nosuch'": "[prune] 'nosuch' matches no layer that can lose",
    f"{PRUNED}ratio-for = 'nosuch=0.5'": "[prune] 'nosuch' matches no layer that can lose",
    f"{PRUNED}macs = 0.5\nat-least = 'x=3'": "[prune] 'x' matches no layer that can lose channels",
    f"{PRUNED}macs = 0.5\nimage = '1x32x32'": "[prune] weights: layer 'conv1', blob 0 is",
    f"{PRUNED}macs = 0.5\nmean = '1,2'": "[prune] --mean has 2 values for 3 channels",
    f"{PRUNED}macs = 0.5\nresize = '8x8'": "[prune] --resize 8x8: the net takes 32x32",
    f"{QUANTIZED}bops = 0.001": "[quantize] --bops 0.001: can't be met; the least bits",
    f"{QUANTIZED}bops = 1": "[quantize] --bops 1: 8 bits everywhere have",
    f"{QUANTIZED}bytes = 0.5\nby = 'greedy'\ntrials = 2": "[quantize] --trials 2: --by greedy",
    f"{QUANTIZED}bops = 0.5\nmean = '1,2'": "[quantize] --mean has 2 values for 3 channels",
    f"{QUANTIZED}format = 'ristretto'\n{LATER}": "[tune]: no step takes a net of Ristretto",
    f"{QUANTIZED}bops = 0.5\n{LATER}dsd = '0.3'": "[tune] --dsd trains no quantized net",
    f"{ENCODED}bits-for = 'x=4'": "[encode] no layer to compress is named 'x'",
    f"{SHRUNK}density = 0.0001": "[shrink] layer 'conv1': a density of 0.0001 leaves none",
    f"{PRUNED_LATER}freeze = 'nosuch'": "[tune] --freeze nosuch: matches no layer",
    f"{PRUNED_LATER}keep-best = 'top7'": "[tune] no score 'top7'",
    f"{SMALL}[other]\ncommand = 'build'\n[prune]\nmacs = 0.5": "[prune]: put [train] before it",
    "format = 1\n[build]\nnet = 'deploy'": "build.net: the study sets --net itself",
    SMALL.replace("[build]", "[build]\npreset = 'dsd'"): "[train] [build] writes solver_sparse",
    f"{SMALL}[grid]\nbuild.bypass = ['none', 'simple']\ntrain.freeze = ['x']": "bypass=none,"
    " freeze=x: [train] --freeze x",
}
MISTAKES |= MISFITS


@pytest.mark.parametrize(("text", "message"), MISTAKES.items(), ids=range(len(MISTAKES)))
def test_a_mistake_is_one_line(text: str, message: str) -> None:
    with pytest.raises(SqgenError) as caught:
        plan_of(text)
    assert message in str(caught.value)
    assert str(caught.value).startswith("s.toml: ")
    assert caught.value.exit_code == 2
    assert "\n" not in str(caught.value)


VALUES: st.SearchStrategy[Any] = st.sampled_from(
    [
        None,
        1,
        -1,
        0,
        True,
        2.5,
        float("nan"),
        "",
        "x",
        "none",
        "\0",
        "a/../b",
        10**400,
        [],
        [1],
        [[]],
        [[[[1]]]],
        {},
        {"a": 1},
        {"a": {"b": []}},
        [{}],
        datetime(2026, 1, 1),
        ["a", 1],
    ]
)
KEYS = st.sampled_from(
    [
        "format",
        "title",
        "seeds",
        "measure",
        "data",
        "build",
        "train",
        "grid",
        "list",
        "baseline",
        "resources",
        "chart",
        "command",
        "share",
        "name",
        "steps",
        "threads",
        "gpus",
        "memory",
        "kind",
        "x",
        "build.sr",
        "sr",
        "solver",
        "odd key",
        "max-iter",
        "noisy-labels",
    ]
)


@settings(max_examples=200)
@given(st.lists(st.tuples(st.lists(KEYS, min_size=1, max_size=3), VALUES), max_size=4))
def test_any_file_is_a_study_or_one_line(changes: list[tuple[list[str], Any]]) -> None:
    table = toml.parse(WHOLE.encode(), "s.toml")
    for path, value in changes:
        place = table
        for key in path[:-1]:
            inner = place.get(key)
            inner = inner[0] if isinstance(inner, list) and inner else inner
            if not isinstance(inner, dict):
                break
            place = inner
        place[path[-1]] = deepcopy(value)
    try:
        plan = make_plan(parse_study(table, "s.toml"), CommandOptions())
    except SqgenError as error:
        assert "\n" not in str(error)
        assert error.exit_code == 2
    else:
        assert all(".." not in Path(trial.folder).parts for trial in plan.trials)


WHOLE = """
format = 1
title = "all"
seeds = 1
measure = ["top1"]
[data]
command = "data digits"
[build]
size = 32
classes = 10
[train]
[grid]
build.sr = [0.25, 0.5]
[[list]]
name = "one"
train.max-iter = 3
[baseline]
build.sr = 0.5
[resources]
threads = 1
[chart]
kind = "pareto"
x = "bytes"
"""


@pytest.mark.parametrize(
    ("given_settings", "only", "message"),
    [
        (("train.max-iter",), (), "write STEP.OPTION=VALUE"),
        (("trian.max-iter=3",), (), "no step 'trian'; did you mean 'train'?"),
        (("build.sr=0.5",), (), "this varies in the study"),
        ((), ("sr=0.3",), "fits no point"),
    ],
)
def test_mistaken_flags(
    given_settings: tuple[str, ...], only: tuple[str, ...], message: str
) -> None:
    with pytest.raises(SqgenError, match=message.replace("?", r"\?")):
        plan_of(f"{SMALL}[grid]\nbuild.sr = [0.125, 0.25]", given_settings, only)


@pytest.mark.parametrize(
    "more",
    [
        "[prune]\nbytes = 0.0001",
        f"{PRUNED_LATER.removeprefix(SMALL_NET)}freeze = 'conv1'\n[again]\ncommand = 'prune'\n"
        "macs = 0.0001",
        "[quantize]\nbytes = 0.0001",
        "[prune]\nmacs = 0.5\n[quantize]\nbops = 0.001",
        "[tune]\ncommand = 'train'\nepochs = 3\nkeep-best = 'loss'",
        "[tune]\ncommand = 'train'\nsolver = 'other.prototxt'\nfreeze = 'layer-of-another-net'",
        "[quantize]\nbops = 0.5\n[test]\ncalibrated = 'c.toml'",
        "[encode]\ncommand = 'compress encode'\nsize = 10",
    ],
)
def test_what_weights_decide_is_left_to_the_runs(more: str) -> None:
    assert plan_of(SMALL_NET + more).trials


@pytest.mark.parametrize("name", ready_names())
def test_shipped_studies_make_nets(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / name).mkdir()  # as of `sqgen study bypass -o bypass`
    monkeypatch.chdir(tmp_path)
    study = read_study(find_study(name))
    plan = make_plan(study, CommandOptions())
    assert study.about
    assert len(plan.points) > 1
    assert all(trial.cost for trial in plan.trials)
    assert find_study(name).parent == FOLDER
