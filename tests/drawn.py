"""Read a drawing back from its SVG, and find what overlaps in it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from xml.etree import ElementTree as ET

from sqgen.drawing.text_width import text_width

SVG = "{http://www.w3.org/2000/svg}"
# Class of a text -> size of its font, whether it is bold, where its x is (the style sheet's).
FONTS = {
    "name": (14.0, True, "middle"),
    "costs": (11.0, False, "middle"),
    "title": (12.0, True, "middle"),
    "": (11.0, False, "middle"),
    "shape": (9.5, False, "middle"),
    "share": (9.5, False, "start"),
    "blob": (9.5, False, "start"),
    "frame": (11.0, False, "start"),
    "legend": (9.5, False, "start"),
}


@dataclass(frozen=True)
class Area:
    """A rectangle, and what stands in it."""

    left: float
    top: float
    right: float
    bottom: float
    what: str

    def overlaps(self, other: Area, slack: float = 0.5) -> bool:
        return (
            self.left < other.right - slack
            and other.left < self.right - slack
            and self.top < other.bottom - slack
            and other.top < self.bottom - slack
        )

    def contains(self, other: Area) -> bool:
        return (
            self.left <= other.left
            and other.right <= self.right
            and self.top <= other.top
            and other.bottom <= self.bottom
        )


@dataclass(frozen=True)
class DrawnBlock:
    """A box: its layers, its frame, and the texts in it."""

    layers: tuple[int, ...]
    box: Area
    texts: tuple[Area, ...]


@dataclass(frozen=True)
class DrawnNet:
    """A net: its boxes, and (from, to, blob) of its lines, with their kinds."""

    blocks: tuple[DrawnBlock, ...]
    lines: tuple[tuple[int, int, str], ...]
    kinds: tuple[str, ...]


@dataclass(frozen=True)
class Drawing:
    """All that a drawing says."""

    nets: tuple[DrawnNet, ...]
    texts: tuple[Area, ...]
    page: Area

    def overlapping(self) -> list[tuple[Area, Area]]:
        """Return pairs of texts, and of boxes, that overlap."""
        boxes = [block.box for net in self.nets for block in net.blocks]
        return [*_overlapping(self.texts), *_overlapping(boxes)]


def _overlapping(areas: Sequence[Area]) -> Iterator[tuple[Area, Area]]:
    """Compare each area with those that begin before it ends, from the top down."""
    ordered = sorted(areas, key=lambda area: area.top)
    for index, area in enumerate(ordered):
        for other in ordered[index + 1 :]:
            if other.top >= area.bottom:
                break
            if area.overlaps(other):
                yield area, other


def read_drawing(svg: str) -> Drawing:
    """Read a drawing's SVG."""
    root = ET.fromstring(svg)
    x, y, width, height = map(float, root.attrib["viewBox"].split())
    nets = tuple(_net(group) for group in _groups(root, "net"))
    return Drawing(nets, tuple(_texts(root, "")), Area(x, y, x + width, y + height, "page"))


def _groups(root: ET.Element, kind: str) -> Iterator[ET.Element]:
    for group in root.iter(f"{SVG}g"):
        if kind in group.get("class", "").split():
            yield group


def _net(group: ET.Element) -> DrawnNet:
    lines = [line for line in _groups(group, "line") if "data-from" in line.attrib]
    return DrawnNet(
        tuple(map(_block, _groups(group, "block"))),
        tuple(
            (int(g.attrib["data-from"]), int(g.attrib["data-to"]), g.attrib["data-blob"])
            for g in lines
        ),
        tuple(g.attrib["class"].split()[1] for g in lines),
    )


def _block(group: ET.Element) -> DrawnBlock:
    frame = group.find(f"{SVG}rect")
    assert frame is not None
    x, y, width, height = (float(frame.attrib[key]) for key in ("x", "y", "width", "height"))
    title = group.findtext(f"{SVG}title", "")
    layers = tuple(map(int, group.attrib["data-layers"].split()))
    inside = tuple(_text(text, "") for text in group.findall(f"{SVG}text"))
    return DrawnBlock(layers, Area(x, y, x + width, y + height, title), inside)


def _texts(parent: ET.Element, kind: str) -> Iterator[Area]:
    """Yield every text, but for the legend's, which is placed elsewhere."""
    for child in parent:
        name = child.get("class", "")
        if child.tag == f"{SVG}text" and child.text:
            yield _text(child, kind)
        elif child.tag == f"{SVG}g" and name != "legend":
            yield from _texts(child, name if name in FONTS else "")


def _text(text: ET.Element, kind: str) -> Area:
    size, bold, anchor = FONTS[text.get("class", kind)]
    shown = text.text or ""
    width = text_width(shown, size, bold)
    left = float(text.attrib["x"]) - (width / 2 if anchor == "middle" else 0.0)
    baseline = float(text.attrib["y"])
    return Area(left, baseline - 0.72 * size, left + width, baseline + 0.2 * size, shown)
