"""Width of text in Helvetica, Arial and Liberation Sans, which are equally wide."""

from __future__ import annotations

FONT = "Helvetica, Arial, 'Liberation Sans', sans-serif"

# Thousandths of the font's size, from the metrics of Liberation Sans.
_REGULAR = {
    191: "'",
    222: "ijl",
    260: "|",
    278: " !,./:;I[\\]ft\N{MIDDLE DOT}",
    333: "()-`r",
    334: "{}",
    355: '"',
    389: "*",
    469: "^",
    500: "Jcksvxyz",
    556: "#$0123456789?L_abdeghnopqu\N{EN DASH}",
    584: "+<=>~\N{MULTIPLICATION SIGN}\N{MINUS SIGN}",
    611: "FTZ",
    667: "&ABEKPSVXY",
    722: "CDHNRUw",
    778: "GOQ",
    833: "Mm",
    889: "%",
    944: "W",
}
_BOLD = {
    238: "'",
    278: " ,./I\\ijl\N{MIDDLE DOT}",
    280: "|",
    333: "!()-:;[]`ft",
    389: "*r{}",
    474: '"',
    500: "z",
    556: "#$0123456789J_aceksvxy\N{EN DASH}",
    584: "+<=>^~\N{MULTIPLICATION SIGN}\N{MINUS SIGN}",
    611: "?FLTZbdghnopqu",
    667: "EPSVXY",
    722: "&ABCDHKNRU",
    778: "GOQw",
    833: "M",
    889: "%m",
    944: "W",
}
_WIDEST = 1015  # also of characters that are in no table
_WIDTHS = [
    {character: width for width, characters in table.items() for character in characters}
    for table in (_REGULAR, _BOLD)
]
ELLIPSIS = "\N{HORIZONTAL ELLIPSIS}"


def text_width(text: str, size: float, bold: bool = False) -> float:
    """Return the width of a line, in the unit of `size`."""
    widths = _WIDTHS[bold]
    return sum(widths.get(character, _WIDEST) for character in text) * size / 1000


def fit(text: str, width: float, size: float, bold: bool = False) -> str:
    """Return a line, shortened in its middle if it is wider than `width`."""
    if text_width(text, size, bold) <= width:
        return text
    for kept in range(min(len(text) - 1, int(width / size * 5)), 0, -1):
        head = (kept + 1) // 2
        shown = text[:head] + ELLIPSIS + text[len(text) - (kept - head) :]
        if text_width(shown, size, bold) <= width:
            return shown
    return ELLIPSIS
