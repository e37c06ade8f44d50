"""Lint: each rule fires on a net made for it, and on no valid net."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sqgen import Design, build, lint_net, parse_net, preset
from sqgen.engine.fillers import METHODS
from sqgen.generator.presets import PRESETS
from sqgen.nets.definition import parse_solver
from sqgen.nets.layer_types import LAYER_TYPES
from sqgen.nets.lint import ERROR, FILLERS, RULES, WARNING
from sqgen.nets.solver_rules import lint_solver, lint_test_iter

from .conftest import Run

DATA = """
layer { name: "data" type: "DummyData" top: "data" top: "label"
  dummy_data_param { shape { dim: 2 dim: 3 dim: 8 dim: 8 } shape { dim: 2 } } }
"""
INPUT = """
layer { name: "in" type: "Input" top: "data" input_param { shape { dim: 2 dim: 3 dim: 8 dim: 8 } } }
"""
FC = """
layer { name: "fc" type: "InnerProduct" bottom: "data" top: "fc"
  inner_product_param { num_output: 3 } }
"""
LOSS = 'layer { name: "loss" type: "SoftmaxWithLoss" bottom: "fc" bottom: "label" top: "loss" }'


def simple(kind: str, bottom: str, top: str, rest: str = "", name: str = "it") -> str:
    return f'layer {{ name: "{name}" type: "{kind}" bottom: "{bottom}" top: "{top}" {rest} }}'


def image(phase: str, transform: str) -> str:
    return (
        f'layer {{ name: "data" type: "Data" top: "data" top: "label" include {{ phase: {phase} }}'
        f" transform_param {{ {transform} }} data_param {{ batch_size: 2 }} }}"
    )


TWO_WAYS = image("TRAIN", "crop_size: 8 scale: 0.5") + "%s" + FC + LOSS
NETS = {
    "type": INPUT + simple("Deconvoluted", "data", "out"),
    "unsupported": INPUT + simple("LSTM", "data", "out"),
    "image-size": image("TRAIN", "") + image("TEST", "") + LOSS.replace('"fc"', '"data"'),
    "fields": INPUT
    + simple(
        "InnerProduct",
        "data",
        "fc",
        "inner_product_param { num_output: 1 weight_filler { type: 'xaiver' } }",
    ),
    "unknown-blob": INPUT + simple("Eltwise", "data", "out", 'bottom: "dtaa"'),
    "order": INPUT
    + simple("Eltwise", "data", "out", 'bottom: "later"')
    + simple("ReLU", "data", "later", name="b")
    + 'layer { name: "end" type: "Silence" bottom: "out" bottom: "later" }',
    "cycle": INPUT
    + 'layer { name: "a" type: "Eltwise" bottom: "data" bottom: "b" top: "a" }'
    + simple("ReLU", "a", "b", name="b"),
    "duplicate-top": INPUT + simple("ReLU", "data", "a") + simple("TanH", "data", "a", name="b"),
    "in-place": INPUT + simple("Pooling", "data", "data", "pooling_param { kernel_size: 2 }"),
    "blob-count": INPUT + simple("Eltwise", "data", "out"),
    "shape": INPUT + simple("Pooling", "data", "out", "pooling_param { kernel_size: 9 }"),
    "top-k": DATA
    + FC
    + LOSS
    + 'layer { name: "top5" type: "Accuracy" bottom: "fc" bottom: "label" top: "top5"'
    + " accuracy_param { top_k: 5 } include { phase: TEST } }",
    "gradient": DATA
    + FC
    + simple("Threshold", "fc", "sharp")
    + LOSS.replace('bottom: "fc"', 'bottom: "sharp"'),
    "missing-loss": DATA + 'layer { name: "s" type: "Silence" bottom: "label" }' + FC,
    "empty": 'name: "nothing"',
    "log-forgery": r'name: "a\nb"' + INPUT + simple("ReLU", "data", "c"),
    "unused-blob": DATA + FC + simple("ReLU", "fc", "lost") + LOSS,
    "duplicate-name": INPUT + simple("ReLU", "data", "a") + simple("TanH", "a", "b"),
    "accuracy-in-train": DATA
    + FC
    + LOSS
    + 'layer { name: "top1" type: "Accuracy" bottom: "fc" bottom: "label" top: "top1" }'
    + 'layer { name: "end" type: "Silence" bottom: "fc" include { phase: TEST } }',
    "transform": TWO_WAYS % image("TEST", "crop_size: 8"),
    "test-mirror": TWO_WAYS % image("TEST", "crop_size: 8 scale: 0.5 mirror: true"),
    "batch-statistics": TWO_WAYS % image("TEST", "crop_size: 8 scale: 0.5")
    + simple("BatchNorm", "fc", "bn", "batch_norm_param { use_global_stats: false }"),
    "frozen-statistics": TWO_WAYS % image("TEST", "crop_size: 8 scale: 0.5")
    + simple("BatchNorm", "fc", "bn", "batch_norm_param { use_global_stats: true }"),
    "padded-1x1": INPUT
    + simple(
        "Convolution", "data", "c", "convolution_param { num_output: 1 kernel_size: 1 pad: 1}"
    ),
}


def found(text: str) -> list[str]:
    return [finding.rule.name for finding in lint_net(parse_net(text))]


# Rules of solvers, of data, and of several states.
OF_OTHERS = set("data learning-rate missing-net snapshots solver stage test-iter".split())
OF_DEPLOY = {rule for rule in RULES if rule.startswith("deploy-")}


@pytest.mark.parametrize("rule", sorted(RULES.keys() - OF_OTHERS - OF_DEPLOY))
def test_rule_fires_alone(rule: str) -> None:
    assert set(found(NETS[rule])) == {rule}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            DATA
            + FC
            + 'layer { name: "cut" type: "Slice" bottom: "fc" top: "l" top: "s"'
            + " slice_param { slice_point: 1 } }"
            + LOSS.replace('bottom: "fc" bottom: "label"', 'bottom: "s" bottom: "l"'),
            "layer 'loss': SoftmaxWithLoss has no gradient for its bottom 'l', which depends on"
            " learned parameters; give it propagate_down: true propagate_down: false",
        ),
        (
            DATA
            + FC
            + 'layer { name: "a" type: "Accuracy" bottom: "fc" bottom: "label" top: "a"'
            + " loss_weight: 1 }",
            "layer 'a': Accuracy has no gradient for its bottom 'fc', which depends on learned"
            " parameters; take its loss_weight out",
        ),
    ],
)
def test_what_stops_a_gradient_says_how_to_go_on(text: str, said: str) -> None:
    errors = [finding for finding in lint_net(parse_net(text)) if finding.rule.severity == ERROR]
    assert [(finding.rule.name, finding.message) for finding in errors] == [("gradient", said)]


def test_labels_may_be_computed_where_no_gradient_flows() -> None:
    embed = simple("Embed", "label", "e", "embed_param { num_output: 3 input_dim: 3 }")
    reindexed = simple("BatchReindex", "fc", "r", 'bottom: "label"', name="re")
    reindexed += LOSS.replace('bottom: "fc"', 'bottom: "r"')
    floor = simple("Power", "label", "l", name="floor") + LOSS.replace('"label"', '"l"')
    for text in (DATA + FC + reindexed, DATA + FC + floor, DATA + embed + LOSS.replace("fc", "e")):
        assert "gradient" not in found(text)


def test_a_blob_with_a_loss_weight_is_read() -> None:
    penalty = simple("Reduction", "fc", "penalty", "loss_weight: 0.1", name="penalty")
    assert found(DATA + FC + penalty + LOSS) == []
    assert found(DATA + FC + penalty.replace("loss_weight: 0.1", "") + LOSS) == ["unused-blob"]


def test_sound_nets_have_no_findings() -> None:
    assert found(DATA + FC + LOSS) == []
    assert found(TWO_WAYS % image("TEST", "crop_size: 8 scale: 0.5")) == []
    assert found(build(Design(version="1.1"))) == []
    assert found(build(Design(bypass="simple", conv10_pad=0))) == []


def test_only_the_paper_s_padding_is_odd_in_a_clean_net() -> None:
    assert found(build(Design(bypass="simple"))) == ["padded-1x1"]


@pytest.mark.parametrize("name", PRESETS)
def test_published_nets_have_warnings_only(name: str) -> None:
    for net in ("trainval", "deploy"):
        findings = lint_net(parse_net(build(preset(name), net)))
        assert {finding.rule.severity for finding in findings} <= {WARNING}


BATCH_NORM = simple("BatchNorm", "%s", "%s", "batch_norm_param { use_global_stats: %s } %s")


@pytest.mark.parametrize(
    ("text", "rules"),
    [
        (BATCH_NORM % ("fc", "bn", "true", "include { phase: TEST }"), []),
        (BATCH_NORM % ("fc", "bn", "false", "include { phase: TRAIN }"), []),
        (simple("BatchNorm", "fc", "bn"), []),
        (BATCH_NORM % ("fc", "bn", "true", "include { phase: TRAIN }"), ["frozen-statistics"]),
        (
            BATCH_NORM % ("fc", "a", "false", "") + BATCH_NORM % ("a", "bn", "false", ""),
            ["batch-statistics"],
        ),
    ],
)
def test_statistics_of_a_batch_norm(text: str, rules: list[str]) -> None:
    net = TWO_WAYS % image("TEST", "crop_size: 8 scale: 0.5")
    names = iter(("one", "two"))
    for _ in range(text.count('"it"')):
        text = text.replace('"it"', f'"{next(names)}"', 1)
    kinds = {"frozen-statistics", "batch-statistics"}
    findings = [each for each in lint_net(parse_net(net + text)) if each.rule.name in kinds]
    assert [each.rule.name for each in findings] == rules
    assert ("(and 1 more)" in "".join(each.message for each in findings)) == ("two" in text)


def test_a_deploy_net_may_freeze_its_statistics() -> None:
    assert found(INPUT + BATCH_NORM % ("data", "bn", "true", "")) == []
    assert found(INPUT + BATCH_NORM % ("data", "bn", "false", "")) == ["batch-statistics"]


def test_the_cases_of_misused_statistics(sqgen: Run, shared: Path) -> None:
    case = shared / "reported" / "40-batchnorm-statistics-misused"
    for name, rule in (
        ("batch_statistics_in_test", "batch-statistics"),
        ("global_statistics_from_scratch", "frozen-statistics"),
    ):
        rows = json.loads(sqgen("lint", str(case / f"{name}.prototxt"), "--json").stdout)
        assert [row["rule"] for row in rows] == [rule]
    net = case / "global_statistics_from_scratch.prototxt"
    fields = f'net: "{net}" base_lr: 1 lr_policy: "fixed" max_iter: 9 '
    tuned = sqgen("lint", "-", stdin=fields + 'weights: "w.caffemodel"')
    assert tuned.stdout == "no findings\n"
    assert "frozen-statistics" in sqgen("lint", "-", stdin=fields).stdout


@pytest.mark.parametrize(
    ("fields", "is_lost"),
    [
        ("max_iter: 9", False),
        ("max_iter: 9 snapshot_after_train: false", True),
        ("max_iter: 9 snapshot_after_train: false snapshot: 9", False),
        ("max_iter: 9 snapshot_after_train: false snapshot: 10", True),
        ("snapshot_after_train: false", False),  # nothing is trained either
    ],
)
def test_a_solver_that_never_saves(fields: str, is_lost: bool) -> None:
    solver = parse_solver(f'net: "n" lr_policy: "fixed" {fields}')
    assert ("snapshots" in dict(lint_solver(solver))) == is_lost


@pytest.mark.parametrize("name", [*PRESETS, None])
def test_what_build_prints_has_no_findings(name: str | None, tmp_path: Path, sqgen: Run) -> None:
    """Neither padding nor accuracies as published are worth a warning where sqgen wrote them."""
    design = ("--preset", name) if name else ()
    sqgen("build", *design, "--out", "net")
    solvers = ["solver_sparse", "solver_dense"] if name == "dsd" else ["solver"]
    done = sqgen("lint", *(f"net/{file}.prototxt" for file in ("train_val", "deploy", *solvers)))
    assert (done.returncode, done.stdout) == (0, "no findings\n")


@pytest.mark.parametrize("name", ["v1.0", "dsd", "generator-small-bn"])
def test_what_somebody_edited_is_linted_as_any_net(name: str, tmp_path: Path, sqgen: Run) -> None:
    sqgen("build", "--preset", name, "--out", "net")
    solvers = ["solver_sparse"] if name == "dsd" else ["solver"]
    path = tmp_path / "net" / "train_val.prototxt"
    path.write_text(path.read_text() + "# edited\n")
    warned = sqgen("lint", f"net/{solvers[0]}.prototxt").stdout.splitlines()
    published = lint_net(parse_net(path.read_text()))
    assert len(warned) == len(published) + 1  # a line a layer, not one a phase


def test_severities() -> None:
    assert {rule.severity for rule in RULES.values()} == {ERROR, WARNING}
    assert all(name == rule.name for name, rule in RULES.items())


def test_messages_name_layer_and_remedy() -> None:
    finding = lint_net(parse_net(NETS["unknown-blob"], "n"))[0]
    assert finding.place == "n:3"
    assert finding.message == "layer 'it': no layer makes 'dtaa'; did you mean 'data'?"
    cycle = lint_net(parse_net(NETS["cycle"], "n"))[0]
    assert cycle.message == "layer 'a': needs 'b', which depends on it"
    order = lint_net(parse_net(NETS["order"], "n"))[0]
    assert order.message == "layer 'it': reads 'later' before 'b' makes it"


@pytest.mark.parametrize(
    ("test_iter", "batch", "images", "classes", "message"),
    [
        (1000, 50, 50_000, 1000, None),
        (2000, 25, None, 1000, None),
        (50, 50, None, 10, None),
        (50, 50, None, 1000, "leaves out 47500 of 50000 images (ImageNet's; --images N says other"),
        (12, 25, 297, 10, "counts 3 of 297 images twice; a batch that divides it"),
        (20, 25, 297, 10, "counts 203 of 297 images twice; 12 covers them"),
        (2, 25, 297, 10, "leaves out 247 of 297 images; 12 covers them"),
    ],
)
def test_test_iter(
    test_iter: int, batch: int, images: int | None, classes: int, message: str | None
) -> None:
    """BVLC/caffe#1690, #1094: is it the accuracy of the whole validation set?"""
    said = lint_test_iter(test_iter, batch, images, classes)
    assert (said is None) == (message is None)
    assert message is None or message in str(said)


