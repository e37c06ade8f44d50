"""What is damaged: valid files of every format, and the commands that read each."""

from __future__ import annotations

import gzip
import io
import json
import os
import shutil
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path
from random import Random
from typing import NamedTuple

import h5py
import numpy as np
from google.protobuf import text_format

from sqgen.formats.keras_hdf5 import KerasWeight, write_keras
from sqgen.formats.schema import NetParameter
from sqgen.json_form import dumps
from sqgen.studies.tradeoff import as_dict

from .. import engine_server
from .. import small_training as small
from ..conftest import DATA, ROOT
from ..databases import encoded, image_file, make_lmdb
from ..test_compress_damage import resealed
from ..test_compression_report import ENCODED, POINTS
from . import mutate

TRAIN = "sqgen-caffe train --solver=solver.prototxt --cpu --threads=1"
TEST = "sqgen-caffe test --model=net.prototxt --weights=w.caffemodel --iterations=2 --threads=1"
TIME = "sqgen-caffe time --model=net.prototxt --iterations=1 --threads=1"
RUN_TRAIN = "sqgen train --solver solver.prototxt --engine torch --quiet -- --threads 1"
RUN_TEST = (
    "sqgen test --model net.prototxt --weights w.caffemodel --engine torch --quiet -- --threads 1"
)
GATE = "sqgen gate {} --min accuracy=0 --max loss=9 --junit g.xml --markdown g.md"
HDF5_NET = small.net(
    inputs='layer { name: "data" type: "HDF5Data" top: "data" top: "label" hdf5_data_param {'
    ' source: "h5.txt" batch_size: 4 } }\n'
)
IMAGE_NET = small.net(
    inputs='layer { name: "data" type: "ImageData" top: "data" top: "label" image_data_param {'
    ' source: "list.txt" root_folder: "images/" batch_size: 2 new_height: 12 new_width: 10 } }\n'
)
MEAN_NET = small.net(
    inputs=small.data("TRAIN", 8) + small.data("TEST", 16, 'mean_file: "x.binaryproto"')
)
DEPLOY = (
    'name: "small"\nlayer { name: "data" type: "Input" top: "data" input_param { shape {'
    " dim: 1 dim: 3 dim: 12 dim: 10 } } }\n"
    + small.convolution("conv1", "data", 6)
    + small.RELU1
    + small.POOL1
    + small.convolution("conv2", "pool1", 4)
    + small.POOL2
    + small.inner_product()
    + 'layer { name: "prob" type: "Softmax" bottom: "ip" top: "prob" }\n'
)
OLD_NET = """name: "old"
input: "data" input_dim: 1 input_dim: 3 input_dim: 12 input_dim: 10
layers { name: "conv1" type: CONVOLUTION bottom: "data" top: "conv1" blobs_lr: 1 blobs_lr: 2
  weight_decay: 1 convolution_param { num_output: 6 kernel_size: 3
  weight_filler { type: "gaussian" std: 0.01 } } }
layers { name: "relu1" type: RELU bottom: "conv1" top: "conv1" }
layers { name: "drop" type: DROPOUT bottom: "conv1" top: "conv1" dropout_param {
  dropout_ratio: 0.5 } }
layers { name: "pool" type: POOLING bottom: "conv1" top: "pool" pooling_param { pool: AVE
  kernel_size: 3 stride: 2 } }
layers { name: "ip" type: INNER_PRODUCT bottom: "pool" top: "ip" inner_product_param {
  num_output: 5 } include { phase: TEST not_stage: "x" } }
"""
V0_NET = """name: "v0"
layers { layer { name: "data" type: "data" source: "data" batchsize: 4 scale: 0.5 cropsize: 9
  mirror: true } top: "data" top: "label" }
layers { layer { name: "pad" type: "padding" pad: 1 } bottom: "data" top: "pad" }
layers { layer { name: "conv" type: "conv" num_output: 4 kernelsize: 3 biasterm: true
  weight_filler { type: "gaussian" std: 0.1 } blobs_lr: 1.0 } bottom: "pad" top: "conv" }
layers { layer { name: "ip" type: "innerproduct" num_output: 5 } bottom: "conv" top: "ip" }
layers { layer { name: "loss" type: "softmax_loss" } bottom: "ip" bottom: "label" }
"""
# Inputs that were misread once: `CORPUS/TARGET/NAME`.
CORPUS = DATA / "fuzz"
DESIGNS = (
    "--preset v1.1 --classes 7",
    "--bypass 2:conv,3 --size 32 --classes 5",
    "--batch-norm",
    "--fires 3/4/5,6/4/5",
)


