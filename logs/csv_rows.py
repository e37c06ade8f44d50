"""Write train.csv, test.csv and batches.csv row by row, numbers as Caffe printed them."""

from __future__ import annotations

import csv
import os
from collections.abc import Sequence
from pathlib import Path

from ..errors import OutputError
from ..text import printable
from .events import Output
from .rows import RowSink

BUFFER = 1 << 20


class CsvRows(RowSink):
    """Writes one file per kind of row into `folder`; other outputs start another file."""

    def __init__(self, folder: Path, force: bool = False) -> None:
        self._folder = folder
        self._force = force
        self._open: dict[tuple[str, tuple[str, ...]], _Table] = {}
        self._train: _Table | None = None
        self._train_names: tuple[str, ...] = ()
        self._batch: tuple[str, list[Output]] | None = None

    def train(
        self,
        segment: int,
        iteration: str,
        seconds: float | None,
        loss: str | None,
        lr: str | None,
        names: tuple[str, ...],
        values: Sequence[str],
    ) -> None:
        """Write a row of train.csv."""
        table = self._train
        if table is None or (names and names is not self._train_names):
            table = self._train = self._table("train", ("lr", "smoothed_loss"), names)
            self._train_names = names
        elif names is not self._train_names:
            values = [""] * len(self._train_names)  # the last loss of a run has no outputs
        fields = [str(segment), iteration, "" if seconds is None else f"{seconds:.6f}"]
        fields += (lr or "", loss or "", *values)
        table.add(",".join(fields) + "\n")

    def test(
        self,
        segment: int,
        iteration: str,
        seconds: float | None,
        net: str,
        outputs: Sequence[Output],
    ) -> None:
        """Write a row of test.csv."""
        table = self._table("test", ("net",), tuple(output.name for output in outputs))
        time = "" if seconds is None else f"{seconds:.6f}"
        values = "".join(["," + output[1] for output in outputs])
        table.add(f"{segment},{iteration},{time},{net}{values}\n")

    def batch(self, index: str, name: str, value: str) -> None:
        """Add an output to a row of batches.csv."""
        if self._batch is not None and self._batch[0] != index:
            self._end_batch()
        if self._batch is None:
            self._batch = (index, [])
        self._batch[1].append(Output(name, value))

    def _end_batch(self) -> None:
        if self._batch is not None:
            index, outputs = self._batch
            self._batch = None
            values = "".join("," + output.value for output in outputs)
            names = tuple(output.name for output in outputs)
            self._table("batches", (), names).add(f"{index}{values}\n")

    def _table(self, kind: str, columns: tuple[str, ...], names: tuple[str, ...]) -> _Table:
        table = self._open.get((kind, names))
        if table is None:
            count = sum(other == kind for other, _ in self._open)
            path = self._folder / (f"{kind}-{count + 1}.csv" if count else f"{kind}.csv")
            first = ("batch",) if kind == "batches" else ("segment", "iteration", "seconds")
            table = _Table(path, (*first, *columns, *names), self._force)
            self._open[kind, names] = table
        return table

    def close(self) -> list[Path]:
        """Finish the files, put them in place, and return their paths."""
        self._end_batch()
        return [table.close() for table in self._open.values()]

    def abandon(self) -> None:
        """Remove the unfinished files."""
        for table in self._open.values():
            table.abandon()


class _Table:
    """A file that appears only once it is complete."""

    def __init__(self, path: Path, columns: Sequence[str], force: bool) -> None:
        if not force and os.path.lexists(path):
            raise OutputError(f"{printable(str(path))}: exists already; --force replaces it")
        self._path = path
        self._part = path.with_name(f".{path.name}.{os.urandom(4).hex()}.tmp")
        # A surrogate in a name stands for a byte that is not UTF-8; write that byte.
        self._file = open(  # noqa: SIM115 - it stays open until the log is over
            self._part, "w", BUFFER, encoding="utf-8", errors="surrogateescape", newline=""
        )
        self.add = self._file.write
        csv.writer(self._file, lineterminator="\n").writerow(columns)

    def close(self) -> Path:
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        return self._part.replace(self._path)

    def abandon(self) -> None:
        self._file.close()
        self._part.unlink(missing_ok=True)
