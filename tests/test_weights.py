"""`sqgen weights show` and `diff`: numbers against NumPy's, and reports of unusual files."""

from __future__ import annotations

import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from sqgen import Design, SqgenError, build, parse_net, summary
from sqgen.formats import caffemodel, prototxt
from sqgen.formats.caffemodel import fill_blob, read_caffemodel, same_blob_shape
from sqgen.formats.schema import BlobProto, NetParameter, SolverState
from sqgen.weights.statistics import blob_statistics, compare, model_statistics

from .conftest import DATA, Run
from .small_nets import conv, layer, net_input, random_model, save

Array = np.ndarray[Any, Any]
SMALL = Design(base_e=8, incr_e=4, fire_modules=2, size=32, classes=5, batch_norm=True)

TINY = net_input() + conv("a", "data", 4, 3) + layer("BatchNorm", "n", "a")
WHOLE = random_model(TINY).SerializeToString()

FLOATS = arrays.arrays(
    st.sampled_from([np.float32, np.float64]),
    arrays.array_shapes(min_dims=0, max_dims=4, max_side=4),
    elements=st.floats(-1e6, 1e6, width=32) | st.sampled_from([0.0, -0.0, np.nan, np.inf, -np.inf]),
)


def model_of(*layers: tuple[str, list[Array]], kind: str = "Convolution") -> Any:
    """A NetParameter of names and arrays."""
    model = NetParameter(name="m")
    for name, blobs in layers:
        written = model.layer.add(name=name, type=kind)
        for blob in blobs:
            fill_blob(written.blobs.add(), blob)
    return model


