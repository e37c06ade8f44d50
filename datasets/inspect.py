"""Inspect an LMDB: decode every record; count sizes, labels and bad records."""

from __future__ import annotations

from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

from ..formats.class_names import read_lmdb_class_names
from ..formats.lmdb_reader import DATA_FILE, LmdbReader, open_lmdb
from ..progress import StartProgress, no_progress
from ..text import bytes_text, shape_text
from .balance import ClassCount, balance_rows, count_classes, majority
from .decode_record import DecodedRecord, decode_records
from .encode_record import Shape

FORMAT = 1


class BadRecord(NamedTuple):
    """A record that can't be decoded, or has damaged pixels: number (from 0), key, and reason."""

    record: int
    key: str
    reason: str


class LmdbInfo(NamedTuple):
    """The contents of an LMDB.

    Attributes:
        path: the folder.
        records: number of records, with bad ones.
        value_bytes: bytes of the values, without bad records.
        file_bytes: bytes of the data file.
        encoded, raw: number of records of either kind.
        sizes: number of records of each (channels, height, width).
        labels: number of records of each label.
        classes: the same with the names that labels.txt gives.
        bad_records: number of records that can't be decoded.
        first_bad: the first of them.
        damaged_records: number of others that are JPEGs with damaged pixels.
        first_damaged: the first of them.
    """

    path: str
    records: int
    value_bytes: int
    file_bytes: int
    encoded: int
    raw: int
    sizes: dict[Shape, int]
    labels: dict[int, int]
    classes: list[ClassCount]
    bad_records: int
    first_bad: BadRecord | None
    damaged_records: int
    first_damaged: BadRecord | None


class _Faults:
    """Counts records and keeps the first."""

    def __init__(self) -> None:
        self.count = 0
        self._first: tuple[int, str] | None = None

    def add(self, number: int, reason: str) -> None:
        self.count += 1
        self._first = self._first or (number, reason)

    def first(self, reader: LmdbReader) -> BadRecord | None:
        if self._first is None:
            return None
        number, reason = self._first
        return BadRecord(number, reader.printable_key(number), reason)


def inspect_lmdb(path: str, jobs: int, progress: StartProgress = no_progress) -> LmdbInfo:
    """Decode all records of an LMDB.

    Raises:
        FormatError: the LMDB can't be opened, or its tree of pages is damaged.
    """
    sizes: Counter[Shape] = Counter()
    labels: Counter[int] = Counter()
    kinds: Counter[bool] = Counter()
    value_bytes, bad, damaged = 0, _Faults(), _Faults()
    with (
        open_lmdb(path) as reader,
        closing(decode_records(reader, jobs)) as results,
        progress(reader.entries, "records") as advance,
    ):
        records = reader.entries
        for number, result in enumerate(results):
            if isinstance(result, DecodedRecord):
                value_bytes += result.size
                sizes[result.shape] += 1
                labels[result.label] += 1
                kinds[result.encoded] += 1
                if result.damage:
                    damaged.add(number, result.damage)
            else:
                bad.add(number, str(result))
            advance()
        first_bad, first_damaged = bad.first(reader), damaged.first(reader)
    return LmdbInfo(
        path=path,
        records=records,
        value_bytes=value_bytes,
        file_bytes=(Path(path) / DATA_FILE).stat().st_size,
        encoded=kinds[True],
        raw=kinds[False],
        sizes=dict(sorted(sizes.items())),
        labels=dict(sorted(labels.items())),
        classes=count_classes(labels, read_lmdb_class_names(path)),
        bad_records=bad.count,
        first_bad=first_bad,
        damaged_records=damaged.count,
        first_damaged=first_damaged,
    )


def as_json(info: LmdbInfo) -> dict[str, Any]:
    """Return what `--json` prints."""
    sizes = [
        {"channels": shape[0], "height": shape[1], "width": shape[2], "records": count}
        for shape, count in info.sizes.items()
    ]
    largest = majority(info.classes)
    return {
        "format": FORMAT,
        **info._asdict(),
        "sizes": sizes,
        "classes": [each._asdict() for each in info.classes],
        "majority": largest and largest._asdict(),
        "first_bad": info.first_bad and info.first_bad._asdict(),
        "first_damaged": info.first_damaged and info.first_damaged._asdict(),
    }


def info_rows(info: LmdbInfo) -> list[list[str]]:
    """Return the table that `sqgen data info` prints: rows of a name and a value."""
    size = f"{bytes_text(info.value_bytes)} of values, {bytes_text(info.file_bytes)} on disk"
    kinds = [f"{n} {name}" for n, name in ((info.encoded, "encoded"), (info.raw, "raw")) if n]
    rows = [["records", str(info.records)], ["bytes", size], ["kind", ", ".join(kinds)]]
    rows += _size_rows(info.sizes)
    rows += _label_rows(info.labels)
    rows += balance_rows(info.classes)
    for name, count, first in (
        ("bad", info.bad_records, info.first_bad),
        ("damaged", info.damaged_records, info.first_damaged),
    ):
        if first is not None:
            where = f"record {first.record} (from 0), {first.key}"
            rows += [[name, str(count)], [f"first {name}", f"{where}: {first.reason}"]]
    return rows


SHOWN = 5  # number of different sizes to print


def _size_rows(sizes: dict[Shape, int]) -> list[list[str]]:
    """Return the only size, or the most frequent ones with their number of records."""
    if len(sizes) == 1:
        return [["size", *map(shape_text, sizes)]]
    order = sorted(sizes, key=lambda shape: (-sizes[shape], shape))
    rows = [["size", f"{shape_text(shape)} ({sizes[shape]} records)"] for shape in order[:SHOWN]]
    if len(order) > SHOWN:
        rows.append(["size", f"{len(order) - SHOWN} more"])
    return rows


def _label_rows(labels: dict[int, int]) -> list[list[str]]:
    if not labels:
        return []
    return [["labels", f"{len(labels)} different, {min(labels)} to {max(labels)}"]]