def test_command(sqgen: Run) -> None:
    clean = sqgen("lint", "-", stdin=DATA + FC + LOSS)
    assert (clean.returncode, clean.stdout) == (0, "no findings\n")
    warned = sqgen("lint", "-", stdin=NETS["transform"])
    assert warned.returncode == 0
    assert "layer 'data': scale is 0.5 in TRAIN but 1.0 in TEST [transform]" in warned.stdout
    assert warned.stdout.endswith("0 errors, 1 warning\n")
    wrong = sqgen("lint", "-", "--json", stdin=NETS["shape"])
    assert wrong.returncode == 1
    row = json.loads(wrong.stdout)[0]
    assert (row["rule"], row["severity"]) == ("shape", "error")
    assert "shrinks to nothing" in row["message"]
    rules = sqgen("lint", "--rules").stdout
    assert all(rule in rules for rule in RULES)
    assert sqgen("lint").returncode == 2


def test_command_takes_a_solver(sqgen: Run, tmp_path: object) -> None:
    sqgen("build", "--out", "net", "--val-batch-size", "48")
    done = sqgen("lint", "net/solver.prototxt")
    assert done.returncode == 0
    assert "test_iter 1042 x batch 48 = 50016 counts 16 of 50000 images twice" in done.stdout
    same = sqgen("lint", "net/train_val.prototxt", "--solver", "net/solver.prototxt")
    assert same.stdout == done.stdout


