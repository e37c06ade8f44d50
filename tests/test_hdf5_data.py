"""HDF5Data and HDF5Output, their loader, and what the runner makes of them.

`data/hdf5/layers.json` has what `caffe test` logged of nets that only read: each value of each top.
`test_record` writes it, with SQGEN_RECORD set and a build of BVLC Caffe in CAFFE_ROOT.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sqgen import FormatError, NetError, parse_net
from sqgen.formats.schema import LayerParameter, NetParameter

from . import engine_server
from . import small_training as small
from .conftest import DATA, Run, run_alone

h5py = pytest.importorskip("h5py", reason="needs h5py, the extra hdf5")

Array = np.ndarray[Any, Any]
Tops = dict[str, Any]

RECORDED = DATA / "hdf5" / "layers.json"


def file(path: Path, tops: Tops, **options: Any) -> None:
    with h5py.File(path, "w") as made:
        for name, array in tops.items():
            made.create_dataset(name, data=array, **options)


def tops(count: int, first: int = 0) -> Tops:
    """Records whose values are all different, of the types that files have."""
    numbers = np.arange(first, first + count)
    images = numbers[:, None, None, None] * 100 + np.arange(12).reshape(1, 3, 2, 2)
    return {
        "data": images.astype("u1") if first else images.astype("f4"),
        "label": numbers.astype("i8"),
        "more": numbers[:, None] / 3 + np.arange(2),
    }


def write_files(folder: Path, counts: Iterable[int], **options: Any) -> None:
    """`0.h5`, `1.h5`, ... and the list `files`; record k has the label k."""
    first = 0
    for number, count in enumerate(counts):
        file(folder / f"{number}.h5", tops(count, first), **options)
        first += count
    names = (f"{number}.h5\n" for number, _ in enumerate(counts))
    (folder / "files").write_text("".join(names))


def layer(batch: int, more: str = "", names: str = "data label more", phase: str = "") -> str:
    read = " ".join(f'top: "{name}"' for name in names.split())
    return (
        f'layer {{ name: "in" type: "HDF5Data" {read} {phase}'
        f' hdf5_data_param {{ source: "files" batch_size: {batch} {more} }} }}\n'
    )


OUTPUT = (
    'layer { name: "out" type: "HDF5Output" bottom: "more" bottom: "label"'
    ' hdf5_output_param { file_name: "out.h5" } }\n'
)
# Counts of the files' records, the net, and iterations of the test.
CASES: dict[str, tuple[list[int], str, int]] = {
    "one file": ([5], layer(3), 4),
    "three files": ([2, 4, 1], layer(5), 3),
    "a larger batch than all": ([2, 1], layer(8, names="label more"), 2),
    "output": ([4], layer(3) + OUTPUT, 1),
}
TEST = ("test", "--model=net.prototxt", "--weights=w.caffemodel")


def place(folder: Path, name: str) -> tuple[str, ...]:
    """Fill a folder for a case; the arguments of its test."""
    counts, net, iterations = CASES[name]
    write_files(folder, counts)
    (folder / "net.prototxt").write_text(net)
    weights = NetParameter()
    weights.layer.add(name="none", type="ReLU")
    (folder / "w.caffemodel").write_bytes(weights.SerializeToString())
    return (*TEST, f"--iterations={iterations}")


def engine(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    pytest.importorskip("torch", reason="needs the engine")
    done = engine_server.run("sqgen.engine", arguments, cwd=folder)
    return subprocess.CompletedProcess(done.args, done.returncode, "", done.stderr.decode())


def saved(path: Path) -> dict[str, Any]:
    """What HDF5Output wrote."""
    if not path.exists():
        return {}
    with h5py.File(path) as read:
        return {
            name: [item.dtype.str, list(item.shape), item[()].ravel().tolist()]
            for name, item in read.items()
        }


@pytest.mark.skipif("SQGEN_RECORD" not in os.environ, reason="SQGEN_RECORD records anew")
def test_record(tmp_path: Path) -> None:
    made = {}
    for name in CASES:
        folder = tmp_path / name
        folder.mkdir()
        done = small.caffe(place(folder, name), folder)
        assert done.returncode == 0, done.stderr
        lines = small.run_messages(done.stderr)
        made[name] = {"log": lines, "output": saved(folder / "out.h5")}
    rows = ",\n".join(f"{json.dumps(name)}: {json.dumps(one)}" for name, one in made.items())
    RECORDED.write_text(f"{{\n{rows}\n}}\n")


@pytest.mark.parametrize("name", CASES)
def test_a_test_reads_what_caffe_read(name: str, tmp_path: Path) -> None:
    recorded = json.loads(RECORDED.read_text())[name]
    done = engine(tmp_path, *place(tmp_path, name))
    assert done.returncode == 0, done.stderr
    assert small.run_messages(done.stderr) == recorded["log"]
    assert saved(tmp_path / "out.h5") == recorded["output"]


def test_the_log_has_caffes_lines(tmp_path: Path) -> None:
    done = engine(tmp_path, *place(tmp_path, "three files"))
    for line in (
        "hdf5_data_layer.cpp:81] Loading list of HDF5 filenames from: files\n",
        "hdf5_data_layer.cpp:95] Number of HDF5 files: 3\n",
        "hdf5.cpp:33] Datatype class: H5T_FLOAT\n",
        "hdf5.cpp:36] Datatype class: H5T_INTEGER\n",
        "Top shape: 5 3 2 2 (60)\n",
        "Top shape: 5 2 (10)\n",
    ):
        assert done.stderr.count(line) == 1, line
    done = engine(tmp_path, *place(tmp_path, "output"))
    assert "hdf5_output_layer.cpp:33] Saving HDF5 file out.h5\n" in done.stderr
    assert "hdf5_output_layer.cpp:38] Successfully saved 3 rows\n" in done.stderr


def test_output_saves_one_batch(tmp_path: Path) -> None:
    """BVLC/caffe#1726: Caffe dies at the second."""
    arguments = place(tmp_path, "output")[:-1]
    done = engine(tmp_path, *arguments, "--iterations=2")
    assert done.returncode == 2
    last = done.stderr.splitlines()[-1]
    assert "layer 'out': Failed to make float dataset data: out.h5 has a batch" in last


