"""Write train.csv, test.csv, batches.csv and layers.csv, numbers as Caffe printed them."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from io import TextIOWrapper
from pathlib import Path
from typing import BinaryIO

from ..formats.files import NewFiles
from ..text import csv_cell, number_text
from .events import Output
from .result import LayerTime
from .rows import RowSink

BUFFER = 1 << 20
BATCHES = "batches"  # the kind of row, and its file


class CsvRows(RowSink):
    """Writes one of `files` per kind of row into `folder`; other outputs start another file."""

    def __init__(self, folder: Path, files: NewFiles) -> None:
        self._folder = folder
        self._files = files
        self._tables: dict[tuple[str, tuple[str, ...]], _Table] = {}
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

    def restart_batches(self) -> None:
        """Discard the batches of an earlier test in the same log."""
        self._batch = None
        for key in [key for key in self._tables if key[0] == BATCHES]:
            self._files.discard(self._tables.pop(key).path)

    def add_layer_times(self, times: Sequence[LayerTime]) -> None:
        """Write the rows of layers.csv, in milliseconds."""
        if not times:
            return
        path = self._folder / "layers.csv"
        columns = ("layer", "forward_ms", "backward_ms")
        table = self._tables["layers", ()] = _Table(path, self._files.open(path, BUFFER), columns)
        rows = ((csv_cell(t.layer), _optional(t.forward), _optional(t.backward)) for t in times)
        csv.writer(table.text, lineterminator="\n").writerows(rows)

    def finish(self) -> list[Path]:
        """Write what is left, and return the paths of the files."""
        self._end_batch()
        for table in self._tables.values():
            table.text.flush()
        return [table.path for table in self._tables.values()]

    def _end_batch(self) -> None:
        if self._batch is not None:
            index, outputs = self._batch
            self._batch = None
            values = "".join("," + output.value for output in outputs)
            names = tuple(output.name for output in outputs)
            self._table(BATCHES, (), names).add(f"{index}{values}\n")

    def _table(self, kind: str, columns: tuple[str, ...], names: tuple[str, ...]) -> _Table:
        table = self._tables.get((kind, names))
        if table is None:
            count = sum(other == kind for other, _ in self._tables)
            path = self._folder / (f"{kind}-{count + 1}.csv" if count else f"{kind}.csv")
            first = ("batch",) if kind == BATCHES else ("segment", "iteration", "seconds")
            table = _Table(path, self._files.open(path, BUFFER), (*first, *columns, *names))
            self._tables[kind, names] = table
        return table


def _optional(value: float | None) -> str:
    return "" if value is None else number_text(value)


class _Table:
    """A file of rows with the same columns."""

    def __init__(self, path: Path, file: BinaryIO, columns: Sequence[str]) -> None:
        self.path = path
        # A surrogate in a name stands for a byte that is not UTF-8; write that byte.
        self.text = TextIOWrapper(file, encoding="utf-8", errors="surrogateescape", newline="")
        self.add = self.text.write
        csv.writer(self.text, lineterminator="\n").writerow(map(csv_cell, columns))
