"""`sqgen prune`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..formats.files import check_file_target, write_files
from ..json_form import dumps
from ..text import first_few, printable, shell_join
from ..version import __version__
from .input_files import read_net
from .prune_options import PruneOptions, prune_options
from .prune_result import PruneResult
from .search_inputs import all_seen, find_image_size, identify_images, read_images, read_net_weights
from .search_options import DIVERGENCE
from .terminal import print_json, warn

if TYPE_CHECKING:
    from ..engine.input_images import InputImages
    from ..formats.schema import NetParameter
    from ..nets.definition import NetDefinition
    from ..nets.layer_types import Shape
    from ..pruning.job import PruningJob
    from ..pruning.prune import Pruner, Pruning


@click.command()
@prune_options
def prune(**typed: Any) -> None:
    """Prune channels of a net: a smaller one that any Caffe loads.

    Takes filters out of the layers that --ratio-for or --ratios name, or the same share out of all
    until a budget is met; and with each filter what belongs to it elsewhere: bypasses add the same
    channels, and the next layers read fewer. DIR gets the prototxts, pruned.caffemodel, and of a
    SqueezeNet the design.toml that builds it again.

    With --data, the weights that are left are fitted to compute what they did with all channels,
    on images whose labels don't count; and within a budget, each layer's share is searched for.

    \b
    Examples:
      sqgen prune w.caffemodel --net train_val.prototxt --out small \\
        --macs 0.7 --data train_lmdb
      sqgen prune w.caffemodel --net train_val.prototxt --out small \\
        --ratio-for 'fire*/expand3x3=0.5' --ratio-for 'fire*/squeeze1x1=0.75'
      sqgen prune compressed.net --net deploy.prototxt --out same --lossless
    """
    options = PruneOptions.of(typed)
    options.check()
    selection = options.selection  # reads the ratios
    picture = options.picture
    _check_targets(Path(options.out), options.force)
    net = read_net(options.net_path)
    shape = options.shape or find_image_size(net, options.data)
    model = read_net_weights(options.weights, net, shape)
    pruner = _open(net, options.weights, model, shape)
    from ..pruning.job import PruningJob
    from ..pruning.proof import prove
    from ..pruning.search_record import read_search
    from ..report.search_chart import search_picture
    from ..search.journal import JOURNAL

    job, budgets = None, []
    if not options.lossless:
        budgets = options.budgets(pruner)
        options.warn_of_table()
        job = PruningJob(pruner, selection, budgets, options.search, options.score or DIVERGENCE)
    # What was asked for can be done; what takes long begins here.
    images = seen = None
    if options.data is not None:
        images = read_images(options.data, options.net_path, net, shape, options.preprocessing)
        seen = identify_images(options.data, images)
    done = pruner.lossless() if job is None else _run(job, images, options)
    result = PruneResult(
        done,
        [] if job is None else job.spent(done),
        options.choice(budgets),
        seen,
        all_seen(model, seen),
        read_search(Path(options.out) / JOURNAL) if options.is_search else None,
        {} if images is None else pruner.agreements(done, images),
        None if options.no_proof else prove(done),
    )
    _write(result, options)
    if picture is not None:
        picture.write(result.charts(), search_picture)


def _check_targets(folder: Path, force: bool) -> None:
    """Check that the files can be written, before what takes long."""
    from ..pruning.pruned_net import FILES

    for name in FILES:
        check_file_target(folder / name, force)


def _open(net: NetDefinition, weights: str, model: NetParameter, shape: Shape | None) -> Pruner:
    """Return what prunes a net, and warn of layers whose weights are lost."""
    from ..pruning.prune import Pruner
    from ..pruning.pruned_net import WEIGHTS

    pruner = Pruner(net, [(printable(weights), model)], shape)
    if pruner.untested:
        warn(f"{first_few(pruner.untested)}: in TRAIN only; {WEIGHTS} has no weights of them")
    return pruner


def _run(job: PruningJob, images: InputImages | None, options: PruneOptions) -> Pruning:
    from .progress_bar import ProgressBar

    with options.interruptible():
        return job.run(images, options.recorded, ProgressBar)


def _write(result: PruneResult, options: PruneOptions) -> None:
    """Write the files, and say what they are."""
    from ..pruning.decisions import format_ratios
    from ..pruning.pruned_net import RATIOS, RECORD, SQZ

    pruned, out = result.done.pruned, options.out
    words = ["sqgen", "prune", options.weights, "--net", options.net_path, "--out", out]
    files = pruned.files(f"# {shell_join(words)} ...\n# sqgen {__version__}\n", result.seen)
    if not options.lossless:
        choice = f"--criterion {options.criterion} --seed {options.seed}"
        header = f"# sqgen prune --ratios, with {choice}: shares of channels that layers keep.\n"
        text = format_ratios(result.done.decisions, result.done.counts, header)
        files[RATIOS] = text.encode()
    if options.bytes is not None:
        files[SQZ] = pruned.sqz(options.sqz_bits)
    record = result.as_dict(out, [*files, RECORD])
    files[RECORD] = dumps(record).encode()
    write_files({Path(out) / name: data for name, data in files.items()}, options.force)
    if pruned.undesigned:
        warn(f"no design.toml: {pruned.undesigned}")
    if options.as_json:
        print_json(record)
    else:
        result.print()
        click.echo(f"wrote {', '.join(files)} in {printable(out)}", err=True)
