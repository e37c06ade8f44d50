"""`sqgen finetune` and `sqgen weights probe`: from pictures and weights to a classifier."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
import subprocess
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import pytest
import torch

import sqgen as package
from sqgen.compress.encoding import encode
from sqgen.errors import NetError
from sqgen.exchange.known_nets import torchvision_net
from sqgen.exchange.torchvision_module import SqueezeNet
from sqgen.finetune.classifier import find_classifier
from sqgen.finetune.logistic_regression import FOLDS, fit, fold_numbers
from sqgen.formats.caffemodel import blob_array, read_blob, read_caffemodel
from sqgen.formats.lmdb_reader import open_lmdb
from sqgen.generator.options import format_design
from sqgen.nets.definition import parse_solver

from . import engine_server
from .conftest import Run
from .small_runs import PATIENCE, start

NAMES = ("bar", "disc", "plain")
PICTURES = 12  # of a class
DESIGN = package.Design(version="1.1", size=32, fire_modules=2, pool_after=(2,), classes=7)
WEIGHTS = ("--weights", "w.caffemodel", "--design", "design.toml")


def picture(kind: str, number: int) -> np.ndarray[Any, Any]:
    """A picture of a class: its own shape, on noise."""
    random = np.random.default_rng((number, NAMES.index(kind)))
    image = random.integers(0, 120, (40, 44, 3), dtype=np.uint8)
    x, y = random.integers(12, 28, 2).tolist()
    if kind == "disc":
        cv2.circle(image, (x, y), 9, (250, 40, 60), -1)
    elif kind == "bar":
        cv2.rectangle(image, (x - 3, 0), (x + 3, 40), (40, 250, 240), -1)
    return image


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pictures of three classes, and weights of a small net with seven."""
    place = tmp_path_factory.mktemp("made")
    for name in NAMES:
        (place / "pictures" / name).mkdir(parents=True)
        for number in range(PICTURES):
            path = place / "pictures" / name / f"{number:02}.png"
            cv2.imwrite(str(path), picture(name, number))
    net = package.Net(package.parse_net(package.build(DESIGN)), seed=2)
    net.save(place / "w.caffemodel")
    (place / "design.toml").write_text(format_design(DESIGN))
    return place