# The loader


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_files(tmp_path, [5, 2, 9])
    return tmp_path


def opened(folder: Path, text: str, seed: int = 1, exact: bool = False) -> Any:
    pytest.importorskip("torch", reason="needs the engine")
    from sqgen.engine.open_loader import open_loader

    param = parse_net(text).param.layer[0]
    return open_loader(param, "TRAIN", seed=seed, where="net:7", base=folder, exact=exact)


def labels(loader: Any, batches: int) -> list[int]:
    """The labels of some batches; the other tops are of the same records."""
    found = []
    for _ in range(batches):
        data, label, more = loader.next().tops
        assert data.dtype == label.dtype == more.dtype == np.float32
        assert (data[:, 0, 0, 1] == (label * 100 + 1).astype("u1")).all() or label.min() < 5
        np.testing.assert_array_equal(more[:, 1], (label.astype("f8") / 3 + 1).astype("f4"))
        found += label.astype(int).tolist()
    loader.close()
    return found


def test_order_without_shuffle(folder: Path) -> None:
    assert labels(opened(folder, layer(7)), 5) == [k % 16 for k in range(35)]


def test_shuffle_permutes_files_and_their_records(folder: Path) -> None:
    found = np.array(labels(opened(folder, layer(8, "shuffle: true")), 12)).reshape(6, 16)
    orders = set()
    for one in found:
        assert sorted(one) == list(range(16))
        files = np.searchsorted([5, 7], one, side="right").tolist()
        changes = [a for a, b in zip(files, [*files[1:], -1], strict=True) if a != b]
        assert sorted(changes) == [0, 1, 2]  # each file is read whole
        orders.add(tuple(changes))
    assert len(orders) > 1
    assert len({tuple(one) for one in found}) == 6
    assert labels(opened(folder, layer(8, "shuffle: true"), seed=2), 2) != found[0].tolist()


@pytest.mark.parametrize("more", ["", "shuffle: true"])
@pytest.mark.parametrize("position", [1, 5, 6, 7, 16, 40])
def test_seek_continues(more: str, position: int, folder: Path) -> None:
    whole = labels(opened(folder, layer(1, more)), 60)
    loader = opened(folder, layer(4, more))
    loader.seek(position)
    assert labels(loader, 5) == whole[position : position + 20]


@pytest.mark.parametrize("more", ["", "shuffle: true"])
def test_exact_reads_each_once(more: str, folder: Path) -> None:
    from sqgen.engine.loader import EndOfData

    loader = opened(folder, layer(7, more), exact=True)
    batches = [loader.next() for _ in range(3)]
    assert [len(batch.data) for batch in batches] == [7, 7, 2]
    assert sorted(np.concatenate([batch.labels for batch in batches])) == list(range(16))
    with pytest.raises(EndOfData):
        loader.next()
    loader.close()