class Target(NamedTuple):
    """A format.

    Attributes:
        seeds: valid inputs.
        file: the name that the input gets.
        commands: those that read it, in a folder that has the other files of `write_files`.
        mutator: how it is damaged.
        finish: changes the folder further, such as checksums.
        may_exhaust: an input may ask for more memory than there is, and say so.
    """

    seeds: tuple[bytes, ...]
    file: str
    commands: tuple[str, ...]
    mutator: mutate.Mutator
    finish: Callable[[Path, Random], None] | None = None
    may_exhaust: bool = False


def _run(folder: Path, command: str) -> bytes:
    program, *arguments = command.split()
    module = {"sqgen": "sqgen", "sqgen-caffe": "sqgen.engine"}[program]
    done = engine_server.run(module, arguments, cwd=folder, env={"CAFFE_ROOT": ""})
    if done.returncode:
        raise RuntimeError(f"{command}: exit {done.returncode}: {done.stderr.decode()[-2000:]}")
    return done.stdout


def write_files(folder: Path) -> None:
    """Write a valid file of every format."""
    small.write_data(folder)
    packed = [encoded(n, 12, 10, kind) for n in range(8) for kind in (".png", ".jpg")]
    make_lmdb(folder / "encoded", packed)
    for name, text in (
        ("net.prototxt", small.net().replace("../", "")),
        ("deploy.prototxt", DEPLOY),
        ("old.prototxt", OLD_NET),
        ("solver.prototxt", _SOLVER),
        ("labels.txt", "".join(f"n{n} class {n}\n" for n in range(small.CLASSES))),
        ("density.toml", '"conv*" = 0.5\nip = 0.3\n'),
    ):
        (folder / name).write_text(text)
    for number in range(6):
        path = folder / "images" / f"c{number % 2}" / f"{number}{('.png', '.jpg')[number % 2]}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(image_file(number, 12, 10, path.suffix))
    lines = [f"c{n % 2}/{n}{('.png', '.jpg')[n % 2]} {n % 2}\n" for n in range(6)]
    (folder / "list.txt").write_text("".join(lines))
    _run(folder, TRAIN)
    shutil.copy(folder / "s_iter_4.caffemodel", folder / "w.caffemodel")
    _run(folder, "sqgen data mean data -o m.binaryproto")
    for file in ("w.net", "w.sqz"):
        _run(folder, f"sqgen compress encode w.caffemodel --net deploy.prototxt -o {file}")
    _run(folder, RUN_TEST.replace(" -- ", " --run-dir runs/a -- "))
    for file in ("p.csv", "p.npz"):
        _run(folder, RUN_TEST.replace(" -- ", f" --predictions {file} -- "))
    log = gzip.decompress((DATA / "logs" / "test_digits.log.gz").read_bytes())
    (folder / "test.log").write_bytes(log)
    _run(folder, "sqgen gate runs/a --baseline b.json --update-baseline")


_SOLVER = (
    'net: "net.prototxt"\nsnapshot_prefix: "s"\nsolver_mode: CPU\nbase_lr: 0.01\n'
    'lr_policy: "step"\ngamma: 0.1\nstepsize: 3\nmomentum: 0.9\nweight_decay: 0.001\n'
    "random_seed: 3\nmax_iter: 4\ndisplay: 1\nsnapshot: 2\ntest_iter: 1\ntest_interval: 2\n"
)

