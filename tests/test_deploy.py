"""Deploy nets: the same outputs as the net in TEST, the same weights, and what its header says."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sqgen import FormatError, Net, NetError, build, parse_net, preset, read_net
from sqgen.formats.prototxt import to_text
from sqgen.generator.presets import PRESETS
from sqgen.nets.definition import NetDefinition
from sqgen.nets.deploy import deploy_net
from sqgen.nets.diff import diff_nets
from sqgen.nets.image_transform import ImageTransform, read_comment
from sqgen.nets.layer_types import LAYER_TYPES

from .conftest import ROOT, Run, published_weights
from .databases import make_lmdb, raw

CLASSES = 4
IMAGE = (3, 6, 5)
DATA = """
layer { name: "data" type: "Data" top: "data" top: "label" include { phase: TRAIN }
  transform_param { mirror: true crop_size: 6 mean_value: 1 } data_param { batch_size: 8 } }
layer { name: "data" type: "Data" top: "data" top: "label" include { phase: TEST }
  transform_param { scale: 0.5 mean_value: 10 mean_value: 20 mean_value: 30 }
  data_param { batch_size: 2 } }
"""
# What the engine can feed in place of the data.
FED = """
layer { name: "data" type: "Input" top: "data" top: "label"
  input_param { shape { dim: 1 dim: 3 dim: 6 dim: 5 } shape { dim: 1 %s } } }
