"""`sqgen weights`: inspect and compare weights, map them to other nets, convert their format."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..formats.files import STDIN
from ..report.table import table
from ..text import bytes_text, first_few, printable, shape_text
from .group import Group
from .terminal import echo, parse_image, print_json, print_table, terminal_width, warn

if TYPE_CHECKING:
    from ..engine.equivalence import Proof
    from ..exchange.convert import Conversion
    from ..exchange.weight_file import WeightFile
    from ..nets.definition import NetDefinition
    from ..weights.mapping import MappedLayer, WeightMapping
    from ..weights.statistics import BlobStatistics, LayerDifference, LayerStatistics, Sums

FORMAT = 1
_json = click.option("--json", "as_json", is_flag=True, help="print JSON (docs/weights.md)")


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


# Show


@weights.command()
@click.argument("file", metavar="FILE")
@_json
def show(file: str, as_json: bool) -> None:
    """Print statistics of each parameter blob: shape, bytes, range, mean, std, zeros.

    FILE is a .caffemodel of any version of Caffe or of another format, or - for standard input.
    Range, mean and std are those of the finite elements.

    \b
    Example:
      sqgen weights show squeezenet_v1.0.caffemodel
    """
    from ..weights.statistics import model_statistics

    model = _read_weights(file).model
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
@_json
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

    rows = compare(_read_weights(a).model, _read_weights(b).model, tolerance)
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


# Map


_from = click.option("--from", "trained", metavar="NET", help="IN's net [as the file says]")
_image = click.option(
    "--image", metavar="CxHxW", help="size of images, if data layers don't give it"
)
_partial = click.option("--partial", is_flag=True, help="allow layers of NET without weights")
_bypass = click.option(
    "--ignore-bypass", is_flag=True, help="leave out bypasses that only one of the nets has"
)
_no_proof = click.option("--no-proof", is_flag=True, help="skip running both nets to compare them")
_force = click.option("--force", is_flag=True, help="replace OUT if it exists")


@weights.command("map")
@click.argument("source", metavar="IN")
@click.argument("out", metavar="OUT")
@click.option("--to", "target", required=True, metavar="NET", help="the net that will load OUT")
@_from
@_image
@_partial
@_bypass
@_no_proof
@_force
@_json
def map_command(
    source: str,
    out: str,
    target: str,
    trained: str | None,
    image: str | None,
    partial: bool,
    ignore_bypass: bool,
    no_proof: bool,
    force: bool,
    as_json: bool,
) -> None:
    """Rename the layers of IN for another net that computes the same function.

    Matches layers by name, by the naming styles of the published nets, or by what they
    compute. Permutes weights where the nets order channels differently, such as the inputs of a
    Concat. Then runs both nets on random inputs, and writes OUT if they agree.

    \b
    Examples:
      sqgen weights map squeezenet.caffemodel out.caffemodel --to new.prototxt
      sqgen weights map in.caffemodel out.caffemodel --to bypass.prototxt \\
        --ignore-bypass
    """
    _check_streams(source, out, target, trained)
    shape = parse_image(image)
    from ..exchange.map_stored import MappingOptions, map_stored
    from ..formats.caffemodel import encode_caffemodel
    from ..formats.files import write_files

    stored = _read_weights(source).model
    net, own = _read_net(target), _read_net(trained) if trained else None
    options = MappingOptions(shape, partial, ignore_bypass, not no_proof)
    mapped = map_stored(stored, source, net, own, options)
    write_files({Path(out): encode_caffemodel(mapped.model, out)}, force)
    _report_mapping(mapped.mapping, mapped.proof, as_json, out)


def _check_streams(source: str, out: str, target: str | None, trained: str | None) -> None:
    if [source, target, trained].count(STDIN) > 1:
        raise click.UsageError("-: standard input can be read once")
    if out == STDIN:
        raise click.UsageError("- as OUT: give a file; the table goes to standard output")


def _read_weights(path: str) -> WeightFile:
    """Read weights of any format, and print what is to be known of the file."""
    from ..exchange.weight_file import read_weights

    file = read_weights(path)
    warn(*file.notes)
    return file


def _read_net(path: str) -> NetDefinition:
    """Read a net, and print its warnings."""
    from ..nets.definition import read_net

    net = read_net(path)
    warn(*net.warnings)
    return net


def _report_mapping(mapped: WeightMapping, proof: Proof | None, as_json: bool, out: str) -> None:
    _warn_of_mapping(mapped, proof)
    if as_json:
        print_json({"format": FORMAT, "out": out, **_mapped_json(mapped, proof)})
        return
    _print_mapping(mapped)
    shown = _proof_text(proof) if proof else "not run to compare the nets"
    echo(f"wrote {printable(out)}: {len(mapped.rows)} layers; {shown}", bold=True)


def _warn_of_mapping(mapped: WeightMapping, proof: Proof | None) -> None:
    if mapped.unused:
        warn(f"not used: {', '.join(map(printable, mapped.unused))}")
    if mapped.missing:
        names = ", ".join(map(printable, mapped.missing))
        warn(f"no weights for, so that they start from their fillers: {names}")
    for where, sums in zip(("IN", "NET"), mapped.bypasses, strict=True):
        if sums:
            names = ", ".join(map(printable, sums))
            warn(f"bypasses of {where} alone, so that the nets compute the same without: {names}")
    if proof is not None and proof.blind:
        warn(
            f"{first_few(proof.blind)}: the same output for both inputs, so comparing the nets"
            " hardly tests their weights"
        )


def _print_mapping(mapped: WeightMapping) -> None:
    rows = [[row.source, row.target, row.how, _moved(row)] for row in mapped.rows]
    heads = ["from", "to", "how", "channels moved"]
    print_table(table(heads, rows, width=terminal_width()))


def _proof_text(proof: Proof) -> str:
    shapes = " and ".join(map(shape_text, proof.inputs.values()))
    return (
        f"both nets run on random {shapes} in float64: {proof.blobs} blobs agree within"
        f" {proof.largest:.1e}"
    )


def _mapped_json(mapped: WeightMapping, proof: Proof | None) -> dict[str, Any]:
    shown = None
    if proof is not None:
        shapes = {name: list(shape) for name, shape in proof.inputs.items()}
        shown = {**proof._asdict(), "inputs": shapes}
    return {
        "layers": [row._asdict() for row in mapped.rows],
        "unused": mapped.unused,
        "missing": mapped.missing,
        "bypasses": {"in": mapped.bypasses[0], "net": mapped.bypasses[1]},
        "proof": shown,
    }


def _moved(row: MappedLayer) -> str:
    moved = {"in": row.inputs, "out": row.outputs}
    return ", ".join(f"{count} {side}" for side, count in moved.items() if count)


# Convert


@weights.command()
@click.argument("source", metavar="IN")
@click.argument("out", metavar="OUT")
@click.option("--to", "target", metavar="NET", help="a net to put the weights into [IN's layers]")
@_from
@click.option(
    "--fold-preprocessing", is_flag=True, help="change conv1 to take the images that OUT's nets do"
)
@_image
@_partial
@_bypass
@_no_proof
@_force
@_json
def convert(
    source: str,
    out: str,
    target: str | None,
    trained: str | None,
    fold_preprocessing: bool,
    image: str | None,
    partial: bool,
    ignore_bypass: bool,
    no_proof: bool,
    force: bool,
    as_json: bool,
) -> None:
    """Convert weights to the format of OUT's suffix, for Caffe or PyTorch.

    IN is a .caffemodel, HDF5 of Caffe or of rcmalli's SqueezeNet for Keras, npz, safetensors, a
    state dict of PyTorch, or .sqz or .net with --from. OUT ends in .caffemodel, .h5 (Caffe's),
    .keras.h5, .npz, .safetensors or .pth. Nothing in IN is executed.

    torchvision's SqueezeNets get Caffe's names, and in .pth theirs again; both nets run on random
    images, and OUT is written if they agree.

    \b
    Examples:
      sqgen weights convert squeezenet1_1.pth out.caffemodel --fold-preprocessing
      sqgen weights convert w.caffemodel w.safetensors
      sqgen weights convert w.npz w.caffemodel --to deploy.prototxt
      sqgen weights convert w.caffemodel w.pth --from deploy.prototxt \\
        --fold-preprocessing
    """
    _check_streams(source, out, target, trained)
    shape = parse_image(image)
    from ..exchange.convert import convert_weights

    done = convert_weights(
        source,
        out,
        _read_net(target) if target else None,
        _read_net(trained) if trained else None,
        fold_preprocessing=fold_preprocessing,
        image=shape,
        partial=partial,
        ignore_bypass=ignore_bypass,
        proof=not no_proof,
        force=force,
    )
    warn(*done.notes)
    if done.mapping is not None:
        _warn_of_mapping(done.mapping, done.proof)
    if done.torch_proof is not None and done.torch_proof.blind:
        warn("the scores hardly depend on the image, so comparing them hardly tests the weights")
    if as_json:
        print_json(_conversion_json(done))
    else:
        _print_conversion(done)


def _print_conversion(done: Conversion) -> None:
    if done.mapping is not None:
        _print_mapping(done.mapping)
    known = f" of {done.known.name}" if done.known else ""
    if done.normalization is not None:
        echo(f"images: {done.normalization}")
    if done.known is not None:
        echo(f"net: {done.known.command}")
    if done.torch_proof is not None:
        images = shape_text(done.torch_proof.images)
        echo(
            f"PyTorch and Caffe's net run on random {images} in float64: scores agree within"
            f" {done.torch_proof.largest:.1e}"
        )
    if done.proof is not None:
        echo(_proof_text(done.proof))
    elif done.mapping is not None:
        echo("not run to compare the nets")
    formats = f"{done.format} from {done.source_format}"
    echo(f"wrote {printable(done.out)}: {formats}, {done.layers} layers{known}", bold=True)


def _conversion_json(done: Conversion) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "out": done.out,
        "formats": [done.source_format, done.format],
        "net": done.known and {"name": done.known.name, "command": done.known.command},
        "images": done.normalization and done.normalization._asdict(),
        "mapping": done.mapping and _mapped_json(done.mapping, done.proof),
        "torch_proof": done.torch_proof and done.torch_proof._asdict(),
        "notes": done.notes,
    }


# Probe


@weights.command()
@click.argument("source", metavar="IN")
@click.argument("out", metavar="OUT")
@click.option("--net", "net_path", required=True, metavar="NET", help="a train_val prototxt")
@click.option("--data", metavar="LMDB", help="training data, instead of the net's own")
@click.option("--balanced", is_flag=True, help="weigh each class the same")
@click.option("--seed", default=0, metavar="N", help="of the cross-validation [0]")
@_force
@_json
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
    net = _read_net(net_path)
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
