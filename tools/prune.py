"""`sqgen prune`."""

from __future__ import annotations

import math
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..errors import FormatError
from ..extras import required
from ..formats.files import STDIN, check_file_target, write_files
from ..report.table import table
from ..text import agreement_text, first_few, printable, shape_text, shell_join
from ..version import __version__
from .image_options import (
    PreprocessingOptions,
    check_preprocessing,
    choose_preprocessing,
    find_images,
    preprocessing_options,
)
from .input_files import read_net
from .terminal import echo, parse_image, print_json, print_lines, print_table, terminal_width, warn

if TYPE_CHECKING:
    from ..engine.equivalence import Proof
    from ..engine.input_images import InputImages
    from ..formats.schema import NetParameter
    from ..nets.definition import NetDefinition
    from ..nets.layer_types import Shape
    from ..pruning.agreement import Agreement
    from ..pruning.problem import PruningProblem
    from ..pruning.prune import Pruning

FORMAT = 1
METHODS = UNIFORM, *SEARCHES = ("uniform", "random", "greedy", "evolution")  # of search/methods.py
JOURNAL = "trials.jsonl"


@click.command()
@click.argument("weights", metavar="W")
@click.option("--net", "--model", "net_path", required=True, metavar="NET", help="the net of W")
@click.option("--out", "-o", required=True, metavar="DIR", help="folder to write the files into")
@click.option("--ratios", metavar="FILE", help="TOML: shares of channels to keep, by layer")
@click.option("--ratio-for", multiple=True, metavar="PATTERN=X", help="share that a layer keeps")
@click.option("--macs", type=float, metavar="X", help="budget: a share of the net's, or a number")
@click.option("--parameters", type=float, metavar="X", help="budget, likewise")
@click.option(
    "--by",
    type=click.Choice(list(METHODS)),
    default=UNIFORM,
    show_default=True,
    help="how channels within a budget are found",
)
@click.option("--trials", type=int, default=100, metavar="N", help="nets that a search tries [100]")
@click.option("--resume", is_flag=True, help="go on with the search of DIR")
@click.option("--lossless", is_flag=True, help="take only channels that can't matter")
@click.option(
    "--criterion",
    default="l1-inputs",
    metavar="NAME",
    help="which channels go: l1-inputs, l1-filters, random [l1-inputs]",
)
@click.option("--round", "multiple", type=int, default=1, metavar="N", help="keep a multiple of N")
@click.option("--at-least", multiple=True, metavar="PATTERN=N", help="channels to keep at least")
@click.option("--leave", multiple=True, metavar="PATTERN", help="layers that keep all channels")
@click.option("--data", metavar="LMDB|DIR", help="images to reconstruct the weights on")
@preprocessing_options
@click.option(
    "--seed", type=click.IntRange(min=0), default=0, metavar="N", help="of random choices [0]"
)
@click.option("--image", metavar="CxHxW", help="size of images, if data layers don't give it")
@click.option("--no-proof", is_flag=True, help="skip running the nets to compare them")
@click.option("--force", is_flag=True, help="replace files of DIR but trials.jsonl")
@click.option("--json", "as_json", is_flag=True, help="print JSON (docs/pruning.md)")
def prune(
    weights: str,
    net_path: str,
    out: str,
    ratios: str | None,
    ratio_for: tuple[str, ...],
    macs: float | None,
    parameters: float | None,
    by: str,
    trials: int,
    resume: bool,
    lossless: bool,
    criterion: str,
    multiple: int,
    at_least: tuple[str, ...],
    leave: tuple[str, ...],
    data: str | None,
    resize: str | None,
    like: str | None,
    mean: str | None,
    scale: float | None,
    seed: int,
    image: str | None,
    no_proof: bool,
    force: bool,
    as_json: bool,
) -> None:
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
    if not out:
        raise click.UsageError("--out '': give a folder; . is this one")
    parse_image(image)
    if out == STDIN:
        raise click.UsageError("--out -: give a folder")
    budgets = {"macs": macs, "parameters": parameters}
    is_by_hand, is_within = bool(ratios or ratio_for), set(budgets.values()) != {None}
    if [lossless, is_by_hand, is_within].count(True) != 1:
        ways = "ratios (--ratio-for, --ratios), a budget (--macs, --parameters), or --lossless"
        raise click.UsageError(f"give one: {ways}")
    if lossless and (at_least or leave or multiple != 1 or criterion != "l1-inputs"):
        raise click.UsageError("--lossless takes what can't matter: leave the other choices out")
    if lossless and data is not None:
        raise click.UsageError("--data: --lossless leaves nothing to reconstruct")
    _check_search(by, trials, resume, is_possible=is_within and data is not None)
    options = PreprocessingOptions(resize, like, mean, scale)
    check_preprocessing(options)
    from ..pruning.budgets import Budget
    from ..pruning.decisions import RatioRules, parse_pair, read_ratios
    from ..pruning.prune import Pruner
    from ..pruning.pruned_net import FILES, WEIGHTS
    from ..search.journal import Journal, array_digest
    from ..search.run import Search
    from .progress_bar import ProgressBar

    shares = [parse_pair("--ratio-for", text, "conv1=0.5") for text in ratio_for]
    rules = RatioRules(
        (*shares, *(read_ratios(ratios) if ratios is not None else ())),
        tuple(parse_pair("--at-least", text, "conv1=8") for text in at_least),
        tuple(pattern for text in leave for pattern in text.split(",") if pattern),
        multiple,
    )
    for name in FILES:  # before what takes long
        check_file_target(Path(out) / name, force)
    net = read_net(net_path)
    shape = parse_image(image) or _image_of(net, data)
    pruner = Pruner(net, [(printable(weights), _read_weights(weights, net, shape))], shape)
    if pruner.untested:
        warn(f"{first_few(pruner.untested)}: in TRAIN only; {WEIGHTS} has no weights of them")
    problem: PruningProblem | None = None
    if is_within:
        given = [Budget(name, value) for name, value in budgets.items() if value is not None]
        problem = pruner.problem(given, rules, criterion, seed)
    chosen = pruner.by_ratios(rules, criterion, seed) if is_by_hand else None
    # What was asked for can be done; what takes long begins here.
    images = sums = None
    if data is not None:
        images = _read_images(data, net_path, net, shape, options)
    if problem is not None:
        search = Search(by, trials, seed)
        if images is None or by == UNIFORM:
            chosen = pruner.keep(problem, search.first(problem))
        else:
            head = {
                **search._asdict(),
                "budgets": [f"--{name} {value:g}" for name, value in given],
                "at_least": list(at_least),
                "leave": list(leave),
                "round": multiple,
                "criterion": criterion,
                "net": sha256(net.param.SerializeToString(deterministic=True)).hexdigest()[:16],
                "weights": array_digest(pruner.arrays.values()),
                "images": array_digest([images.batches]),
            }
            journal = Journal(Path(out) / JOURNAL, head, resume)
            sums = pruner.collect_sums(images)
            problem.score_removed = pruner.divergence(images, sums)
            with ProgressBar(trials) as bar:
                chosen = pruner.keep(problem, search.run(problem, journal, bar))
    if images is not None and sums is None:
        sums = pruner.collect_sums(images)
    done = pruner.lossless() if chosen is None else pruner.prune(chosen, sums)
    agreements = {} if images is None else pruner.agreements(done, images)
    proof = None if no_proof else _prove(done)
    words = ["sqgen", "prune", weights, "--net", net_path, "--out", out]
    header = f"# {shell_join(words)} ...\n# sqgen {__version__}\n"
    files = done.pruned.files(header)
    write_files({Path(out) / name: data for name, data in files.items()}, force)
    if done.pruned.undesigned:
        warn(f"no design.toml: {done.pruned.undesigned}")
    if as_json:
        print_json({**_as_dict(done, proof, out, list(files)), **_agreement_dict(agreements)})
    else:
        _print(done, proof)
        _print_agreements(agreements)
        click.echo(f"wrote {', '.join(files)} in {printable(out)}", err=True)


