"""HDF5 as Caffe writes and reads it: weights and solver states.

`data/hdf5/` has a snapshot that Caffe wrote twice, binary and as HDF5, of a net with shared blobs.
`test_record` writes it, with SQGEN_RECORD set and a build of BVLC Caffe in CAFFE_ROOT. With such a
build, it and the engine also resume each other's snapshots.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sqgen import FormatError, MissingExtraError, NetError, parse_net
from sqgen.formats.caffemodel import (
    blob_array,
    encode_caffemodel,
    encode_solver_state,
    fill_blob,
    parse_caffemodel,
    parse_solver_state,
    read_caffemodel,
    read_solver_state,
)
from sqgen.formats.hdf5_file import is_hdf5
from sqgen.formats.schema import NetParameter, SolverState
from sqgen.formats.snapshot_files import newest_snapshot

from . import engine_server
from . import small_training as small
from .conftest import DATA, Run, run_alone

h5py = pytest.importorskip("h5py", reason="needs h5py, the extra hdf5")

Array = np.ndarray[Any, Any]


def ip(name: str, params: str = "") -> str:
    return (
        f'layer {{ name: "{name}" type: "InnerProduct" bottom: "x" top: "{name}" {params}'
        ' inner_product_param { num_output: 2 weight_filler { type: "xavier" } } }\n'
    )


INPUT = 'layer { name: "in" type: "Input" top: "x" input_param { shape { dim: 4 dim: 3 } } }\n'
# b is a's, c has its weights and a bias of its own.
SHARED = (
    INPUT
    + ip("a", 'param { name: "w" } param { name: "v" }')
    + ip("b", 'param { name: "w" } param { name: "v" }')
    + ip("c", 'param { name: "w" }')
)


def model(text: str = SHARED) -> NetParameter:
    """Weights of a net, in which shared blobs are equal."""
    random, shared = np.random.default_rng(1), dict[str, Array]()
    made = NetParameter()
    for layer in parse_net(text).param.layer:
        written = made.layer.add()
        written.CopyFrom(layer)
        for index, shape in enumerate([(2, 3), (2,)] if layer.bottom else []):
            name = layer.param[index].name if index < len(layer.param) else ""
            array = random.normal(size=shape).astype("f4")
            fill_blob(written.blobs.add(), shared.setdefault(name, array) if name else array)
    return made


RECORDED = DATA / "hdf5"
TRAINED = (
    'layer { name: "in" type: "DummyData" top: "x" top: "y" dummy_data_param { shape { dim: 4'
    ' dim: 3 } shape { dim: 4 dim: 2 } data_filler { type: "gaussian" } data_filler { type:'
    ' "gaussian" } } }\n'
    + SHARED.removeprefix(INPUT)
    + 'layer { name: "l" type: "EuclideanLoss" bottom: "a" bottom: "y" }\n'
    + 'layer { name: "m" type: "EuclideanLoss" bottom: "b" bottom: "c" }\n'
)


@pytest.mark.skipif("SQGEN_RECORD" not in os.environ, reason="SQGEN_RECORD records anew")
def test_record(tmp_path: Path) -> None:
    (tmp_path / "net.prototxt").write_text(TRAINED)
    for kind in ("BINARYPROTO", "HDF5"):
        (tmp_path / "solver.prototxt").write_text(
            'net: "net.prototxt" snapshot_prefix: "caffe" solver_mode: CPU base_lr: 0.1'
            ' lr_policy: "fixed" type: "Adam" momentum: 0.9 random_seed: 1 max_iter: 2'
            f" snapshot_diff: true snapshot_format: {kind}"
        )
        done = small.caffe(("train", "--solver=solver.prototxt"), tmp_path)
        assert done.returncode == 0, done.stderr
    for path in tmp_path.glob("caffe_iter_2.*"):
        (RECORDED / path.name).write_bytes(path.read_bytes())


def contents(data: bytes) -> dict[str, tuple[str, Any]]:
    """The type and the values of every dataset, and the groups."""
    found: dict[str, tuple[str, Any]] = {}

    def add(name: str, item: Any) -> None:
        is_group = isinstance(item, h5py.Group)
        found[name] = ("", None) if is_group else (item.dtype.str, item[()].tolist())

    with h5py.File(BytesIO(data)) as file:
        file.visititems(add)
    return found


def test_caffes_own_files_have_the_numbers_of_its_binary_ones() -> None:
    binary = read_caffemodel(RECORDED / "caffe_iter_2.caffemodel")
    hdf5 = read_caffemodel(RECORDED / "caffe_iter_2.caffemodel.h5")
    blobs = {layer.name: layer.blobs for layer in binary.layer}
    read = {layer.name: layer.blobs for layer in hdf5.layer}
    assert sorted(blobs) == list(read)
    assert [len(read[name]) for name in "abc"] == [2, 0, 2]
    pairs = [("a", 0), ("a", 1), ("c", 1)]
    for name, index in pairs:
        assert blob_array(read[name][index]).any()
        np.testing.assert_array_equal(blob_array(read[name][index]), blob_array(blobs[name][index]))
    state = read_solver_state(RECORDED / "caffe_iter_2.solverstate.h5")
    assert state.learned_net == "caffe_iter_2.caffemodel.h5"
    state.learned_net = "caffe_iter_2.caffemodel"
    assert state == read_solver_state(RECORDED / "caffe_iter_2.solverstate")


def test_our_files_have_what_caffes_have() -> None:
    model = read_caffemodel(RECORDED / "caffe_iter_2.caffemodel")
    theirs = (RECORDED / "caffe_iter_2.caffemodel.h5").read_bytes()
    assert contents(encode_caffemodel(model, "w.h5")) == contents(theirs)
    state = read_solver_state(RECORDED / "caffe_iter_2.solverstate")
    state.learned_net += ".h5"
    theirs = (RECORDED / "caffe_iter_2.solverstate.h5").read_bytes()
    assert contents(encode_solver_state(state, "s.h5")) == contents(theirs)


def file_of(fill: Callable[[Any], None]) -> bytes:
    buffer = BytesIO()
    with h5py.File(buffer, "w") as file:
        fill(file)
    return buffer.getvalue()


# Weights


def test_weights_have_the_layout_of_caffe() -> None:
    data = encode_caffemodel(model(), "w.caffemodel.h5")
    assert data[:9] == b"\x89HDF\r\n\x1a\n\0"  # the superblock of HDF5 1.6 and later
    with h5py.File(BytesIO(data)) as file:
        assert list(file) == ["data"]
        assert {name: list(file["data"][name]) for name in file["data"]} == {
            "in": [],
            "a": ["0", "1"],
            "b": [],  # shared
            "c": ["1"],
        }
        assert file["data/a/0"].dtype == "<f4"
        assert file["data/a/0"].shape == (2, 3)
        np.testing.assert_array_equal(file["data/a/1"], list(model().layer[1].blobs[1].data))


def test_equal_contents_are_equal_bytes() -> None:
    """HDF5 would write the time: its seconds, in 4 bytes."""

    def encode() -> bytes:
        return encode_caffemodel(model(), "w.h5") + encode_solver_state(state(), "s.h5")

    start, data = int(time.time()), encode()
    assert encode() == data
    for second in range(start, int(time.time()) + 1):
        assert second.to_bytes(4, "little") not in data


def test_diffs_are_written_for_every_blob() -> None:
    weights = model()
    for layer in weights.layer:
        for blob in layer.blobs:
            blob.diff.extend([0.5] * len(blob.data))
    with h5py.File(BytesIO(encode_caffemodel(weights, "w.h5"))) as file:
        assert list(file["data/b"]) == []
        assert list(file["diff/b"]) == ["0", "1"]
        assert (file["diff/a/0"][()] == 0.5).all()


def test_doubles_and_integers_are_read() -> None:
    def fill(file: Any) -> None:
        file["data/a/0"] = np.array([[1 / 3] * 3] * 2)
        file["data/a/1"] = np.array([7, 1 << 40])

    blobs = parse_caffemodel(file_of(fill), "w", []).layer[0].blobs
    assert blob_array(blobs[0]).tolist() == [[1 / 3] * 3] * 2
    assert blob_array(blobs[1]).tolist() == [7, 1 << 40]
    assert blob_array(blobs[1]).dtype == np.float32


@pytest.mark.parametrize("behind", [0, 512, 2048])
def test_hdf5_is_known_by_its_contents(behind: int) -> None:
    assert is_hdf5(bytes(behind) + encode_caffemodel(model(), "w.h5"))
    assert not is_hdf5(bytes(7) + encode_caffemodel(model(), "w.h5"))
    assert not is_hdf5(b"")


def test_a_net_takes_shared_blobs_from_their_owner(tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="needs the engine")
    from sqgen import Net

    saved = Net(parse_net(SHARED), seed=1)
    for name in ("w.caffemodel", "w.caffemodel.h5"):
        saved.save(tmp_path / name)
        loaded = Net(parse_net(SHARED), tmp_path / name, seed=2)
        assert loaded.uninitialized == []
        for layer in "abc":
            for ours, theirs in zip(saved.blobs(layer), loaded.blobs(layer), strict=True):
                np.testing.assert_array_equal(ours, theirs)


def without(name: str, index: int) -> bytes:
    data = BytesIO(encode_caffemodel(model(), "w.h5"))
    with h5py.File(data, "r+") as file:
        del file[f"data/{name}/{index}"]
    return data.getvalue()


def one_more() -> bytes:
    data = BytesIO(encode_caffemodel(model(), "w.h5"))
    with h5py.File(data, "r+") as file:
        file["data/c/2"] = np.zeros(2, "f4")
    return data.getvalue()


@pytest.mark.parametrize(
    ("data", "layer"), [(without("a", 0), "a"), (without("c", 1), "c"), (one_more(), "c")]
)
def test_other_numbers_of_blobs_are_refused(data: bytes, layer: str, tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="needs the engine")
    from sqgen import Net

    (tmp_path / "w.h5").write_bytes(data)
    with pytest.raises(NetError, match=f"Incompatible number of blobs for layer {layer}"):
        Net(parse_net(SHARED), tmp_path / "w.h5")


def test_the_runner_matches_shared_blobs() -> None:
    from sqgen.nets.shapes import require_shapes
    from sqgen.weights.match import match_weights

    shapes = require_shapes(parse_net(SHARED), "TEST")
    whole = parse_caffemodel(encode_caffemodel(model(), "w.h5"), "w", [])
    assert match_weights(shapes, [("w", whole)]).matched == ["a", "b", "c"]
    cut = parse_caffemodel(without("c", 1), "w", [])
    with pytest.raises(NetError, match="layer 'c' has 0 blobs there and 2 in the net"):
        match_weights(shapes, [("w", cut)])


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["fire2/expand1x1"], "the layer name 'fire2/expand1x1' has a /"),
        (["a", "a"], "two layers have the name 'a'"),
        ([""], "the layer name '' can't be that of a group"),
        (["."], "the layer name '.' can't be that of a group"),
    ],
)
def test_names_that_hdf5_can_not_have(names: list[str], message: str) -> None:
    """BVLC/caffe#4267 and #2885: Caffe dies at the first snapshot."""
    weights = NetParameter()
    for name in names:
        weights.layer.add(name=name)
    with pytest.raises(FormatError, match=rf"^w\.h5: {message}.*; write a \.caffemodel"):
        encode_caffemodel(weights, "w.h5")