# What BVLC Caffe (master, 9b89154) makes of the same nets was looked up by running it.

POOL = simple("Pooling", "conv", "pool", "pooling_param { kernel_size: 2 }", name="pool")
CONV = simple("Convolution", "data", "conv", "convolution_param { num_output: 3 kernel_size: 1 }")
RELU = simple("ReLU", "conv", "conv", name="relu")


def summed(*bottoms: str) -> str:
    """A sum into the blob of the convolution."""
    named = " ".join(f'bottom: "{bottom}"' for bottom in bottoms)
    return f'layer {{ name: "sum" type: "Eltwise" {named} top: "conv" }}'


# (the layers, whether Caffe says "Top blob 'conv' produced by multiple sources")
SPLITS = {
    "after a reader": (CONV + POOL + RELU, True),
    "before a reader": (CONV + RELU + POOL, False),
    "twice": (CONV + summed("conv", "conv"), True),
    "second bottom": (CONV + summed("data", "conv"), True),
    "first bottom": (CONV + summed("conv", "data"), False),
    "chain": (CONV + RELU + simple("TanH", "conv", "conv", name="b"), False),
    "loss weight": (CONV.replace(" bottom", " loss_weight: 1 bottom") + RELU, True),
}


@pytest.mark.parametrize("name", SPLITS)
def test_splits(name: str) -> None:
    text, refused = SPLITS[name]
    errors = [f.rule.name for f in lint_net(parse_net(INPUT + text)) if f.rule.severity == ERROR]
    assert bool(errors) == refused


