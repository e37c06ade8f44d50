"""What `sqgen prune` did: tables, and JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..report.table import table
from ..text import agreement_text, printable, shape_text
from .agreements import print_agreements
from .search_inputs import SeenImages
from .search_record import describe_search, scores_of, search_summary, shares_title
from .terminal import echo, print_table, terminal_width

if TYPE_CHECKING:
    from ..engine.agreement import Agreement
    from ..engine.equivalence import Proof
    from ..pruning.budgets import Spent
    from ..pruning.prune import Pruning
    from ..pruning.search_record import PruningRecord
    from ..report.charts import Chart

FORMAT = 1


@dataclass(frozen=True)
class PruneResult:
    """A pruning, and what was found about it.

    Attributes:
        done: the pruning.
        spent: of resources with a budget.
        choice: how its channels were chosen: method, budgets, criterion, seed.
        images: that it saw; None without.
        seen: digests of all images that the weights were pruned on, also before.
        search: None without.
        agreements: which net -> how far it agrees with the whole one on images; empty without.
        proof: that both nets compute the same; None if not run.
    """

    done: Pruning
    spent: Sequence[Spent]
    choice: Mapping[str, Any]
    images: SeenImages | None
    seen: Sequence[str]
    search: PruningRecord | None
    agreements: Mapping[str, Agreement]
    proof: Proof | None

    def print(self) -> None:
        """Print it as tables and sentences."""
        self._print_layers()
        for name, (before, after) in self._savings().items():
            echo(f"{name}: {before:,} -> {after:,} ({after / before:.4f})")
        for resource, used, left in self._other_spent():
            amounts = f"{resource.text(used)} -> {resource.text(left)}"
            echo(f"{resource.name}: {amounts} ({left / used:.4f})")
        self._print_proof()
        self._print_search()
        print_agreements(self.agreements)
        self._print_images()

    def _savings(self) -> dict[str, tuple[int, int]]:
        before, after = self.done.pruned.savings
        return {
            "MACs": (before.macs, after.macs),
            "parameters": (before.parameters, after.parameters),
        }

    def _other_spent(self) -> list[Spent]:
        """Return what was spent of resources that a net of no budget does not show."""
        return [each for each in self.spent if each.resource.name not in self._savings()]

    def _print_layers(self) -> None:
        rows = [
            [decision.name, f"{len(decision.roots):,}", f"{count:,}"]
            for decision, count in zip(self.done.decisions, self.done.counts, strict=True)
            if count < len(decision.roots)
        ]
        if rows:
            heads = ["layer", "channels", "kept"]
            print_table(table(heads, rows, right=(1, 2), width=terminal_width()))

    def _print_proof(self) -> None:
        if self.proof is None:
            return
        shapes = " and ".join(map(shape_text, self.proof.inputs.values()))
        is_same = self.done.is_lossless
        whole = "the whole net" if is_same else "the whole net without these channels"
        agreement = agreement_text(self.proof.blobs, f"those of {whole}", self.proof.largest)
        echo(f"run on random {shapes} in float64: {agreement}")

    def _print_search(self) -> None:
        if self.search is not None:
            echo(describe_search(self.search))

    def _print_images(self) -> None:
        if self.images is not None:
            source, number, _ = self.images
            echo(
                f"fitted to {number:,} images of {printable(source)}: scores on them say little"
                " about others"
            )

    def charts(self) -> list[Chart]:
        """Return the channels that layers keep, and the scores of a search, as charts."""
        from ..report.search_chart import LayerShare, shares_chart

        shares = [
            LayerShare(each.layers, len(each.roots), count)
            for each, count in zip(self.done.decisions, self.done.counts, strict=True)
        ]
        title = shares_title(self.choice["by"], self.choice["budgets"])
        return [
            shares_chart(shares, title),
            *([] if self.search is None else [scores_of(self.search)]),
        ]

    def as_dict(self, out: str, files: list[str]) -> dict[str, Any]:
        """Return it as plain data, with the files that were written into a folder."""
        decisions = zip(self.done.decisions, self.done.counts, strict=True)
        savings = {
            name.lower(): {"before": before, "after": after}
            for name, (before, after) in self._savings().items()
        }
        proof, agreements = self.proof, self.agreements
        return {
            "format": FORMAT,
            "path": out,
            "files": files,
            "decisions": [
                {"layers": list(each.layers), "channels": len(each.roots), "kept": count}
                for each, count in decisions
            ],
            "choice": dict(self.choice),
            "search": None if self.search is None else search_summary(self.search),
            "images": None if self.images is None else self.images._asdict(),
            "seen": list(self.seen),
            "stay": self.done.stay,
            "folded": self.done.folded,
            **savings,
            **{
                resource.name: {"before": before, "after": after}
                for resource, before, after in self._other_spent()
            },
            "proof": None if proof is None else {"largest": proof.largest, "blobs": proof.blobs},
            "agreements": {name: each._asdict() for name, each in agreements.items()} or None,
        }
