"""Damaged logs: no exception, no invented row, and the same result streamed and at once."""

from __future__ import annotations

import gzip
import math
import random
import re
import tracemalloc
import zlib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sqgen import FormatError, parse_log
from sqgen.logs import parser
from sqgen.logs.collector import Collector
from sqgen.logs.events import Listener, Output
from sqgen.logs.lines import VALUE, parse_number, split_line
from sqgen.logs.parser import Parser

from .test_logs import NAMES, parse, text_of


class Told(Listener):
    """Every event as it was told."""

    def __init__(self) -> None:
        self.events: list[Any] = []

    def display(self, *event: Any) -> None:
        *before, values, lr = event
        self.events.append(("display", *before, list(values), lr))

    def tested(self, *event: Any) -> None:
        self.events.append(("tested", *event))

    def batch(self, *event: Any) -> None:
        self.events.append(("batch", *event))

    def score(self, *event: Any) -> None:
        self.events.append(("score", *event))

    def net(self, text: str, cut: bool) -> None:
        self.events.append(("net", text))

    def notice(self, *event: Any) -> None:
        self.events.append(("notice", *event))

    def fatal(self, *event: Any) -> None:
        self.events.append(("fatal", *event))


def told(data: bytes, fast: bool = True, piece: int = 1 << 20) -> list[Any]:
    listener = Told()
    reader = Parser(listener, fast)
    for start in range(0, len(data), piece):
        reader.feed(data[start : start + piece])
    reader.close()
    return [
        (*event[:5], list(event[5]), list(event[6]), event[7]) if event[0] == "display" else event
        for event in listener.events
    ]


@pytest.mark.parametrize("name", NAMES)
def test_both_ways_of_reading_and_any_pieces_tell_the_same(name: str) -> None:
    data = text_of(name).encode()
    plain = told(data, fast=False)
    assert told(data) == plain
    assert told(data, piece=997) == plain


def damaged(chance: random.Random, text: str) -> bytes:
    """A log after an accident: pieces lost, doubled, moved, overwritten."""
    start = chance.randrange(len(text))
    end = min(len(text), start + chance.choice([1, 5, 50, 500, 5000]))
    piece = text[start:end]
    middle = chance.choice(
        ["", piece * 2, piece[::-1], "\0\xff", "\n", "I20261123 0", "= nan", "9" * 400, "{", "}"]
    )
    return (text[:start] + middle + text[end:]).encode("utf-8", "surrogateescape")


@pytest.mark.slow
def test_damaged_logs() -> None:
    """Never an exception, and both ways of reading tell the same."""
    chance = random.Random(2000)
    texts = [text_of(name)[-9000:] for name in NAMES]
    for _ in range(500):
        data = damaged(chance, chance.choice(texts))
        parse(data).as_dict()
        assert told(data) == told(data, fast=False)


SAID = st.floats().map(lambda value: f"{value:g}") | st.sampled_from(
    ["-nan", "nan(ind)", "-nan(ind)", "1.#QNAN", "-1.#IND", "1.#INF", "Infinity", "inf", "1e-05"]
)
NAME = st.text(st.characters(exclude_characters="\n\r", exclude_categories=["Cs"]), min_size=1)


@given(st.integers(0, 10**9), SAID, SAID, NAME, st.integers(0, 10**6))
def test_any_value_and_any_name(iteration: int, loss: str, value: str, name: str, cut: int) -> None:
    p = "I20261123 02:37:19.366457 1 solver.cpp:228] "
    name = name.strip() or "x"
    text = (
        f"{p}Iteration {iteration} (1 iter/s, 2s/20 iters), loss = {loss}\n"
        f"{p}    Train net output #0: {name} = {value}\n{p}Iteration {iteration}, lr = {loss}\n"
    )
    row = parse(text).segments[0].train[0]
    assert (row.iteration, repr(row.loss), repr(row.lr)) == (
        iteration,
        repr(parse_number(loss)),
        repr(parse_number(loss)),
    )
    if name == name.strip() and "\x1c" not in name and list(row.outputs) == [name]:
        assert repr(row.outputs[name]) == repr(parse_number(value))
    partial = parse(text[: cut % len(text)])
    assert sum(len(segment.train) for segment in partial.segments) <= 1


