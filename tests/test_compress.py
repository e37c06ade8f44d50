"""`sqgen compress`: encoding and decoding of both layouts, and what stays exact."""

from __future__ import annotations

import json
import shutil
import struct
import subprocess
import sys
from collections.abc import Callable, Sequence
from fnmatch import fnmatchcase
from itertools import chain, combinations, pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sqgen import DesignError, NetError, build, parse_net, preset
from sqgen.compress import sqz_file
from sqgen.compress.bits_file import BitsFile, format_bits_file, pattern_of, read_bits
from sqgen.compress.encoding import Compressed, Settings, decode, encode, read_compressed
from sqgen.compress.prune import PAPER_RULES, DensityRule, find_density, prune
from sqgen.compress.rounding import round_filters
from sqgen.compress.sharing import SortedWeights, entropy_constrained, k_means
from sqgen.compress.weighted_layers import find_weighted_layers, to_model
from sqgen.formats.caffemodel import read_caffemodel
from sqgen.formats.schema import PHASES
from sqgen.nets.definition import NetDefinition
from sqgen.text import bytes_text

from .conftest import Run
from .small_compress import ALL, CONV, INPUT, SMALL, arrays, assert_same, model_of

# The published file


@pytest.fixture(scope="session")
def published(shared: Path) -> tuple[NetDefinition, Any, bytes]:
    """The net, the decoded weights, and the bytes of the file."""
    net = parse_net(build(preset("deep-compression"), "deploy"))
    path = shared / "imagenet_sample" / "compressed_SqueezeNet.net"
    return net, read_compressed(path, net), path.read_bytes()


def test_recorded_counts(published: tuple[NetDefinition, Any, bytes]) -> None:
    net, model, data = published
    counts = np.frombuffer(data, "<u4", 26)
    weights = [blobs[0] for blobs in arrays(model).values()]
    nonzero = sum(map(np.count_nonzero, weights))
    assert counts.sum() == 422_083
    assert nonzero == 415_921
    assert counts.sum() - nonzero == 6_162
    assert sum(array.size for array in weights) == 1_244_448
    assert list(arrays(model)) == [slot.name for slot in find_weighted_layers(net)]


def test_into_the_names_of_another_net(published: tuple[NetDefinition, Any, bytes]) -> None:
    _, model, data = published
    other = parse_net(build(preset("v1.0"), "trainval"))
    renamed = arrays(decode(data, other, "x.net"))
    assert list(renamed)[1] == "fire2/squeeze1x1"
    for a, b in zip(renamed.values(), arrays(model).values(), strict=True):
        np.testing.assert_array_equal(a[0], b[0])