"""
GAUSSIAN = "weight_filler { type: 'gaussian' std: 0.1 } bias_filler { type: 'uniform' }"


def layer(kind: str, name: str, bottom: str, top: str = "", rest: str = "") -> str:
    bottoms = " ".join(f'bottom: "{blob}"' for blob in bottom.split())
    return f'layer {{ name: "{name}" type: "{kind}" {bottoms} top: "{top or name}" {rest} }}\n'


def fc(name: str, bottom: str, outputs: int = CLASSES) -> str:
    rest = f"param {{ lr_mult: 2 }} inner_product_param {{ num_output: {outputs} {GAUSSIAN} }}"
    return layer("InnerProduct", name, bottom, rest=rest)


TEST = "include { phase: TEST }"
CONV = layer(
    "Convolution",
    "conv",
    "data",
    rest="convolution_param { num_output: 5 kernel_size: 3 " + GAUSSIAN + "}",
)
LOSS = layer("SoftmaxWithLoss", "loss", "fc label")
TOP1 = layer("Accuracy", "top1", "fc label", rest=TEST)
AUXILIARY = layer("SoftmaxWithLoss", "aux_loss", "aux label", rest="loss_weight: 0.3")
NORM = layer("BatchNorm", "norm", "conv", "conv") + layer(
    "Scale", "scale", "conv", "conv", "scale_param { bias_term: true }"
)

# Name -> (layers behind the data, name of the probabilities).
NETS = {
    "plain": (CONV + fc("fc", "conv") + LOSS + TOP1, "prob"),
    "normalized": (
        CONV + NORM + layer("ReLU", "relu", "conv", "conv") + fc("fc", "conv") + LOSS,
        "prob",
    ),
    "dropout in place": (
        fc("hidden", "data", 7)
        + layer("Dropout", "drop", "hidden", "hidden")
        + fc("fc", "hidden")
        + LOSS,
        "prob",
    ),
    "dropout beside": (
        fc("hidden", "data", 7) + layer("Dropout", "drop", "hidden") + fc("fc", "drop") + LOSS,
        "prob",
    ),
    "dropout before the loss": (
        fc("hidden", "data") + layer("Dropout", "fc", "hidden") + LOSS,
        "prob",
    ),
    "dropout of a blob that others read": (
        fc("hidden", "data", 7)
        + layer("Dropout", "drop", "hidden")
        + layer("ReLU", "relu", "drop", "drop")
        + layer("Eltwise", "sum", "drop hidden")
        + fc("fc", "sum")
        + LOSS,
        "prob",
    ),
    "auxiliary": (
        CONV
        + fc("aux", "conv")
        + AUXILIARY
        + TOP1.replace("fc", "aux").replace("top1", "aux_top1")
        + layer("ReLU", "relu", "conv")
        + fc("fc", "relu")
        + LOSS
        + TOP1,
        "prob",
    ),
    "probabilities are there": (
        fc("fc", "data") + LOSS + layer("Softmax", "softmax", "fc", rest=TEST),
        "softmax",
    ),
    "accuracy of probabilities": (
        fc("fc", "data")
        + LOSS
        + layer("Softmax", "softmax", "fc")
        + layer("Accuracy", "top1", "softmax label"),
        "softmax",
    ),
    "taken": (fc("prob", "data") + fc("fc", "prob") + LOSS, "fc_prob"),
    "labels go through layers": (
        fc("fc", "data")
        + layer("Split", "split", "label", "one", 'top: "two"')
        + layer("SoftmaxWithLoss", "loss", "fc one")
        + layer("Silence", "end", "two").replace('top: "end"', ""),
        "prob",
    ),
}


def made(text: str, **options: int | bool) -> NetDefinition:
    """The deploy net of a text, printed and read."""
    result = deploy_net(parse_net(text, "n"), image=IMAGE, **options)  # type: ignore[arg-type]
    return parse_net(to_text(result.param), "deploy")


def fed(layers: str, dims: str = "") -> Net:
    """The same layers in TEST on arrays, with their labels."""
    return Net(parse_net(FED % dims + layers), seed=3)


@pytest.mark.parametrize("keep_dropout", [False, True])
@pytest.mark.parametrize("name", NETS)
def test_probabilities_are_those_of_the_loss(name: str, keep_dropout: bool, tmp_path: Path) -> None:
    """The loss of an image is -ln of its label's probability, for each label."""
    layers, output = NETS[name]
    trained = fed(layers)
    if "norm" in trained.layers:
        trained.set_blobs("norm", [np.full(5, 0.1), np.full(5, 2.0), np.ones(1)])
    trained.save(tmp_path / "w.caffemodel")
    deploy = Net(made(DATA + layers, keep_dropout=keep_dropout), tmp_path / "w.caffemodel")
    assert deploy.outputs == [output]
    assert deploy.inputs == {"data": (1, *IMAGE)}
    kinds = {line.type for line in made(DATA + layers, keep_dropout=keep_dropout).param.layer}
    assert ("Dropout" in kinds) == ((keep_dropout and "dropout" in name) or "others read" in name)
    images = np.random.default_rng(1).normal(0, 1, (2, 1, *IMAGE)).astype(np.float32)
    for image in images:
        probabilities = deploy.forward(image)[output].reshape(-1)
        assert probabilities.std() > 0.01
        for label in range(CLASSES):
            loss = trained.forward(data=image, label=np.array([label]))["loss"]
            assert float(loss) == pytest.approx(-np.log(probabilities[label]), rel=1e-5)


def test_a_loss_that_trains_alone_counts() -> None:
    """As in SqueezeNet v1.0: TEST has accuracies only."""
    loss = LOSS.replace("top: ", "include { phase: TRAIN } top: ")
    net = made(DATA + fc("fc", "data") + loss + TOP1)
    assert [line.type for line in net.param.layer] == ["Input", "InnerProduct", "Softmax"]


def test_scores_without_probabilities_stay() -> None:
    for scorer in ("HingeLoss", "EuclideanLoss", "Accuracy", "SmoothL1Loss"):
        net = made(DATA + fc("fc", "data") + layer(scorer, "score", "fc label"))
        assert [line.name for line in net.param.layer] == ["data", "fc"]


def test_targets_go_with_what_makes_them() -> None:
    """An autoencoder's loss compares with the flattened image, whichever comes first."""
    flat, code = layer("Flatten", "flat", "data"), fc("code", "data", 90)
    for bottoms in ("code flat", "flat code"):
        net = made(DATA + flat + code + layer("EuclideanLoss", "loss", bottoms))
        assert [line.name for line in net.param.layer] == ["data", "code"]


