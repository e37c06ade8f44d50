"""`sqgen weights`: inspect and compare weights, map them to other nets, convert their format."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..formats.files import STDIN
from ..report.table import table
from ..text import bytes_text, printable, shape_text
from .group import Group
from .input_files import read_net, read_weights
from .terminal import echo, print_json, print_table, terminal_width, warn
from .weights_convert import convert
from .weights_map import FORMAT, force_option, json_option, map_command

if TYPE_CHECKING:
    from ..weights.statistics import BlobStatistics, LayerDifference, LayerStatistics, Sums


@click.group(cls=Group, file_command="show")
def weights() -> None:
    """Inspect and compare weights, rename their layers, convert their format.

    A file of weights is a .caffemodel, HDF5 of Caffe or Keras, npz, safetensors, or a state dict
    of PyTorch, whatever its name.

    \b
    Examples:
      sqgen weights show squeezenet_v1.0.caffemodel
      sqgen weights diff before.caffemodel after.caffemodel
      sqgen weights map in.caffemodel out.caffemodel --to deploy.prototxt
      sqgen weights convert squeezenet1_0.pth out.caffemodel
      sqgen weights probe in.caffemodel out.caffemodel --net train_val.prototxt
    """


for command in (map_command, convert):
    weights.add_command(command)


# Show


@weights.command()
@click.argument("file", metavar="FILE")
@json_option
def show(file: str, as_json: bool) -> None:
    """Print statistics of each parameter blob: shape, bytes, range, mean, std, zeros.

    FILE is a .caffemodel of any version of Caffe or of another format, or - for standard input.
    Range, mean and std are those of the finite elements.

    \b
    Example:
      sqgen weights show squeezenet_v1.0.caffemodel
    """
    from ..weights.statistics import model_statistics

    model = read_weights(file).model
    layers, sums = model_statistics(model)
    if as_json:
        rows = [
            {"name": layer.name, "type": layer.type, "blobs": list(map(_blob_json, layer.blobs))}
            for layer in layers
        ]
        totals = {**sums._asdict(), "sparsity": sums.sparsity}
        print_json({"format": FORMAT, "net": model.name, "layers": rows, "totals": totals})
        return
    _print_statistics(layers, sums)


def _blob_json(blob: BlobStatistics) -> dict[str, Any]:
    extra = {"sparsity": blob.sparsity, "flags": blob.flags}
    return {**blob._asdict(), "shape": list(blob.shape), **extra}


def _print_statistics(layers: list[LayerStatistics], sums: Sums) -> None:
    rows = [
        [
            layer.name if index == 0 else "",
            layer.type if index == 0 else "",
            str(index),
            shape_text(blob.shape),
            f"{blob.elements:,}",
            f"{blob.bytes:,}",
            *map(_number, (blob.minimum, blob.maximum, blob.mean, blob.std)),
            f"{blob.sparsity:.1%}" if blob.zeros else "",
            _odd(blob),
        ]
        for layer in layers
        for index, blob in enumerate(layer.blobs)
    ]
    heads = "layer type blob shape elements bytes min max mean std zeros".split()
    optional = (1, 5, 2, 4)  # type, bytes, blob, elements
    width = terminal_width()
    print_table(table([*heads, ""], rows, right=range(4, 11), width=width, optional=optional))
    extra = f" and {sums.statistics:,} statistics of BatchNorm" if sums.statistics else ""
    odd = f", {sums.not_finite:,} not finite" if sums.not_finite else ""
    echo(
        f"{sums.layers} layers with {sums.blobs} blobs: {sums.parameters:,} parameters{extra},"
        f" {bytes_text(sums.bytes)}, {sums.sparsity:.1%} zeros{odd}",
        bold=True,
    )


def _odd(blob: BlobStatistics) -> str:
    words = {"not finite": f"{blob.not_finite:,} not finite"}
    return ", ".join(words.get(flag, flag) for flag in blob.flags)


# Diff


@weights.command()
@click.argument("a", metavar="A")
@click.argument("b", metavar="B")
@click.option("--tolerance", default=0.0, metavar="X", help="largest difference to ignore [0]")
@json_option
def diff(a: str, b: str, tolerance: float, as_json: bool) -> None:
    """Compare the parameters of two files of weights layer by layer.

    Relative differences are relative to the root mean square of A's blob. Exit code 0 if no
    element differs by more than the tolerance; 1 if one does, a layer is missing, or shapes
    differ.

    \b
    Example:
      sqgen weights diff before.caffemodel after.caffemodel --tolerance 1e-6
    """
    if a == b == STDIN:
        raise click.UsageError("- and -: standard input can be read once")
    if not (tolerance >= 0 and math.isfinite(tolerance)):
        raise click.UsageError(f"--tolerance {tolerance}: give a number of at least 0")
    from ..weights.statistics import EQUAL, WITHIN, compare

    rows = compare(read_weights(a).model, read_weights(b).model, tolerance)
    apart = [row for row in rows if row.status not in (EQUAL, WITHIN)]
    if as_json:
        layers = [
            {**row._asdict(), "shapes": [[list(s) for s in side] for side in row.shapes]}
            for row in rows
        ]
        result = {"format": FORMAT, "same": not apart, "tolerance": tolerance, "layers": layers}
        print_json(result)
    else:
        _print_differences(rows, len(apart))
    raise SystemExit(1 if apart else 0)


def _print_differences(rows: list[LayerDifference], apart: int) -> None:
    cells = [
        [
            row.name,
            row.status + _both_shapes(row),
            _number(row.absolute) if row.absolute else "",
            f"{row.relative:.3g}" if row.relative else "",
        ]
        for row in rows
    ]
    heads = ["layer", "", "largest difference", "relative"]
    print_table(table(heads, cells, right=[2, 3], width=terminal_width()))
    echo(f"{apart} of {len(rows)} layers differ" if apart else "no differences", bold=True)


def _both_shapes(row: LayerDifference) -> str:
    from ..weights.statistics import OTHER_SHAPES

    if row.status != OTHER_SHAPES:
        return ""
    return ": " + " against ".join(" and ".join(map(shape_text, side)) for side in row.shapes)


# Probe


@weights.command()
@click.argument("source", metavar="IN")
@click.argument("out", metavar="OUT")
@click.option("--net", "net_path", required=True, metavar="NET", help="a train_val prototxt")
@click.option("--data", metavar="LMDB", help="training data, instead of the net's own")
@click.option("--balanced", is_flag=True, help="weigh each class the same")
@click.option("--seed", default=0, metavar="N", help="of the cross-validation [0]")
@force_option
@json_option
def probe(
    source: str,
    out: str,
    net_path: str,
    data: str | None,
    balanced: bool,
    seed: int,
    force: bool,
    as_json: bool,
) -> None:
    """Fit the classifier of a net to the features that its other layers compute.

    Computes each training image once, without mirror and at its centre, and fits a
    logistic regression whose L2 penalty cross-validation chooses. OUT has the weights of IN
    and the classifier's. NET's scores must be a linear function of features: a 1x1
    convolution with an average over all positions behind and no ReLU, or an InnerProduct.

    \b
    Example:
      sqgen weights probe squeezenet.caffemodel probed.caffemodel \\
        --net train_val.prototxt
    """
    from ..extras import required
    from ..formats.files import check_file_target

    check_file_target(Path(out), force)
    with required("torch", "sqgen weights probe"):
        from ..finetune.probe import fit_classifier
    net = read_net(net_path)
    fitted = fit_classifier(net, source, data, balanced=balanced, seed=seed, on_damage=warn)
    fitted.net.save(out, force)
    regression, classifier = fitted.regression, fitted.classifier
    if as_json:
        shown = {
            "layer": classifier.layer,
            "features": classifier.features,
            "classes": classifier.classes,
            "images": fitted.images,
            "strength": regression.strength,
            "loss": regression.loss,
            "accuracy": regression.accuracy,
        }
        print_json({"format": FORMAT, "out": out, **shown})
    else:
        echo(
            f"wrote {printable(out)}: layer '{classifier.layer}' fitted to {fitted.images} images"
            f" of {classifier.classes} classes; in cross-validation, top1 {regression.accuracy:.4g}"
            f" and loss {regression.loss:.4g} with an L2 penalty of {regression.strength:.2g}",
            bold=True,
        )


# Numbers


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"
