"""The colours of drawings; those of costs are Okabe and Ito's (Color Universal Design, 2008)."""

from __future__ import annotations

from typing import Literal

Theme = Literal["light", "dark", "page"]

# Name -> light, dark.
_COLOURS = {
    "ground": ("#ffffff", "#16181c"),
    "ink": ("#1a1a1a", "#ececec"),
    "faint": ("#5c5c5c", "#a6a9af"),
    "line": ("#5f6368", "#9aa0a6"),
    "track": ("#00000014", "#ffffff1f"),
    "identity": ("#00865f", "#35c79a"),
    "convolution": ("#a64a80", "#e29bc4"),
    "macs": ("#d55e00", "#e69f00"),
    "parameters": ("#0072b2", "#56b4e9"),
    "added": ("#00724f", "#4cc9a0"),
    "removed": ("#b3261e", "#ff8a80"),
    "changed": ("#9a6700", "#f0e442"),
    "fire": ("#fdeed6", "#3f3220"),
    "fire-frame": ("#c98a2b", "#c98a2b"),
    "multiply": ("#e1edf7", "#1f3040"),
    "multiply-frame": ("#6c9dc4", "#6c9dc4"),
    "pool": ("#e3f2ec", "#1d352c"),
    "pool-frame": ("#62a78d", "#62a78d"),
    "score": ("#f5e6f0", "#3a2535"),
    "score-frame": ("#b57a9f", "#b57a9f"),
    "other": ("#f2f2f2", "#26292e"),
    "other-frame": ("#9a9a9a", "#7d8288"),
}


def colours(theme: Theme) -> dict[str, str]:
    """Return the colours of a theme as CSS writes them, by name.

    `page` has both in one, of which a page chooses by its `color-scheme`.
    """
    if theme == "page":
        return {name: f"light-dark({light}, {dark})" for name, (light, dark) in _COLOURS.items()}
    return {name: pair[theme == "dark"] for name, pair in _COLOURS.items()}