def test_a_gap_has_no_binary_form() -> None:
    read = parse_caffemodel(encode_caffemodel(model(), "w.h5"), "w", [])
    with pytest.raises(FormatError, match=r"^w: a blob that layers share is in HDF5 once"):
        encode_caffemodel(read, "w")


def test_commands_read_and_write_hdf5(sqgen: Run, tmp_path: Path) -> None:
    net = INPUT + ip("a")
    (tmp_path / "net.prototxt").write_text(net)
    (tmp_path / "w.caffemodel").write_bytes(model(net).SerializeToString())
    assert sqgen("upgrade", "w.caffemodel", "-o", "w.caffemodel.h5").returncode == 0
    assert is_hdf5((tmp_path / "w.caffemodel.h5").read_bytes())
    shown = sqgen("weights", "show", "w.caffemodel.h5")
    assert (shown.returncode, "1 layers with 2 blobs: 8 parameters" in shown.stdout) == (0, True)
    assert sqgen("weights", "diff", "w.caffemodel", "w.caffemodel.h5").returncode == 0
    assert sqgen("upgrade", "w.caffemodel.h5", "-o", "back.caffemodel").returncode == 0
    assert sqgen("weights", "diff", "w.caffemodel", "back.caffemodel").returncode == 0
    given = ("--net", "net.prototxt", "-o")
    assert sqgen("compress", "encode", "w.caffemodel.h5", *given, "w.sqz").returncode == 0
    assert sqgen("compress", "decode", "w.sqz", *given, "small.caffemodel.h5").returncode == 0
    assert sqgen("weights", "diff", "w.caffemodel", "small.caffemodel.h5").returncode == 0
    mapped = ("weights", "map", "w.caffemodel.h5", "m.caffemodel.h5", "--to", "net.prototxt")
    refused = sqgen(*mapped)
    assert refused.returncode == 2
    assert "give the net they were trained with: --from NET" in refused.stderr
    assert sqgen(*mapped, "--from", "net.prototxt", "--no-proof").returncode == 0
    assert is_hdf5((tmp_path / "m.caffemodel.h5").read_bytes())