BITS = b"""
"c*2" = 3

[activations]
"conv?" = 4

[quantizer]
weights = "shared"
weight_range = "percentile"
activation_range = "kl"
percentile = 99.5
images = 9

[ranges]
conv1 = [-1.5, 2.0]

[values]
conv2 = [-0.25, 0.0, 0.5]

[entropy_constrained]
"ip" = 1.5
"""


def make_targets(folder: Path) -> dict[str, Target]:
    """Return the formats by name; `folder` has the files of `write_files`."""
    return dict(
        [
            *_nets(folder),
            *_weights(folder),
            *_foreign_weights(folder),
            ("onnx", _onnx(folder)),
            *_data(folder),
            *_logs(folder),
            *_settings(folder),
        ]
    )


def _nets(folder: Path) -> Iterator[tuple[str, Target]]:
    net = _a_field_a_line((folder / "net.prototxt").read_text())
    summary = "sqgen summary {0} --image 3x12x10"
    lint = ("sqgen lint {0}", f"{summary}", f"{summary} --json", "sqgen upgrade {0}")
    more = (
        f"{summary} --csv --phase both",
        "sqgen diff {0} deploy.prototxt",
        "sqgen deploy {0}",
    )
    reading = [command.format("net.prototxt") for command in (*lint, *more)]
    normalized = small.net(middle=small.batch_norm("conv1") + small.POOL1).replace("../", "")
    seeds = (net, _a_field_a_line(normalized))
    running = (TIME, TEST, TRAIN)
    yield "net", Target(seeds, "net.prototxt", tuple(reading), mutate.net)
    yield "run-net", Target(seeds, "net.prototxt", running, mutate.net, may_exhaust=True)
    deploy = (
        "sqgen classify --model d.prototxt --weights w.caffemodel images/c0/0.png",
        "sqgen weights map w.caffemodel o.caffemodel --to d.prototxt",
        "sqgen compress encode w.caffemodel --net d.prototxt -o o.sqz --bits 3",
        "sqgen diff d.prototxt deploy.prototxt --json",
    )
    yield (
        "deploy",
        Target((_a_field_a_line(DEPLOY),), "d.prototxt", deploy, mutate.net, may_exhaust=True),
    )
    old = tuple(command.format("old.prototxt") for command in lint)
    yield "old-net", Target((OLD_NET.encode(), V0_NET.encode()), "old.prototxt", old, mutate.net)
    solver = (
        "sqgen lint solver.prototxt",
        "sqgen lint net.prototxt --solver solver.prototxt",
        "sqgen upgrade solver.prototxt",
        RUN_TRAIN,
        TRAIN,
    )
    seed = (folder / "solver.prototxt").read_bytes()
    yield "solver", Target((seed,), "solver.prototxt", solver, mutate.text, may_exhaust=True)


def _a_field_a_line(net: str) -> bytes:
    """Return a net as Caffe prints it, so that damage to a line is damage to a field."""
    return text_format.MessageToString(text_format.Parse(net, NetParameter())).encode()