@pytest.fixture
def folder(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it."""
    monkeypatch.delenv("CAFFE_ROOT", raising=False)
    shutil.copytree(made, tmp_path, dirs_exist_ok=True)
    return tmp_path


class Finetuned(NamedTuple):
    """A folder with the folder `out` of a fine-tuning, and what that wrote to its streams."""

    place: Path
    out: str
    err: str


def finetune_in(place: Path, made: Path, *arguments: str) -> Finetuned:
    shutil.copytree(made, place, dirs_exist_ok=True)
    words = ("finetune", "pictures", *WEIGHTS, *arguments, "-o", "out")
    done = engine_server.run("sqgen", words, cwd=place, env={"CAFFE_ROOT": ""})
    assert done.returncode == 0, done.stderr
    return Finetuned(place, done.stdout.decode(), done.stderr.decode())


@pytest.fixture(scope="module")
def fitted(made: Path, tmp_path_factory: pytest.TempPathFactory) -> Finetuned:
    """Of the classifier alone."""
    return finetune_in(tmp_path_factory.mktemp("fitted"), made, "--linear")


@pytest.fixture(scope="module")
def trained(made: Path, tmp_path_factory: pytest.TempPathFactory) -> Finetuned:
    """Of all layers but one."""
    more = ("--epochs", "2", "--base-lr", "0.001", "--class-weights", "--freeze", "conv1")
    return finetune_in(tmp_path_factory.mktemp("trained"), made, *more, "--json")


def contents(folder: Path) -> dict[str, object]:
    """The files and records that a fine-tuning makes, but for its runs."""
    made: dict[str, object] = {file.name: file.read_bytes() for file in folder.glob("*.*")}
    return made | {path.name: read_lmdb(path) for path in folder.glob("*_lmdb")}


def read_lmdb(path: Path) -> list[bytes]:
    with open_lmdb(path) as lmdb:
        return list(map(bytes, lmdb.values()))


# The single commands


@pytest.mark.slow
def test_the_single_commands_train_the_same_net(trained: Finetuned, tmp_path: Path) -> None:
    shutil.copytree(trained.place, tmp_path, dirs_exist_ok=True)
    script = (tmp_path / "out/commands").read_text()
    assert json.loads(trained.out)["commands"] == script.splitlines()
    assert_commands_repeat(tmp_path)


def test_the_single_commands_fit_the_same_classifier(fitted: Finetuned, tmp_path: Path) -> None:
    shutil.copytree(fitted.place, tmp_path, dirs_exist_ok=True)
    assert_commands_repeat(tmp_path)


@pytest.mark.slow
def test_the_single_commands_convert_the_same_weights(folder: Path, sqgen: Run) -> None:
    torch.manual_seed(0)
    module = SqueezeNet(torchvision_net("1.1", 7))
    torch.save(module.state_dict(), folder / "torchvision.pth")
    for number, path in enumerate(sorted((folder / "pictures").glob("*/*"))):
        if number % 4:  # a large net takes long
            path.unlink()
    words = ("finetune", "pictures", "--weights", "torchvision.pth", "--linear", "-o", "out")
    done = sqgen(*words)
    assert done.returncode == 0, done.stderr
    assert_commands_repeat(folder)


def assert_commands_repeat(folder: Path) -> None:
    """To the byte: the weights, the nets, the sets and the predictions."""
    bash = shutil.which("bash")
    if bash is None:
        pytest.skip("needs bash, which is not here")
    script = (folder / "out" / "commands").read_text()
    made = contents(folder / "out")
    (folder / "out").rename(folder / "before")
    path = os.pathsep.join([str(engine_server.folder()), os.environ["PATH"]])
    again = subprocess.run(
        [bash, "-e", "-c", script],
        cwd=folder,
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert again.returncode == 0, again.stderr
    repeated = contents(folder / "out")
    assert made.keys() <= repeated.keys()  # which have the weights between, too
    assert [name for name, data in made.items() if data != repeated[name]] == []


def test_all_layers_train_and_the_best_weights_are_kept(trained: Finetuned) -> None:
    result, folder = json.loads(trained.out), trained.place
    following = [line for line in trained.err.splitlines() if line.startswith("sqgen: next: ")]
    assert [line.split()[3] for line in following] == ["errors", "classify", "export"]
    assert (result["train_images"], result["images"]) == (30, 6)
    assert result["majority"]["value"] == pytest.approx(1 / 3)
    assert [each["name"] for each in result["classes"]] == list(NAMES)
    run = json.loads((folder / "out" / "train" / "result.json").read_text())
    tests = run["segments"][0]["test"]
    assert [row["iteration"] for row in tests] == [0, 1, 2]
    best = max(tests, key=lambda row: row["outputs"]["accuracy_top1"])
    assert result["best_iteration"] == best["iteration"]
    assert result["accuracies"][0]["value"] == pytest.approx(best["outputs"]["accuracy_top1"])
    tested = json.loads((folder / "out" / "test" / "result.json").read_text())
    assert tested["images"] == 6
    last, first = (
        {layer.name: [blob_array(blob) for blob in layer.blobs] for layer in model.layer}
        for model in (
            read_caffemodel(folder / "out" / name)
            for name in ("finetuned_iter_2.caffemodel", "linear.caffemodel")
        )
    )
    layers = [name for name, blobs in first.items() if blobs]
    assert len(layers) == 8
    same = [name for name in layers if all(map(np.array_equal, last[name], first[name]))]
    assert same == ["conv1"]


def test_class_weights_count_rare_classes_as_much(folder: Path, sqgen: Run) -> None:
    """As scikit-learn's `balanced`: N / (C n)."""
    for number in range(6):
        (folder / f"pictures/disc/{number:02}.png").unlink()
    words = ("finetune", "pictures", *WEIGHTS, "--linear", "-o", "out", "--class-weights")
    done = sqgen(*words)
    assert done.returncode == 0, done.stderr
    matrix = read_blob(folder / "out/class_weights.binaryproto", "a matrix", "")
    np.testing.assert_allclose(matrix[0, 0], np.diag([25 / 30, 5 / 3, 25 / 30]), rtol=1e-6)
    text = (folder / "out/train_val.prototxt").read_text()
    assert 'type: "InfogainLoss"' in text
    assert 'source: "out/class_weights.binaryproto"' in text
    probe = ("weights", "probe", "out/mapped.caffemodel", "--net", "out/train_val.prototxt")
    assert sqgen(*probe, "plain.caffemodel").returncode == 0
    weighted, plain = (folder / name for name in ("out/linear.caffemodel", "plain.caffemodel"))
    assert weighted.read_bytes() != plain.read_bytes()


def test_it_says_what_it_did_and_what_comes_next(
    fitted: Finetuned, tmp_path: Path, sqgen: Run
) -> None:
    _, out, err = fitted
    assert "--engine torch" not in err
    shutil.copytree(fitted.place, tmp_path, dirs_exist_ok=True)
    assert "0.333333" in out
    assert "always 0 bar" in out
    assert "36 pictures in 3 classes: 30 to train on, 6 to validate" in err
    assert "7 of the 8 layers of SqueezeNet v1.1 of other sizes; the classifier is new" in err
    lines = [line.removeprefix("sqgen: next: sqgen ") for line in err.splitlines()[-3:]]
    errors, classify, export = (line.split() for line in lines)
    assert sqgen(*errors).returncode == 0
    assert classify.pop() == "PICTURE"
    classified = sqgen(*classify, "--json", "pictures/disc/00.png")
    assert classified.returncode == 0, classified.stderr
    assert {c["name"] for c in json.loads(classified.stdout)[0]["classes"]} == set(NAMES)
    exported = sqgen(*export)
    assert exported.returncode == 0, exported.stderr


def test_a_dry_run_makes_nothing(folder: Path, sqgen: Run) -> None:
    done = sqgen("finetune", "pictures", *WEIGHTS, "-o", "out", "--dry-run")
    assert done.returncode == 0, done.stderr
    assert [line.split()[1] for line in done.stdout.splitlines()] == [
        "data", "build", "weights", "weights", "train", "test",
    ]  # fmt: skip
    plain = sqgen("finetune", "pictures", *WEIGHTS, "-o", "out", "--dry-run", "--json")
    assert json.loads(plain.stdout)["commands"] == done.stdout.splitlines()
    assert not (folder / "out").exists()


def test_less_than_an_epoch_is_validated_at_its_end(folder: Path, sqgen: Run) -> None:
    recipe = ("--epochs", "0.5", "--batch-size", "4", "--base-lr", "0.001")
    done = sqgen("finetune", "pictures", *WEIGHTS, *recipe, "-o", "out", "--dry-run")
    assert done.returncode == 0, done.stderr
    (build,) = (line for line in done.stdout.splitlines() if line.startswith("sqgen build"))
    assert sqgen(*shlex.split(build)[1:]).returncode == 0
    solver = parse_solver((folder / "out/solver.prototxt").read_text(), "solver")
    assert solver.test_interval == solver.snapshot == solver.max_iter == 4


def test_a_list_in_place_of_folders(folder: Path, sqgen: Run) -> None:
    """And pictures that do not decode are left out."""
    lines = [f"{name}/{n:02}.png {label}\n" for label, name in enumerate(NAMES) for n in range(8)]
    (folder / "list.txt").write_text("".join(lines))
    (folder / "pictures/bar/03.png").write_bytes(b"no picture")
    words = ("finetune", "pictures", "--list", "list.txt", *WEIGHTS, "--linear", "-o", "out")
    done = sqgen(*words)
    assert done.returncode == 0, done.stderr
    assert "24 pictures in 3 classes: 18 to train on, 6 to validate" in done.stderr
    assert done.stderr.count("pictures/bar/03.png: can't be decoded") == 1
    sets = (len(read_lmdb(folder / f"out/{name}_lmdb")) for name in ("train", "val"))
    assert sum(sets) == 23
    assert "always 0" in done.stdout
    assert "--labels" not in done.stderr


def test_weights_go_into_a_net_with_bypasses(fitted: Finetuned, folder: Path, sqgen: Run) -> None:
    """Convolutions of bypasses begin at 0, so that the net's features are those of the weights."""
    words = ("finetune", "pictures", *WEIGHTS, "--linear", "--bypass", "2:conv", "-o", "out")
    done = sqgen(*words)
    assert done.returncode == 0, done.stderr
    plain, bypassed = (
        {layer.name: layer.blobs for layer in read_caffemodel(path).layer}
        for path in (place / "out/linear.caffemodel" for place in (fitted.place, folder))
    )
    assert not any(bypassed["fire2/bypass1x1"][0].data)
    np.testing.assert_allclose(plain["conv4_3"][0].data, bypassed["conv4_3"][0].data, atol=1e-7)


@pytest.mark.slow
def test_a_stopped_training_goes_on(folder: Path, sqgen: Run) -> None:
    words = ["finetune", "pictures", *WEIGHTS, "--epochs", "100000", "--base-lr", "1e-9"]
    process = start([*words, "-o", "out"], folder)
    while not (folder / "out/finetuned_iter_2.solverstate").exists():
        with suppress(subprocess.TimeoutExpired):
            raise AssertionError(process.wait(0.05))
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 130
    resume, test = err.splitlines()[-1].partition("; go on with ")[2].split(", and then ")
    assert resume.startswith("sqgen train --solver out/solver.prototxt --resume --keep-best top1")
    assert (folder / "out/finetuned_best.caffemodel").exists()
    assert "next:" not in err
    for command in (resume, test):
        done = sqgen(*shlex.split(command)[1:])
        assert done.returncode == 0, done.stderr
    assert (folder / "out/predictions.csv").exists()


def test_a_rate_too_high_ends_the_training(folder: Path, sqgen: Run) -> None:
    """And leaves the best weights: those that it began with."""
    words = ("finetune", "pictures", *WEIGHTS, "--base-lr", "1e6", "-o", "out")
    done = sqgen(*words)
    assert done.returncode == 1
    assert "so sqgen ended the training" in done.stderr.splitlines()[-1]
    linear, best = (folder / "out" / n for n in ("linear.caffemodel", "finetuned_best.caffemodel"))
    assert best.read_bytes() == linear.read_bytes()


def test_training_ends_where_it_gets_no_better(folder: Path, sqgen: Run) -> None:
    """At a rate of nearly 0, the start is never beaten."""
    words = ("finetune", "pictures", *WEIGHTS, "--base-lr", "1e-12", "--epochs", "50")
    done = sqgen(*words, "-o", "out", "--json")
    assert done.returncode == 0, done.stderr
    run = json.loads((folder / "out/train/result.json").read_text())
    assert (run["run"]["best"]["iteration"], run["run"]["best"]["stopped_early"]) == (0, True)
    assert [row["iteration"] for row in run["segments"][0]["test"]][:5] == [0, 1, 2, 3, 4]
    assert run["segments"][0]["last_iteration"] < 50


# Wrong input


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("nothing", *WEIGHTS), "nothing: no such folder"),
        (("empty", *WEIGHTS), "empty: has no folders; make a folder a class"),
        (("one", *WEIGHTS), "class 'bar': is the only class; give two or more"),
        (("single", *WEIGHTS), "single/: 1 of 2 classes have no two different pictures"),
        (("pictures/bar/00.png", *WEIGHTS), "is a file; give the folder"),
        (("pictures", "--weights", "w.caffemodel"), "fits no layers of SqueezeNet v1.0, which"),
        (("pictures", "--weights", "design.toml"), "design.toml: is text, not a .caffemodel"),
        (("pictures", "--weights", "none.caffemodel"), "none.caffemodel: no such file"),
        (("pictures", *WEIGHTS, "--preset", "v1.1"), "--preset and --design: give one"),
        (("pictures", *WEIGHTS, "--val", "1.5"), "--val 1.5: give a share between 0 and 1"),
        (("pictures", *WEIGHTS, "--epochs", "0"), "--epochs 0: give a number above 0"),
        (("pictures", *WEIGHTS, "--epochs", "nan"), "--epochs nan: give a number above 0"),
        (("pictures", *WEIGHTS, "--base-lr=-1"), "--base-lr -1: give a rate above 0"),
        (("pictures", *WEIGHTS, "--gpu", "0", "--cpu"), "--gpu and --cpu: give one"),
        (("pictures", *WEIGHTS, "--caffe", "none", "--dry-run"), "given by --caffe): can't be run"),
        (
            ("pictures", *WEIGHTS, "--linear", "--epochs", "3", "--no-mirror"),
            "--linear trains no layer but the classifier; leave out --epochs, --no-mirror",
        ),
        (("pictures", *WEIGHTS, "--freeze", "fire77/*"), "--freeze fire77/*: matches no layer"),
        (("broken", *WEIGHTS), "no image of class 'disc' could be read"),
    ],
)
def test_wrong_input_is_one_line_and_leaves_nothing(
    folder: Path, sqgen: Run, arguments: tuple[str, ...], message: str
) -> None:
    for name, classes in {"empty": {}, "one": {"bar": 2}, "single": {"bar": 2, "disc": 1}}.items():
        for kind, count in {"": 0, **classes}.items():
            (folder / name / kind).mkdir(parents=True, exist_ok=True)
            for number in range(count):
                shutil.copy(folder / f"pictures/{kind}/{number:02}.png", folder / name / kind)
    shutil.copytree(folder / "pictures", folder / "broken")
    for path in (folder / "broken/disc").iterdir():
        path.write_bytes(path.name.encode())
    done = sqgen("finetune", *arguments, "-o", "out")
    assert done.returncode == 2, done.stderr
    assert message in done.stderr.splitlines()[-1]
    assert not (folder / "out").exists()