# Solver states


def state() -> SolverState:
    made = SolverState(iter=7, current_step=2, learned_net="s_iter_7.caffemodel.h5")
    fill_blob(made.history.add(), np.arange(6, dtype="f4").reshape(2, 3))
    fill_blob(made.history.add(), np.arange(2, dtype="f4"))
    return made


def test_a_solver_state_has_the_layout_of_caffe() -> None:
    data = encode_solver_state(state(), "s.solverstate.h5")
    assert parse_solver_state(data, "s") == state()
    bare = SolverState(iter=1, history=state().history)
    assert parse_solver_state(encode_solver_state(bare, "s.h5"), "s").learned_net == ""
    bare.learned_net = "modèle_iter_1.caffemodel.h5"
    assert parse_solver_state(encode_solver_state(bare, "s.h5"), "s").learned_net[3] == "è"
    with h5py.File(BytesIO(data)) as file:
        assert sorted(file) == ["current_step", "history", "iter", "learned_net"]
        assert (file["iter"].shape, file["iter"].dtype) == ((1,), np.dtype("<i4"))
        kind = file["learned_net"].id.get_type()
        # hdf5_load_string needs a null at the end.
        assert (kind.get_size(), kind.get_strpad()) == (23, h5py.h5t.STR_NULLTERM)
        assert file["learned_net"].shape == ()
        assert list(file["history"]) == ["0", "1"]