@pytest.mark.parametrize("part", [7, 1 << 26])
@pytest.mark.parametrize("kind", ["f4", "f8", ">f4", "f2", "i8"])
@pytest.mark.parametrize("size", [0, 1, 31, 32, 5000])
def test_blobs_are_filled_as_protobuf_does(
    size: int, kind: str, part: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the parts, whose lengths take one, two and three bytes."""
    monkeypatch.setattr(caffemodel, "_CHUNK", part)
    array = np.random.default_rng(size).normal(0, 9, (2, size)).astype(kind).T
    made, expected = BlobProto(), BlobProto()
    fill_blob(made, array, 2 * array)
    expected.shape.dim.extend(array.shape)
    double = "double_" if kind == "f8" else ""
    getattr(expected, f"{double}data").extend(array.reshape(-1).tolist())
    getattr(expected, f"{double}diff").extend((2 * array).reshape(-1).tolist())
    assert made == expected
    assert made.SerializeToString() == expected.SerializeToString()


@given(FLOATS)
def test_statistics_are_numpys(array: Array) -> None:
    """Of the finite elements; the others are counted."""
    blob = model_of(("a", [array])).layer[0].blobs[0]
    found = blob_statistics(blob)
    finite = array[np.isfinite(array)].astype(np.float64)
    assert found.shape == array.shape
    assert (found.elements, found.bytes) == (array.size, array.nbytes)
    assert found.zeros == array.size - np.count_nonzero(array)
    assert found.not_finite == array.size - len(finite)
    if len(finite):
        numbers = (found.minimum, found.maximum, found.mean, found.std)
        expected = (finite.min(), finite.max(), finite.mean(), finite.std())
        assert numbers == pytest.approx(expected, rel=1e-12)
    else:
        assert found.minimum is None
        assert found.std is None
    assert ("not finite" in found.flags) == (found.not_finite > 0)
    assert ("all zero" in found.flags) == (not array.any())


def test_a_signalling_nan_is_a_nan() -> None:
    model = model_of(("a", [np.zeros(1, np.float32)]))
    damaged = NetParameter.FromString(
        model.SerializeToString().replace(b"\0\0\0\0", b"\x01\0\x80\x7f")
    )
    assert blob_statistics(damaged.layer[0].blobs[0]).not_finite == 1
    assert compare(damaged, damaged)[0].status == "equal"


def test_doubles_whose_sum_overflows() -> None:
    blob = model_of(("a", [np.array([1e308, 1e308, -1e308])])).layer[0].blobs[0]
    found = blob_statistics(blob)
    assert (found.minimum, found.maximum, found.std) == (-1e308, 1e308, None)


def test_sums_are_those_of_the_net(sqgen: Run, tmp_path: Path) -> None:
    text = build(SMALL, "deploy")
    save(random_model(text), tmp_path / "w.caffemodel")
    totals = summary(parse_net(text)).totals
    done = sqgen("weights", "show", "w.caffemodel")
    assert done.returncode == 0
    assert f" {totals.parameters:,} parameters and {totals.statistics:,} statistics" in done.stdout
    shown = json.loads(sqgen("weights", "show", "w.caffemodel", "--json").stdout)
    assert shown["format"] == 1
    assert shown["totals"]["bytes"] == totals.weight_bytes
    first = shown["layers"][0]["blobs"][0]
    assert (first["shape"], first["sparsity"], first["flags"]) == ([64, 3, 3, 3], 0.0, [])


def test_what_layers_share_counts_once() -> None:
    model = model_of(("a", [np.ones((2, 3), np.float32)]), ("b", [np.ones((2, 3), np.float32)]))
    for written in model.layer:
        written.param.add(name="shared")
    assert model_statistics(model)[1].parameters == 6
    model.layer[1].param[0].name = ""
    assert model_statistics(model)[1].parameters == 12


def test_odd_blobs_are_flagged_and_spoil_nothing(sqgen: Run) -> None:
    values = np.array([1, 3, np.nan, -np.inf], np.float32)
    model = model_of(("odd", [values, np.zeros(2, np.float32)]), ("dead", [values * np.nan]))
    done = sqgen("weights", "show", "-", stdin=bytes(model.SerializeToString()))
    assert done.returncode == 0
    rows = [line.split() for line in done.stdout.splitlines()]
    assert rows[1] == "odd Convolution 0 4 4 16 1 3 2 1 2 not finite".split()
    assert rows[2] == "1 2 2 8 0 0 0 0 100.0% all zero".split()
    assert rows[3] == "dead Convolution 0 4 4 16 4 not finite".split()
    assert done.stdout.splitlines()[-1].endswith("20.0% zeros, 6 not finite")


def test_old_files(sqgen: Run, tmp_path: Path) -> None:
    """V1 layers and blobs of four axes."""
    old = NetParameter()
    prototxt.parse((DATA / "upgrade" / "v1.old.prototxt").read_text(), old, "v1")
    blob = next(v1 for v1 in old.layers if v1.name == "conv1").blobs.add(num=6, width=2)
    blob.channels = blob.height = 1
    blob.data.extend(range(12))
    path = save(old, tmp_path / "old.caffemodel")
    shown = json.loads(sqgen("weights", "show", path, "--json").stdout)
    first = shown["layers"][0]
    assert (first["name"], first["type"]) == ("conv1", "Convolution")
    assert first["blobs"][0]["shape"] == [6, 1, 1, 2]
    assert first["blobs"][0]["mean"] == 5.5


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "is empty"),
        (b"\xff" * 50, "is not a .caffemodel"),
        (SolverState(iter=3, learned_net="x").SerializeToString(), "is a solver state"),
        (
            model_of(("a", [np.ones(9, np.float32)])).SerializeToString()[:-3],
            "is not a .caffemodel, or is",
        ),
    ],
)
def test_other_files_get_one_line(data: bytes, message: str, sqgen: Run) -> None:
    done = sqgen("weights", "show", "-", stdin=data)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert f"standard input: {message}" in done.stderr


@given(st.integers(0, len(WHOLE)), st.binary(min_size=1, max_size=9))
def test_damaged_files_never_raise_anything_else(start: int, piece: bytes) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "w"
        path.write_bytes(WHOLE[:start] + piece + WHOLE[start + len(piece) :])
        try:
            model_statistics(read_caffemodel(path))
        except SqgenError as error:
            assert str(error).isprintable()


# Diff


@given(FLOATS, FLOATS, st.floats(0, 10))
def test_diff_is_symmetrical(one: Array, other: Array, tolerance: float) -> None:
    a = model_of(("x", [one]), ("a", [one]))
    b = model_of(("x", [other]), ("b", [other]))
    there, back = (compare(*pair, tolerance) for pair in ((a, b), (b, a)))
    swapped = {"only in A": "only in B", "only in B": "only in A"}
    assert sorted((r.name, swapped.get(r.status, r.status), r.absolute) for r in back) == sorted(
        (r.name, r.status, r.absolute) for r in there
    )
    assert [r.status for r in compare(a, a)] == ["equal", "equal"]
    if one.shape == other.shape and np.isfinite(one).all() and np.isfinite(other).all():
        apart = float(np.abs(one.astype(np.float64) - other.astype(np.float64)).max())
        assert there[0].absolute == apart
        assert (there[0].status == "different") == (apart > tolerance)


def test_diff_tells_layer_by_layer(sqgen: Run, tmp_path: Path) -> None:
    ones = np.ones((2, 2), np.float32)
    a = model_of(("same", [ones]), ("near", [2 * ones]), ("gone", [ones]), ("s", [ones]))
    b = model_of(("same", [ones]), ("near", [2.5 * ones]), ("s", [ones[0]]), ("new", [ones]))
    save(a, tmp_path / "a")
    save(b, tmp_path / "b")
    done = sqgen("weights", "diff", "a", "b")
    assert done.returncode == 1
    assert [" ".join(line.split()) for line in done.stdout.splitlines()] == [
        "layer largest difference relative",
        "same equal",
        "near different 0.5 0.25",
        "gone only in A",
        "s other shapes: 2x2 against 2",
        "new only in B",
        "4 of 5 layers differ",
    ]
    shown = json.loads(sqgen("weights", "diff", "a", "b", "--json", "--tolerance", "1").stdout)
    assert (shown["same"], shown["tolerance"]) == (False, 1.0)
    assert shown["layers"][1]["status"] == "within tolerance"
    assert shown["layers"][3]["shapes"] == [[[2, 2]], [[2]]]
    same = sqgen("weights", "diff", "a", "a")
    assert (same.returncode, same.stdout.splitlines()[-1]) == (0, "no differences")


def test_diff_within_a_tolerance(sqgen: Run, tmp_path: Path) -> None:
    save(model_of(("a", [np.array([1.0, 2.0])])), tmp_path / "a")
    save(model_of(("a", [np.array([1.0, 2.25])])), tmp_path / "b")
    assert sqgen("weights", "diff", "a", "b", "--tolerance", "0.25").returncode == 0
    assert sqgen("weights", "diff", "a", "b", "--tolerance", "0.24").returncode == 1
    for wrong in ("-1", "nan", "inf", "x"):
        done = sqgen("weights", "diff", "a", "b", "--tolerance", wrong)
        assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "can be read once" in sqgen("weights", "diff", "-", "-").stderr


def test_a_nan_against_a_number_differs_without_end(sqgen: Run, tmp_path: Path) -> None:
    save(model_of(("a", [np.array([1.0, np.nan])])), tmp_path / "a")
    save(model_of(("a", [np.array([1.0, 2.0])])), tmp_path / "b")
    done = sqgen("weights", "diff", "a", "b", "--tolerance", "9", "--json")
    assert done.returncode == 1
    assert json.loads(done.stdout)["layers"][0]["absolute"] == "inf"
    assert sqgen("weights", "diff", "a", "a").returncode == 0


def test_a_scalar_blob_has_its_shape() -> None:
    """A slope that channels share: no axes, where old files have four (Blob::ShapeEquals)."""
    scalar = model_of(("p", [np.float32(0.25) * np.ones((), np.float32)]))
    assert [r.status for r in compare(scalar, scalar)] == ["equal"]
    assert same_blob_shape(scalar.layer[0].blobs[0], ())


def test_old_and_new_shapes_are_compared() -> None:
    new, old = model_of(("a", [np.arange(3, dtype=np.float32)])), model_of(("a", []))
    blob = old.layer[0].blobs.add(num=1, channels=1, height=1, width=3)
    blob.data.extend(range(3))
    assert [r.status for r in compare(new, old) + compare(old, new)] == ["equal", "equal"]


def test_layers_of_one_name_go_in_order() -> None:
    a = model_of(("x", [np.zeros(1)]), ("x", [np.ones(1)]))
    b = model_of(("x", [np.zeros(1)]), ("x", [np.zeros(1)]))
    assert [(r.name, r.status) for r in compare(a, b)] == [
        ("x", "equal"),
        ("x (number 2)", "different"),
    ]