def test_compressed_weights_of_a_net_of_ones_own_are_decoded_first(
    folder: Path, sqgen: Run
) -> None:
    net = package.parse_net(package.build(DESIGN, "deploy"))
    (folder / "w.sqz").write_bytes(encode(read_caffemodel(folder / "w.caffemodel"), net).bytes)
    done = sqgen("finetune", "pictures", "--weights", "w.sqz", "-o", "out")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        "sqgen: w.sqz: fits no preset; sqgen compress decode w.sqz --net NET makes a .caffemodel of"
        " it\n"
    )


def test_an_existing_folder_stays(folder: Path, sqgen: Run) -> None:
    (folder / "out").mkdir()
    (folder / "out/mine").write_text("mine")
    done = sqgen("finetune", "pictures", *WEIGHTS, "-o", "out")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "out: is there already; give -o a new folder" in done.stderr
    assert (folder / "out/mine").read_text() == "mine"


def test_weights_of_another_family_say_what_fits(folder: Path, sqgen: Run) -> None:
    net = package.Net(package.parse_net(package.build(package.Design(version="1.1"))))
    net.save(folder / "v1.1.caffemodel")
    words = ("finetune", "pictures", "--weights", "v1.1.caffemodel", "-o", "out", "--dry-run")
    done = sqgen(*words)
    assert done.returncode == 0, done.stderr
    assert "25 of the 26 layers of SqueezeNet v1.1" in done.stderr
    done = sqgen(*words, "--preset", "v1.0")
    assert done.returncode == 2
    assert "are weights of SqueezeNet v1.1, not of v1.0; leave --preset" in done.stderr
    done = sqgen(*words, "--bypass", "simple")
    assert done.returncode == 0, done.stderr
    assert "25 of the 26 layers of SqueezeNet v1.1 with simple bypass" in done.stderr