REFUSED = [
    DATA + FC.replace("num_output: 3", "num_output: 3 weight_filler { type: 'xaiver' }") + LOSS,
    INPUT + simple("ReLU", "data", "a", "include { phase: TRAIN } exclude { stage: 'x' }"),
    INPUT + simple("ReLU", "data", "a", "propagate_down: true propagate_down: false"),
    INPUT + simple("BatchNorm", "data", "a", "param { lr_mult: 1 }"),
    INPUT
    + simple(
        "InnerProduct",
        "data",
        "a",
        "param { name: 'w' lr_mult: 1 } inner_product_param { num_output: 2 }",
    )
    + simple(
        "InnerProduct",
        "data",
        "b",
        "param { name: 'w' lr_mult: 2 } inner_product_param { num_output: 2 }",
        name="b",
    ),
    INPUT + simple("Flatten", "data", "f") + simple("LRN", "f", "a", name="b"),
    INPUT
    + simple("Pooling", "data", "a", "pooling_param { pool: STOCHASTIC kernel_size: 3 pad: 1 }"),
    'layer { name: "in" type: "Input" top: "a" input_param { shape { dim: 65536 dim: 65536 } } }',
]


@pytest.mark.parametrize("text", REFUSED, ids=range(len(REFUSED)))
def test_what_caffe_refuses_beside_shapes(text: str) -> None:
    findings = lint_net(parse_net(text))
    assert any(finding.rule.severity == ERROR for finding in findings)


