"""Size against accuracy: weights before and after compression, tested on the same images."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from ..compress import sqz_file
from ..compress.encoding import Settings, encode, read_compressed
from ..errors import SqgenError
from ..formats.caffemodel import read_caffemodel, serialized
from ..formats.files import write_files
from ..logs.gate import standard_error
from ..logs.result import LOSS, LogResult
from ..nets.definition import NetDefinition, read_net
from ..nets.layer_types import Shape
from ..nets.shapes import NetShapes
from ..report.figures import new_figure
from ..report.table import table
from ..runner.options import RunOptions, path_or_none
from ..runner.overrides import DataOverride, override_data
from ..runner.preflight import CheckedNet, check_net, match_weight_files, require_weights
from ..runner.run_folder import RunFolder
from ..runner.test import test
from ..text import printable

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FORMAT = 1
BEFORE = "before"
TABLE = "tradeoff.json"


class Point(NamedTuple):
    """Weights, what they take, and what they score.

    Attributes:
        name: what they are called here.
        path: their file.
        bytes: of that file.
        images: that the scores are of.
        scores: by `top-1`, `top-5` (or another k) and `loss`.
        folder: of the run.
    """

    name: str
    path: str
    bytes: int
    images: int
    scores: dict[str, float]
    folder: str


class _Candidate(NamedTuple):
    """Weights to test: the file that counts, and its caffemodel, if that is another."""

    name: str
    path: str
    model: bytes | None = None


def tradeoff(
    weights: str,
    files: Sequence[str],
    settings: Sequence[Settings],
    net_path: str,
    options: RunOptions,
    **asked: Any,
) -> list[Point]:
    """Test weights, and then what compression makes of them.

    Args:
        weights: the caffemodel before compression.
        files: .sqz, .net or .caffemodel files of the same net.
        settings: how else to compress the weights; each makes a file in the run's folder.
        net_path: the net, a train_val prototxt.
        options: as for `sqgen.test`; its run_dir gets a folder for each run, and `tradeoff.json`.
        asked: what else `sqgen.test` takes: data, batch_size, mean, iterations.

    Returns:
        A point for each, the weights before compression first.

    Raises:
        SqgenError: something is not what it should be.
    """
    net = read_net(net_path)
    checked = _checked(net, asked)
    image = checked.datasets[0].image if checked.datasets else None
    folder = RunFolder(path_or_none(options.run_dir), f"tradeoff-{Path(net_path).stem}")
    given = [weights, *files]
    first, *others = (_candidate(path, net, image, checked.shapes) for path in given)
    candidates = [first._replace(name=BEFORE), *others]
    encoded = _encoded(weights, settings, net, image) if settings else {}
    made = [f"{name}{suffix}" for name in encoded for suffix in ("", ".sqz", ".caffemodel")]
    _check_names([one.name for one in candidates] + made)
    replace(options, log=None).select_engine()  # fails before anything is made
    folder.create()
    for name, (data, model) in encoded.items():
        path = folder.file_path(f"{name}.sqz")
        write_files({Path(path): data}, force=True)
        candidates.append(_Candidate(name, path, model))
    points = []
    for number, one in enumerate(candidates, 1):
        options.log_line(f"{printable(one.name)}, {number} of {len(candidates)}")
        tested = one.path
        if one.model is not None:
            tested = folder.file_path(f"{one.name}.caffemodel")
            write_files({Path(tested): one.model}, force=True)
        options = replace(options, run_dir=folder.file_path(one.name))
        points.append(_point(one, test(net_path, tested, **asked, **vars(options))))
    text = json.dumps(as_dict(points), indent=2) + "\n"
    write_files({folder.path / TABLE: text.encode()}, force=True)
    options.log_line(f"all of it is in {folder.path}")
    return points


def _checked(net: NetDefinition, asked: dict[str, Any]) -> CheckedNet:
    """The net on the data that it is tested on, whose images the prototxt may not tell."""
    data, mean = path_or_none(asked.get("data")), path_or_none(asked.get("mean"))
    override = DataOverride("TEST", data, mean_file=mean)
    return check_net(override_data(net, [override])[0], "TEST")


def _candidate(path: str, net: NetDefinition, image: Shape | None, shapes: NetShapes) -> _Candidate:
    """A file that was given: compressed by what it begins with or is called, or a caffemodel.

    Raises:
        SqgenError: it can't be read, or is another net's.
    """
    name = Path(path).name
    if _is_compressed(path):
        return _Candidate(name, path, serialized(read_compressed(path, net, image), path))
    require_weights(match_weight_files([path], shapes), net, path, hint="")
    return _Candidate(name, path)


def _is_compressed(path: str) -> bool:
    """Whether it is called so, or begins as a .sqz does."""
    with suppress(OSError), open(path, "rb") as file:
        return path.lower().endswith((".net", ".sqz")) or sqz_file.is_sqz(file.read(16))
    return False


def _encoded(
    weights: str, settings: Sequence[Settings], net: NetDefinition, image: Shape | None
) -> dict[str, tuple[bytes, bytes]]:
    """By name, the file that settings make of weights, and its caffemodel."""
    model = read_caffemodel(weights)
    made = {}
    for one in settings:
        result = encode(model, net, one, source=weights, image=image)
        made[_name(one)] = (result.bytes, serialized(result.model, weights))
    return made


def _name(settings: Settings) -> str:
    return f"{settings.bits}-bit" if settings.size is None else f"{settings.size}-bytes"


def _check_names(names: Sequence[str]) -> None:
    for name in names:
        if names.count(name) > 1:
            raise SqgenError(f"two files are called {printable(name)} here; rename one")


def _point(candidate: _Candidate, result: LogResult) -> Point:
    scores = {
        f"top-{score.k}" if score.k else LOSS: score.value
        for score in result.scores
        if score.valid and (score.k or score.role == LOSS)
    }
    return Point(
        candidate.name,
        candidate.path,
        Path(candidate.path).stat().st_size,
        result.images or 0,
        scores,
        str(result.run["folder"]),
    )


def as_dict(points: Sequence[Point]) -> dict[str, Any]:
    """Plain data (docs/compression.md)."""
    before = points[0]
    return {
        "format": FORMAT,
        "images": before.images,
        "points": [
            {
                **point._asdict(),
                "times_smaller": before.bytes / point.bytes,
                "changes": _changes(point, before),
                "standard_errors": {
                    name: error
                    for name in point.scores
                    if (error := _noise(name, before)) is not None
                },
            }
            for point in points
        ],
    }


def _changes(point: Point, before: Point) -> dict[str, float]:
    """Of each score that both have."""
    known = before.scores
    return {name: value - known[name] for name, value in point.scores.items() if name in known}


def _noise(name: str, before: Point) -> float | None:
    """The standard error of an accuracy of as many images."""
    return None if name == LOSS else standard_error(before.scores.get(name, -1.0), before.images)


def report(points: Sequence[Point]) -> list[str]:
    """The lines of the table."""
    before = points[0]
    names = list(before.scores)
    heads = ["weights", "bytes", "smaller", *(h for name in names for h in (name, "change"))]
    rows = [
        [
            point.name,
            f"{point.bytes:,}",
            f"{before.bytes / point.bytes:.1f} x",
            *(cell for name in names for cell in _cells(name, point, before)),
        ]
        for point in points
    ]
    of = f"{before.images:,} images"
    errors = [f"{n} +-{e:.2g}" for n in names if (e := _noise(n, before))]
    chance = f"; by chance alone (one standard error): {', '.join(errors)}" if errors else ""
    return [*table(heads, rows, right=range(1, len(heads))), f"{of}{chance}"]


def _cells(name: str, point: Point, before: Point) -> list[str]:
    value = point.scores.get(name)
    if value is None:
        return ["not a number", ""]
    change = "" if point is before else f"{value - before.scores[name]:+.4g}"
    return [f"{value:.6g}", change]


def figure(points: Sequence[Point]) -> Figure:
    """Accuracies against bytes, with the standard error of the images; before as a line.

    Raises:
        DesignError: matplotlib is not installed, or the net tells no accuracy.
    """
    before, after = points[0], sorted(points[1:], key=lambda point: point.bytes)
    drawn = new_figure(7, 4.5)
    axes = drawn.subplots()
    for index, name in enumerate(name for name in before.scores if name != LOSS):
        there = [point for point in after if name in point.scores]
        axes.errorbar(
            [point.bytes / 1000 for point in there],
            [point.scores[name] for point in there],
            yerr=_noise(name, before) or None,
            color=f"C{index}",
            fmt="o",
            capsize=3,
            label=name,
        )
        label = f"{name} before ({before.bytes / 1000:,.0f} kB)"
        axes.axhline(before.scores[name], color=f"C{index}", linestyle="--", label=label)
        for point in there if not index else ():
            place = (point.bytes / 1000, point.scores[name])
            axes.annotate(
                point.name, place, xytext=(4, 6), textcoords="offset points", size=7, rotation=30
            )
    axes.margins(x=0.12, y=0.12)
    axes.set_xlabel("kB")
    axes.set_ylabel(f"accuracy of {before.images:,} images")
    axes.grid(alpha=0.3)
    axes.legend(fontsize="small")
    return drawn