def test_weights_of_a_net_whose_fire_modules_are_listed(folder: Path, sqgen: Run) -> None:
    pruned = package.Design(version="1.1", size=32, fires=((3, 4, 5), (2, 4, 5)), bypass="3")
    package.Net(package.parse_net(package.build(pruned))).save(folder / "p.caffemodel")
    (folder / "p.toml").write_text(format_design(pruned))
    words = ("finetune", "pictures", "-o", "out", "--dry-run", "--weights")
    done = sqgen(*words, "p.caffemodel", "--design", "p.toml")
    assert done.returncode == 0, done.stderr
    assert "7 of the 8 layers of SqueezeNet v1.1 of other sizes with 3 bypass" in done.stderr
    assert "--fires 3/4/5,2/4/5 " in done.stdout
    package.Net(package.parse_net(package.build(package.Design()))).save(folder / "v1.0.caffemodel")
    done = sqgen(*words, "v1.0.caffemodel", "--design", "p.toml")
    assert done.returncode == 2
    assert "are weights of SqueezeNet v1.0, not of SqueezeNet v1.1 of other" in done.stderr


# The linear classifier


@pytest.mark.parametrize("weighted", [False, True])
def test_the_fit_is_that_of_scikit_learn(weighted: bool) -> None:
    from sklearn.linear_model import LogisticRegression

    random = np.random.default_rng(0)
    labels = np.repeat([0, 1, 2], [30, 20, 10])
    features = random.normal(labels[:, None], 2, (60, 5)) * 7
    class_weights = [0.5, 1.0, 3.0] if weighted else None
    found = fit(features, labels, 3, class_weights=class_weights, strengths=[0.1])
    scale = np.sqrt(np.square(features).mean())
    wanted = LogisticRegression(
        C=1 / (60 * 0.1), tol=1e-10, max_iter=10_000,
        class_weight=dict(enumerate(class_weights)) if class_weights else None,
    ).fit(features / scale, labels)  # fmt: skip
    np.testing.assert_allclose(found.weights * scale, wanted.coef_, atol=1e-4)
    bias = found.bias - found.bias.mean()  # any constant gives the same probabilities
    np.testing.assert_allclose(bias, wanted.intercept_ - wanted.intercept_.mean(), atol=1e-4)


