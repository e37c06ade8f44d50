"""`sqgen quantize`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..formats.files import check_file_target, write_files
from ..json_form import dumps
from ..text import printable, shell_join
from ..version import __version__
from .input_files import read_net
from .quantize_options import QuantizeOptions, quantize_options
from .quantize_result import QuantizeResult
from .search_inputs import all_seen, find_image_size, identify_images, read_images, read_net_weights
from .search_options import DIVERGENCE
from .terminal import print_json

if TYPE_CHECKING:
    from ..engine.input_images import InputImages
    from ..quantization.job import Quantization, QuantizationJob

BITS, SQZ, RECORD = FILES = ("bits.toml", "quantized.sqz", "quantize.json")


@click.command()
@quantize_options
def quantize(**typed: Any) -> None:
    """Choose the bits of each layer's weights within a budget of bytes.

    Weights are shared by k-means as in `sqgen compress encode`, 2 to 8 bits a layer; the budget is
    of the very .sqz file. Scores are how far the net agrees with the whole one on the images;
    labels count with --score top-1 only.

    DIR gets quantized.sqz, bits.toml, of which `sqgen compress encode --bits-from` makes the same
    file, and quantize.json; of a search, trials.jsonl.

    \b
    Example:
      sqgen quantize w.caffemodel --net deploy.prototxt --data val_lmdb \\
        --bytes 320000 --out small
    """
    options = QuantizeOptions(**typed)
    options.check()
    for name in FILES:
        check_file_target(Path(options.out) / name, options.force)
    net = read_net(options.net_path)
    shape = options.shape or find_image_size(net, options.data)
    model = read_net_weights(options.weights, net, shape)
    from ..quantization.job import QuantizationJob
    from ..quantization.layer_table import LayerTable
    from ..search.journal import JOURNAL
    from ..search.record import SearchRecord, read_record

    table = LayerTable(net, model, options.weights, shape)
    budget, score = options.parse_budget(), options.score or DIVERGENCE
    job = QuantizationJob(net, table, budget, options.search, score, shape)
    # What was asked for can be done; what takes long begins here.
    images = read_images(options.data, options.net_path, net, shape, options.preprocessing)
    seen = identify_images(options.data, images)
    done = _run(job, images, options)
    journal = Path(options.out) / JOURNAL
    record = read_record(SearchRecord, journal, "search") if options.is_search else None
    result = QuantizeResult(done, options.by, options.seed, seen, all_seen(model, seen), record)
    _write(result, options)


def _run(job: QuantizationJob, images: InputImages, options: QuantizeOptions) -> Quantization:
    from ..search.journal import Trials
    from .progress_bar import ProgressBar

    with options.interruptible():
        return job.run(images, Trials(Path(options.out), options.resume), ProgressBar)


def _write(result: QuantizeResult, options: QuantizeOptions) -> None:
    """Write the files, and say what they are."""
    from ..compress.bits_file import format_bits

    words = ["sqgen", "quantize", options.weights, "--net", options.net_path]
    words += ["--bytes", options.bytes, "--by", options.by, "--seed", str(options.seed)]
    header = f"# {shell_join(words)} ...\n# sqgen {__version__}\n"
    bits = {row.layer: row.bits for row in result.done.layers}
    record = result.as_dict(options.out, list(FILES))
    files = {
        BITS: format_bits(bits, header).encode(),
        SQZ: result.done.file,
        RECORD: dumps(record).encode(),
    }
    write_files({Path(options.out) / name: data for name, data in files.items()}, options.force)
    if options.as_json:
        print_json(record)
    else:
        result.print()
        click.echo(f"wrote {', '.join(files)} in {printable(options.out)}", err=True)