def test_published_file_there_and_back(published: tuple[NetDefinition, Any, bytes]) -> None:
    """Equal but for the order of the codebooks, which is no particular one there, and their
    codes: as long, the same counts, biases and gaps."""
    net, model, data = published
    made = encode(model, net, Settings("net"))
    assert len(made.bytes) == len(data) == 675_763
    assert made.bytes[:104] == data[:104]
    assert_same(decode(made.bytes, net, "x.net"), model)
    at = 104
    for layer, entries in zip(
        find_weighted_layers(net), np.frombuffer(data, "<u4", 26), strict=True
    ):
        # Codebook and biases in 4 bytes, codes in 8 bits, gaps in 4.
        count = int(entries)
        end = at + 4 * (256 + layer.shapes[1][0]) + count + (count + 1) // 2
        books = [np.frombuffer(x, "<f4", 256, at) for x in (made.bytes, data)]
        np.testing.assert_array_equal(books[0], [0, *np.sort(books[1][1:])])
        codes = slice(at + 1024 + 4 * layer.shapes[1][0], end - (count + 1) // 2)
        for part in (slice(at + 1024, codes.start), slice(codes.stop, end)):
            assert made.bytes[part] == data[part]
        at = end


@pytest.mark.parametrize(
    ("wanted", "most"),
    [
        (Settings(), 565_000),
        (Settings(huffman=False), 585_000),
        (Settings(size=430_000), 430_000),
    ],
)
def test_sizes(wanted: Settings, most: int, published: tuple[NetDefinition, Any, bytes]) -> None:
    net, model, _ = published
    made = encode(model, net, wanted)
    assert len(made.bytes) <= most
    assert_same(decode(made.bytes, net, "x.sqz"), made.model)
    if wanted.bits == 8 and not wanted.size:
        assert_same(made.model, model)
    assert sum(row.bytes for row in made.layers) + 40 == len(made.bytes)
    assert made.float_bytes == 4 * 1_248_424
    for row in made.layers:
        assert row.error < 0.05


# Any net


@pytest.mark.parametrize("bits", [2, 5, 8])
@pytest.mark.parametrize("density", [1.0, 0.5, 0.03])
@pytest.mark.parametrize("huffman", [True, False])
def test_every_type_comes_back(bits: int, density: float, huffman: bool) -> None:
    net, model = model_of(ALL, density=density)
    made = encode(model, net, Settings(bits=bits, huffman=huffman))
    assert_same(decode(made.bytes, net, "x.sqz"), made.model)
    old, new = arrays(model), arrays(made.model)
    assert len({blob.shape for blobs in new.values() for blob in blobs}) > 4
    for row in made.layers:
        first = new[row.layer][0]
        np.testing.assert_array_equal(first != 0, old[row.layer][0] != 0)
        for a, b in zip(old[row.layer][1:], new[row.layer][1:], strict=True):
            np.testing.assert_array_equal(a, b)
        if row.type in ("Convolution", "InnerProduct"):
            assert len(np.unique(first)) <= 1 << bits
            change = float(np.linalg.norm(first - old[row.layer][0]))
            norm = float(np.linalg.norm(old[row.layer][0]))
            assert row.error * norm == pytest.approx(change, rel=1e-5, abs=1e-7)
        else:
            assert row.error == 0
            assert row.bits == 32


SPARSE = st.lists(st.sampled_from([0, 1, 14, 15, 16, 17, 31, 32, 33, 254, 255, 256]), max_size=6)


@given(SPARSE, st.integers(0, 40), st.booleans())
@settings(max_examples=60)
def test_any_pattern_of_zeros(zeros: list[int], tail: int, huffman: bool) -> None:
    """Weights wherever they are, in both layouts: first, last, or none at all."""
    flat = np.zeros(sum(zeros) + len(zeros) + tail + 1, np.float32)
    flat[np.cumsum(np.array(zeros, int) + 1) - 1] = np.arange(len(zeros)) % 3 + 1
    net = parse_net(
        'layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 1 dim: '
        + f"{flat.size} }} }} }}\n"
        + 'layer { name: "fc" type: "InnerProduct" bottom: "data" top: "fc"'
        + " inner_product_param { num_output: 1 } }"
    )
    model = to_model(net, find_weighted_layers(net), [[flat[None], np.zeros(1, np.float32)]])
    for wanted in (Settings("net"), Settings(huffman=huffman)):
        assert_same(decode(encode(model, net, wanted).bytes, net, "x"), model)


@pytest.mark.parametrize(
    "values",
    [
        (1, np.nextafter(np.float32(1), 2), 2),
        (-1, -np.nextafter(np.float32(1), 2), np.nextafter(np.float32(-1), 0)),
        (2e38, 3e38, -3e38),
        (1e-45, 3e-45, -1e-45),
    ],
)
@pytest.mark.parametrize("layout", ["net", "sqz"])
def test_neighbouring_floats_are_told_apart(layout: str, values: tuple[float, ...]) -> None:
    """Their mean is one of them, or no float32: what is nearest to it says nothing."""
    net, model = model_of(SMALL)
    blobs = [*arrays(model).values()]
    for index, weights in enumerate(blobs):
        weights[0] = np.resize(np.array([*values, 0], np.float32), blobs[index][0].shape)
        weights[1] = np.resize(np.array(values, np.float32), blobs[index][1].shape)
    model = to_model(net, find_weighted_layers(net), blobs)
    assert_same(decode(encode(model, net, Settings(layout)).bytes, net, "x"), model)


def test_layout_of_inner_products() -> None:
    """Four-bit codes, the low nibble first, two an entry; an odd number leaves four bits over."""
    net, model = model_of(SMALL)
    weights = np.zeros((5, 150), np.float32)
    weights[0, [0, 16, 33]] = [2, 1, 2]  # gaps of 0, 15 and 16: one filler
    blobs = [*arrays(model).values()]
    model = to_model(
        net, find_weighted_layers(net), [blobs[0], [weights, np.arange(5, dtype=np.float32)]]
    )
    data = encode(model, net, Settings("net")).bytes
    assert struct.unpack_from("<2I", data) == (108, 4)
    codebook = struct.pack("<16f", 0, 1, 2, *[0] * 13)
    biases = struct.pack("<5f", *range(5))
    assert data.endswith(codebook + biases + bytes([0x12, 0x20]) + bytes([0xF0, 0x0F]))


def test_density() -> None:
    net, model = model_of(ALL)
    made = encode(model, net, Settings(density=(DensityRule("conv", 0.25), DensityRule("*", 0.5))))
    kept = {row.layer: row.density for row in made.layers if row.density < 1}
    assert kept == {"conv": 0.25, "bare": 0.5, "turned": 0.5}
    new, old = arrays(made.model)["conv"][0], arrays(model)["conv"][0]
    assert np.abs(old[new == 0]).max() <= np.abs(old[new != 0]).min()


@given(st.lists(st.sampled_from([0.0, 1, -1, 2, -2.5]), max_size=30), st.floats(0, 1))
def test_pruning(weights: list[float], density: float) -> None:
    array = np.array(weights, np.float32)
    kept = prune(array, density)
    assert np.count_nonzero(kept) == min(round(density * array.size), np.count_nonzero(array))
    assert set(kept) <= {0, *array}


def test_densities_of_the_paper() -> None:
    wanted = {
        "fire2/expand3x3": 0.33,
        "fire6/expand1x1": 0.5,
        "fire7/squeeze1x1": 0.5,
        "fire9/conv3x3_2": 0.3,
        "conv10": 0.2,
        "conv1": None,
        "fire7/expand1x1": None,
    }
    assert {name: find_density(name, PAPER_RULES) for name in wanted} == wanted


def test_other_bits_for_some() -> None:
    net, model = model_of(SMALL)
    made = encode(model, net, Settings(bits=3, bits_for=(("f*", 5),)))
    assert [row.bits for row in made.layers] == [3, 5]


# Sharing


def nearest(weights: np.ndarray, values: np.ndarray) -> np.ndarray:
    """The nearest of increasing values for each weight."""
    middles = (values[1:].astype(np.float64) + values[:-1]) / 2
    result: np.ndarray = values[middles.searchsorted(weights)]
    return result


@given(st.lists(st.integers(-20, 20), min_size=1, max_size=9), st.integers(1, 4))
def test_k_means_is_exact(numbers: list[int], count: int) -> None:
    """No way of cutting the sorted weights into intervals has a smaller error."""
    weights = np.sort(np.array(numbers, np.float32))
    values = k_means(weights, count)
    assert len(values) <= count
    made = float(np.square(nearest(weights, values) - weights).sum())

    def best(rest: np.ndarray, left: int) -> float:
        whole = float(np.square(rest - rest.mean()).sum()) if len(rest) else 0.0
        if left == 1:
            return whole
        cuts = range(1, len(rest))
        return min([whole, *(best(rest[:i], 1) + best(rest[i:], left - 1) for i in cuts)])

    assert made == pytest.approx(best(weights.astype(np.float64), count), abs=1e-3)


@pytest.mark.parametrize("count", [3, 15, 63, 255])
def test_k_means_of_many_values(count: int) -> None:
    """At least as good as a quantizer of many levels in theory (Panter and Dite 1951)."""
    weights = np.random.default_rng(2).laplace(0, 1, 50_000).astype(np.float32)
    values = k_means(weights, count)
    error = np.square(nearest(weights, values) - weights).mean()
    assert error < 9 / count**2


def test_price_of_a_bit() -> None:
    """The dearer, the fewer bits and the more zeros."""
    weights = np.random.default_rng(3).standard_normal(2000).astype(np.float32)
    made = [entropy_constrained(SortedWeights(weights), price) for price in (1e-4, 1e-2, 1, 100)]
    for sharing in made:
        assert sharing.counts.sum() == np.count_nonzero(sharing.keeps(weights))
    for counts in ([len(each.values) for each in made], [each.counts.sum() for each in made]):
        assert counts == sorted(counts, reverse=True)
    assert len(made[-1].values) == 0  # all become 0
    assert made[0].counts.sum() > 1990


@given(
    st.lists(st.integers(-4, 4), min_size=1, max_size=9).filter(any),
    st.sampled_from([0.01, 0.1, 0.5, 2.0]),
)
def test_price_of_a_bit_against_all_ways_to_share(numbers: list[int], price: float) -> None:
    weights = np.array(numbers, np.float32)
    ordered = np.sort(weights.astype(float))

    def cost(edges: Sequence[int]) -> float:
        total = 0.0
        for part in (ordered[i:j] for i, j in pairwise(edges)):
            value = 0.0 if part[0] <= 0 <= part[-1] else part.mean()
            bits = len(part) * np.log2(len(ordered) / len(part))
            total += float(((part - value) ** 2).sum() + price * bits)
        return total

    inner = [edge for edge in range(1, len(ordered)) if ordered[edge] != ordered[edge - 1]]
    ways = chain.from_iterable(combinations(inner, count) for count in range(len(inner) + 1))
    least = min(cost([0, *way, len(ordered)]) for way in ways)

    made = entropy_constrained(SortedWeights(weights), price)
    kept = made.keeps(weights)
    counts = np.append(made.counts, len(weights) - kept.sum()).astype(int)
    bits = -(counts[counts > 0] * np.log2(counts[counts > 0] / len(weights))).sum()
    shared = np.repeat(made.values, counts[:-1])
    error = ((shared - np.sort(weights[kept])) ** 2).sum() + (weights[~kept] ** 2).sum()
    assert error + price * bits <= least + 1e-5


def test_errors_of_a_filter_cancel() -> None:
    filters = np.random.default_rng(4).standard_normal((30, 40, 9)).astype(np.float32)
    filters[np.random.default_rng(5).uniform(size=filters.shape) < 0.6] = 0
    values = k_means(filters[filters != 0], 15)
    made = round_filters(filters, values)
    plain = np.where(filters != 0, nearest(filters, values), 0)
    assert set(np.unique(made)) <= {0, *values}
    np.testing.assert_array_equal(made == 0, filters == 0)
    sums = [np.abs((x - filters).sum((1, 2))).mean() for x in (made, plain)]
    squares = [np.square(x - filters).sum() for x in (made, plain)]
    assert sums[0] < sums[1] / 10
    assert squares[0] < squares[1] * 1.3


# What is refused


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (ALL, "layer 'bn' is a BatchNorm, which .net can't hold; write .sqz"),
        (SMALL.replace("group: 2", "bias_term: false"), "layer 'conv' has no biases"),
    ],
)
def test_what_net_can_not_hold(text: str, message: str) -> None:
    net, model = model_of(text)
    with pytest.raises(NetError, match=message):
        encode(model, net, Settings("net"))


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        (lambda: Settings("zip"), "unknown layout 'zip'"),
        (lambda: Settings(bits=9), "9 bits: a shared weight has 2 to 8"),
        (lambda: Settings(bits_for=(("a", 1),)), "1 bits"),
        (lambda: Settings("net", bits=6), ".net has 8 bits for convolutions and 4 for inner"),
        (lambda: Settings(size=50), "no file of 50 bytes: with one value a layer it has"),
        (lambda: Settings(bits_for=(("cnov", 4),)), "no layer to compress is named 'cnov'"),
        (lambda: Settings(density=PAPER_RULES), "no density matches a layer"),
    ],
)
def test_settings_that_are_none(wanted: Callable[[], Settings], message: str) -> None:
    net, model = model_of(SMALL)
    with pytest.raises(DesignError, match=message):
        encode(model, net, wanted())