@settings(max_examples=150)
@given(st.text() | st.binary())
def test_any_text_is_a_log(text: str | bytes) -> None:
    result = parse(text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass"))
    assert result.fatal is None or "]" in str(text)


@given(SAID)
def test_values(said: str) -> None:
    assert re.fullmatch(VALUE, said)
    assert math.isnan(parse_number(said)) == ("n" in said.lower() and "inf" not in said.lower())


def test_prefixes() -> None:
    line = split_line("I20261123 02:37:17.360940 12115 caffe.cpp:197] Use CPU.")
    assert (line.severity, line.date, line.place, line.text) == (
        "I",
        "20261123",
        "caffe.cpp:197",
        "Use CPU.",
    )
    cut = split_line("I1123 02:37:17.36 1 a.cpp:1] loss = 2.3I1123 02:37:18.0 1 b.cpp:2] Use CPU.")
    assert (cut.place, cut.text) == ("b.cpp:2", "Use CPU.")
    assert Output("a", "1").weight is None


P = "I1123 00:00:00.0 1 a.cpp:1] "
# Each took minutes, or gigabytes, or both.
LONG = {
    "blanks": f"{P}conv1{' ' * 1_000_000}x\n",
    "lines of blanks": f"{P}conv1{' ' * 60_000}x\n" * 20,
    "bare blanks": f"conv1{' ' * 60_000}x\n" * 20,
    "checks": f"F{P[1:]}{'fd != -1 ' * 6000}\n" * 20,
    "ignored layers": "".join(f"{P}Ignoring source layer c{n}\n" for n in range(60_000)),
    "blank lines": "\n" * 20_000_000,
    "names": "".join(
        f"{P}Iteration {n}, loss = 1\n{P}    Train net output #0: n{n} = 1\n"
        f"{P}Iteration {n}, lr = 1\n"
        for n in range(3000)
    ),
}


@pytest.mark.parametrize("name", LONG)
def test_time_is_linear(name: str) -> None:
    """Seconds where it was minutes: the suite would stand still."""
    parse(text_of("test_digits") + LONG[name])


@pytest.mark.parametrize("filling", [b"\0", b"\n", b" "])
def test_a_bomb_is_refused_before_it_unpacks(tmp_path: Path, filling: bytes) -> None:
    path = tmp_path / "x.log.gz"
    packer = zlib.compressobj(9, wbits=31)
    pieces = [packer.compress(filling * (1 << 20)) for _ in range(20)]
    path.write_bytes(b"".join([*pieces, packer.flush()]))
    with pytest.raises(FormatError, match="unpacks to more than 100 times its size"):
        parse_log(path)


def test_a_gz_of_many_members(tmp_path: Path) -> None:
    text = text_of("test_digits").encode()
    path = tmp_path / "x.log.gz"
    empty, half = gzip.compress(b""), len(text) // 2
    path.write_bytes(
        empty * 20_000 + gzip.compress(text[:half]) + gzip.compress(text[half:]) + b"\0" * 100
    )
    result = parse_log(path)
    assert result.scores == parse(text).scores
    assert not any("damaged" in warning for warning in result.warnings)
    path.write_bytes(path.read_bytes() + b"rubbish")
    assert any("damaged" in warning for warning in parse_log(path).warnings)


def test_a_line_without_end_takes_no_memory() -> None:
    collector = Collector("x")
    reader = Parser(collector)
    tracemalloc.start()
    for _ in range(200):
        reader.feed(b"\xc3" * (1 << 20))
    reader.feed(f"{P}Snapshotting to binary proto file a_iter_1.caffemodel\n".encode())
    reader.close()
    assert tracemalloc.get_traced_memory()[1] < 20 << 20
    tracemalloc.stop()
    result = collector.finish()
    assert result.snapshots == ("a_iter_1.caffemodel",)
    assert any("longer than 65,536 characters" in warning for warning in result.warnings)


def test_an_endless_net_is_a_cut_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parser, "MAX_DUMP", 1 << 18)
    layer = 'layer {\n  name: "d"\n  type: "Data"\n  top: "x"\n  top: "acc"\n}\n'
    text = f"{P}Initializing net from parameters: \nstate {{\n  phase: TEST\n}}\n"
    result = parse(text + layer * 6_000 + f"{P}Use CPU.\n{P}x\n")
    assert result.device == "CPU"


def test_an_enum_that_is_not_utf_8() -> None:
    """protobuf raised a SystemError."""
    text = text_of("train_batchnorm")
    assert "pool: AVE" in text
    result = parse(text.encode().replace(b"pool: AVE", b"pool: \xf6"))
    top1 = result.score("top1")
    assert top1 is not None
    assert top1.by == "net"
