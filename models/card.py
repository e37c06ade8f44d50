"""The cards of the published nets, `models/<preset>/card.toml`: accuracy, sources, weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

from ..errors import DesignError
from ..formats import toml
from ..generator.presets import PRESETS
from ..text import did_you_mean, printable

MODELS = Path(__file__).parent
IMAGES = "50,000 ImageNet validation images, centre crop 227"


class Accuracy(NamedTuple):
    """Published scores on ImageNet's validation set.

    Attributes:
        top1, top5: percent.
        source: of the scores.
        loss: the softmax loss, where it was published.
        at_least: whether the scores are lower bounds.
    """

    top1: float
    top5: float
    source: str
    loss: float | None = None
    at_least: bool = False


class Weights(NamedTuple):
    """A published file of weights, and the git blob id that verifies it.

    `bytes` is its size, where that is not four bytes per parameter.
    """

    commit: str
    path: str
    git_blob: str
    bytes: int | None = None

    @property
    def file(self) -> str:
        """The name without its folder."""
        return self.path.rpartition("/")[2]


class Card(NamedTuple):
    """A published net: its description, accuracy and weights.

    Attributes:
        name: the preset.
        title, about: a line each.
        paper: the paper that describes it.
        published: the files that its authors published; sqgen reconstructs the others.
        notes: a line each.
        repository: owner/name on GitHub, or empty.
        accuracy, weights: None where none were published.
    """

    name: str
    title: str
    about: str
    paper: str
    published: list[str]
    notes: list[str]
    repository: str = ""
    accuracy: Accuracy | None = None
    weights: Weights | None = None

    @property
    def url(self) -> str | None:
        """The address of the weights."""
        if self.weights is None:
            return None
        commit, path = self.weights.commit, self.weights.path
        return f"https://raw.githubusercontent.com/{self.repository}/{commit}/{path}"

    def as_dict(self) -> dict[str, Any]:
        """Return the card as plain data."""
        parts = {"accuracy": self.accuracy, "weights": self.weights}
        plain = {key: part and part._asdict() for key, part in parts.items()}
        return {**self._asdict(), **plain, "url": self.url}


def read_card(name: str) -> Card:
    """Read the card of a preset.

    Raises:
        DesignError: no such preset.
    """
    if name not in PRESETS:
        hint = did_you_mean(name, PRESETS) or f"; one of {', '.join(PRESETS)}"
        raise DesignError(f"no net '{printable(name)}' in the zoo{hint}")
    path = MODELS / name / "card.toml"
    table = toml.parse(path.read_bytes(), str(path))
    for key, kind in (("accuracy", Accuracy), ("weights", Weights)):
        if key in table:
            table[key] = kind(**table[key])
    return Card(name, **table)