def test_a_sigmoid_loss_becomes_a_sigmoid() -> None:
    net = made(DATA + fc("fc", "data") + layer("SigmoidCrossEntropyLoss", "loss", "fc label"))
    assert [line.type for line in net.param.layer] == ["Input", "InnerProduct", "Sigmoid"]
    assert "SigmoidCrossEntropyLoss" not in LAYER_TYPES or Net(net).outputs == ["prob"]


def test_a_siamese_pair_keeps_both_features() -> None:
    pair = layer("Slice", "slice", "data", "a", 'top: "b" slice_param { axis: 2 }')
    shared = 'param { name: "w" lr_mult: 3 } inner_product_param { num_output: 2 }'
    twins = pair + "".join(layer("InnerProduct", f"fc_{side}", side, rest=shared) for side in "ab")
    net = made(DATA + twins + layer("ContrastiveLoss", "loss", "fc_a fc_b label"))
    assert Net(net).outputs == ["fc_a", "fc_b"]
    assert [spec.name for line in net.param.layer for spec in line.param] == ["w", "w"]


def test_several_heads_each_get_theirs() -> None:
    """Of two labels: none is auxiliary, whatever its weight."""
    data = DATA.replace('top: "label"', 'top: "labels"')
    split = layer("Slice", "cut", "labels", "one", 'top: "two" slice_param { slice_point: 1 }')
    heads = fc("a", "data") + fc("b", "data")
    losses = layer("SoftmaxWithLoss", "la", "a one") + layer(
        "SoftmaxWithLoss", "lb", "b two", rest="loss_weight: 0.1"
    )
    assert Net(made(data + split + heads + losses)).outputs == ["a_prob", "b_prob"]


def test_only_what_deploys_is_written() -> None:
    net = made(DATA + CONV + layer("BatchNorm", "norm", "conv", rest="param { lr_mult: 0 } " * 3))
    text = to_text(net.param)
    for word in ("include", "filler", "lr_mult", "loss_weight", "transform_param", "param {\n  }"):
        assert word not in text
    assert "batch_norm_param" not in text


def test_batch_and_sizes() -> None:
    assert Net(made(DATA + fc("fc", "data") + LOSS, batch=10)).inputs == {"data": (10, *IMAGE)}
    cropped = parse_net(DATA.replace("scale: 0.5", "crop_size: 7") + fc("fc", "data") + LOSS)
    assert list(deploy_net(cropped).param.layer[0].input_param.shape[0].dim) == [1, 3, 7, 7]
    already = FED % "" + fc("fc", "data")
    assert Net(made(already.replace("dim: 1 dim: 3", "dim: 9 dim: 3"))).inputs["data"][0] == 9
    window = DATA.replace('"Data"', '"WindowData"').replace("scale: 0.5", "crop_size: 7")
    param = deploy_net(parse_net(window + fc("fc", "data") + LOSS)).param
    assert list(param.layer[0].input_param.shape[0].dim) == [1, 3, 7, 7]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (DATA + fc("fc", "data") + LOSS, r"n:4: layer 'data': the size of .* give --image CxHxW"),
        (fc("fc", "data"), r"n:1: layer 'fc': no layer makes 'data' in TEST"),
        (DATA.replace("phase: TEST", 'stage: "x"') + fc("fc", "data"), r"stages x: give --stage"),
        (DATA, "n: has no outputs in TEST"),
        (FED % "" + layer("Pooling", "p", "data", rest="pooling_param { kernel_size: 9 }"), "'p'"),
    ],
)
def test_what_makes_no_deploy_net(text: str, message: str) -> None:
    with pytest.raises(NetError, match=message):
        deploy_net(parse_net(text, "n"))


