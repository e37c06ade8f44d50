"""The options of `sqgen quantize`, and what they mean."""

from __future__ import annotations

from dataclasses import dataclass

import click

from .image_options import preprocessing_options
from .search_options import (
    SearchOptions,
    add_options,
    image_option,
    net_options,
    search_options,
    seed_option,
)

ALIASES = {"haq": "ddpg"}  # papers' names
DEFAULT = "knapsack"

quantize_options = add_options(
    net_options,
    click.option("--data", required=True, metavar="LMDB|DIR", help="images to score nets on"),
    click.option(
        "--bytes",
        required=True,
        metavar="X",
        help="budget of the .sqz file: bytes, or a share of that with 8 bits everywhere",
    ),
    search_options("bits", DEFAULT, ALIASES),
    preprocessing_options,
    seed_option,
    image_option,
    click.option("--force", is_flag=True, help="replace files of DIR but trials.jsonl"),
    click.option("--json", "as_json", is_flag=True, help="print JSON (docs/quantization.md)"),
)


@dataclass(frozen=True)
class QuantizeOptions(SearchOptions):
    """The options as typed."""

    data: str
    bytes: str

    def check(self) -> None:
        """Refuse options that contradict each other, before anything is read.

        Raises:
            click.UsageError: some do, or one is malformed.
            DesignError: the budget is no share or amount.
        """
        super().check()
        self.parse_budget()

    def parse_budget(self) -> float:
        """Return the budget: a share up to 1, or bytes.

        Raises:
            DesignError: it is neither.
        """
        from ..search.budget import parse_budget

        return parse_budget("--bytes", "bytes with 8 bits everywhere", self.bytes)
