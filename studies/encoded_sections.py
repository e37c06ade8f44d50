"""What `compress encode` made of each layer, as a section of a report."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ..report.page import Block, Cell, Fact, Facts, Section, Table
from ..text import bytes_text
from .layer_charts import FIELDS, SHARE, layer_charts
from .tradeoff_table import MeasuredLayer


@dataclass(frozen=True)
class EncodedLayer(MeasuredLayer):
    """A layer of a compressed file: its bytes, and their part of the file."""

    bytes: int
    share: float


@dataclass(frozen=True)
class EncodedFile:
    """The JSON of `compress encode` (docs/compression.md).

    Attributes:
        format: of the JSON.
        path, bytes: of the file.
        float_bytes: of the same blobs in float32.
        layers: those with blobs, in order.
    """

    format: int
    path: str
    bytes: int
    float_bytes: int
    layers: tuple[EncodedLayer, ...]


def encoded_sections(file: EncodedFile) -> list[Section]:
    """Return a section with the sizes of a file and its layers."""
    facts = [
        Fact("compressed", bytes_text(file.bytes), file.path),
        Fact("float32", bytes_text(file.float_bytes)),
        Fact("smaller", f"{file.float_bytes / file.bytes:.1f} x"),
    ]
    charts = layer_charts({Path(file.path).name: file.layers}, (*FIELDS, SHARE))
    blocks: list[Block] = [Facts(facts, large=True), *charts, _table(file)]
    return [Section("Layers", "layers", blocks)]


def _table(file: EncodedFile) -> Table:
    heads = ("layer", "weights", "density", "values", "bits", "bytes", "share", "error")
    rows: list[list[str | Cell]] = [
        [
            layer.layer,
            Cell(f"{layer.weights:,}", layer.weights),
            Cell(f"{layer.density:.1%}", layer.density),
            Cell(f"{layer.values:,}", layer.values),
            str(layer.bits),
            Cell(f"{layer.bytes:,}", layer.bytes),
            Cell(f"{layer.share:.1%}", layer.share),
            f"{layer.error:.4f}",
        ]
        for layer in file.layers
    ]
    return Table(heads, rows, range(1, len(heads)))
