"""`sqgen quantize`."""

from __future__ import annotations

from collections.abc import Container
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..extras import required
from ..formats.files import check_file_target, write_files
from ..json_form import dumps
from ..text import printable, shell_join
from ..version import __version__
from .input_files import read_net
from .quantize_options import RISTRETTO, QuantizeOptions, quantize_options
from .quantize_result import QuantizeResult, Tuning
from .quantize_ristretto import quantize_to_ristretto
from .search_inputs import all_seen, find_image_size, identify_images, read_images, read_net_weights
from .search_options import DIVERGENCE
from .terminal import print_json

if TYPE_CHECKING:
    from ..engine.input_images import InputImages
    from ..engine.short_training import ShortTraining
    from ..nets.shapes import NetShapes
    from ..quantization.job import Quantization, QuantizationJob
    from ..quantization.layer_table import LayerTable
    from ..quantization.problem import Budget

BITS, SQZ, RECORD = FILES = ("bits.toml", "quantized.sqz", "quantize.json")


@click.command()
@quantize_options
def quantize(**typed: Any) -> None:
    """Choose how many bits each layer gets, within budgets.

    Bits of weights, and with --activations of what layers read. Scores are how
    far the net agrees with the whole one on the images; labels count with
    --score top-1 only.

    DIR gets bits.toml, which `sqgen compress encode --bits-from` and, with bits
    of activations, `sqgen-caffe test --quantize` take; quantized.sqz and
    quantize.json; of a search, trials.jsonl.

    --format ristretto takes bits instead of budgets, those of a search with --bits-from, and
    writes ristretto.prototxt, whose layers compute in them with W.

    \b
    Examples:
      sqgen quantize w.caffemodel --net deploy.prototxt --data val_lmdb \\
        --bytes 320000 --out small
      sqgen quantize w.caffemodel --net deploy.prototxt --data val_lmdb \\
        --ms 0.5 --hardware bismo-edge --activations --out fast
      sqgen quantize w.caffemodel --net train_val.prototxt --data val_lmdb \\
        --format ristretto --bits 8 --activation-bits 8 --out eight
      sqgen quantize w.caffemodel --net train_val.prototxt --data val_lmdb \\
        --format ristretto --bits-from fast/bits.toml --out fixed
      sqgen quantize w.caffemodel --net deploy.prototxt --data val_lmdb \\
        --bytes 0.3 --quantizer k-means --tune solver.prototxt \\
        --tune-iterations 100 --out tuned
    """
    options = QuantizeOptions.of(typed)
    options.check()
    if options.format == RISTRETTO:
        quantize_to_ristretto(options)
        return
    picture = options.picture
    for name in FILES:
        check_file_target(Path(options.out) / name, options.force)
    net = read_net(options.net_path)
    shape = options.shape or find_image_size(net, options.data)
    model = read_net_weights(options.weights, net, shape)
    from ..nets.shapes import require_shapes
    from ..quantization.job import QuantizationJob
    from ..quantization.layer_table import LayerTable
    from ..quantization.problem import FLOAT_BITS
    from ..quantization.search_record import read_quantization
    from ..report.search_chart import search_picture
    from ..search.journal import JOURNAL

    table = LayerTable(net, model, options.weights, shape, options.weights_quantizer)
    activation_bits = None if options.activations else options.activation_bits or FLOAT_BITS
    training = _training(options, table)
    job = QuantizationJob(
        net,
        table,
        make_budgets(options, table, require_shapes(net, "TEST", shape)),
        options.search,
        options.score or DIVERGENCE,
        shape,
        activation_bits,
        training=training,
    )
    # What was asked for can be done; what takes long begins here.
    images = read_images(options.data, options.net_path, net, shape, options.preprocessing)
    seen = identify_images(options.data, images)
    done = _run(job, images, options)
    journal = Path(options.out) / JOURNAL
    record = read_quantization(journal) if options.is_search else None
    result = QuantizeResult(
        done,
        options.by,
        options.weights_quantizer,
        options.seed,
        seen,
        all_seen(model, seen),
        record,
        None if training is None else Tuning(str(options.tune), training.iterations),
    )
    _write(result, options)
    if picture is not None:
        picture.write(result.charts(), search_picture)


def make_budgets(
    options: QuantizeOptions, table: LayerTable, shapes: NetShapes, without: Container[str] = ()
) -> list[Budget]:
    """Return the budgets that were given, of a net's costs.

    Args:
        options: as typed.
        table: the net's layers.
        shapes: of the net in TEST.
        without: flags of budgets that are left out.

    Raises:
        SqgenError: one is no share or amount, or the hardware can't be read, or has no energies.
    """
    from ..quantization import costs
    from ..quantization.hardware_file import read_hardware
    from ..quantization.problem import Budget

    work = costs.layer_work(shapes, table.names)
    hardware = None if options.hardware is None else read_hardware(options.hardware)
    made: dict[str, costs.Cost] = {
        "--bytes": costs.FileBytes(table),
        "--bops": costs.bit_operations(work),
    }
    if hardware is not None:
        made["--ms"] = costs.milliseconds(work, hardware)
        if options.mj is not None:
            made["--mj"] = costs.millijoules(work, hardware)
    budgets = options.parse_budgets().items()
    return [Budget(made[flag], given) for flag, given in budgets if flag not in without]


def _training(options: QuantizeOptions, table: LayerTable) -> ShortTraining | None:
    """Return the training of each trial, checked."""
    if options.tune is None:
        return None
    with required("torch", "--tune"):
        from ..engine.short_training import ShortTraining

    training = ShortTraining(options.tune, options.tune_iterations, options.seed)
    training.check(table.names)
    return training


def _run(job: QuantizationJob, images: InputImages, options: QuantizeOptions) -> Quantization:
    from .progress_bar import ProgressBar

    with options.interruptible():
        return job.run(images, options.recorded, ProgressBar)


def _write(result: QuantizeResult, options: QuantizeOptions) -> None:
    """Write the files, and say what they are."""
    header = f"# {shell_join(options.words)} ...\n# sqgen {__version__}\n"
    record = result.as_dict(options.out, list(FILES))
    files = {
        BITS: _bits_file(result.done, options.weights_quantizer, header).encode(),
        SQZ: result.done.file,
        RECORD: dumps(record).encode(),
    }
    write_files({Path(options.out) / name: data for name, data in files.items()}, options.force)
    if options.as_json:
        print_json(record)
    else:
        result.print()
        click.echo(f"wrote {', '.join(files)} in {printable(options.out)}", err=True)


def _bits_file(done: Quantization, quantizer: str, header: str) -> str:
    """Return bits.toml, of which the same net can be made again."""
    from ..compress.bits_file import format_bits_file
    from ..quantization.chosen_bits import bits_file

    weights = {row.layer: row.bits for row in done.layers}
    read = {
        row.layer: row.activation_bits for row in done.layers if row.activation_bits is not None
    }
    return format_bits_file(bits_file(quantizer, weights, read, done.ranges), header)