# The command


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    tmp_path = tmp_path_factory.mktemp("written")
    net, model = model_of(SMALL, density=0.5)
    (tmp_path / "net.prototxt").write_text(SMALL)
    (tmp_path / "w.caffemodel").write_bytes(model.SerializeToString())
    for name in ("w.sqz", "w.net"):
        made = encode(model, net, Settings(Path(name).suffix[1:]))
        (tmp_path / name).write_bytes(made.bytes)
    (tmp_path / "cut.sqz").write_bytes((tmp_path / "w.sqz").read_bytes()[:-5])
    (tmp_path / "other.prototxt").write_text(SMALL.replace("num_output: 6", "num_output: 8"))
    (tmp_path / "renamed.prototxt").write_text(SMALL.replace('name: "fc"', 'name: "out"'))
    (tmp_path / "wrong.toml").write_text("conv = 1.5\n")
    (tmp_path / "text.toml").write_text('conv = "all"\n')
    (tmp_path / "none.toml").write_text("\n")
    (tmp_path / "cnov.toml").write_text("fc = 3\ncnov = 4\n")
    (tmp_path / "nine.toml").write_text("fc = 3\nconv = 9\n")
    (tmp_path / "parts.toml").write_text("[conv]\nweights = 3\n")
    (tmp_path / "net.sqz").write_bytes((tmp_path / "w.net").read_bytes())
    (tmp_path / "empty.sqz").write_bytes(b"")
    (tmp_path / "caffemodel.sqz").write_bytes(model.SerializeToString())
    model.layer.append(model.layer[1])
    (tmp_path / "twice.caffemodel").write_bytes(model.SerializeToString())
    del model.layer[-1]
    model.layer[2].blobs[0].data[7] = np.nan
    (tmp_path / "nan.caffemodel").write_bytes(model.SerializeToString())
    return tmp_path


