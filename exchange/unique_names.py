"""Names of which no two are the same."""

from __future__ import annotations

from collections.abc import Iterable


class UniqueNames:
    """Hands out names, each once."""

    def __init__(self, taken: Iterable[str] = ()) -> None:
        self._taken = {*taken}
        self._numbers: dict[str, int] = {}  # of the last that was made of a name

    def make(self, name: str) -> str:
        """Return `name`, with a number behind it where that is taken."""
        result = name
        while result in self._taken:
            self._numbers[name] = self._numbers.get(name, 1) + 1
            result = f"{name}_{self._numbers[name]}"
        self._taken.add(result)
        return result
