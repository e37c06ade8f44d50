"""`sqgen features`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..errors import FormatError
from ..extras import required
from ..formats.files import check_file_target, write_files
from ..formats.lmdb_reader import is_lmdb
from ..text import printable, shape_text
from .image_options import (
    PreprocessingOptions,
    check_preprocessing,
    choose_preprocessing,
    find_images,
    preprocessing_options,
)
from .progress_bar import print_note
from .state_options import stage_option
from .terminal import warn

if TYPE_CHECKING:
    from ..engine.features import Features


@click.command()
@click.argument("images", nargs=-1, required=True, metavar="IMAGE|LMDB...")
@click.option("--model", "--net", "model", required=True, metavar="NET", help="the deploy prototxt")
@click.option("--weights", required=True, metavar="W", help="its .caffemodel")
@click.option("--layer", required=True, metavar="NAME", help="layer or blob: fire9/concat")
@click.option("--pool", is_flag=True, help="average over positions: a vector an image")
@preprocessing_options
@stage_option
@click.option("-o", "--out", required=True, metavar="FILE", help="the .npz to write")
@click.option("--force", is_flag=True, help="replace FILE if it exists")
def features(
    images: tuple[str, ...],
    model: str,
    weights: str,
    layer: str,
    pool: bool,
    resize: str | None,
    like: str | None,
    mean: str | None,
    scale: float | None,
    stages: tuple[str, ...],
    out: str,
    force: bool,
) -> None:
    """Write a layer's blob for each image, for a classifier or a search by likeness.

    IMAGE is a file, or a folder with images at any depth, and is preprocessed as by
    sqgen classify; an LMDB's records are not resized. The .npz has the arrays names (files, or
    keys of an LMDB), features (float32, an image a row) and, of LMDBs, labels. Layers behind
    NAME need no weights. Exit code 1 if an image can't be read, 2 if none can.

    \b
    Examples:
      sqgen features --model deploy.prototxt --weights squeezenet.caffemodel \\
        --layer fire9/concat --pool photos/ -o features.npz
      sqgen features --model deploy.prototxt --weights squeezenet.caffemodel \\
        --layer pool10 val_lmdb -o scores.npz
    """
    options = PreprocessingOptions(resize, like, mean, scale)
    check_preprocessing(options)
    check_file_target(Path(out), force)
    lmdbs = [path for path in images if is_lmdb(path)]
    if lmdbs and len(lmdbs) < len(images):
        raise click.UsageError(f"{printable(lmdbs[0])} is an LMDB: give LMDBs alone, or images")
    with required("torch", "sqgen features"):
        from ..engine import classify as engine
        from ..engine import features as compute
    read = engine.read_model(model, stages)
    definition, blob = compute.cut_behind(read.definition, layer)
    cut = read._replace(definition=definition)
    net = engine.load_net(cut, weights)
    warn(*read.definition.warnings)
    choice = choose_preprocessing(net, cut, model, options)
    choice.report()

    def parts() -> Iterator[Features | FormatError]:
        if not lmdbs:
            paths = find_images(images)
            yield from compute.file_features(net, choice.preprocessing, paths, blob, pool, warn)
        for path in lmdbs:
            data = compute.data_layer(choice.preprocessing, next(iter(net.inputs)), path)
            yield from compute.record_features(definition, weights, data, blob, pool, warn)

    raise SystemExit(_write(parts(), out, force))


def _write(parts: Iterator[Features | FormatError], out: str, force: bool) -> int:
    """Write the features; return the exit code."""
    import numpy as np

    from ..formats.npz import encode_npz

    good: list[Features] = []
    bad = 0
    for part in parts:
        if isinstance(part, FormatError):
            bad += 1
            print_note(f"sqgen: {part}")
        else:
            good.append(part)
    if not good:
        return 2
    arrays = {
        "names": np.array([name for part in good for name in part.names]),
        "features": np.concatenate([part.values for part in good]),
    }
    labels = [part.labels for part in good if part.labels is not None]
    if len(labels) == len(good):
        arrays["labels"] = np.concatenate(labels)
    write_files({Path(out): encode_npz(arrays)}, force)
    count, *shape = arrays["features"].shape
    shown = f"{shape_text(shape)} for each of {count} images"
    click.echo(f"wrote {printable(out)}: {shown}", err=True)
    return 1 if bad else 0