def _check_search(by: str, trials: int, resume: bool, *, is_possible: bool) -> None:
    """Refuse options of a search that contradict each other."""
    if by != UNIFORM and not is_possible:
        raise click.UsageError(f"--by {by}: give a budget (--macs, --parameters), and --data")
    if resume and by == UNIFORM:
        raise click.UsageError("--resume: goes on with a search, --by " + ", ".join(SEARCHES))
    if trials < 1:
        raise click.UsageError(f"--trials {trials}: give one or more")


def _read_weights(path: str, net: NetDefinition, image: Shape | None) -> NetParameter:
    """Read a caffemodel, or compressed weights of the net."""
    if path.lower().endswith((".sqz", ".net")):
        from ..compress.encoding import read_compressed

        return read_compressed(path, net, image)
    from ..formats.caffemodel import read_caffemodel

    return read_caffemodel(path)


def _image_of(net: NetDefinition, data: str | None) -> Shape | None:
    """Return the size of the images of a net whose data layers don't say it, where others do."""
    from ..formats.lmdb_reader import is_lmdb
    from ..generator.recognize import find_design
    from ..nets.shapes import infer_shapes
    from ..runner.overrides import DataOverride
    from ..runner.preflight import image_of_data

    if all(problem.rule != "image-size" for problem in infer_shapes(net, "TEST").problems):
        return None
    built = find_design(net)
    if built is not None:
        return built.design.image
    if data is None or not is_lmdb(data):
        return None
    return image_of_data(net, DataOverride("TEST", data))


