"""How far smaller nets agree with the whole one on images: a table."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

from ..report.table import table
from .terminal import print_lines

if TYPE_CHECKING:
    from ..engine.agreement import Agreement


def print_agreements(agreements: Mapping[str, Agreement]) -> None:
    """Print a row of each net, by name; nothing without any."""
    rows = [[name, *_cells(each)] for name, each in agreements.items()]
    if rows:
        heads = ["on these images", "top-1", "KL from the whole net"]
        print_lines(table(heads, rows, right=(1, 2)))


def _cells(agreement: Agreement) -> list[str]:
    of_one = math.isnan(agreement.error)  # image
    error = "" if of_one else f" +- {agreement.error:.4f}"
    top1 = "" if agreement.top1 is None else f"{agreement.top1:.4f}"
    return [top1, f"{agreement.divergence:.4f}{error}"]
