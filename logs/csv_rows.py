"""Rows to CSV as they come: train.csv, test.csv and batches.csv, numbers as Caffe printed them."""

from __future__ import annotations

import csv
import os
from collections.abc import Sequence
from pathlib import Path

from ..errors import OutputError
from ..text import printable
from .collector import Rows
from .events import Output

BUFFER = 1 << 20


class CsvRows(Rows):
    """Writes a file a kind of row into `folder`; another set of outputs starts another file."""

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
        """A row of train.csv."""
        table = self._train
        if table is None or (names and names is not self._train_names):
            table = self._train = self._table("train", ("lr", "smoothed_loss"), names)
            self._train_names = names
        elif names is not self._train_names:
            values = [""] * len(self._train_names)  # the last loss of a run stands alone
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
        """A row of test.csv."""
        table = self._table("test", ("net",), tuple(output.name for output in outputs))
        shown = "" if seconds is None else f"{seconds:.6f}"
        values = "".join(["," + output[1] for output in outputs])
        table.add(f"{segment},{iteration},{shown},{net}{values}\n")

    def batch(self, index: str, name: str, value: str) -> None:
        """Part of a row of batches.csv."""
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
            same = sum(other == kind for other, _ in self._open)
            path = self._folder / (f"{kind}-{same + 1}.csv" if same else f"{kind}.csv")
            first = ("batch",) if kind == "batches" else ("segment", "iteration", "seconds")
            table = _Table(path, (*first, *columns, *names), self._force)
            self._open[kind, names] = table
        return table

    def close(self) -> list[Path]:
        """Write what is left and put the files in place; their names."""
        self._end_batch()
        return [table.close() for table in self._open.values()]

    def abandon(self) -> None:
        """Leave nothing behind."""
        for table in self._open.values():
            table.abandon()


class _Table:
    """A file that is there only once it is whole."""

    def __init__(self, path: Path, columns: Sequence[str], force: bool) -> None:
        if not force and os.path.lexists(path):
            raise OutputError(f"{printable(str(path))}: exists already; --force replaces it")
        self._path = path
        self._part = path.with_name(f".{path.name}.{os.urandom(4).hex()}.tmp")
        # A surrogate in a name stands for a byte that is no UTF-8, and becomes it again.
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
