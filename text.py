"""Text as a message or a table shows it: names, shapes, sizes, numbers, suggestions."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """`; did you mean 'X'?` for the closest known word, or nothing."""
    import difflib  # only ever needed on the way out

    names = list(known)
    folded = {name.lower(): name for name in names}
    match = difflib.get_close_matches(word.lower(), folded, n=1, cutoff=0.6)
    return f"; did you mean '{folded[match[0]]}'?" if match else ""


def first_few(names: Sequence[str], most: int = 3) -> str:
    """Names as one line has room for: `a, b, c and 4 more`."""
    shown = ", ".join(map(printable, names[:most]))
    return shown + (f" and {len(names) - most} more" if len(names) > most else "")


def printable(text: str, limit: int = 240) -> str:
    """`text` as it can stand in one line: no control characters, shortened in its middle."""
    shown = "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)
    half = (limit - 3) // 2
    return shown if len(shown) <= limit else f"{shown[:half]}...{shown[-half:]}"


def shape_text(shape: Sequence[int]) -> str:
    """A shape such as `96x3x7x7`, or `scalar` for one without axes."""
    return "x".join(map(str, shape)) or "scalar"


def number_text(value: float) -> str:
    """A number as Caffe prints it: six significant digits, `nan`, `inf`."""
    return f"{value:g}"


def bytes_text(count: int) -> str:
    """A size in decimal units, as papers and disks use them."""
    for unit, size in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= size:
            return f"{count / size:.2f} {unit}"
    return f"{count} B"