def test_a_list_is_split_at_blanks(tmp_path: Path) -> None:
    write_files(tmp_path, [2, 1])
    (tmp_path / "files").write_bytes(b" 1.h5\t0.h5\r\n\n1.h5")
    assert labels(opened(tmp_path, layer(4)), 1) == [2, 0, 1, 2]


def test_records_may_be_in_files_that_the_file_names(folder: Path) -> None:
    """As external and as virtual datasets."""
    values = tops(5)
    values["data"].tofile(folder / "raw")
    source = h5py.VirtualSource(folder / "0.h5", "label", (5,))
    layout = h5py.VirtualLayout((5,), "i8")
    layout[:] = source
    with h5py.File(folder / "named.h5", "w") as made:
        external = [(folder / "raw", 0, h5py.h5f.UNLIMITED)]
        made.create_dataset("data", (5, 3, 2, 2), "f4", external=external)
        made.create_virtual_dataset("label", layout)
        made["more"] = values["more"]
    (folder / "files").write_text("named.h5")
    assert labels(opened(folder, layer(5)), 1) == [0, 1, 2, 3, 4]


def test_a_file_that_changes_is_noticed(folder: Path) -> None:
    loader = opened(folder, layer(5))
    file(folder / "1.h5", tops(3))
    with pytest.raises(FormatError, match=r"1\.h5: changed while it was in use"):
        [loader.next() for _ in range(2)]
    loader.close()


# Wrong input


def broken(name: str, array: Any) -> Callable[[Path], None]:
    return lambda folder: file(folder / "0.h5", {**tops(3), name: array})


def put(name: str, data: bytes) -> Callable[[Path], object]:
    return lambda folder: (folder / name).write_bytes(data)


REFUSED: dict[str, tuple[Callable[[Path], object], str]] = {
    "no list": (lambda folder: (folder / "files").unlink(), "files: no such file"),
    "an empty list": (put("files", b" \n"), "Must have at least 1 HDF5 filename listed in it"),
    "a file as the list": (
        lambda folder: (folder / "files").write_bytes((folder / "0.h5").read_bytes()),
        "files: is an HDF5 file; source names a text file with the names of such files",
    ),
    "no file": (put("files", b"gone.h5"), "gone.h5: no such file or directory"),
    "no HDF5": (put("0.h5", b"hello, I am text"), "0.h5: no HDF5 file, or damaged"),
    "an empty file": (put("0.h5", b""), "0.h5: no HDF5 file, or damaged"),
    "no dataset": (
        lambda folder: file(folder / "0.h5", {"data": np.zeros(3)}),
        "0.h5: Failed to find HDF5 dataset label",
    ),
    "a string": (
        broken("label", "words"),
        "0.h5: dataset label: Unsupported datatype class: H5T_STRING",
    ),
    "no axes": (broken("label", 5), "0.h5: dataset label: has no records"),
    "no records": (broken("data", np.zeros((0, 3))), "dataset data: has no records"),
    "fewer labels": (broken("label", np.zeros(2)), "dataset label: has 2 records, and data 3"),
    "others": (
        broken("more", np.zeros((3, 4))),
        "1.h5: records of data 3x2x2, label scalar, more 2, but the files before it have data"
        " 3x2x2, label scalar, more 4",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused_in_one_line(name: str, folder: Path) -> None:
    damage, message = REFUSED[name]
    damage(folder)
    with pytest.raises(FormatError) as refused:
        opened(folder, layer(2))
    assert str(refused.value).startswith("net:7: ")
    assert message in str(refused.value)
    assert str(refused.value).isprintable()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (layer(2).replace("batch_size: 2", ""), "batch_size must be 1 or more"),
        (layer(2).replace('source: "files"', ""), "no source; name the data"),
        (
            layer(2, phase="transform_param { scale: 2 }"),
            "HDF5Data does not transform data; remove transform_param",
        ),
    ],
)
def test_fields_that_caffe_refuses(text: str, message: str, folder: Path) -> None:
    with pytest.raises(FormatError, match=message):
        opened(folder, text)