SOLVER = (
    'net: "net.prototxt" snapshot_prefix: "s" solver_mode: CPU base_lr: 0.01 lr_policy: "fixed"'
    ' momentum: 0.9 type: "Adam" display: 1 random_seed: 3 snapshot_format: HDF5 snapshot: 5'
    " max_iter: 10 "
)
FIFTH = ("s_iter_5.caffemodel.h5", "s_iter_5.solverstate.h5", "s_iter_5.sqgenstate")
TENTH = ("s_iter_10.caffemodel.h5", "s_iter_10.solverstate.h5")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a training of ten iterations that wrote two snapshots."""
    folder = tmp_path_factory.mktemp("hdf5")
    small.write_data(folder)
    text = small.net(inputs=small.data("TRAIN", 7, small.RANDOM), scores=small.loss())
    place = small.make_run(folder, "run", text, SOLVER)
    done = train(place)
    assert done.returncode == 0, done.stderr
    assert "solver.cpp:474] Snapshotting to HDF5 file s_iter_5.caffemodel.h5\n" in done.stderr
    assert (
        "sgd_solver.cpp:296] Snapshotting solver state to HDF5 file s_iter_10.solverstate.h5\n"
        in done.stderr
    )
    return place


def train(place: Path, *flags: str) -> subprocess.CompletedProcess[str]:
    pytest.importorskip("torch", reason="needs the engine")
    arguments = ("train", "--solver=solver.prototxt", *flags)
    done = engine_server.run("sqgen.engine", arguments, cwd=place)
    return subprocess.CompletedProcess(done.args, done.returncode, "", done.stderr.decode())


def copy(trained: Path, to: Path, names: Iterable[str]) -> Path:
    """A folder beside the data with the net, the solver and some snapshots."""
    to = trained.parent / to.name
    to.mkdir()
    for name in ("net.prototxt", "solver.prototxt", *names):
        (to / name).write_bytes((trained / name).read_bytes())
    return to


def test_a_resume_is_exact(trained: Path, tmp_path: Path) -> None:
    place = copy(trained, tmp_path, FIFTH)
    done = train(place, "--snapshot=s_iter_5.solverstate.h5")
    assert "Resuming exactly" in done.stderr
    for name in TENTH:
        assert (place / name).read_bytes() == (trained / name).read_bytes()


def test_the_newest_snapshot_may_be_hdf5(trained: Path) -> None:
    found = newest_snapshot(str(trained / "s"))
    assert found is not None
    assert (Path(found.path).name, found.iteration, found.remarks) == (TENTH[1], 10, [])


@pytest.mark.parametrize("name", ["s_iter_5.solverstate", "s_iter_5.solverstate.h5"])
def test_a_file_beside_resume(name: str, sqgen: Run) -> None:
    done = sqgen("train", "--solver", "solver.prototxt", "--resume", name)
    assert done.returncode == 2
    assert done.stderr == (
        f"sqgen: unexpected '{name}'; --snapshot FILE resumes from a file, --resume from the newest"
        " snapshot\n"
    )


def test_weights_of_another_run_are_refused(trained: Path, tmp_path: Path) -> None:
    place = copy(trained, tmp_path, FIFTH)
    (place / FIFTH[0]).write_bytes((trained / TENTH[0]).read_bytes())
    done = train(place, "--snapshot=s_iter_5.solverstate.h5")
    assert (
        done.returncode,
        "another run with this snapshot_prefix has replaced" in done.stderr,
    ) == (2, True)


def test_names_are_checked_before_the_training(trained: Path, tmp_path: Path, sqgen: Run) -> None:
    place = copy(trained, tmp_path, ())
    net = (place / "net.prototxt").read_text().replace('"conv1"', '"conv1/3x3"')
    (place / "net.prototxt").write_text(net)
    done = train(place)
    message = "the layer name 'conv1/3x3' has a /, which separates groups in HDF5"
    assert (done.returncode, f"snapshot_format HDF5: {message}" in done.stderr) == (2, True)
    assert "Iteration 0" not in done.stderr
    solver = f"--solver={place / 'solver.prototxt'}"
    net = net.replace("../data", str(trained.parent / "data"))
    (place / "net.prototxt").write_text(net)
    refused = sqgen("train", solver)
    assert (refused.returncode, f"snapshot_format HDF5: {message}" in refused.stderr) == (2, True)


@pytest.mark.parametrize("first", ["caffe", "engine"])
def test_caffe_and_the_engine_read_each_other(first: str, trained: Path, tmp_path: Path) -> None:
    place = copy(trained, tmp_path, FIFTH[:2])
    text = (place / "net.prototxt").read_text().replace("mirror: true crop_size: 9", "")
    (place / "net.prototxt").write_text(text)
    if first == "caffe":
        made = small.caffe(("train", "--solver=solver.prototxt"), place)
    else:
        made = train(place)
    assert made.returncode == 0, made.stderr
    (place / FIFTH[2]).unlink(missing_ok=True)
    theirs = small.caffe(("train", "--solver=solver.prototxt", f"--snapshot={FIFTH[1]}"), place)
    assert theirs.returncode == 0, theirs.stderr
    wanted = {name: small.weights(place / name) for name in TENTH[:1]}
    history = small.flat(map(blob_array, read_solver_state(place / TENTH[1]).history))
    ours = train(place, f"--snapshot={FIFTH[1]}")
    assert ours.returncode == 0, ours.stderr
    for name, layers in wanted.items():
        for layer, blobs in small.weights(place / name).items():
            for blob, other in zip(blobs, layers[layer], strict=True):
                np.testing.assert_allclose(blob, other, rtol=1e-3, atol=1e-6)
    made_history = small.flat(map(blob_array, read_solver_state(place / TENTH[1]).history))
    np.testing.assert_allclose(made_history, history, rtol=1e-2, atol=1e-6)


# Other files


def empty_history(file: Any) -> None:
    file.create_group("history")
    file["iter"] = np.array([1], "i4")


OTHERS: dict[str, tuple[Callable[[Any], None], str, str]] = {
    "nothing": (
        lambda file: None,
        "has no group 'data' of weights",
        "has no group 'history'",
    ),
    "data of a layer": (
        lambda file: file.create_dataset("data", data=np.zeros((3, 2))),
        "has no group 'data' of weights",
        "has no group 'history'",
    ),
    "weights": (
        lambda file: file.create_dataset("data/a/0", data=np.zeros(2)),
        "",
        "is a .caffemodel.h5; --snapshot takes the .solverstate.h5",
    ),
    "a state without current_step": (
        empty_history,
        "is a solver state, not weights",
        "Failed to find HDF5 dataset current_step",
    ),
    "Keras": (
        lambda file: file.create_dataset("data/a/kernel", data=np.zeros(2)),
        "data/a has 'kernel', where Caffe has blobs 0, 1, ...",
        "is a .caffemodel.h5",
    ),
    "slashes": (
        lambda file: file.create_dataset("data/fire2/squeeze1x1/0", data=np.zeros(2)),
        "data/fire2 has 'squeeze1x1', where Caffe has blobs",
        "is a .caffemodel.h5",
    ),
    "a string": (
        lambda file: file.create_dataset("data/a/0", data="words"),
        "dataset data/a/0: Unsupported datatype class: H5T_STRING",
        "is a .caffemodel.h5",
    ),
    "booleans": (
        lambda file: file.create_dataset("data/a/0", data=np.zeros(2, bool)),
        "dataset data/a/0: Unsupported datatype class: H5T_ENUM",
        "is a .caffemodel.h5",
    ),
    "never written": (
        lambda file: file.create_dataset("data/a/0", (1 << 40,), "f4", chunks=(1 << 20,)),
        "dataset data/a/0 is not wholly in the file",
        "is a .caffemodel.h5",
    ),
    "a name that is not UTF-8": (
        lambda file: h5py.h5g.create(file.create_group("data").id, b"a\xff"),
        "a name in data is not UTF-8",
        "is a .caffemodel.h5",
    ),
}


@pytest.mark.parametrize("name", OTHERS)
def test_other_files_are_refused_in_one_line(name: str) -> None:
    fill, as_weights, as_state = OTHERS[name]
    data = file_of(fill)
    parsers: dict[str, Callable[[], object]] = {
        as_weights: lambda: parse_caffemodel(data, "w", []),
        as_state: lambda: parse_solver_state(data, "w"),
    }
    for message, parse in parsers.items():
        if not message:
            parse()
            continue
        with pytest.raises(FormatError) as refused:
            parse()
        assert str(refused.value).startswith(f"w: {message}")
        assert str(refused.value).isprintable()


def test_the_file_itself_can_be_missing(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match=r"gone\.h5: no such file or directory; check the name"):
        read_caffemodel(tmp_path / "gone.h5")


def test_a_missing_h5py_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    data = encode_caffemodel(model(), "w.h5")
    monkeypatch.setitem(sys.modules, "h5py", None)
    wanted = r"^HDF5 needs h5py: pip install 'sqgen\[hdf5\]' brings it$"
    with pytest.raises(MissingExtraError, match=wanted):
        parse_caffemodel(data, "w", [])
    with pytest.raises(MissingExtraError, match=wanted):
        encode_solver_state(state(), "s.solverstate.h5")


DAMAGE = """
import random, sys
from sqgen import FormatError
from sqgen.formats.caffemodel import parse_caffemodel, parse_solver_state

refused = 0
for name, parse in (("w", lambda data: parse_caffemodel(data, "x", [])),
                    ("s", lambda data: parse_solver_state(data, "x"))):
    whole = open(name, "rb").read()
    for seed in range(250):
        random.seed(seed)
        data = bytearray(whole)
        if seed % 5 == 0:
            del data[random.randrange(len(data)):]
        for _ in range(seed % 5):
            at = random.randrange(len(data))
            data[at:at + 4] = random.choice([bytes(4), b"\\xff" * 4, random.randbytes(1)])
        try:
            parse(bytes(data))
        except FormatError as error:
            refused += 1
            assert str(error).startswith("x: ") and str(error).isprintable(), str(error)
print(refused)
"""


@pytest.mark.process
def test_damage_is_one_line_or_harmless(tmp_path: Path) -> None:
    """In a process of its own: HDF5 is C, and might end it."""
    (tmp_path / "w").write_bytes(encode_caffemodel(model(), "w.h5"))
    (tmp_path / "s").write_bytes(encode_solver_state(state(), "s.h5"))
    assert int(run_alone(DAMAGE, tmp_path)) > 200
