"""`sqgen prune`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..formats.files import check_file_target, write_files
from ..text import first_few, printable, shell_join
from ..version import __version__
from .input_files import read_net
from .prune_inputs import find_image_size, read_images, read_pruned_weights
from .prune_options import PruneOptions, prune_options
from .prune_result import PruneResult
from .terminal import print_json, warn

if TYPE_CHECKING:
    from ..nets.definition import NetDefinition
    from ..nets.layer_types import Shape
    from ..pruning.prune import Pruner


@click.command()
@prune_options
def prune(**typed: Any) -> None:
    """Prune channels of a net: a smaller one that any Caffe loads.

    Takes filters out of the layers that --ratio-for or --ratios name, or the same share out of all
    until a budget is met; and with each filter what belongs to it elsewhere: bypasses add the same
    channels, and the next layers read fewer. DIR gets the prototxts, pruned.caffemodel, and of a
    SqueezeNet the design.toml that builds it again.

    With --data, the weights that are left are fitted to compute what they did with all channels,
    on images whose labels don't count.

    \b
    Examples:
      sqgen prune w.caffemodel --net train_val.prototxt --out small \\
        --macs 0.7 --data train_lmdb
      sqgen prune w.caffemodel --net train_val.prototxt --out small \\
        --ratio-for 'fire*/expand3x3=0.5' --ratio-for 'fire*/squeeze1x1=0.75'
      sqgen prune compressed.net --net deploy.prototxt --out same --lossless
    """
    options = PruneOptions(**typed)
    options.check()
    selection = options.selection  # reads the ratios
    _check_targets(Path(options.out), options.force)
    net = read_net(options.net_path)
    shape = options.shape or find_image_size(net, options.data)
    pruner = _open(net, options.weights, shape)
    from ..pruning.job import PruningJob, Trials
    from ..pruning.proof import prove
    from .progress_bar import ProgressBar

    job = None
    if not options.lossless:
        budgets = options.budgets(pruner.groups)
        job = PruningJob(pruner, selection, budgets, options.search)
    # What was asked for can be done; what takes long begins here.
    images = None
    if options.data is not None:
        images = read_images(options.data, options.net_path, net, shape, options.preprocessing)
    trials = Trials(Path(options.out), options.resume)
    done = pruner.lossless() if job is None else job.run(images, trials, ProgressBar)
    agreements = {} if images is None else pruner.agreements(done, images)
    result = PruneResult(done, agreements, None if options.no_proof else prove(done))
    _write(result, options)


def _check_targets(folder: Path, force: bool) -> None:
    """Check that the files can be written, before what takes long."""
    from ..pruning.pruned_net import FILES

    for name in FILES:
        check_file_target(folder / name, force)


def _open(net: NetDefinition, weights: str, shape: Shape | None) -> Pruner:
    """Read the weights of a net."""
    from ..pruning.prune import Pruner
    from ..pruning.pruned_net import WEIGHTS

    pruner = Pruner(net, [(printable(weights), read_pruned_weights(weights, net, shape))], shape)
    if pruner.untested:
        warn(f"{first_few(pruner.untested)}: in TRAIN only; {WEIGHTS} has no weights of them")
    return pruner


def _write(result: PruneResult, options: PruneOptions) -> None:
    """Write the files, and say what they are."""
    pruned, out = result.done.pruned, options.out
    words = ["sqgen", "prune", options.weights, "--net", options.net_path, "--out", out]
    files = pruned.files(f"# {shell_join(words)} ...\n# sqgen {__version__}\n")
    write_files({Path(out) / name: data for name, data in files.items()}, options.force)
    if pruned.undesigned:
        warn(f"no design.toml: {pruned.undesigned}")
    if options.as_json:
        print_json(result.as_dict(out, list(files)))
    else:
        result.print()
        click.echo(f"wrote {', '.join(files)} in {printable(out)}", err=True)