@pytest.fixture
def folder(written: Path, tmp_path: Path) -> Path:
    shutil.copytree(written, tmp_path, dirs_exist_ok=True)
    return tmp_path


def test_there_and_back(folder: Path, sqgen: Run) -> None:
    net = ("--net", "net.prototxt")
    (folder / "d.toml").write_text("conv = 0.25\n")
    done = sqgen(
        *("compress", "encode", "w.caffemodel", *net, "-o", "new.sqz", "--bits", "3"),
        *("--bits-for", "fc=2", "--density", "d.toml"),
    )
    assert done.returncode == 0, done.stderr
    heads, first, *_, last = done.stdout.splitlines()
    assert heads.split() == "layer weights density values bits bytes share error".split()
    assert first.split()[:5] == ["conv", "108", "25.0%", "7", "3"]
    assert "times smaller than" in last
    done = sqgen("compress", "decode", "new.sqz", *net, "-o", "new.caffemodel")
    assert done.returncode == 0, done.stderr
    assert (done.stdout, done.stderr) == ("", "wrote new.caffemodel: 2 layers with weights\n")
    done = sqgen(
        "compress", "encode", "new.caffemodel", *net, "-o", "again.sqz", "--bits", "3", "--json"
    )
    assert (folder / "again.sqz").read_bytes() == (folder / "new.sqz").read_bytes()
    told = json.loads(done.stdout)
    assert told["bytes"] == (folder / "new.sqz").stat().st_size
    assert [row["error"] for row in told["layers"]] == [0, 0]