@pytest.mark.parametrize("name", PRESETS)
def test_the_family_gets_the_nets_that_build_prints(name: str) -> None:
    theirs = parse_net(build(preset(name), "deploy"))
    batch = theirs.param.layer[0].input_param.shape[0].dim[0]
    trained = parse_net(build(preset(name)))
    ours = deploy_net(trained, batch, keep_dropout="Dropout" in to_text(theirs.param)).param
    ours.layer[0].name = theirs.param.layer[0].name
    if len(theirs.param.layer) < len(ours.layer):
        del ours.layer[-1]  # the Softmax that firenet's lacks
    for line in (*ours.layer, *theirs.param.layer):
        del line.param[:]
        for field in ("weight_filler", "bias_filler"):
            line.convolution_param.ClearField(field)
    apart = diff_nets(NetDefinition(ours), theirs)
    assert [each for each in apart if each.layer] == []


def test_public_weights_load_and_give_the_same(shared: Path, tmp_path: Path) -> None:
    (tmp_path / "w.caffemodel").write_bytes(published_weights(shared))
    folder = ROOT / "models" / "deep-compression"
    made = NetDefinition(deploy_net(read_net(folder / "train_val.prototxt")).param)
    image = np.random.default_rng(1).uniform(-99, 99, (1, 3, 227, 227)).astype(np.float32)
    theirs = Net(folder / "deploy.prototxt", tmp_path / "w.caffemodel").forward(image)
    ours = Net(made, tmp_path / "w.caffemodel").forward(image)["prob"].reshape(-1)
    (scores,) = (blob.reshape(-1).astype(np.float64) for blob in theirs.values())
    powers = np.exp(scores - scores.max())
    np.testing.assert_allclose(ours, powers / powers.sum(), rtol=1e-4, atol=1e-7)


# The command and its header


def test_the_command(tmp_path: Path, sqgen: Run) -> None:
    (tmp_path / "a b.prototxt").write_text(DATA + fc("fc", "data") + LOSS)
    done = sqgen("deploy", "a b.prototxt", "--image", "3x6x5")
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    lines = done.stdout.splitlines()
    assert lines[0] == "# sqgen deploy 'a b.prototxt' --image 3x6x5"
    assert read_comment(parse_net(done.stdout)) == ImageTransform(
        "BGR", (6, 5), None, (10, 20, 30), None, 0.5
    )
    assert parse_net(done.stdout).param == made(DATA + fc("fc", "data") + LOSS).param
    sqgen("deploy", "-", "--image", "3x6x5", "-o", "d.prototxt", stdin=DATA + fc("fc", "data"))
    assert (tmp_path / "d.prototxt").read_text().startswith("# sqgen deploy -")
    again = sqgen("deploy", "a b.prototxt", "--image", "3x6x5", "-o", "d.prototxt")
    assert (again.returncode, "--force replaces it" in again.stderr) == (2, True)
    twice = sqgen("deploy", "d.prototxt").stdout
    assert twice.partition("\n")[2] == (tmp_path / "d.prototxt").read_text().partition("\n")[2]


def test_the_data_at_hand_says_its_size(tmp_path: Path, sqgen: Run) -> None:
    make_lmdb(tmp_path / "lmdb", [raw(0, 1, 9, 8)])
    data = DATA.replace("mean_value: 20 mean_value: 30", "").replace(
        "batch_size: 2", 'batch_size: 2 source: "lmdb" backend: LMDB'
    )
    done = sqgen("deploy", "-", stdin=data + fc("fc", "data") + LOSS)
    assert done.stderr == ""
    assert Net(parse_net(done.stdout)).inputs == {"data": (1, 1, 9, 8)}
    assert "#   channels: gray\n#   resize: 9x8\n#   mean: 10\n" in done.stdout
    gone = data.replace('"lmdb"', '"none"').replace("scale: 0.5", "crop_size: 3")
    assumed = sqgen("deploy", "-", stdin=gone + fc("fc", "data") + LOSS)
    assert "assuming records of 3 channels" in assumed.stderr