def test_cross_validation_prefers_a_penalty_on_noise() -> None:
    random = np.random.default_rng(0)
    labels = random.integers(0, 2, 60)
    noise = random.normal(size=(60, 80))
    assert fit(noise, labels, 2, strengths=[10.0, 1e-3]).strength == 10.0
    clear = noise + 5 * labels[:, None]
    assert fit(clear, labels, 2, strengths=[10.0, 1e-3]).strength == 1e-3


def test_each_class_is_spread_over_the_folds() -> None:
    labels = np.array([0] * 23 + [1] * 11 + [2] * 6)
    folds = fold_numbers(labels, seed=1)
    for label in range(3):
        counts = np.bincount(folds[labels == label], minlength=FOLDS)
        assert counts.max() - counts.min() <= 1


@pytest.mark.parametrize("pad", [0, 1])
@pytest.mark.parametrize("explicit", [False, True])
def test_a_fitted_classifier_gives_its_scores(pad: int, explicit: bool) -> None:
    """A 1x1 convolution and the average over positions commute, padding counted."""
    design = DESIGN.with_options(
        classifier_relu=False, conv10_pad=pad, explicit_pool10=explicit, dropout=0.0
    )
    deploy = package.parse_net(package.build(design, "deploy"))
    classifier = find_classifier(deploy)
    assert (classifier.features, classifier.classes) == ("fire3/concat", 7)
    net = package.Net(deploy, seed=1)
    random = np.random.default_rng(0)
    weights, bias = random.normal(size=(7, classifier.shapes[0][1])), random.normal(size=7)
    net.set_blobs(classifier.layer, classifier.blobs(weights, bias))
    images = random.normal(0, 50, (3, 3, 32, 32)).astype(np.float32)
    executor = net._executor
    blobs = executor.forward({"data": images}, keep={"fire3/concat", "pool4"})
    scores = blobs["fire3/concat"].mean((2, 3)) @ weights.T + bias
    np.testing.assert_allclose(blobs["pool4"][:, :, 0, 0], scores, rtol=1e-3, atol=1e-4)