def test_bits_from_a_file(folder: Path, sqgen: Run) -> None:
    (folder / "bits.toml").write_text('"c[a-o]nv" = 2\n"c*" = 5\n')
    encode = ("compress", "encode", "w.caffemodel", "--net", "net.prototxt", "--bits", "3")
    done = sqgen(*encode, "--bits-from", "bits.toml", "-o", "a.sqz", "--json")
    assert done.returncode == 0, done.stderr
    assert [row["bits"] for row in json.loads(done.stdout)["layers"]] == [2, 3]
    assert sqgen(*encode, "--bits-for", "conv=2", "-o", "b.sqz").returncode == 0
    assert (folder / "a.sqz").read_bytes() == (folder / "b.sqz").read_bytes()


@given(st.dictionaries(st.text(min_size=1), st.integers(2, 8), min_size=1))
def test_bits_of_any_names_are_read_as_written(bits: dict[str, int]) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder, "bits.toml")
        rules = {pattern_of(name): number for name, number in bits.items()}
        path.write_bytes(format_bits_file(BitsFile(rules, entropy=rules), "# found\n").encode())
        read = read_bits(str(path))
    for name, number in bits.items():
        for found in (read.weights, read.entropy):
            matching = (bits for pattern, bits in found.items() if fnmatchcase(name, pattern))
            assert next(matching) == number


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("encode w.caffemodel -o w.zip", "-o w.zip: end it in .sqz or .net"),
        ("encode w.caffemodel -o w.sqz", "w.sqz: exists already; --force replaces it"),
        ("encode w.caffemodel -o x.sqz --bits 9", "9 bits: a shared weight has 2 to 8"),
        ("encode w.caffemodel -o x.sqz --bits-for conv=9", "9 bits: a shared weight has 2 to 8"),
        ("encode w.caffemodel -o x.sqz --size 430kB", "--size 430kB: give a number of bytes"),
        ("encode w.caffemodel -o x.sqz --size 0", "--size 0: give a number of bytes"),
        ("encode twice.caffemodel -o x.sqz", "two layers with weights have the name 'conv'"),
        ("encode w.caffemodel -o x.sqz --bits 4 --size 99", "give one"),
        ("encode w.caffemodel -o x.sqz --bits-for conv", "write a pattern and bits as conv1=8"),
        ("encode w.caffemodel -o x.sqz --bits-for cnov=4", "did you mean 'conv'?"),
        (
            "encode w.caffemodel -o x.sqz --bits-from cnov.toml",
            "cnov.toml: no layer to compress is",
        ),
        ("encode w.caffemodel -o x.sqz --bits-from cnov.toml", "'cnov'; did you mean 'conv'?"),
        (
            "encode w.caffemodel -o x.sqz --bits-from nine.toml",
            "nine.toml: 'conv' takes bits, 2 to",
        ),
        ("encode w.caffemodel -o x.sqz --bits-from wrong.toml", "'conv' takes bits, 2 to 8; write"),
        ("encode w.caffemodel -o x.sqz --bits-from parts.toml", "'conv' takes bits, 2 to 8; write"),
        ("encode w.caffemodel -o x.sqz --bits-from none.toml", "none.toml: has no bits; write"),
        ("encode w.caffemodel -o x.sqz --bits-from nowhere", "nowhere: no such file"),
        ("encode w.caffemodel -o x.sqz --bits-from nine.toml --size 99", "--bits-from: give one"),
        ("encode w.caffemodel -o x.sqz --bits-from a --bits-for conv=3", "--bits-from: give one"),
        ("encode w.caffemodel -o x.sqz --density 2", "give a fraction from 0 to 1"),
        ("encode w.caffemodel -o x.sqz --density nan", "give a fraction from 0 to 1"),
        ("encode w.caffemodel -o x.sqz --density nowhere", "nowhere: no such file"),
        ("encode w.caffemodel -o x.sqz --density wrong.toml", "'conv' is 1.5; give 0 to 1"),
        ("encode w.caffemodel -o x.sqz --density text.toml", "'conv' takes a number from 0 to 1"),
        ("encode w.caffemodel -o x.sqz --density none.toml", "none.toml: has no densities"),
        ("encode w.caffemodel -o x.sqz --density paper", "no density matches a layer"),
        ("encode w.caffemodel -o x.net --bits 4", "write .sqz for other"),
        ("encode nan.caffemodel -o x.sqz", "layer 'fc' has a value that is not a finite float32"),
        ("encode w.sqz -o x.sqz", "sqgen compress decode makes a .caffemodel of it"),
        ("encode nowhere -o x.sqz", "nowhere: no such file"),
        ("decode w.caffemodel -o x", "w.caffemodel: is a .caffemodel already"),
        ("decode cut.sqz -o x", "cut.sqz: is truncated"),
        ("decode w.sqz -o w.caffemodel", "w.caffemodel: exists already; --force replaces it"),
        ("decode w.sqz -o x.sqz", "-o x.sqz: end it in .caffemodel"),
        ("decode w.sqz -o -", "- as OUT: give a file"),
        ("decode net.prototxt -o x", "net.prototxt: is text, such as a prototxt"),
        ("decode net.sqz -o x", "net.sqz: has the contents of a .net"),
        ("decode empty.sqz -o x", "empty.sqz: is empty"),
        ("decode caffemodel.sqz -o x", "caffemodel.sqz: is a .caffemodel already"),
    ],
)
def test_mistakes_are_one_line(arguments: str, message: str, folder: Path, sqgen: Run) -> None:
    check_one_line(sqgen("compress", *arguments.split(), "--net", "net.prototxt"), message)
    assert not (folder / "x").exists()
    assert not (folder / "x.sqz").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            "encode w.caffemodel -o x.sqz --net other.prototxt",
            "layer 'conv', blob 0 is 6x2x3x3 there and 8x2x3x3 in the net",
        ),
        ("encode w.caffemodel -o x.sqz --net renamed.prototxt", "'out' of the net has no weights"),
        ("decode w.sqz -o x --net other.prototxt", "'conv' has 108 weights there and 144"),
        ("decode w.net -o x --net other.prototxt", "damaged or of another net"),
    ],
)
def test_another_net_is_one_line(arguments: str, message: str, folder: Path, sqgen: Run) -> None:
    check_one_line(sqgen("compress", *arguments.split()), message)
    assert not (folder / "x").exists()