def test_old_layers_and_auxiliary_ones(tmp_path: Path, sqgen: Run) -> None:
    old = """
    layers { name: "data" type: DATA top: "data" top: "label" data_param { batch_size: 2 }
      transform_param { crop_size: 6 mean_file: "mean.binaryproto" } }
    layers { name: "fc" type: INNER_PRODUCT bottom: "data" top: "fc" blobs_lr: 1
      inner_product_param { num_output: 4 } }
    layers { name: "aux" type: INNER_PRODUCT bottom: "data" top: "aux"
      inner_product_param { num_output: 4 } }
    layers { name: "l1" type: SOFTMAX_LOSS bottom: "aux" bottom: "label" loss_weight: 0.5 }
    layers { name: "l2" type: SOFTMAX_LOSS bottom: "fc" bottom: "label" }
    """
    done = sqgen("deploy", "-", stdin=old)
    assert done.returncode == 0, done.stderr
    net = parse_net(done.stdout)
    assert [line.name for line in net.param.layer] == ["data", "fc", "prob"]
    assert "left out with auxiliary classifiers: l1" in done.stderr
    assert "'mean.binaryproto' is not here" in done.stderr
    assert read_comment(net) == ImageTransform("BGR", None, (6, 6), None, "mean.binaryproto", 1.0)


def test_build_says_the_same_of_its_deploy_nets() -> None:
    text = build(preset("v1.1"), "deploy")
    assert read_comment(parse_net(text)) == ImageTransform(
        "BGR", None, (227, 227), (104, 117, 123), None, 1.0
    )
    assert "preprocessing" not in build(preset("v1.1"))


SIZES = st.none() | st.tuples(st.integers(1, 9999), st.integers(1, 9999))
NUMBERS = st.sampled_from([0.0, -1.5, 104.007, 1 / 128, 1e-9])


@given(
    st.builds(
        ImageTransform,
        st.sampled_from([None, "BGR", "RGB", "gray"]),
        SIZES,
        SIZES,
        st.none() | st.lists(NUMBERS, min_size=1, max_size=4).map(tuple),
        st.sampled_from([None, "a/b c: 'd'.binaryproto"]),
        st.none() | NUMBERS,
    )
)
def test_a_comment_is_read_as_it_was_written(transform: ImageTransform) -> None:
    text = f"# first\n{transform.comment()}layer {{ }}"
    assert read_comment(parse_net(text)) == transform


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("meen: 3", "n:2: no preprocessing 'meen'; did you mean 'mean'"),
        ("mean: a", "n:2: preprocessing mean 'a'; write it as 104,117,123"),
        ("mean: nan", "write it as 104"),
        ("scale:", "n:2: preprocessing scale ''"),
        ("crop: 227", "write it as 227x227"),
        ("channels: CMYK", "write it as BGR, RGB, gray"),
    ],
)
def test_a_wrong_comment_is_an_error(line: str, message: str) -> None:
    with pytest.raises(FormatError, match=message):
        read_comment(parse_net(f"# preprocessing\n# {line}\n", "n"))


def test_other_comments_are_none() -> None:
    for text in ("", "# preprocessing: see the paper\n# mean: a\n", "# no preprocessing\n"):
        assert read_comment(parse_net(text)) is None
    bare = parse_net("# Preprocessing\n\n# mean: a")
    assert read_comment(bare) is None


def test_a_net_of_many_paths() -> None:
    """60 sums of a blob with itself: 2^60 paths lead up to its data."""
    shape = "input_param { shape { dim: 1 dim: 3 dim: 6 dim: 5 } }"
    text = f'layer {{ name: "data" type: "Input" top: "s0" {shape} }}\n'
    for n in range(60):
        text += (
            f'layer {{ name: "s{n + 1}" type: "Eltwise" bottom: "s{n}" bottom: "s{n}"'
            f' top: "s{n + 1}" }}\n'
        )
    text += 'layer { name: "loss" type: "EuclideanLoss" bottom: "s60" bottom: "s59" top: "loss" }'
    assert len(deploy_net(parse_net(text)).param.layer) == 61