def test_shapes_without_the_files() -> None:
    from sqgen import summary
    from sqgen.nets.lint import lint_net

    net = parse_net(layer(4, names="data label"))
    with pytest.raises(NetError, match="the shapes of its tops are in its HDF5 files; give --im"):
        summary(net)
    assert [finding.rule.name for finding in lint_net(net)] == ["image-size", "missing-loss"]
    entry = summary(net, image=(3, 2, 2))
    assert entry.layers[0].tops == [("data", (4, 3, 2, 2)), ("label", (4,))]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (OUTPUT.replace('file_name: "out.h5"', ""), "no file_name; name the HDF5 file to write"),
        (OUTPUT.replace('"more"', '"other"'), "5x2 and 3 differ in their batch size"),
        (OUTPUT.replace('"more"', '"deep"'), "it saves blobs of four axes at most"),
    ],
)
def test_outputs_that_caffe_refuses(text: str, message: str) -> None:
    from sqgen.nets.shapes import infer_shapes

    def blob(name: str, *shape: int) -> str:
        dims = " ".join(f"dim: {axis}" for axis in shape)
        return (
            f'layer {{ name: "{name}" type: "Input" top: "{name}"'
            f" input_param {{ shape {{ {dims} }} }} }}\n"
        )

    above = blob("more", 3, 2) + blob("label", 3) + blob("other", 5, 2)
    net = parse_net(above + blob("deep", 3, 1, 1, 1, 1) + text)
    problems = [problem.message for problem in infer_shapes(net, "TEST").problems]
    assert [message in problem for problem in problems] == [True]


DAMAGE = """
import random, sys
from pathlib import Path
from sqgen import FormatError
from sqgen.formats.hdf5_data import open_hdf5_data
from sqgen.formats.schema import LayerParameter, NetParameter

layer = LayerParameter(type="HDF5Data", top=["data", "label"])
layer.hdf5_data_param.source = "files"
whole, refused = Path("0.h5").read_bytes(), 0
for seed in range(300):
    random.seed(seed)
    data = bytearray(whole)
    if seed % 5 == 0:
        del data[random.randrange(len(data)):]
    for _ in range(seed % 5):
        at = random.randrange(len(data))
        data[at:at + 4] = random.choice([bytes(4), b"\\xff" * 4, random.randbytes(1)])
    Path("0.h5").write_bytes(data)
    try:
        open_hdf5_data(layer, Path()).read(0)
    except FormatError as error:
        refused += 1
        assert str(error).startswith("0.h5: ") and str(error).isprintable(), str(error)
print(refused)
"""


@pytest.mark.process
def test_damage_is_one_line_or_harmless(tmp_path: Path) -> None:
    """In a process of its own: HDF5 is C, and might end it."""
    file(tmp_path / "0.h5", {k: tops(40)[k] for k in ("data", "label")}, compression="gzip")
    (tmp_path / "files").write_text("0.h5")
    assert int(run_alone(DAMAGE, tmp_path)) > 100


# Training and testing

SOLVER = (
    'net: "net.prototxt" snapshot_prefix: "s" solver_mode: CPU base_lr: 0.01 lr_policy: "fixed"'
    " display: 1 random_seed: 3 snapshot: 5 max_iter: 10 "
)
LEARNS = (
    'layer { name: "ip" type: "InnerProduct" bottom: "data" top: "ip" inner_product_param {'
    ' num_output: 16 weight_filler { type: "xavier" } } }\n'
    'layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip" bottom: "label" top: "loss" }\n'
    'layer { name: "accuracy" type: "Accuracy" bottom: "ip" bottom: "label" top: "accuracy"'
    " include { phase: TEST } }\n"
)


def test_a_resume_is_exact(folder: Path) -> None:
    (folder / "net.prototxt").write_text(layer(6, "shuffle: true", "data label") + LEARNS)
    (folder / "solver.prototxt").write_text(SOLVER)
    assert engine(folder, "train", "--solver=solver.prototxt").returncode == 0
    whole = (folder / "s_iter_10.caffemodel").read_bytes()
    (folder / "s_iter_10.caffemodel").unlink()
    arguments = ("train", "--solver=solver.prototxt", "--snapshot=s_iter_5.solverstate")
    assert "Resuming exactly" in engine(folder, *arguments).stderr
    assert (folder / "s_iter_10.caffemodel").read_bytes() == whole


def weights(folder: Path) -> None:
    net = parse_net(LEARNS)
    model = NetParameter()
    model.layer.add().CopyFrom(net.param.layer[0])
    from sqgen.formats.caffemodel import fill_blob

    random = np.random.default_rng(1)
    for shape in ((16, 12), (16,)):
        fill_blob(model.layer[0].blobs.add(), random.normal(size=shape).astype("f4"))
    (folder / "w.caffemodel").write_bytes(model.SerializeToString())