def check_one_line(done: subprocess.CompletedProcess[str], message: str) -> None:
    assert done.returncode == 2
    assert message in done.stderr
    assert done.stderr.count("\n") == 1
    assert done.stdout == ""


def test_decoded_weights_carry_their_net(folder: Path, sqgen: Run) -> None:
    """`weights map` needs no --from, and the file is what Net::ToProto writes: it runs."""
    (folder / "other.prototxt").write_text(SMALL.replace('name: "fc"', 'name: "out"'))
    decoded = sqgen("compress", "decode", "w.sqz", "--net", "net.prototxt", "-o", "new.caffemodel")
    assert decoded.returncode == 0, decoded.stderr
    model = read_caffemodel(folder / "new.caffemodel")
    bare = [*map(type(model.layer[0]).FromString, (x.SerializeToString() for x in model.layer))]
    for layer in bare:
        del layer.blobs[:]
        layer.ClearField("phase")
    assert bare == parse_net(SMALL).layers("TEST")
    assert {layer.phase for layer in model.layer} == {PHASES["TEST"]}
    mapped = sqgen(
        *("weights", "map", "new.caffemodel", "out.caffemodel", "--to", "other.prototxt"),
        "--no-proof",
    )
    assert mapped.returncode == 0, mapped.stderr