def test_transforms_of_layers_that_make_one_blob() -> None:
    """Whatever the layers are called, and where one has no transform_param at all."""
    train = image("TRAIN", "crop_size: 8 scale: 0.5")
    other = image("TEST", "crop_size: 4").replace('name: "data"', 'name: "val"')
    bare = image("TEST", "").replace("transform_param {  }", "")
    for test in (other, bare):
        assert "transform" in found(train + test + FC + LOSS)


def test_states() -> None:
    """Stages of the net's own state, of --stage, and of a solver; the level is a flag's."""
    staged = INPUT + simple("ReLU", "data", "r", "include { stage: 'x' }")
    reader = simple("TanH", "r", "t", name="t")
    assert "stage" in found(staged + reader)
    assert found("state { stage: 'x' }" + staged + reader) == []
    solver = parse_solver("train_state { stage: 'x' }")
    assert lint_net(parse_net(staged + reader).in_state(solver.train_state), phases=["TRAIN"]) == []


def test_layers_of_stages_that_a_run_names() -> None:
    """Caffe's own mnist_autoencoder: its data layers of TEST are each of a stage."""
    text = "".join(
        f'layer {{ name: "{s}" type: "Input" top: "data" include {{ stage: "{s}" }}'
        f" input_param {{ shape {{ dim: 2 }} }} }}"
        for s in ("a", "b")
    )
    assert found(text + simple("ReLU", "data", "r")) == ["stage"]
    assert found(text + simple("ReLU", "other", "r")) == ["unknown-blob"]