@pytest.mark.usefixtures("forked_engine")
def test_sqgen_test_counts_each_record_once(folder: Path, sqgen: Run) -> None:
    weights(folder)
    (folder / "net.prototxt").write_text(layer(6, "shuffle: true", "data label") + LEARNS)
    done = sqgen("test", "--model", "net.prototxt", "--weights", "w.caffemodel", "--json")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["images"] == 16
    assert result["dataset"].startswith("hdf5-16-")
    assert "16 of 16 images" in done.stderr


def dataset(folder: Path) -> Any:
    from sqgen.nets.dataset import inspect_dataset

    param = LayerParameter()
    param.CopyFrom(parse_net(layer(2)).param.layer[0])
    param.hdf5_data_param.source = str(folder / "files")
    return inspect_dataset(param, "net:7")


def test_the_digest_is_of_the_values(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_files(tmp_path, [3, 100])
    found = dataset(tmp_path)
    assert (found.records, found.record_shapes) == (103, ((3, 2, 2), (), (2,)))
    second = {name: array.astype("f4") for name, array in tops(100, 3).items()}
    file(tmp_path / "1.h5", second, compression="gzip")
    assert dataset(tmp_path).digest == found.digest
    second["label"][99] += 1
    file(tmp_path / "1.h5", second)
    assert dataset(tmp_path).digest != found.digest


def test_overrides(folder: Path, sqgen: Run) -> None:
    weights(folder)
    (folder / "net.prototxt").write_text(
        layer(4, names="data label").replace('"files"', '"gone"') + LEARNS
    )
    test = ("test", "--model", "net.prototxt", "--weights", "w.caffemodel", "--cpu")
    refused = sqgen(*test)
    assert "source 'gone' not found; set it with --data" in refused.stderr
    refused = sqgen(*test, "--data", ".")
    assert "layer 'in' reads a list of HDF5 files, a file" in refused.stderr
    refused = sqgen(*test, "--data", "0.h5")
    assert "0.h5: is an HDF5 file; source names a text file" in refused.stderr
    refused = sqgen(*test, "--data", "files", "--mean", "m.binaryproto")
    assert "layer 'in' is HDF5Data, which does not transform data" in refused.stderr
    assert refused.returncode == 2


def test_data_info_counts_labels(tmp_path: Path, sqgen: Run) -> None:
    """Whole numbers from 0, one a record, of a dataset whose name says so."""
    labels = np.array([0, 2, 2, 1, 2], "f4")
    others = {"label_share": labels / 3, "label_pair": np.zeros((5, 2)), "score": labels}
    file(tmp_path / "x.h5", {"data": np.zeros((5, 1)), "label": labels[:, None], **others})
    done = sqgen("data", "info", "x.h5")
    assert done.returncode == 0, done.stderr
    rows = [line.split() for line in done.stdout.split("\n\n")[1].splitlines()]
    assert rows[0] == ["label"]
    assert rows[-1] == "majority always answering 2 scores 60.0%".split()
    assert len(rows) == 5
    found = json.loads(sqgen("data", "info", "x.h5", "--json").stdout)["datasets"]
    assert {each["name"]: len(each["classes"]) for each in found if each["classes"]} == {"label": 3}


def test_data_info(tmp_path: Path, sqgen: Run) -> None:
    scores = np.array([[0.5, np.nan], [-2, np.inf], [1, 0]])
    file(tmp_path / "x.h5", {"data": np.zeros((3, 3, 8, 9), "u1"), "deep/scores": scores})
    done = sqgen("data", "info", "x.h5")
    assert done.returncode == 0, done.stderr
    assert [line.split() for line in done.stdout.splitlines()] == [
        ["dataset", "type", "records", "shape", "min", "max", "not", "finite"],
        ["data", "uint8", "3", "3x8x9", "0", "0"],
        ["deep/scores", "float64", "3", "2", "-2", "1", "2"],
    ]
    found = json.loads(sqgen("data", "info", "x.h5", "--json").stdout)
    assert found["datasets"][1] == {
        **{"name": "deep/scores", "type": "float64", "shape": [3, 2]},
        **{"minimum": -2.0, "maximum": 1.0, "not_finite": 2, "classes": []},
    }
    file(tmp_path / "x.h5", {"data": "words"})
    done = sqgen("data", "info", "x.h5")
    assert (done.returncode, done.stdout.split()[-3:]) == (0, ["data", "H5T_STRING", "scalar"])
    (tmp_path / "x.h5").write_text("words")
    assert "give the folder of an LMDB" in sqgen("data", "info", "x.h5").stderr