def _weights(folder: Path) -> Iterator[tuple[str, Target]]:
    model = (folder / "w.caffemodel").read_bytes()
    yield (
        "caffemodel",
        Target(
            (model,),
            "x.caffemodel",
            (
                "sqgen weights show x.caffemodel",
                "sqgen weights show x.caffemodel --json",
                "sqgen weights diff x.caffemodel w.caffemodel",
                "sqgen weights map x.caffemodel o.caffemodel --to deploy.prototxt --no-proof",
                "sqgen upgrade x.caffemodel -o o.caffemodel",
                "sqgen upgrade --text x.caffemodel",
                "sqgen compress encode x.caffemodel --net deploy.prototxt -o o.net",
                "sqgen classify --model deploy.prototxt --weights x.caffemodel images/c0/0.png",
                TEST.replace("w.caffemodel", "x.caffemodel"),
                RUN_TEST.replace("w.caffemodel", "x.caffemodel"),
            ),
            mutate.message,
        ),
    )
    resume = TRAIN.replace(" --cpu", " --cpu --snapshot=s_iter_2.solverstate")
    run_resume = RUN_TRAIN.replace(" -- ", " --resume -- ")
    for suffix, mutator in (("solverstate", mutate.message), ("sqgenstate", mutate.json_text)):
        file = f"s_iter_2.{suffix}"
        yield (
            suffix,
            Target(
                ((folder / file).read_bytes(),),
                file,
                (resume, run_resume),
                mutator,
                _fit_digest if suffix == "solverstate" else None,
            ),
        )
    yield (
        "h5",
        Target(
            (_run_for(folder, "sqgen upgrade w.caffemodel -o w.caffemodel.h5", "w.caffemodel.h5"),),
            "x.caffemodel.h5",
            (
                "sqgen weights show x.caffemodel.h5",
                "sqgen weights diff x.caffemodel.h5 w.caffemodel",
                "sqgen upgrade x.caffemodel.h5 -o o.caffemodel",
                TEST.replace("w.caffemodel", "x.caffemodel.h5"),
            ),
            mutate.binary,
        ),
    )
    for kind in ("net", "sqz"):
        seeds = ((folder / f"w.{kind}").read_bytes(),)
        commands = (f"sqgen compress decode x.{kind} --net deploy.prototxt -o o.caffemodel",)
        finish = _reseal if kind == "sqz" else None
        yield f".{kind}", Target(seeds, f"x.{kind}", commands, mutate.binary, finish)


def _foreign_weights(folder: Path) -> Iterator[tuple[str, Target]]:
    """Weights in the formats of other frameworks."""
    for kind in ("npz", "safetensors", "pth"):
        convert = f"sqgen weights convert w.caffemodel w.{kind}"
        commands = (
            f"sqgen weights diff x.{kind} w.caffemodel --json",
            f"sqgen weights convert x.{kind} o.caffemodel --to deploy.prototxt --no-proof",
        )
        seeds = (_run_for(folder, convert, f"w.{kind}"),)
        yield kind, Target(seeds, f"x.{kind}", commands, mutate.binary)
    kernel = np.random.default_rng(0).normal(size=(3, 3, 2, 4)).astype(np.float32)
    weights = [KerasWeight("c/1", "kernel", kernel), KerasWeight("c/1", "bias", kernel[0, 0, 0])]
    keras = ("sqgen weights show x.h5", "sqgen weights convert x.h5 o.keras.h5")
    yield "keras", Target((write_keras(weights, "w"),), "x.h5", keras, mutate.binary)


def _onnx(folder: Path) -> Target:
    export = "sqgen export deploy.prototxt --weights w.caffemodel --for onnx --no-proof -o w.onnx"
    commands = ("sqgen import x.onnx -o o",)
    seeds = (_run_for(folder, export, "w.onnx"),)
    return Target(seeds, "x.onnx", commands, mutate.message, may_exhaust=True)


def _run_for(folder: Path, command: str, file: str) -> bytes:
    """Run a command, and return the file that it writes."""
    _run(folder, command)
    return (folder / file).read_bytes()


def _fit_digest(folder: Path, random: Random) -> None:
    """Give the resume state the digest of the damaged solver state, more often than not."""
    if random.random() < 0.7:
        file = folder / "s_iter_2.sqgenstate"
        plain = json.loads(file.read_bytes())
        plain["digest"] = sha256((folder / "s_iter_2.solverstate").read_bytes()).hexdigest()
        file.unlink()
        file.write_text(json.dumps(plain))


def _reseal(folder: Path, random: Random) -> None:
    if random.random() < 0.7:
        file = folder / "x.sqz"
        file.write_bytes(resealed(file.read_bytes()))


