"""Formatting of names, shapes, sizes, numbers and suggestions for messages and tables."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from textwrap import TextWrapper

# Severity, date, time, thread, file and line, as glog prints them before each message.
GLOG_PREFIX = r"([IWEF])(\d{4}(?:\d{4})?) (\d\d:\d\d:\d\d(?:\.\d+)?) +(\d+) ([^\s\]]+):(\d+)\] "
_SHELL_SAFE = r"[\w@%+=:,./-]+"  # as shlex


def did_you_mean(word: str, known: Iterable[str], cutoff: float = 0.6) -> str:
    """Return `; did you mean 'X'?` for the closest known word, or an empty string.

    `cutoff`, from 0 to 1, is the least similarity of a word that is suggested.
    """
    import difflib  # slow to import, and only errors need it

    names = list(known)
    folded = {name.lower(): name for name in names}
    match = difflib.get_close_matches(word.lower(), folded, n=1, cutoff=cutoff)
    return f"; did you mean '{folded[match[0]]}'?" if match else ""


def first_few(names: Sequence[str], maximum: int = 3) -> str:
    """Join the first names into one line: `a, b, c and 4 more`."""
    shown = ", ".join(map(printable, names[:maximum]))
    return shown + (f" and {len(names) - maximum} more" if len(names) > maximum else "")


def counted(number: int, thing: str) -> str:
    """Return `1 run`, `2 runs`, of a thing whose plural ends in s."""
    return f"{number:,} {thing}" + ("" if number == 1 else "s")


def wrapped(text: str, width: int | None) -> list[str]:
    """Return a line cut at spaces to fit a width, indented from the second on; None: whole.

    What is longer, such as a path, stays whole.
    """
    if width is None:
        return [text]
    wrapper = TextWrapper(
        max(width, 20), subsequent_indent="  ", break_on_hyphens=False, break_long_words=False
    )
    return wrapper.wrap(text) or [""]


def escaped(text: str) -> str:
    """Escape control characters, and surrogates, which stand for bytes that are not UTF-8."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def printable(text: str, limit: int = 240) -> str:
    """Escape as `escaped` does, and shorten the text in its middle to `limit` characters."""
    shown = escaped(text)
    half = (limit - 3) // 2
    return shown if len(shown) <= limit else f"{shown[:half]}...{shown[-half:]}"


def shell_quote(text: str) -> str:
    """Quote `text` as one word of a POSIX shell, on one line (`$'...'` if necessary)."""
    if re.fullmatch(_SHELL_SAFE, text, re.ASCII):
        return text
    if text.isprintable():
        return "'" + text.replace("'", "'\\''") + "'"
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return "$'" + "".join(c if c.isprintable() else _ansi_c(c) for c in escaped) + "'"


def shell_join(words: Iterable[str]) -> str:
    """Return words as a command that can be pasted into a POSIX shell."""
    return " ".join(map(shell_quote, words))


def _ansi_c(character: str) -> str:
    return "".join(f"\\x{byte:02x}" for byte in character.encode("utf-8", "surrogateescape"))


def can_forge_line(name: str) -> bool:
    """Decide whether a name, printed in a log, can look like a line of its own."""
    if "\r" in name or "\n" in name:
        return True
    return "] " in name and re.search(GLOG_PREFIX, name) is not None


_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def csv_cell(name: str) -> str:
    """Return a name as a cell that no spreadsheet runs: an apostrophe stands before a formula."""
    # Before apostrophes too, so that `csv_name` can tell them from this one.
    return f"'{name}" if name.lstrip("'").startswith(_FORMULA) else name


def csv_name(cell: str) -> str:
    """Return the name in a cell of `csv_cell`."""
    return cell[1:] if cell.startswith("'") and cell.lstrip("'").startswith(_FORMULA) else cell


def shape_text(shape: Sequence[int]) -> str:
    """Format a shape as `96x3x7x7`, or `scalar` if it has no axes."""
    return "x".join(map(str, shape)) or "scalar"


def number_text(value: float) -> str:
    """Format a number as Caffe prints it: six significant digits, `nan`, `inf`."""
    return f"{value:g}"


def agreement_text(blobs: int, others: str, largest: float) -> str:
    """Say how far blobs of two runs agree: `3 blobs equal OTHERS exactly`.

    Args:
        blobs: how many were compared.
        others: what they were compared with.
        largest: the largest difference, relative to its blob's largest element.
    """
    subject, whose = (
        ("the output equals", "its") if blobs == 1 else (f"{blobs} blobs equal", "their")
    )
    if largest == 0:
        return f"{subject} {others} exactly"
    return f"{subject} {others} within {largest:.1e} of {whose} largest element"


def bytes_text(count: int) -> str:
    """Format a size in decimal units (kB is 1,000 bytes)."""
    for unit, size in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= size:
            return f"{count / size:.2f} {unit}"
    return f"{count} B"
