"""The single commands that do, one after the other, what `sqgen finetune` does."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from ..datasets.split import TRAIN
from ..generator.design import Design
from ..generator.options import command_line
from ..text import shell_join
from .pretrained import Origin, Pretrained

TRAIN_VAL, DEPLOY, SOLVER = "train_val.prototxt", "deploy.prototxt", "solver.prototxt"
PRETRAINED, CONVERTED = "pretrained.prototxt", "pretrained.caffemodel"
MAPPED, LINEAR = "mapped.caffemodel", "linear.caffemodel"
CLASS_WEIGHTS = "class_weights.binaryproto"
FINETUNED = "finetuned_best.caffemodel"  # by the solver's snapshot_prefix
TRAIN_RUN, TEST_RUN, PREDICTIONS = "train", "test", "predictions.csv"
KEEP_BEST = "top1"


def data_command(
    pictures: str, list_file: str | None, folder: Path, share: float, seed: int, size: int
) -> str:
    """Return the command that makes both LMDBs."""
    words = ["data", "create", pictures]
    words += ["--list", list_file] if list_file is not None else []
    words += ["--split", f"{share:g}", "--seed", str(seed), "--resize", f"{size}x{size}"]
    return _command([*words, "-o", str(folder)])


def class_weights_command(folder: Path) -> str:
    """Return the command that weighs the classes."""
    return _command(["data", "weights", str(folder / TRAIN), "-o", str(folder / CLASS_WEIGHTS)])


def build_command(design: Design, folder: Path) -> str:
    """Return the command that writes the nets and the solver."""
    return f"{command_line('build', design)} --out {shell_join([str(folder)])}"


def weight_commands(source: Pretrained, folder: Path, ignores_bypass: bool) -> Iterator[str]:
    """Yield the commands that make `mapped.caffemodel`.

    Args:
        source: the weights.
        folder: where the nets are.
        ignores_bypass: whether one of the nets has bypasses that the other lacks.
    """
    weights, deploy = source.file, str(folder / PRETRAINED)
    if source.preset is not None:
        built = _command(["build", "--preset", source.preset, "--net", "deploy"])
        yield f"{built} > {shell_join([deploy])}"
    if source.origin is Origin.COMPRESSED:
        decoded = str(folder / CONVERTED)
        yield _command(["compress", "decode", weights, "--net", deploy, "-o", decoded])
        weights = decoded
    elif source.origin is Origin.FOREIGN:
        converted = str(folder / CONVERTED)
        yield _command(["weights", "convert", weights, converted, "--fold-preprocessing"])
        weights = converted
    words = ["weights", "map", weights, str(folder / MAPPED), "--to", str(folder / DEPLOY)]
    words += ["--from", deploy] if source.origin is Origin.NAMES else []
    words += ["--partial", *(["--ignore-bypass"] if ignores_bypass else [])]
    yield _command(words)


def probe_command(folder: Path, balanced: bool, seed: int) -> str:
    """Return the command that makes `linear.caffemodel`."""
    words = ["weights", "probe", str(folder / MAPPED), str(folder / LINEAR)]
    words += ["--net", str(folder / TRAIN_VAL), "--seed", str(seed)]
    return _command([*words, *(["--balanced"] if balanced else [])])


def train_command(folder: Path, freeze: Sequence[str], patience: int | None) -> str:
    """Return the command that trains all layers."""
    words = ["train", "--solver", str(folder / SOLVER), "--weights", str(folder / LINEAR)]
    words += ["--keep-best", KEEP_BEST]
    words += ["--patience", str(patience)] if patience is not None else []
    words += [word for pattern in freeze for word in ("--freeze", pattern)]
    return _command([*words, "--run-dir", str(folder / TRAIN_RUN)])


def test_command(folder: Path, weights: Path) -> str:
    """Return the command that tests the result."""
    words = ["test", "--model", str(folder / TRAIN_VAL), "--weights", str(weights)]
    words += ["--engine", "torch", "--predictions", str(folder / PREDICTIONS)]
    return _command([*words, "--run-dir", str(folder / TEST_RUN)])


def _command(words: Sequence[str]) -> str:
    return shell_join(["sqgen", *words])