def _data(folder: Path) -> Iterator[tuple[str, Target]]:
    seeds = tuple((folder / name / "data.mdb").read_bytes() for name in ("data", "encoded"))
    commands = (
        "sqgen data info db",
        "sqgen data info db --json",
        "sqgen data mean db -o o.binaryproto",
        TEST.replace("net.prototxt", "db.prototxt"),
        TEST.replace("net.prototxt", "db.prototxt") + " --predictions=o.csv",
        RUN_TEST.replace("-- ", "--data db -- "),
    )
    yield "lmdb", Target(seeds, "db/data.mdb", commands, mutate.pages, _read_db)
    records = (small.records()[0], encoded(1, 12, 10), encoded(2, 12, 10, ".jpg"))
    yield "record", Target(records, "record", commands, mutate.message, _store_record)
    h5 = (TIME.replace("net.prototxt", "h5.prototxt"),)
    yield "h5-data", Target((_hdf5_data(),), "x.h5", h5, mutate.binary, _read_hdf5)
    lists = (
        "sqgen data create images --list x.txt -o o --jobs 1",
        "sqgen data create images --list x.txt -o o --resize 8x8 --encoded png --json",
        TIME.replace("net.prototxt", "images.prototxt"),
    )
    list_seed = (folder / "list.txt").read_bytes()
    yield "list", Target((list_seed,), "x.txt", lists, mutate.text, _read_list)
    images = (
        "sqgen data create pictures -o o --jobs 1",
        "sqgen data create pictures -o o --encoded --gray --strict",
        "sqgen classify --model deploy.prototxt --weights w.caffemodel pictures/a/x",
        TIME.replace("net.prototxt", "images.prototxt"),
    )
    kinds = tuple(image_file(3, 12, 10, kind) for kind in (".png", ".jpg", ".bmp", ".tiff"))
    yield "image", Target(kinds, "pictures/a/x", images, mutate.png, _read_image, True)
    means = (
        TEST.replace("net.prototxt", "mean.prototxt"),
        "sqgen classify --model deploy.prototxt --weights w.caffemodel --mean x.binaryproto"
        " images/c0/0.png",
        RUN_TEST.replace("-- ", "--mean x.binaryproto -- "),
    )
    mean = (folder / "m.binaryproto").read_bytes()
    yield "binaryproto", Target((mean,), "x.binaryproto", means, mutate.message, _read_mean)


def _read_db(folder: Path, random: Random) -> None:
    text = (folder / "net.prototxt").read_text().replace('"data" backend', '"db" backend')
    (folder / "db.prototxt").write_text(text)


def _store_record(folder: Path, random: Random) -> None:
    _read_db(folder, random)
    values = small.records()[:20]
    values[random.randrange(20)] = (folder / "record").read_bytes()
    make_lmdb(folder / "db", values)


def _read_list(folder: Path, random: Random) -> None:
    (folder / "images.prototxt").write_text(IMAGE_NET.replace("list.txt", "x.txt"))


def _hdf5_data() -> bytes:
    data = io.BytesIO()
    with h5py.File(data, "w") as file:
        file["data"] = np.linspace(-1, 1, 12 * 360, dtype=np.float32).reshape(12, *small.IMAGE)
        file["label"] = np.arange(12, dtype=np.float32) % small.CLASSES
    return data.getvalue()


def _read_hdf5(folder: Path, random: Random) -> None:
    (folder / "h5.txt").write_text("x.h5\n")
    (folder / "h5.prototxt").write_text(HDF5_NET)


def _read_image(folder: Path, random: Random) -> None:
    (folder / "pics.txt").write_text("a/x 1\na/x 0\n")
    text = IMAGE_NET.replace("list.txt", "pics.txt").replace("images/", "pictures/")
    (folder / "images.prototxt").write_text(text)


def _read_mean(folder: Path, random: Random) -> None:
    (folder / "mean.prototxt").write_text(MEAN_NET.replace("../", ""))