def test_duplicate_tops_are_told_in_time() -> None:
    """8,000 layers that make one blob: told one by one, not by looking each up in all."""
    text = 'layer { name: "a" type: "ReLU" bottom: "a" top: "b" }\n' * 8000
    assert len(lint_net(parse_net(text))) > 8000


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("lr_policy: 'polly'", "no lr_policy 'polly'; did you mean 'poly'?"),
        ("lr_policy: 'fixed' type: 'SDG'", "no type 'SDG'; did you mean 'SGD'?"),
        ("lr_policy: 'step' gamma: 0.1", "lr_policy step needs a positive stepsize"),
        ("lr_policy: 'exp' gamma: -1", "gamma -1 is less than 0"),
        ("lr_policy: 'fixed' average_loss: 0", "average_loss 0 is less than 1"),
        ("lr_policy: 'fixed' type: 'RMSProp' rms_decay: 2", "rms_decay 2 is not from 0 to 1"),
        ("lr_policy: 'fixed' weight_decay: 1 regularization_type: 'L3'", "no regularization_type"),
        ("lr_policy: 'fixed' train_net: 'm'", "names net and train_net to train; give one"),
        ("lr_policy: 'fixed' type: 'AdaGrad' momentum: 0.9", "AdaGrad takes no momentum"),
        ("lr_policy: 'fixed' test_net: 'a' test_net: 'b' test_iter: 1", "1 test_iter for 2 test"),
        (
            "lr_policy: 'fixed' test_iter: 1 test_state { } test_state { }",
            "2 test_state for 1 test",
        ),
        ("lr_policy: 'fixed' test_iter: 1", "test_iter without test_interval"),
    ],
)
def test_solvers(text: str, message: str, sqgen: Run) -> None:
    assert any(message in said for _, said in lint_solver(parse_solver("net: 'n' " + text)))
    sqgen("build", "--out", ".")
    done = sqgen("lint", "train_val.prototxt", "--solver", "-", stdin="net: 'n' " + text)
    assert done.returncode == 1
    assert message in done.stdout


def test_what_caffe_takes_though_nobody_means_it() -> None:
    for text in ("'exp'", "'poly' max_iter: 9", "'step' stepsize: 5", "'multistep' gamma: 1"):
        rules = [rule for rule, _ in lint_solver(parse_solver(f"net: 'n' lr_policy: {text}"))]
        assert rules == ["learning-rate"]


