"""How many channels each layer keeps: the decisions of a pruning, and ratios by hand."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from glob import escape
from typing import NamedTuple

from ..errors import DesignError, NetError
from ..formats import toml
from ..text import did_you_mean, first_few, printable
from .channel_groups import ChannelGroups

TOGETHER = " + "  # between the names of layers that lose channels together


class Decision(NamedTuple):
    """Groups of channels of the same layers, of which some share is kept.

    Attributes:
        layers: the layers whose filters make each group, in the order of the net.
        roots: of the groups.
    """

    layers: tuple[str, ...]
    roots: tuple[int, ...]

    @property
    def name(self) -> str:
        """The layers' names, joined."""
        return TOGETHER.join(self.layers)


def find_decisions(groups: ChannelGroups) -> list[Decision]:
    """Return the decisions of a net, in the order of their first layers.

    Raises:
        NetError: no channel may go.
    """
    places: dict[str, int] = {}
    for wired in groups.layers():
        places.setdefault(wired.name, len(places))
    found: dict[tuple[str, ...], list[int]] = {}
    for root, group in groups.groups.items():
        if group.reason is None:
            layers = tuple(sorted(group.layers, key=places.__getitem__))
            found.setdefault(layers, []).append(root)
    if not found:
        reasons = dict.fromkeys(group.reason for group in groups.groups.values() if group.reason)
        raise NetError(f"no channel of the net can go: {first_few(list(reasons))}")
    ordered = sorted(found.items(), key=lambda item: [places[name] for name in item[0]])
    return [Decision(layers, tuple(roots)) for layers, roots in ordered]


class PatternValue(NamedTuple):
    """A number for the layers whose names match a shell pattern."""

    pattern: str
    value: float


@dataclass(frozen=True)
class RatioRules:
    """Which share of its channels each layer keeps, by hand.

    Attributes:
        ratios: above 0 to 1; the first that matches counts, and layers without one keep all.
            One with ` + ` is for the joined names of layers that go together, and counts before
            those of single layers.
        at_least: channels that layers keep at least; the largest that matches counts.
        leave: patterns of layers that keep all.
        multiple: of which the numbers of channels are, rounded up.

    Raises:
        DesignError: a number is out of range.
    """

    ratios: tuple[PatternValue, ...] = ()
    at_least: tuple[PatternValue, ...] = ()
    leave: tuple[str, ...] = ()
    multiple: int = 1

    def __post_init__(self) -> None:
        for pattern, ratio in self.ratios:
            if not 0 < ratio <= 1:
                raise DesignError(
                    f"'{printable(pattern)}' is to keep {ratio:g}: give a share above 0, up to 1"
                )
        for pattern, count in self.at_least:
            if count < 1 or not float(count).is_integer():
                raise DesignError(f"--at-least {printable(pattern)}={count:g}: give 1 or more")
        if self.multiple < 1:
            raise DesignError(f"--round {self.multiple}: give 1 or more")

    def counts(self, decisions: Sequence[Decision], stay: Mapping[str, str]) -> list[int]:
        """Return how many channels each decision keeps.

        Args:
            decisions: of the net.
            stay: layers that have to keep channels, and why.

        Raises:
            DesignError: a pattern matches no layer that can lose channels, or layers that go
                together have different ratios.
        """
        self.check_patterns(decisions, stay)
        return [self._count(decision) for decision in decisions]

    def uniform_counts(self, decisions: Sequence[Decision], ratio: float) -> list[int]:
        """Return how many channels each keeps where all but those left keep a share."""
        return [
            len(decision.roots) if self._is_left(decision) else self.count(decision, ratio)
            for decision in decisions
        ]

    def _is_left(self, decision: Decision) -> bool:
        return any(fnmatchcase(n, pattern) for n in decision.layers for pattern in self.leave)

    def _count(self, decision: Decision) -> int:
        size = len(decision.roots)
        if self._is_left(decision):
            return size
        joined = _first(decision.name, (p for p in self.ratios if TOGETHER in p.pattern))
        if joined is not None:
            return self.count(decision, joined)
        found = {name: _first(name, self.ratios) for name in decision.layers}
        ratios = {ratio for ratio in found.values() if ratio is not None}
        if len(ratios) > 1:
            texts = ", ".join(
                f"'{printable(name)}' {'none' if ratio is None else f'{ratio:g}'}"
                for name, ratio in found.items()
            )
            raise DesignError(f"{texts}: these layers lose channels together; give them one ratio")
        return self.count(decision, ratios.pop() if ratios else 1.0)

    def count(self, decision: Decision, ratio: float) -> int:
        """Return how many channels a decision keeps at a ratio: at least 1, and at most all."""
        size = len(decision.roots)
        least = [
            value
            for pattern, value in self.at_least
            if any(fnmatchcase(name, pattern) for name in decision.layers)
        ]
        return self.rounded(decision, max([round(ratio * size), *map(int, least), 1]))

    def rounded(self, decision: Decision, count: int) -> int:
        """Round a number of channels up to a multiple, at most all."""
        return round_up(count, self.multiple, len(decision.roots))

    def check_patterns(self, decisions: Sequence[Decision], stay: Mapping[str, str]) -> None:
        """Check that each pattern matches a layer that can lose channels.

        Raises:
            DesignError: one does not.
        """
        names = [name for decision in decisions for name in decision.layers]
        joined = [decision.name for decision in decisions]
        ratios, others = (
            [pair.pattern for pair in pairs] for pairs in (self.ratios, self.at_least)
        )
        places = [(pattern, [*names, *joined]) for pattern in ratios]
        places += [(pattern, names) for pattern in (*others, *self.leave)]
        for pattern, known in places:
            if not any(fnmatchcase(name, pattern) for name in known):
                kept = [f": {why}" for name, why in stay.items() if fnmatchcase(name, pattern)]
                hint = kept[0] if kept else did_you_mean(pattern, names)
                raise DesignError(
                    f"'{printable(pattern)}' matches no layer that can lose channels{hint}"
                )


