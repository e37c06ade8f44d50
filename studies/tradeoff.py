"""Size against accuracy: test weights before and after compression on the same images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from ..compress import sqz_file
from ..compress.encoding import Blobs, Settings, encode, read_compressed
from ..compress.layer_change import LayerChange, layer_changes
from ..compress.weighted_layers import WeightedLayer, find_weighted_layers, read_blobs
from ..errors import NetError, SqgenError
from ..evaluation.intervals import standard_error
from ..formats.caffemodel import parse_caffemodel, read_caffemodel, serialize
from ..formats.files import write_files
from ..json_form import dumps
from ..logs.result import LogResult
from ..logs.scores import LOSS, OTHER, Score, score_names
from ..nets.definition import NetDefinition, read_net
from ..nets.layer_types import Shape
from ..nets.shapes import NetShapes
from ..runner.options import RunOptions, path_or_none
from ..runner.overrides import DataOverride, override_data
from ..runner.preflight import CheckedNet, check_net, match_weight_files, require_weights
from ..runner.run_folder import RunFolder
from ..runner.test import test
from ..text import printable
from .retrained_pairs import CodedFile, coded_file, find_starts, paired_p_value

FORMAT = 1
BEFORE = "before"
TABLE = "tradeoff.json"
TOP1 = "top1"  # of the score that predictions tell of each image


class Point(NamedTuple):
    """Weights, their size, and their scores.

    Attributes:
        name: `before`, a file's name, or `6-bit` for a compression by the study.
        path: the file whose size counts.
        bytes: size of that file.
        images: number of images that the scores average.
        scores: accuracies and losses by their names in the test (`logs/scores.py`).
        folder: the run's folder.
        layers: what became of each layer's weights; empty where nothing tells it.
        retrained_from: name of the file with the same codes whose values were trained, or None.
        p_value: that the top-1 of both is equal, by McNemar's exact test; None without predictions.
    """

    name: str
    path: str
    bytes: int
    images: int
    scores: dict[str, Score]
    folder: str
    layers: tuple[LayerChange, ...] = ()
    retrained_from: str | None = None
    p_value: float | None = None

    def noise(self, name: str) -> float | None:
        """Return the standard error of an accuracy over these images; None for a loss."""
        score = self.scores.get(name)
        if score is None or score.role == LOSS:
            return None
        return standard_error(score.value, self.images)


class Candidate(NamedTuple):
    """Weights to test: the file whose size counts, and its decoded caffemodel if compressed."""

    name: str
    path: str
    model: bytes | None = None


def measure_tradeoff(
    weights: str,
    files: Sequence[str],
    settings: Sequence[Settings],
    net_path: str,
    options: RunOptions,
    *,
    starts: Mapping[str, str] | None = None,
    **test_options: Any,
) -> list[Point]:
    """Test weights, and then compressed forms of them.

    Of a file and its retrained successor, the predictions are compared image by image.

    Args:
        weights: the caffemodel before compression.
        files: .sqz, .net or .caffemodel files of the same net.
        settings: further compressions of `weights`; each writes a file into the run's folder.
        net_path: the net, a train_val prototxt.
        options: as for `sqgen.test`; its run_dir gets a folder per run, and `tradeoff.json`.
        starts: of each retrained file, by path, the file before its training; None finds pairs by
            their codes.
        test_options: further arguments of `sqgen.test`: data, batch_size, mean, iterations.

    Returns:
        A point for each, the weights before compression first.

    Raises:
        SqgenError: a file can't be read, does not fit the net, or a run fails.
    """
    net = read_net(net_path)
    checked = check_tested_net(net, test_options)
    image = checked.image
    folder = RunFolder(path_or_none(options.run_dir), f"tradeoff-{Path(net_path).stem}")
    first, *others = (_read_candidate(p, net, image, checked.shapes) for p in [weights, *files])
    candidates = [first._replace(name=BEFORE), *others]
    encoded = _encode_all(weights, settings, net, image) if settings else {}
    new_names = [f"{name}{suffix}" for name in encoded for suffix in ("", ".sqz", ".caffemodel")]
    _check_names([candidate.name for candidate in candidates] + new_names)
    replace(options, log=None).select_engine()  # fails before the folder is made
    folder.create()
    for name, (data, model) in encoded.items():
        path = folder.file_path(f"{name}.sqz")
        write_files({Path(path): data}, force=True)
        candidates.append(Candidate(name, path, model))
    measured = _measure_layers(candidates, net, image)
    pairs = find_starts(measured.coded) if starts is None else _names_of(starts)
    tests = _Tests(folder, net_path, options, {*pairs, *pairs.values()}, test_options)
    results = tests.run(candidates)
    points = [
        _point(candidate, results, layers, pairs.get(candidate.name))
        for candidate, layers in zip(candidates, measured.layers, strict=True)
    ]
    text = dumps(as_dict(points))
    write_files({folder.path / TABLE: text.encode()}, force=True)
    options.log_line(f"all of it is in {folder.path}")
    return points


def check_tested_net(net: NetDefinition, test_options: dict[str, Any]) -> CheckedNet:
    """Check the net on the data it is tested on, which may give the size of its images."""
    data, mean = path_or_none(test_options.get("data")), path_or_none(test_options.get("mean"))
    return check_net(override_data(net, [DataOverride("TEST", data, None, mean)])[0], "TEST")


def _read_candidate(
    path: str, net: NetDefinition, image: Shape | None, shapes: NetShapes
) -> Candidate:
    """Read a file: compressed by its content or its name, otherwise a caffemodel.

    Raises:
        SqgenError: it can't be read, or does not fit the net.
    """
    name = Path(path).name
    if _is_compressed(path):
        return Candidate(name, path, serialize(read_compressed(path, net, image), path))
    require_weights(match_weight_files([path], shapes), net, path, (), hint="")
    return Candidate(name, path)


def _is_compressed(path: str) -> bool:
    with suppress(OSError), open(path, "rb") as file:
        return path.lower().endswith((".net", ".sqz")) or sqz_file.is_sqz(file.read(16))
    return False


def _encode_all(
    weights: str, settings: Sequence[Settings], net: NetDefinition, image: Shape | None
) -> dict[str, tuple[bytes, bytes]]:
    """Compress weights with each of `settings`; return .sqz and caffemodel by name."""
    model = read_caffemodel(weights)
    encoded = {}
    for setting in settings:
        compressed = encode(model, net, setting, source=weights, image=image)
        files = (compressed.bytes, serialize(compressed.model, weights))
        encoded[_settings_name(setting)] = files
    return encoded


class _Measured(NamedTuple):
    """What the weights of the candidates tell.

    Attributes:
        layers: of each, compared with those of the first; empty where they can't be.
        coded: of the compressed ones, by name.
    """

    layers: list[tuple[LayerChange, ...]]
    coded: dict[str, CodedFile]


def _measure_layers(
    candidates: Sequence[Candidate], net: NetDefinition, image: Shape | None
) -> _Measured:
    measured = _Measured([], {})
    try:
        layers = find_weighted_layers(net, image)
        before = _read_layers(candidates[0], layers)
        for candidate in candidates:
            blobs = _read_layers(candidate, layers)
            measured.layers.append(tuple(layer_changes(layers, before, blobs)))
            if candidate.model is not None:
                measured.coded[candidate.name] = coded_file(layers, before, blobs)
    except NetError:  # of layers that share weights, which are tested all the same
        return _Measured([() for _ in candidates], {})
    return measured


def _names_of(starts: Mapping[str, str]) -> dict[str, str]:
    return {Path(path).name: Path(start).name for path, start in starts.items()}


def _read_layers(candidate: Candidate, layers: Sequence[WeightedLayer]) -> Blobs:
    data, path = candidate.model, candidate.path
    model = read_caffemodel(path) if data is None else parse_caffemodel(data, path, [])
    return read_blobs(model, layers, path)


def _settings_name(settings: Settings) -> str:
    return f"{settings.bits}-bit" if settings.size is None else f"{settings.size}-bytes"


def _check_names(names: Sequence[str]) -> None:
    for name in names:
        if names.count(name) > 1:
            raise SqgenError(f"two files are called {printable(name)} here; rename one")


class _Tests(NamedTuple):
    """The tests of the candidates, each in a folder of its own.

    Attributes:
        compared: names of the candidates whose predictions are compared.
    """

    folder: RunFolder
    net_path: str
    options: RunOptions
    compared: set[str]
    test_options: dict[str, Any]

    def run(self, candidates: Sequence[Candidate]) -> dict[str, LogResult]:
        """Return the results by name."""
        results = {}
        for number, candidate in enumerate(candidates, 1):
            shown = f"{printable(candidate.name)}, {number} of {len(candidates)}"
            self.options.log_line(shown)
            results[candidate.name] = self._test(candidate)
        return results

    def _test(self, candidate: Candidate) -> LogResult:
        weights, name = candidate.path, candidate.name
        if candidate.model is not None:
            weights = self.folder.file_path(f"{name}.caffemodel")
            write_files({Path(weights): candidate.model}, force=True)
        options = replace(self.options, run_dir=self.folder.file_path(name))
        keep = None if name in self.compared else False
        return test(
            self.net_path, weights, **self.test_options, **vars(options), keep_predictions=keep
        )


def _point(
    candidate: Candidate,
    results: Mapping[str, LogResult],
    layers: tuple[LayerChange, ...],
    start: str | None,
) -> Point:
    result = results[candidate.name]
    named = zip(score_names(result.scores), result.scores, strict=True)
    scores = {name: score for name, score in named if score.valid and score.role != OTHER}
    return Point(
        candidate.name,
        candidate.path,
        Path(candidate.path).stat().st_size,
        result.images or 0,
        scores,
        str(result.run["folder"]),
        layers,
        start,
        None if start is None or TOP1 not in scores else paired_p_value(results[start], result),
    )


def as_dict(points: Sequence[Point]) -> dict[str, Any]:
    """Return plain data (docs/compression.md)."""
    before = points[0]
    return {
        "format": FORMAT,
        "images": before.images,
        "points": [_point_dict(point, points) for point in points],
    }


def _point_dict(point: Point, points: Sequence[Point]) -> dict[str, Any]:
    before = points[0]
    start = next((other for other in points if other.name == point.retrained_from), None)
    scores, changes, gains, errors = {}, {}, {}, {}
    for name, score in point.scores.items():
        key = _json_key(name, score)
        scores[key] = score.value
        if name in before.scores:
            changes[key] = score.value - before.scores[name].value
        if start is not None and name in start.scores:
            gains[key] = score.value - start.scores[name].value
        if (error := point.noise(name)) is not None:
            errors[key] = error
    return {
        **point._asdict(),
        "layers": [layer._asdict() for layer in point.layers],
        "scores": scores,
        "times_smaller": before.bytes / point.bytes,
        "changes": changes,
        "gains": gains,
        "standard_errors": errors,
    }


def _json_key(name: str, score: Score) -> str:
    """Return the key of a score in the JSON form: `top-1` for an accuracy called after its role."""
    return f"top-{score.k}" if score.k and name == score.short_name else name