def test_a_solver_of_other_nets_for_training_and_tests(sqgen: Run, tmp_path: Path) -> None:
    """Each test net is linted in its own state, and its batch held to its own test_iter."""
    (tmp_path / "train.pt").write_text(build(Design(batch_size=4), "train"))
    (tmp_path / "test.pt").write_text(
        build(Design(val_batch_size=50), "val")
        + 'layer { name: "x" type: "ReLU" bottom: "gone" top: "x" include { min_level: 1 } }'
    )
    solver = (
        "train_net: 'train.pt' test_net: 'test.pt' test_iter: %d test_interval: 1"
        " lr_policy: 'fixed' test_state { level: %d }"
    )
    sound = sqgen("lint", "-", stdin=solver % (1000, 0))
    assert (sound.returncode, "test-iter" in sound.stdout) == (0, False)
    few = sqgen("lint", "-", stdin=solver % (100, 0))
    assert "test_iter 100 x batch 50 = 5000 leaves out 45000" in few.stdout
    broken = sqgen("lint", "-", stdin=solver % (1000, 1))
    assert broken.returncode == 1
    assert "no layer makes 'gone'" in broken.stdout


def test_several_tests_of_one_net() -> None:
    """Caffe's own lenet_consolidated_solver."""
    text = "net: 'n' lr_policy: 'fixed' test_iter: 1 test_iter: 2 test_interval: 1"
    assert list(lint_solver(parse_solver(text))) == []


def test_a_mistake_in_a_solver_is_told_as_one(sqgen: Run) -> None:
    done = sqgen("lint", "-", stdin="net: 'n'\nbas_lr: 0.1\nlr_policy: 'fixed'\n")
    assert "2:1: SolverParameter has no field 'bas_lr'; did you mean 'base_lr'?" in done.stderr


def test_any_shapes_are_problems_not_exceptions() -> None:
    """ArgMax of a scalar was a traceback."""
    scalar = DATA + FC + LOSS
    for kind in sorted(LAYER_TYPES):
        for bottom in ("loss", "label", "data", "fc"):
            for bottoms in (1, 2):
                both = 'bottom: "label"' * (bottoms - 1)
                lint_net(parse_net(scalar + simple(kind, bottom, "out", both)))


@pytest.mark.parametrize("name", PRESETS)
def test_solvers_of_presets_are_sound(name: str) -> None:
    from sqgen import build_solver

    assert list(lint_solver(parse_solver(build_solver(preset(name))))) == []


def test_files_of_one_phase(sqgen: Run) -> None:
    for net in ("train", "val", "deploy"):
        text = build(Design(version="1.1"), net)
        assert sqgen("lint", "-", stdin=text).stdout == "no findings\n", net
    assert found(build(preset("v1.0"), "val")) == ["padded-1x1"]


def test_an_unknown_image_size_is_no_error(sqgen: Run) -> None:
    text = build(Design(crop=False))
    done = sqgen("lint", "-", stdin=text)
    assert done.returncode == 0
    assert "--image CxHxW (TEST) [image-size]" in done.stdout
    assert sqgen("lint", "-", "--image", "3x227x227", stdin=text).stdout == "no findings\n"


def test_what_a_solver_names(sqgen: Run) -> None:
    gone = sqgen("lint", "-", stdin="net: 'gone.prototxt'\nlr_policy: 'fixed'\n")
    assert gone.returncode == 0
    assert "net 'gone.prototxt' is not there, so no net is checked" in gone.stdout
    inside = sqgen("lint", "-", stdin=f"net_param {{ {INPUT} }}\nlr_policy: 'fixed'\n")
    assert inside.returncode == 0


def test_fillers_are_those_of_the_engine() -> None:
    assert set(FILLERS) == set(METHODS)


# What other programs can't take of a deploy net.