def _read_images(
    source: str,
    net_path: str,
    net: NetDefinition,
    shape: Shape | None,
    options: PreprocessingOptions,
) -> InputImages:
    """Read images as the net takes them, and say how."""
    with required("torch", "sqgen prune --data"):
        from ..engine.api import Net
        from ..engine.classify import Model, read_transform
        from ..engine.input_images import read_files, read_records
    from ..formats.lmdb_reader import is_lmdb
    from ..nets.deploy import deploy_net
    from ..nets.family import is_imagenet
    from ..nets.shapes import require_shapes

    made = deploy_net(net, image=shape).definition
    read = Model(made, read_transform(net), is_imagenet(require_shapes(made, "TEST")))
    choice = choose_preprocessing(Net(made), read, net_path, options)
    choice.report()
    if is_lmdb(source):
        images = read_records(source, choice.preprocessing, warn)
    else:
        paths = find_images([source])
        images = read_files(paths, choice.preprocessing, lambda error: warn(str(error)), warn)
    if not images.total:
        raise FormatError(f"{printable(source)}: has no images")
    return images


def _prove(done: Pruning) -> Proof | None:
    """Run both nets on random inputs; compare the blobs that have all channels in both.

    Returns None of a net without inputs.
    """
    nets = done.deploy_nets()
    if nets is None:
        return None
    from ..engine.equivalence import load_engine, prove_rewritten
    from ..nets.shapes import require_shapes

    shapes = [require_shapes(net, "TEST").blobs for net in nets]
    whole = [name for name, shape in shapes[1].items() if shapes[0].get(name) == shape]
    return prove_rewritten(
        load_engine(),
        nets[0],
        done.equal,
        nets[1],
        done.plain,
        blobs=whole,
        tolerance=done.tolerance,
    )


def _print(done: Pruning, proof: Proof | None) -> None:
    rows = [
        [decision.name, f"{len(decision.roots):,}", f"{count:,}"]
        for decision, count in zip(done.decisions, done.counts, strict=True)
        if count < len(decision.roots)
    ]
    if rows:
        print_table(table(["layer", "channels", "kept"], rows, (1, 2), terminal_width()))
    before, after = done.pruned.savings
    for name, old, new in (
        ("MACs", before.macs, after.macs),
        ("parameters", before.parameters, after.parameters),
    ):
        echo(f"{name}: {old:,} -> {new:,} ({new / old:.4f})")
    if proof is not None:
        shapes = " and ".join(map(shape_text, proof.inputs.values()))
        whole = "the whole net" if done.is_lossless else "the whole net without these channels"
        agreement = agreement_text(proof.blobs, f"those of {whole}", proof.largest)
        echo(f"run on random {shapes} in float64: {agreement}")


def _print_agreements(agreements: Mapping[str, Agreement]) -> None:
    if not agreements:
        return
    rows = [
        [
            name,
            "" if each.top1 is None else f"{each.top1:.4f}",
            f"{each.divergence:.4f}"
            + ("" if math.isnan(each.error) else f" +- {each.error:.4f}"),  # of one image
        ]
        for name, each in agreements.items()
    ]
    print_lines(table(["on these images", "top-1", "KL from the whole net"], rows, (1, 2)))


def _agreement_dict(agreements: Mapping[str, Agreement]) -> dict[str, Any]:
    return {"agreements": {name: each._asdict() for name, each in agreements.items()} or None}


def _as_dict(done: Pruning, proof: Proof | None, out: str, files: list[str]) -> dict[str, Any]:
    before, after = done.pruned.savings
    decisions = zip(done.decisions, done.counts, strict=True)
    return {
        "format": FORMAT,
        "path": out,
        "files": files,
        "decisions": [
            {"layers": list(each.layers), "channels": len(each.roots), "kept": count}
            for each, count in decisions
        ],
        "stay": done.stay,
        "folded": done.folded,
        "macs": {"before": before.macs, "after": after.macs},
        "parameters": {"before": before.parameters, "after": after.parameters},
        "proof": None if proof is None else {"largest": proof.largest, "blobs": proof.blobs},
    }
