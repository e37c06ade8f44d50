"""What is in an LMDB: how many records, of what size, with which labels, and whether all are sound.

Every record is read and decoded.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

from ..formats.lmdb_reader import DATA_FILE, open_lmdb
from ..progress import StartProgress, no_progress
from ..text import bytes_text
from .decode_record import Seen, key_of, seen
from .encode_record import Shape

FORMAT = 1


class Bad(NamedTuple):
    """A record that can't be used: its number (from 0), its key and what is wrong."""

    record: int
    key: str
    reason: str


class Info(NamedTuple):
    """What was found.

    Attributes:
        path: the folder.
        records: all of them, bad ones too.
        value_bytes: of the sound records.
        file_bytes: of the data file.
        encoded, raw: records of either kind.
        sizes: records of each (channels, height, width).
        labels: records of each label.
        bad_records: how many can't be used.
        first_bad: the first of those.
    """

    path: str
    records: int
    value_bytes: int
    file_bytes: int
    encoded: int
    raw: int
    sizes: dict[Shape, int]
    labels: dict[int, int]
    bad_records: int
    first_bad: Bad | None


def inspect(path: str, jobs: int, progress: StartProgress = no_progress) -> Info:
    """Read all of an LMDB.

    Raises:
        FormatError: it can't be opened, or its tree of pages is damaged.
    """
    sizes: Counter[Shape] = Counter()
    labels: Counter[int] = Counter()
    kinds: Counter[bool] = Counter()
    value_bytes, bad, first = 0, 0, (0, "")
    with (
        open_lmdb(path) as opened,
        closing(seen(opened, jobs)) as found,
        progress(opened.entries, "records") as advance,
    ):
        records = opened.entries
        for number, one in enumerate(found):
            if isinstance(one, Seen):
                value_bytes += one.size
                sizes[one.shape] += 1
                labels[one.label] += 1
                kinds[one.encoded] += 1
            else:
                first = first if bad else (number, str(one))
                bad += 1
            advance()
    return Info(
        path=path,
        records=records,
        value_bytes=value_bytes,
        file_bytes=(Path(path) / DATA_FILE).stat().st_size,
        encoded=kinds[True],
        raw=kinds[False],
        sizes=dict(sorted(sizes.items())),
        labels=dict(sorted(labels.items())),
        bad_records=bad,
        first_bad=Bad(first[0], key_of(path, first[0]), first[1]) if bad else None,
    )


def as_json(info: Info) -> dict[str, Any]:
    """What `--json` prints."""
    sizes = [
        {"channels": shape[0], "height": shape[1], "width": shape[2], "records": count}
        for shape, count in info.sizes.items()
    ]
    return {
        "format": FORMAT,
        **info._asdict(),
        "sizes": sizes,
        "first_bad": info.first_bad and info.first_bad._asdict(),
    }


def rows(info: Info) -> list[list[str]]:
    """What is printed: a name and what there is to say, a row each."""
    size = f"{bytes_text(info.value_bytes)} of values, {bytes_text(info.file_bytes)} on disk"
    kinds = [f"{n} {name}" for n, name in ((info.encoded, "encoded"), (info.raw, "raw")) if n]
    made = [["records", str(info.records)], ["bytes", size], ["kind", ", ".join(kinds)]]
    made += _several("size", info.sizes, lambda shape: "x".join(map(str, shape)))
    made += _labels(info.labels)
    if info.first_bad:
        bad = info.first_bad
        made.append(["bad", str(info.bad_records)])
        made.append(["first bad", f"record {bad.record} (from 0), {bad.key}: {bad.reason}"])
    return made


SHOWN = 5  # different sizes that are printed


def _several(name: str, counts: dict[Shape, int], text: Callable[[Shape], str]) -> list[list[str]]:
    """The most frequent ones, with how often they occur where there is more than one."""
    if len(counts) == 1:
        return [[name, text(next(iter(counts)))]]
    order = sorted(counts, key=lambda one: (-counts[one], one))
    made = [[name, f"{text(one)} ({counts[one]} records)"] for one in order[:SHOWN]]
    if rest := len(order) - SHOWN:
        made += [[name, f"{rest} more"]] if rest > 0 else []
    return made


def _labels(labels: dict[int, int]) -> list[list[str]]:
    if not labels:
        return []
    low, high = min(labels), max(labels)
    most = max(labels, key=lambda label: labels[label])
    least = min(labels, key=lambda label: labels[label])
    return [
        ["labels", f"{len(labels)} different, {low} to {high}"],
        ["most", f"{labels[most]} records of label {most}"],
        ["least", f"{labels[least]} records of label {least}"],
    ]
