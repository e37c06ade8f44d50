"""A phase of a training in several."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Phase:
    """A phase.

    Attributes:
        name: a word, which its files have in their names.
        rate: what the solver's learning rate is multiplied by.
        about: what else tells it from others, for the record of the run.
    """

    name: str
    rate: float = 1.0
    about: Mapping[str, Any] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        return {"name": self.name, "rate": self.rate, **self.about}


def phase_prefix(prefix: str, phase: Phase) -> str:
    """Return the snapshot_prefix of a phase."""
    return f"{prefix}_{phase.name}"
