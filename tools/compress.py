"""`sqgen compress`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..formats.files import STDIN, write_files
from ..report.table import table
from ..text import bytes_text, first_few, number_text, printable, shell_join
from .group import Group
from .picture_file import PictureFile, dark_option
from .run_options import batch_option, data_option, engine_arguments, mean_option, run_options
from .terminal import parse_image, print_json, print_lines, terminal_width, warn

if TYPE_CHECKING:
    from ..compress.encoding import Compressed, CompressedLayer, Settings
    from ..compress.prune import DensityRule
    from ..runner.options import RunOptions

LAYOUTS = (".net", ".sqz")
_NET = click.option(
    "--net", "--model", "net_path", required=True, metavar="NET", help="the net's prototxt"
)
_IMAGE = click.option(
    "--image", metavar="CxHxW", help="size of images, if data layers don't give it"
)
_FORCE = click.option("--force", is_flag=True, help="replace OUT if it exists")


@click.group(cls=Group)
def compress() -> None:
    """Compress weights with Deep Compression, and decode them.

    A .net has the layout of the published SqueezeNet of 660 kB; a .sqz is smaller and has a
    checksum. Compression saves space, not time: a net runs from the decoded .caffemodel.

    \b
    Examples:
      sqgen compress encode w.caffemodel --net net.prototxt -o w.sqz --bits 6
      sqgen compress decode w.sqz --net deploy.prototxt -o small.caffemodel
      sqgen compress eval w.caffemodel w.sqz --net net.prototxt --data val_lmdb
      sqgen compress train --weights w.caffemodel --net net.prototxt \\
        --solver solver.prototxt --density paper --bits 5 -o w.sqz
    """


@compress.command()
@click.argument("path", metavar="FILE")
@_NET
@click.option("-o", "--out", required=True, metavar="OUT", help=".caffemodel to write")
@_IMAGE
@_FORCE
def decode(path: str, net_path: str, out: str, image: str | None, force: bool) -> None:
    """Decode a .net or .sqz file into a .caffemodel.

    Neither stores layer names: weights follow the order of NET's layers in its TEST phase. OUT
    has all layers of NET, as Caffe's own files do.

    \b
    Example:
      sqgen compress decode w.sqz --net deploy.prototxt -o w.caffemodel
    """
    if out == STDIN:
        raise click.UsageError("- as OUT: give a file; weights can't go to standard output")
    if Path(out).suffix.lower() in LAYOUTS:
        raise click.UsageError(f"-o {printable(out)}: end it in .caffemodel")
    from ..compress.encoding import read_compressed
    from ..formats.caffemodel import encode_caffemodel
    from ..nets.definition import read_net

    net = read_net(net_path)
    warn(*net.warnings)
    model = read_compressed(path, net, parse_image(image))
    write_files({Path(out): encode_caffemodel(model, out)}, force)
    count = sum(bool(layer.blobs) for layer in model.layer)
    click.echo(f"wrote {printable(out)}: {count} layers with weights", err=True)


@compress.command()
@click.argument("weights", metavar="WEIGHTS")
@_NET
@click.option("-o", "--out", required=True, metavar="OUT", help=".sqz or .net to write")
@click.option("--bits", type=int, metavar="N", help="at most 2^N values per layer; N is 2 to 8 [8]")
@click.option(
    "--bits-for",
    multiple=True,
    metavar="PATTERN=N",
    help="other bits for layers whose names match; the first match wins",
)
@click.option("--bits-from", metavar="FILE", help="likewise, from a TOML file of PATTERN = N")
@click.option(
    "--size", metavar="BYTES", help="instead of bits: most accurate file of at most this size"
)
@click.option(
    "--density",
    metavar="D",
    help="prune to this density: paper (its table 1), a fraction from 0 to 1, or a TOML file of"
    " PATTERN = FRACTION [no pruning]",
)
@click.option("--no-huffman", is_flag=True, help="use codes and gaps of fixed length")
@click.option("--json", "as_json", is_flag=True, help="print JSON (docs/compression.md)")
@_IMAGE
@_FORCE
def encode(
    weights: str,
    net_path: str,
    out: str,
    bits: int | None,
    bits_for: tuple[str, ...],
    bits_from: str | None,
    size: str | None,
    density: str | None,
    no_huffman: bool,
    as_json: bool,
    image: str | None,
    force: bool,
) -> None:
    """Compress a .caffemodel.

    Shares weights of convolutions and inner products by k-means. Layers with few enough distinct
    values, and all other blobs, stay exact. A .net uses 8 bits for convolutions and 4 for inner
    products, and needs biases everywhere.

    \b
    Examples:
      sqgen compress encode w.caffemodel --net net.prototxt -o w.sqz
      sqgen compress encode w.caffemodel --net net.prototxt -o w.sqz \\
        --bits 5 --bits-for conv1=8
      sqgen compress encode w.caffemodel --net net.prototxt -o w.sqz \\
        --bits-from bits.toml
      sqgen compress encode w.caffemodel --net net.prototxt -o w.sqz --size 430000
      sqgen compress encode w.caffemodel --net net.prototxt -o w.net --density 0.3
    """
    settings = parse_settings(out, bits, bits_for, bits_from, size, density, not no_huffman)
    from ..compress import encoding
    from ..compress.weighted_layers import SHARED_TYPES
    from ..formats.caffemodel import read_caffemodel
    from ..nets.definition import read_net

    net, shape = read_net(net_path), parse_image(image)
    model = read_caffemodel(weights)
    result = encoding.encode(model, net, settings, source=weights, image=shape)
    warn(*net.warnings)
    if result.unused:
        dropped = first_few([f"'{name}'" for name in result.unused])
        warn(f"{printable(weights)}: dropped layers that the net lacks: {dropped}")
    if zero := [row.layer for row in result.layers if row.type in SHARED_TYPES and not row.density]:
        warn(f"{first_few(zero)}: all weights are 0")
    write_files({Path(out): result.bytes}, force)
    click.echo(f"wrote {printable(out)}: {_describe_size(result, settings.size)}", err=True)
    if as_json:
        print_json(_as_dict(result, out))
    else:
        print_lines(_report(result))


def parse_settings(
    out: str,
    bits: int | None,
    bits_for: tuple[str, ...],
    bits_from: str | None,
    size: str | None,
    density: str | None,
    huffman: bool = True,
) -> Settings:
    """Return what the options of `encode` ask for.

    Raises:
        click.UsageError: some don't go together, or one is malformed.
        SqgenError: a value is out of range, or a file can't be read.
    """
    layout = Path(out).suffix.lower()
    if layout not in LAYOUTS:
        raise click.UsageError(f"-o {printable(out)}: end it in .sqz or .net")
    if bits_for and bits_from is not None:
        raise click.UsageError("--bits-for and --bits-from: give one")
    if size is not None and (bits is not None or bits_for or bits_from is not None):
        raise click.UsageError("--size and --bits, --bits-for or --bits-from: give one")
    size_limit = None if size is None else _parse_bytes(size)
    from ..compress.bits_file import MAXIMUM_BITS, BitsFile, read_bits
    from ..compress.encoding import Settings

    file = BitsFile() if bits_from is None else read_bits(bits_from)
    return Settings(
        layout[1:],
        MAXIMUM_BITS if bits is None else bits,
        tuple(map(_parse_bits_for, bits_for)) or tuple(file.weights.items()),
        tuple(file.entropy.items()),
        file.values,
        bits_from or "",
        size_limit,
        _parse_density(density),
        huffman,
    )


@compress.command()
@click.option("--weights", required=True, metavar="W", help="the trained caffemodel")
@click.option(
    "--net", "--model", "net_path", required=True, metavar="NET", help="a train_val prototxt"
)
@click.option("--solver", required=True, metavar="SOLVER", help="trains NET, anew in each stage")
@click.option("-o", "--out", required=True, metavar="OUT", help=".sqz or .net to write")
@click.option("--density", metavar="D", help="paper, a fraction, or a TOML file [no pruning]")
@click.option("--steps", type=int, default=1, metavar="N", help="prune and retrain N times [1]")
@click.option("--bits", type=int, metavar="N", help="at most 2^N values per layer; N is 2 to 8 [8]")
@data_option
@click.option("--val-data", metavar="LMDB", help="test dataset, instead of the net's own")
@batch_option
@mean_option
@click.option("--base-lr", type=float, metavar="RATE", help="learning rate, not the solver's")
@click.option("--max-iter", type=int, metavar="N", help="updates of each stage, not the solver's")
@click.option("--epochs", type=float, metavar="N", help="passes over the training data, likewise")
@click.option("--resume", is_flag=True, help="go on in the stage of the newest snapshot")
@click.option("--plot", metavar="OUT", help="chart accuracy against size: .png, .svg, .pdf, .html")
@dark_option
@_FORCE
@run_options
@engine_arguments
def train(
    weights: str,
    net_path: str,
    solver: str,
    out: str,
    density: str | None,
    steps: int,
    bits: int | None,
    plot: str | None,
    dark: bool,
    force: bool,
    as_json: bool,
    options: RunOptions,
    **arguments: Any,
) -> None:
    """Deep Compression, whole: prune, retrain, share values, retrain these, and encode.

    Prints size and scores of each stage, before and after its training. All files are in the run
    folder; the embedded engine alone does this.

    \b
    Example:
      sqgen compress train --weights w.caffemodel --net train_val.prototxt \\
        --solver solver.prototxt --data train_lmdb --val-data val_lmdb \\
        --density paper --steps 3 --bits 5 --epochs 2 -o w.sqz
    """
    settings = parse_settings(out, bits, (), None, None, density, huffman=True)
    from ..runner.training_plan import TrainOptions
    from ..studies.compress_training import CompressionPlan, train_compressed
    from ..studies.tradeoff import as_dict
    from ..studies.tradeoff_chart import tradeoff_chart
    from ..studies.tradeoff_report import format_tradeoff
    from ..studies.tradeoff_table import tradeoff_table

    picture = None if plot is None else PictureFile(plot, "--plot", force, dark)
    plan = CompressionPlan(settings.density, steps, settings.bits)
    wanted = TrainOptions(**arguments, resume_with=_resume_command(options.typed))
    points = train_compressed(weights, net_path, solver, out, plan, options, wanted, force=force)
    click.echo(f"wrote {printable(out)}: {bytes_text(points[-1].bytes)}", err=True)
    if as_json:
        print_json(as_dict(points))
    else:
        print_lines(format_tradeoff(points, terminal_width()))
    if picture is not None:
        picture.write([tradeoff_chart(tradeoff_table(points))])


@compress.command()
@click.argument("file", metavar="FILE")
@_NET
@click.option("--solver", required=True, metavar="SOLVER", help="the solver's prototxt")
@click.option("-o", "--out", required=True, metavar="OUT", help=".sqz or .net to write")
@data_option
@click.option("--val-data", metavar="LMDB", help="test dataset, instead of the net's own")
@batch_option
@mean_option
@click.option("--base-lr", type=float, metavar="RATE", help="learning rate, not the solver's")
@click.option("--max-iter", type=int, metavar="N", help="updates in all, not the solver's")
@click.option("--epochs", type=float, metavar="N", help="passes over the training data in all")
@click.option("--resume", is_flag=True, help="resume from the newest snapshot")
@_IMAGE
@_FORCE
@run_options
@engine_arguments
def finetune(
    file: str,
    net_path: str,
    solver: str,
    out: str,
    image: str | None,
    force: bool,
    as_json: bool,
    options: RunOptions,
    **arguments: Any,
) -> None:
    """Train the shared values of a .sqz or .net; its codes stay, and so does its size.

    The gradient of a value is the sum of those of the weights that share it. Sums are large: with
    SGD, start with a tenth of the rate that trains the net; Adam takes the whole. Biases are
    trained, too.

    \b
    Example:
      sqgen compress finetune w.sqz --net train_val.prototxt \\
        --solver solver.prototxt --data train_lmdb --val-data val_lmdb \\
        --base-lr 0.0001 --epochs 2 -o trained.sqz
    """
    if Path(out).suffix.lower() not in LAYOUTS:
        raise click.UsageError(f"-o {printable(out)}: end it in .sqz or .net")
    from ..runner.training_plan import TrainOptions
    from ..studies.codebook_training import train_codebook

    trained = train_codebook(
        file,
        net_path,
        solver,
        out,
        options,
        TrainOptions(**arguments, resume_with=_resume_command(options.typed)),
        image=parse_image(image),
        force=force,
    )
    click.echo(f"wrote {printable(out)}: {bytes_text(trained.after)}", err=True)
    if not trained.scores:
        click.echo("no score: sqgen compress eval WEIGHTS FILE OUT tests both files", err=True)
    if as_json:
        scores = {name: {"before": a, "after": b} for name, a, b in trained.scores}
        sizes = {"before": trained.before, "after": trained.after}
        print_json({"format": 1, "path": out, "bytes": sizes, "scores": scores})
        return
    rows = [
        [name, "" if a is None else number_text(a), number_text(b)] for name, a, b in trained.scores
    ]
    rows.append(["bytes", f"{trained.before:,}", f"{trained.after:,}"])
    print_lines(table(["", "before", "after"], rows, right=(1, 2), width=terminal_width()))


@compress.command("eval")
@click.argument("weights", metavar="WEIGHTS")
@click.argument("files", metavar="[FILE]...", nargs=-1)
@click.option(
    "--net", "--model", "net_path", required=True, metavar="NET", help="a train_val prototxt"
)
@data_option
@click.option("--bits", metavar="N,N,...", help="also compress WEIGHTS to these bits")
@click.option("--size", metavar="BYTES,...", help="also compress WEIGHTS to these sizes")
@batch_option
@mean_option
@click.option("--iterations", type=click.IntRange(min=1), help="batches [each image once]")
@click.option("--plot", metavar="OUT", help="chart accuracy against size: .png, .svg, .pdf, .html")
@dark_option
@_FORCE
@run_options
def evaluate(
    weights: str,
    files: tuple[str, ...],
    net_path: str,
    bits: str | None,
    size: str | None,
    plot: str | None,
    dark: bool,
    force: bool,
    as_json: bool,
    options: RunOptions,
    **test_arguments: Any,
) -> None:
    """Compare size and scores of weights before and after compression.

    FILE is a .sqz, .net or .caffemodel. The run folder in runs/ keeps logs, results and the
    compressed files.

    \b
    Examples:
      sqgen compress eval w.caffemodel w.sqz --net net.prototxt --data val_lmdb
      sqgen compress eval w.caffemodel --bits 8,6,4 --net net.prototxt \\
        --data val_lmdb --plot tradeoff.png
    """
    from ..compress.encoding import Settings
    from ..studies.tradeoff import as_dict, measure_tradeoff
    from ..studies.tradeoff_chart import tradeoff_chart
    from ..studies.tradeoff_report import format_tradeoff
    from ..studies.tradeoff_table import tradeoff_table

    picture = None if plot is None else PictureFile(plot, "--plot", force, dark)
    settings = [Settings(bits=number) for number in _parse_numbers("--bits", bits)]
    settings += [Settings(size=number) for number in _parse_numbers("--size", size)]
    if not files and not settings:
        raise click.UsageError("nothing to compare: give compressed files, --bits or --size")
    points = measure_tradeoff(weights, files, settings, net_path, options, **test_arguments)
    if as_json:
        print_json(as_dict(points))
    else:
        print_lines(format_tradeoff(points, terminal_width()))
    if picture is not None:
        picture.write([tradeoff_chart(tradeoff_table(points))])


def _resume_command(typed: Sequence[str]) -> str:
    """Return the command that goes on with one that was typed so, after a stop."""
    program, command, action, *rest = typed
    resume = [] if "--resume" in rest else ["--resume"]
    return shell_join([program, command, action, *resume, *rest])


def _parse_numbers(flag: str, text: str | None) -> list[int]:
    words = [] if text is None else text.split(",")
    if not all(word.isdecimal() and 0 < len(word) < 12 for word in words):
        raise click.UsageError(f"{flag} {printable(text or '')}: write numbers with commas between")
    return [int(word) for word in words]


def _parse_bytes(text: str) -> int:
    if not text.isdecimal() or len(text) > 18 or not int(text):
        raise click.UsageError(f"--size {printable(text)}: give a number of bytes, such as 430000")
    return int(text)


def _parse_bits_for(text: str) -> tuple[str, int]:
    pattern, _, bits = text.rpartition("=")
    if not pattern or not bits.isdecimal() or len(bits) > 2:
        raise click.UsageError(f"--bits-for {printable(text)}: write a pattern and bits as conv1=8")
    return pattern, int(bits)


def _parse_density(text: str | None) -> tuple[DensityRule, ...]:
    from ..compress.prune import PAPER_RULES, DensityRule, read_rules

    if text is None:
        return ()
    if text == "paper":
        return PAPER_RULES
    try:
        fraction = float(text)
    except ValueError:
        return read_rules(text)
    if not 0 <= fraction <= 1:
        raise click.UsageError(f"--density {printable(text)}: give a fraction from 0 to 1")
    return (DensityRule("*", fraction),)


def _describe_size(result: Compressed, size_limit: int | None) -> str:
    """Format the size of the compressed file, and what an exact one leaves of the limit."""
    size = len(result.bytes)
    if size_limit is None or any(row.error for row in result.layers):
        return bytes_text(size)
    return f"{bytes_text(size)}, the exact weights, with {bytes_text(size_limit - size)} to spare"


def _as_dict(result: Compressed, out: str) -> dict[str, object]:
    return {
        "format": 1,
        "path": out,
        "bytes": len(result.bytes),
        "float_bytes": result.float_bytes,
        "layers": [row._asdict() for row in result.layers],
    }


def _report(result: Compressed) -> list[str]:
    heads = ["layer", "weights", "density", "values", "bits", "bytes", "share", "error"]
    size, rows = len(result.bytes), result.layers
    cells = [*map(_row_cells, rows), _total_cells(rows, size)]
    lines = table(heads, cells, right=range(1, len(heads)), width=terminal_width())
    floats = f"{bytes_text(result.float_bytes)} of float32"
    ratio = f"{result.float_bytes / size:.1f} times smaller than"
    if size >= result.float_bytes:
        ratio = "no smaller than"
    return [*lines, f"{bytes_text(size)}, {ratio} {floats}"]


def _row_cells(row: CompressedLayer) -> list[str]:
    return [
        row.layer,
        f"{row.weights:,}",
        f"{row.density:.1%}",
        f"{row.values:,}",
        str(row.bits),
        f"{row.bytes:,}",
        f"{row.share:.1%}",
        f"{row.error:.4f}" if row.error else "0",
    ]


def _total_cells(rows: Sequence[CompressedLayer], size: int) -> list[str]:
    weights = sum(row.weights for row in rows)
    kept = sum(row.weights * row.density for row in rows)
    return ["total", f"{weights:,}", f"{kept / weights:.1%}", "", "", f"{size:,}", "", ""]