def test_a_relu_behind_the_classifier_is_refused() -> None:
    deploy = package.parse_net(package.build(DESIGN, "deploy"), "deploy.prototxt")
    with pytest.raises(NetError, match="'relu_conv4', no linear function of features; build it"):
        find_classifier(deploy)


def test_probe_fits_an_inner_product_too(folder: Path, sqgen: Run) -> None:
    done = sqgen("data", "create", "pictures", "--resize", "32x32", "-o", "lmdb")
    assert done.returncode == 0, done.stderr
    text = (
        'layer { name: "data" type: "Data" top: "data" top: "label" transform_param { scale: 0.004'
        ' mirror: true } data_param { source: "lmdb" backend: LMDB batch_size: 4 } }\n'
        'layer { name: "ip" type: "InnerProduct" bottom: "data" top: "ip"'
        " inner_product_param { num_output: 3 } }\n"
        'layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip" bottom: "label" top: "loss" }\n'
    )
    (folder / "net.prototxt").write_text(text)
    done = sqgen("weights", "probe", "w.caffemodel", "o.caffemodel", "--net", "net.prototxt")
    assert done.returncode == 0, done.stderr
    assert "layer 'ip' fitted to 36 images of 3 classes" in done.stdout
    done = sqgen("test", "--model", "net.prototxt", "--weights", "o.caffemodel", "--json")
    assert json.loads(done.stdout)["scores"][0]["value"] < 0.2


