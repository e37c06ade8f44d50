"""What `sqgen quantize` did: tables, and JSON."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from ..report.table import table
from ..text import printable
from .agreements import print_agreements
from .search_inputs import SeenImages
from .search_record import bits_title, describe_search, scores_of, search_summary
from .terminal import echo, print_table, terminal_width

if TYPE_CHECKING:
    from ..quantization.job import Quantization
    from ..report.charts import Chart
    from ..search.record import SearchRecord

FORMAT = 1


@dataclass(frozen=True)
class Tuning:
    """The training of each net before its score.

    Attributes:
        solver: its file, as typed.
        iterations: updates.
    """

    solver: str
    iterations: int


@dataclass(frozen=True)
class QuantizeResult:
    """A choice of bits, and what was found about it.

    Attributes:
        done: the choice, and its file.
        by, seed: how it was found.
        quantizer: of weights.
        images: that it was scored on.
        seen: digests of all images that the weights depend on, also before.
        search: None without.
        tuning: None without.
    """

    done: Quantization
    by: str
    quantizer: str
    seed: int
    images: SeenImages
    seen: Sequence[str]
    search: SearchRecord | None
    tuning: Tuning | None = None

    def print(self) -> None:
        """Print it as tables and sentences."""
        print_table(self._table())
        for each in self.done.spent:
            before, after, limit = map(each.cost.text, (each.before, each.after, each.limit))
            share = each.after / each.before
            echo(f"{each.cost.unit}: {before} -> {after} ({share:.4f}), {limit} at most")
        if self.search is not None:
            echo(describe_search(self.search))
        print_agreements(self.done.agreements)
        if self.tuning is not None:
            solver, count = printable(self.tuning.solver), self.tuning.iterations
            echo(f"after {count:,} updates by {solver}, with its bits; the files are from before")
        source, number, _ = self.images
        echo(
            f"chosen on {number:,} images of {printable(source)}: scores on them say little about"
            " others"
        )

    def _table(self) -> list[str]:
        layers = self.done.layers
        heads = ["layer", "weights", "bits", "bytes"]
        rows = [
            [row.layer, f"{row.weights:,}", f"{row.bits:g}", f"{row.bytes:,}"] for row in layers
        ]
        if layers[0].activation_bits is not None:
            heads.append("reads bits")
            rows = [
                [*cells, f"{row.activation_bits}"] for cells, row in zip(rows, layers, strict=True)
            ]
        return table(heads, rows, right=range(1, len(heads)), width=terminal_width())

    def charts(self) -> list[Chart]:
        """Return the bits of layers, and the scores of a search."""
        from ..compress.bits_file import MAXIMUM_BITS
        from ..report.search_chart import ChosenBits, bits_chart

        layers = [ChosenBits(row.layer, row.bits, row.activation_bits) for row in self.done.layers]
        budgets = [f"{each.cost.flag} {each.cost.text(each.limit)}" for each in self.done.spent]
        charts = [bits_chart(layers, MAXIMUM_BITS, bits_title(self.by, budgets))]
        return charts if self.search is None else [*charts, scores_of(self.search)]

    def as_dict(self, out: str, files: list[str]) -> dict[str, Any]:
        """Return it as plain data, with the files that were written into a folder."""
        done = self.done
        return {
            "format": FORMAT,
            "path": out,
            "files": files,
            "layers": [asdict(row) for row in done.layers],
            "choice": {"by": self.by, "quantizer": self.quantizer, "seed": self.seed},
            "budgets": [
                {
                    **{"budget": each.cost.flag, "unit": each.cost.unit},
                    **{"before": each.before, "after": each.after, "limit": each.limit},
                }
                for each in done.spent
            ],
            "training": None if self.tuning is None else asdict(self.tuning),
            "expected": [asdict(row) for row in done.expected],
            "search": None if self.search is None else search_summary(self.search),
            "images": self.images._asdict(),
            "seen": list(self.seen),
            "bytes": len(done.file),
            "agreements": {name: each._asdict() for name, each in done.agreements.items()},
        }
