"""The card of a published net, `models/<preset>/card.toml`: figures, sources, weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

from .. import models
from ..errors import DesignError
from ..formats import toml
from ..generator.presets import PRESETS
from ..text import did_you_mean, printable

MODELS = Path(models.__file__).parent
IMAGES = "50,000 ImageNet validation images, centre crop 227"


class Accuracy(NamedTuple):
    """Published scores on ImageNet's validation set.

    Attributes:
        top1, top5: percent.
        loss: the softmax loss, where it was told.
        at_least: the authors only say "no less than".
        source: who says so.
    """

    top1: float
    top5: float
    source: str
    loss: float | None = None
    at_least: bool = False


class Weights(NamedTuple):
    """A published file of weights: where it is, and the git blob id that proves it.

    `bytes` is its size, where that is not the float32 of the parameters.
    """

    commit: str
    path: str
    git_blob: str
    bytes: int | None = None

    @property
    def file(self) -> str:
        """The file's name without its folder."""
        return self.path.rpartition("/")[2]


class Card(NamedTuple):
    """What is known of a published net beside its files.

    Attributes:
        name: the preset.
        title, about: a line each.
        paper: where it is described.
        published: the files its authors published; sqgen reconstructs the others.
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
        """The card as plain data."""
        parts = {"accuracy": self.accuracy, "weights": self.weights}
        plain = {key: part and part._asdict() for key, part in parts.items()}
        return {**self._asdict(), **plain, "url": self.url}


def read_card(name: str) -> Card:
    """The card of a preset.

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