def _logs(folder: Path) -> Iterator[tuple[str, Target]]:
    names = sorted(path.name for path in (DATA / "logs").glob("*.log.gz"))
    whole = [gzip.decompress((DATA / "logs" / name).read_bytes()) for name in names]
    seeds = tuple(text[:8000] + text[-12_000:] for text in whole)
    csv = "sqgen log parse {} --csv csv"
    commands = [
        "sqgen log parse {}",
        "sqgen log parse {} --json",
        "sqgen log parse {} test.log",
        "sqgen log compare {} {}",
        "sqgen log plot {} -o o.svg",
        "sqgen report {} --json",
        GATE,
    ]
    yield "log", Target(seeds, "x.log", _reading("x.log", *commands, csv), mutate.text)
    packed = _reading("x.log.gz", *commands[:2], csv)
    yield "log.gz", Target(seeds, "x.log.gz", packed, mutate.packed_text)
    result = (folder / "runs" / "a" / "result.json").read_bytes()
    trained = _run(folder, "sqgen log parse runs/a/caffe.log --json")
    commands += [f"{GATE} --json", f"{GATE} --images 64 --baseline b.json"]
    reading = _reading("x.json", *commands)
    yield "result", Target((result, trained), "x.json", reading, mutate.json_text)
    reading = _reading("runs", "sqgen log parse {}", "sqgen report {} --json", GATE)
    yield "run-folder", Target((result,), "runs/result.json", reading, mutate.json_text)


def _reading(file: str, *commands: str) -> tuple[str, ...]:
    return tuple(command.replace("{}", file) for command in commands)


def _settings(folder: Path) -> Iterator[tuple[str, Target]]:
    baseline = tuple(f"sqgen gate {log} --baseline x.json" for log in ("runs/a", "test.log"))
    seed = (folder / "b.json").read_bytes()
    yield "baseline", Target((seed,), "x.json", baseline, mutate.json_text)
    errors = (
        "sqgen errors {} --labels labels.txt",
        "sqgen errors {} --json --against p.npz",
        "sqgen errors p.csv --against {}",
        "sqgen errors {} --confusion -",
        "sqgen errors {} -o o.html --force",
    )
    for suffix, mutator in (("csv", mutate.text), ("npz", mutate.binary)):
        seed = (folder / f"p.{suffix}").read_bytes()
        commands = _reading(f"x.{suffix}", *errors)
        yield f"predictions.{suffix}", Target((seed,), f"x.{suffix}", commands, mutator)
    sizes = tuple(dumps(plain).encode() for plain in (as_dict(POINTS), ENCODED))
    commands = _reading("x.json", "sqgen report {} --json", "sqgen report {} -o o.html --force")
    yield "compression", Target(sizes, "x.json", commands, mutate.json_text)
    designs = tuple(_run(folder, f"sqgen build --dump-design {options}") for options in DESIGNS)
    designs += ((ROOT / "models" / "digits" / "design.toml").read_bytes(),)
    building = ("build --design x.toml", "solver --design x.toml", "build --design x.toml --out o")
    commands = tuple(f"sqgen {command}" for command in building)
    yield "design", Target(designs, "x.toml", commands, mutate.text)
    density = "sqgen compress encode w.caffemodel --net deploy.prototxt -o o.sqz --density x.toml"
    seeds = ((folder / "density.toml").read_bytes(),)
    yield "density", Target(seeds, "x.toml", (density,), mutate.text)
    bits = "sqgen compress encode w.caffemodel --net deploy.prototxt -o o.sqz --bits-from x.toml"
    commands = (bits, f"{TEST} --quantize=x.toml")
    yield "bits", Target((BITS,), "x.toml", commands, mutate.text)
    labels = (
        "sqgen classify --model deploy.prototxt --weights w.caffemodel --labels x.txt"
        " images/c0/0.png"
    )
    seeds = ((folder / "labels.txt").read_bytes(),)
    yield "labels", Target(seeds, "x.txt", (labels, labels + " --json"), mutate.text)


def corpus() -> Iterator[tuple[str, bytes]]:
    """Yield the kept inputs, each with its target."""
    for path in sorted(CORPUS.glob("*/*")):
        yield path.parent.name, path.read_bytes()


def link_files(base: Path, folder: Path) -> None:
    """Make a folder with links to the files of `write_files`."""
    folder.mkdir(parents=True)
    for name in os.listdir(base):  # noqa: PTH208 - names, not paths
        (folder / name).symlink_to(base / name)