def test_probe_needs_the_other_layers(folder: Path, sqgen: Run) -> None:
    design = DESIGN.with_options(classifier_relu=False, train_source="x", stem_filters=32)
    (folder / "net.prototxt").write_text(package.build(design))
    (folder / "x").mkdir()
    done = sqgen("weights", "probe", "w.caffemodel", "o.caffemodel", "--net", "net.prototxt")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert not (folder / "o.caffemodel").exists()


# Real pictures


@pytest.mark.slow
def test_published_weights_classify_real_pictures(shared: Path, tmp_path: Path, sqgen: Run) -> None:
    """From the 660 KB file: animals and objects, 32 pictures of the 200."""
    sample = shared / "imagenet_sample"
    lines = [line.split() for line in (sample / "val.txt").read_text().splitlines()]
    for name, label in lines[:32]:
        kind = tmp_path / "pictures" / ("animal" if int(label) < 398 else "object")
        kind.mkdir(parents=True, exist_ok=True)
        shutil.copy(sample / "images" / name, kind)
    weights = str(sample / "compressed_SqueezeNet.net")
    done = sqgen("finetune", "pictures", "--weights", weights, "--linear", "-o", "out", "--json")
    assert done.returncode == 0, done.stderr
    assert "25 of the 26 layers of SqueezeNet v1.0" in done.stderr
    result = json.loads(done.stdout)
    assert result["cross_validation"] > 0.75
    assert result["accuracies"][0]["value"] >= result["majority"]["value"]