def test_a_net_of_other_types_is_not_what_a_net_file_is_of(folder: Path, sqgen: Run) -> None:
    (folder / "all.prototxt").write_text(ALL)
    done = sqgen("compress", "decode", "w.net", "--net", "all.prototxt", "-o", "x")
    check_one_line(done, "a BatchNorm, which .net can't hold; w.net is of another net")


def test_what_encoding_tells(folder: Path, sqgen: Run) -> None:
    net = ("--net", "net.prototxt")
    sqgen("compress", "decode", "w.sqz", *net, "-o", "exact.caffemodel")
    size = (folder / "w.sqz").stat().st_size
    encode = ("compress", "encode", "exact.caffemodel", *net)
    done = sqgen(*encode, "-o", "a.sqz")
    assert done.stderr == f"wrote a.sqz: {bytes_text(size)}\n"
    done = sqgen(*encode, "-o", "b.sqz", "--size", str(size + 5), "--json")
    assert done.stderr == f"wrote b.sqz: {bytes_text(size)}, the exact weights, with 5 B to spare\n"
    done = sqgen(*encode, "-o", "c.sqz", "--size", str(size - 50))
    assert "exact" not in done.stderr
    done = sqgen(*encode, "-o", "d.sqz", "--density", "0")
    assert done.stderr.startswith("sqgen: warning: conv, fc: all weights are 0\n")
    (folder / "conv.prototxt").write_text(INPUT + CONV)
    done = sqgen(*encode[:3], "--net", "conv.prototxt", "-o", "e.net")
    assert "no smaller than 456 B of float32" in done.stdout


def test_weights_of_no_layer_are_told(folder: Path, sqgen: Run) -> None:
    (folder / "part.prototxt").write_text(INPUT + CONV)
    done = sqgen("compress", "encode", "w.caffemodel", "--net", "part.prototxt", "-o", "x.sqz")
    assert done.returncode == 0
    assert "w.caffemodel: dropped layers that the net lacks: 'fc'\n" in done.stderr


def test_neither_way_loads_the_engine(folder: Path) -> None:
    code = """
import sys
from sqgen.tools.cli import main
for arguments in (["encode", "w.caffemodel", "-o", "x.sqz"], ["decode", "w.sqz", "-o", "x"]):
    try:
        main(["compress", *arguments, "--net", "net.prototxt"])
    except SystemExit as done:
        assert done.code == 0, done
assert not {"torch", "scipy", "sklearn", "cv2", "lmdb"} & set(sys.modules)
"""
    subprocess.run([sys.executable, "-c", code], cwd=folder, check=True, capture_output=True)


def test_compressed_is_what_it_says() -> None:
    net, model = model_of(ALL)
    made = encode(model, net)
    assert isinstance(made, Compressed)
    assert sqz_file.is_sqz(made.bytes)
    assert sum(row.share for row in made.layers) == pytest.approx(1 - 40 / len(made.bytes))
