"""The options of `sqgen prune`, and what they mean."""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

import click

from ..text import printable
from .image_options import preprocessing_options
from .picture_file import PictureFile, dark_option
from .search_options import (
    FISHER,
    METHODS,
    SEARCHES,
    UNIFORM,
    SearchOptions,
    add_options,
    image_option,
    net_options,
    search_options,
    seed_option,
)
from .terminal import warn

if TYPE_CHECKING:
    from ..nets.latency_table import LatencyTable
    from ..pruning.budgets import Budget
    from ..pruning.costs import Resource
    from ..pruning.decisions import RatioRules
    from ..pruning.job import Selection
    from ..pruning.prune import Pruner

# Fisher information tells of bits; HAQ takes back level by level, of which channels have too many.
BY = {method: method for method in METHODS if method not in (FISHER, "haq")} | {"amc": "ddpg"}
CRITERION = "l1-inputs"
BEST = "knapsack"  # of the methods, by docs/pruning.md
BUDGETS = "--macs, --parameters, --bytes, --ms"

_OPTIONS = (
    net_options,
    click.option("--ratios", metavar="FILE", help="TOML: shares of channels to keep, by layer"),
    click.option(
        "--ratio-for", multiple=True, metavar="PATTERN=X", help="share that a layer keeps"
    ),
    click.option("--macs", metavar="X", help="budget: a share of the net's, or a number"),
    click.option("--parameters", metavar="X", help="budget, likewise"),
    click.option("--bytes", metavar="X", help="budget of the .sqz file, likewise; writes it"),
    click.option("--bits", type=int, metavar="N", help="of weights in that file, 2 to 8 [8]"),
    click.option("--ms", metavar="X", help="budget of time by --latency: a share, or above 1 ms"),
    click.option("--latency", metavar="FILE", help="of `sqgen time --table`"),
    search_options("channels", None, BY, f"{BEST} with --data, else {UNIFORM}"),
    click.option("--lossless", is_flag=True, help="take only channels that can't matter"),
    click.option(
        "--criterion",
        default=CRITERION,
        metavar="NAME",
        help="which channels stay: l1-inputs, l1-filters, random; with --data also taylor, fisher"
        " [l1-inputs]",
    ),
    click.option(
        "--round", "multiple", type=int, default=1, metavar="N", help="keep a multiple of N"
    ),
    click.option(
        "--at-least", multiple=True, metavar="PATTERN=N", help="channels to keep at least"
    ),
    click.option("--leave", multiple=True, metavar="PATTERN", help="layers that keep all channels"),
    click.option("--data", metavar="LMDB|DIR", help="images to reconstruct the weights on"),
    preprocessing_options,
    seed_option,
    image_option,
    click.option(
        "--plot", metavar="FILE", help="draw layers, and trials: a .png, .svg, .pdf or .html"
    ),
    dark_option,
    click.option("--no-proof", is_flag=True, help="skip running the nets to compare them"),
    click.option("--force", is_flag=True, help="replace FILE, and files of DIR but trials.jsonl"),
    click.option("--json", "as_json", is_flag=True, help="print JSON (docs/pruning.md)"),
)


prune_options = add_options(*_OPTIONS)


