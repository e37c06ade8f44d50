"""What `sqgen quantize` did: tables, and JSON."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from ..report.table import table
from ..text import printable
from .agreements import print_agreements
from .search_inputs import SeenImages
from .search_record import describe_search, search_summary
from .terminal import echo, print_table, terminal_width

if TYPE_CHECKING:
    from ..quantization.job import Quantization
    from ..search.record import SearchRecord

FORMAT = 1


@dataclass(frozen=True)
class QuantizeResult:
    """A choice of bits, and what was found about it.

    Attributes:
        done: the choice, and its file.
        by, seed: how it was found.
        images: that it was scored on.
        seen: digests of all images that the weights depend on, also before.
        search: None without.
    """

    done: Quantization
    by: str
    seed: int
    images: SeenImages
    seen: Sequence[str]
    search: SearchRecord | None

    def print(self) -> None:
        """Print it as tables and sentences."""
        heads = ["layer", "weights", "bits", "bytes"]
        rows = [
            [row.layer, f"{row.weights:,}", str(row.bits), f"{row.bytes:,}"]
            for row in self.done.layers
        ]
        print_table(table(heads, rows, right=(1, 2, 3), width=terminal_width()))
        before, after = self.done.whole_bytes, len(self.done.file)
        echo(f"bytes: {before:,} -> {after:,} ({after / before:.4f}), {self.done.limit:,} at most")
        if self.search is not None:
            echo(describe_search(self.search))
        print_agreements(self.done.agreements)
        source, number, _ = self.images
        echo(
            f"chosen on {number:,} images of {printable(source)}: scores on them say little about"
            " others"
        )

    def as_dict(self, out: str, files: list[str]) -> dict[str, Any]:
        """Return it as plain data, with the files that were written into a folder."""
        done, after = self.done, len(self.done.file)
        return {
            "format": FORMAT,
            "path": out,
            "files": files,
            "layers": [asdict(row) for row in done.layers],
            "choice": {"by": self.by, "bytes": done.limit, "seed": self.seed},
            "search": None if self.search is None else search_summary(self.search),
            "images": self.images._asdict(),
            "seen": list(self.seen),
            "bytes": {"before": done.whole_bytes, "after": after},
            "agreements": {name: each._asdict() for name, each in done.agreements.items()},
        }