TWO = INPUT.replace('"in"', '"input"')  # `in` can't be a variable
ONE = TWO.replace("dim: 2", "dim: 1", 1)
NORM = simple("BatchNorm", "data", "n", name="n")
DEPLOYED = {
    "deploy-data": DATA + simple("ReLU", "data", "r"),
    "deploy-scores": ONE
    + ONE.replace('"input"', '"l"').replace('"data"', '"label"')
    + simple("EuclideanLoss", "data", "loss", 'bottom: "label"'),
    "deploy-phases": ONE + simple("ReLU", "data", "r", "include { phase: TEST }"),
    "deploy-batch": TWO + simple("ReLU", "data", "r"),
    "deploy-dropout": ONE + simple("Dropout", "data", "data"),
    "deploy-batch-norm": ONE + NORM,
    "deploy-name": ONE + simple("ReLU", "data", "r", name="2/squeeze1x1"),
    "deploy-format": 'input: "data" input_dim: 1 input_dim: 3 input_dim: 8 input_dim: 8 '
    + simple("ReLU", "data", "r"),
}


def found_deployed(text: str) -> set[str]:
    findings = lint_net(parse_net(text), deploy=True)
    return {finding.rule.name for finding in findings} & OF_DEPLOY


@pytest.mark.parametrize("rule", sorted(OF_DEPLOY))
def test_deploy_rule_fires_alone(rule: str) -> None:
    assert found_deployed(DEPLOYED[rule]) == {rule}
    assert not set(found(DEPLOYED[rule])) & OF_DEPLOY


@pytest.mark.parametrize(
    ("after", "is_wrong"),
    [
        (simple("Scale", "n", "n"), False),
        (simple("ReLU", "n", "n"), True),
        (simple("Scale", "n", "s") + simple("ReLU", "n", "r", name="relu"), True),  # two read it
        ('layer { name: "s" type: "Scale" bottom: "n" bottom: "data" top: "s" }', True),
        ('layer { name: "s" type: "Scale" bottom: "data" bottom: "n" top: "s" }', True),
    ],
)
def test_a_batch_norm_needs_a_scale_of_its_own(after: str, is_wrong: bool) -> None:
    assert ("deploy-batch-norm" in found_deployed(ONE + NORM + after)) is is_wrong


@pytest.mark.parametrize(
    ("name", "is_wrong"),
    [
        ("fire2/squeeze1x1", False),
        ("conv1-a", False),
        ("_", False),
        ("2/squeeze1x1", True),
        ("a.b", True),
        ("a b", True),
        ("class", True),
        ("caf\xe9", True),
    ],
)
def test_names_that_a_program_in_python_can_have(name: str, is_wrong: bool) -> None:
    for layer in (simple("ReLU", "data", "r", name=name), simple("ReLU", "data", name)):
        assert ("deploy-name" in found_deployed(ONE + layer)) is is_wrong
    # X2Paddle makes a class of the net's name, and replaces nothing in it.
    net = f'name: "{name}"' + ONE + simple("ReLU", "data", "r")
    assert ("deploy-name" in found_deployed(net)) is (is_wrong or not name.isidentifier())


def test_the_default_name_of_every_design_is_an_identifier() -> None:
    for version in ("1.0", "1.1"):
        for bypass in ("none", "simple", "complex", "3"):
            text = build(Design(version=version, bypass=bypass), "deploy")
            assert found_deployed(text) == set(), (version, bypass)


def test_command_of_deploy_nets(sqgen: Run) -> None:
    done = sqgen("lint", "--deploy", "-", stdin="\n" + DEPLOYED["deploy-dropout"])
    assert done.returncode == 0
    assert done.stdout.splitlines()[0] == (
        "standard input:4: warning: layer 'it' is a Dropout, at which caffe-onnx writes no file;"
        " sqgen export writes it without [deploy-dropout]"
    )
    named = sqgen("lint", "--deploy", "-", stdin=DEPLOYED["deploy-name"])
    assert "sqgen export --for x2paddle renames it [deploy-name]" in named.stdout
    refused = sqgen("lint", "--deploy", "-", stdin='net: "n"')
    assert (refused.returncode, refused.stdout) == (2, "")
    assert "--deploy: give the net alone, without a solver" in refused.stderr