@dataclass(frozen=True)
class PruneOptions(SearchOptions):
    """The options as typed; `by` is empty without a budget."""

    searches: ClassVar[Sequence[str]] = [method for method in SEARCHES if method in BY]

    ratios: str | None
    ratio_for: tuple[str, ...]
    macs: str | None
    parameters: str | None
    bytes: str | None
    bits: int | None
    ms: str | None
    latency: str | None
    lossless: bool
    criterion: str
    multiple: int
    at_least: tuple[str, ...]
    leave: tuple[str, ...]
    plot: str | None
    dark: bool
    no_proof: bool

    @classmethod
    def of(cls, typed: Mapping[str, Any]) -> PruneOptions:
        """Return options as typed; without `--by`, images search for what is within a budget."""
        options = cls(**{**typed, "by": typed["by"] or ""})
        if options.by or not options._has_budget:
            return options
        return replace(options, by=UNIFORM if options.data is None else BEST)

    def check(self) -> None:
        """Refuse options that contradict each other, before anything is read.

        Raises:
            click.UsageError: some do, or one is malformed.
            DesignError: a budget is no share or amount, or the bits are out of range.
        """
        self._check_amounts()
        self._check_lossless()
        if self.is_search and not (self._has_budget and self.data is not None):
            raise click.UsageError(f"--by {self.by}: give a budget ({BUDGETS}), and --data")
        if self.by and not self._has_budget:
            raise click.UsageError(f"--by {self.by}: give a budget ({BUDGETS})")
        super().check()
        self._parse_budgets()
        self._check_bits()

    @property
    def _has_budget(self) -> bool:
        return bool(self._typed_budgets)

    @property
    def _typed_budgets(self) -> dict[str, str]:
        """Name of a resource -> its budget, where one was typed."""
        typed = {"MACs": self.macs, "parameters": self.parameters, "bytes": self.bytes}
        typed["ms"] = self.ms
        return {name: text for name, text in typed.items() if text is not None}

    def _parse_budgets(self) -> dict[str, float]:
        """Name of a resource -> its budget.

        Raises:
            DesignError: one is no share or amount.
        """
        from ..search.budget import parse_budget

        typed = self._typed_budgets
        return {name: parse_budget(f"--{name.lower()}", name, typed[name]) for name in typed}

    def _check_amounts(self) -> None:
        is_by_hand = bool(self.ratios or self.ratio_for)
        if [self.lossless, is_by_hand, self._has_budget].count(True) != 1:
            ways = f"ratios (--ratio-for, --ratios), a budget ({BUDGETS}), or --lossless"
            raise click.UsageError(f"give one: {ways}")

        if (self.ms is None) != (self.latency is None):
            raise click.UsageError(
                "--ms X and --latency FILE go together; sqgen time --table FILE --space NET makes"
                " it"
            )

    def _check_bits(self) -> None:
        from ..compress.encoding import Settings

        if self.bits is not None and self.bytes is None:
            raise click.UsageError("--bits: of weights in the .sqz file; give --bytes")
        Settings(bits=self.sqz_bits)

    @property
    def sqz_bits(self) -> int:
        """Bits of the codes of weights in the .sqz file."""
        from ..compress.bits_file import MAXIMUM_BITS

        return MAXIMUM_BITS if self.bits is None else self.bits

    def _check_lossless(self) -> None:
        if not self.lossless:
            return
        if self.at_least or self.leave or self.multiple != 1 or self.criterion != CRITERION:
            raise click.UsageError(
                "--lossless takes what can't matter: leave the other choices out"
            )
        if self.data is not None:
            raise click.UsageError("--data: --lossless leaves nothing to reconstruct")

    @cached_property
    def selection(self) -> Selection:
        """Which channels go; reads the file of ratios.

        Raises:
            SqgenError: a rule is malformed or out of range, or the file can't be read.
        """
        from ..pruning.criteria import check_criterion
        from ..pruning.job import Selection

        check_criterion(self.criterion, self.data is not None)
        return Selection(self._rules(), self.criterion, self.seed)

    def _rules(self) -> RatioRules:
        from ..pruning.decisions import RatioRules, parse_pair, read_ratios

        shares = [parse_pair("--ratio-for", text, "conv1=0.5") for text in self.ratio_for]
        return RatioRules(
            (*shares, *(read_ratios(self.ratios) if self.ratios is not None else ())),
            tuple(parse_pair("--at-least", text, "conv1=8") for text in self.at_least),
            tuple(pattern for text in self.leave for pattern in text.split(",") if pattern),
            self.multiple,
        )

    @property
    def picture(self) -> PictureFile | None:
        """The file to draw into; checks that it can be written.

        Raises:
            SqgenError: its suffix names no format, it can't be written, or the renderer is missing.
        """
        if self.plot is None:
            return None
        return PictureFile(self.plot, "--plot", self.force, self.dark)

    def choice(self, budgets: Sequence[Budget]) -> dict[str, Any]:
        """Return how channels are chosen, as plain data."""
        by = "lossless" if self.lossless else self.by if self._has_budget else "ratios"
        return {
            "by": by,
            "budgets": [budget.text for budget in budgets],
            "criterion": None if self.lossless else self.criterion,
            "seed": self.seed,
        }

    def budgets(self, pruner: Pruner, without: Container[str] = ()) -> list[Budget]:
        """Return the budgets that were given, of resources of a net.

        Args:
            pruner: the net.
            without: names of resources that are left out.

        Raises:
            SqgenError: a budget is no share or amount, or the weights can't be encoded.
        """
        from ..pruning.budgets import Budget
        from ..pruning.costs import NetCosts

        costs = NetCosts(pruner.groups)
        resources: dict[str, Callable[[], Resource]] = {
            "MACs": lambda: costs.macs,
            "parameters": lambda: costs.parameters,
            "bytes": lambda: pruner.byte_costs(self.sqz_bits),  # takes seconds
            "ms": lambda: pruner.latency_costs(self._table),
        }
        given = self._parse_budgets().items()
        return [Budget(resources[name](), each) for name, each in given if name not in without]

    @cached_property
    def _table(self) -> LatencyTable:
        """The latency table."""
        from ..nets.latency_table import read_latency_table

        return read_latency_table(self.latency or "")

    def warn_of_table(self) -> None:
        """Warn of a latency table of another machine."""
        if self.latency is None:
            return
        from ..host import available_cores, describe_machine

        table = self._table
        here = {"processor": describe_machine()["processor"], "threads": available_cores()}
        was = {name: table.conditions.get(name, value) for name, value in here.items()}
        different = [
            f"{name} {printable(str(was[name]), 80)}, here {here[name]}"
            for name in here
            if was[name] != here[name]
        ]
        if different:
            warn(f"{printable(table.source)}: is of another machine: {'; '.join(different)}")