def round_up(count: int, multiple: int, most: int) -> int:
    """Round a number of channels up to a multiple, at most to `most`."""
    return min(math.ceil(count / multiple) * multiple, most)


def _first(name: str, pairs: Iterable[PatternValue]) -> float | None:
    return next((value for pattern, value in pairs if fnmatchcase(name, pattern)), None)


def format_ratios(decisions: Sequence[Decision], counts: Sequence[int], header: str) -> str:
    """Return the TOML of ratios that keep so many channels again (`read_ratios`).

    Args:
        decisions: of the net.
        counts: channels that each keeps.
        header: lines of comment.
    """
    import tomli_w

    shares = {
        escape(decision.name): count / len(decision.roots)
        for decision, count in zip(decisions, counts, strict=True)
    }
    return header + tomli_w.dumps(shares)


def parse_pair(flag: str, text: str, example: str) -> PatternValue:
    """Parse PATTERN=X.

    Raises:
        DesignError: it has another form; the message has the flag.
    """
    pattern, equals, number = text.rpartition("=")
    try:
        value = float(number.removesuffix("%"))
    except ValueError:
        value = math.nan
    if number.endswith("%") and pattern and 0 < value <= 100:
        raise DesignError(f"{flag} {printable(text)}: write {printable(pattern)}={value / 100:g}")
    if not equals or not pattern or not math.isfinite(value) or number.endswith("%"):
        raise DesignError(f"{flag} {printable(text)}: write PATTERN=X, as {example}")
    return PatternValue(pattern, value)


def read_ratios(path: str) -> tuple[PatternValue, ...]:
    """Read ratios such as `"fire2/squeeze1x1" = 0.5` from a TOML file; the first match applies.

    Raises:
        FormatError: the file can't be read or parsed, or has no rules.
        DesignError: a value is no share.
    """
    shown = printable(path)
    table = toml.read_rules(path, "ratios", '"fire*/squeeze1x1" = 0.5')
    for pattern, value in table.items():
        is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
        if not is_number or not 0 < value <= 1:
            raise DesignError(
                f"{shown}: '{printable(pattern, 60)}' takes a share of channels above 0, up to 1"
            )
    return tuple(PatternValue(pattern, float(value)) for pattern, value in table.items())


def rank(decision: Decision, scores: Mapping[int, float]) -> list[int]:
    """Return the roots of a decision, the highest scores first; of equal ones, the first root."""
    return sorted(decision.roots, key=lambda root: (-scores[root], root))


def keep_best(
    decisions: Sequence[Decision], counts: Sequence[int], scores: Mapping[int, float]
) -> list[int]:
    """Return the roots that go where each decision keeps the groups of the highest scores."""
    pairs = zip(decisions, counts, strict=True)
    return sorted(root for decision, count in pairs for root in rank(decision, scores)[count:])
