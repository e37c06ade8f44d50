"""`sqgen zoo`."""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import click

from ..errors import DesignError
from ..generator.build import build
from ..generator.presets import PRESETS, phases_of, preset
from ..models.card import IMAGES, MODELS, Card, Weights, read_card
from ..models.download import download
from ..nets.definition import parse_net
from ..nets.summary import summary
from ..nets.totals import Totals
from ..report.table import table
from ..text import bytes_text, shell_join
from .completion import complete_presets
from .group import Group
from .progress_bar import ProgressBar
from .terminal import print_json, print_lines, terminal_width, write

FILES = {"train_val": "build", "deploy": "build --net deploy"}


@click.group(cls=Group, invoke_without_command=True)
@click.option("--json", "as_json", is_flag=True, help="print JSON")
@click.pass_context
def zoo(context: click.Context, as_json: bool) -> None:
    """List the published nets; `show` prints details, `download` fetches weights.

    \b
    Examples:
      sqgen zoo
      sqgen zoo show residual
      sqgen zoo download residual
    """
    if context.invoked_subcommand is not None:
        if as_json:
            raise click.UsageError("--json goes after show", context)
        return
    cards = [read_card(name) for name in PRESETS]
    if as_json:
        print_json([_as_dict(card) for card in cards])
        return
    heads = ["net", "parameters", "MACs", "weights", "top-1", "top-5", "what it is"]
    rows = [_row(card) for card in cards]
    right, macs = (1, 2, 3, 4, 5), (2,)
    print_lines(table(heads, rows, right, width=terminal_width(), optional=macs))


@zoo.command()
@click.argument("name", metavar="NAME", shell_complete=complete_presets)
@click.option("--json", "as_json", is_flag=True, help="print JSON")
def show(name: str, as_json: bool) -> None:
    """Print the details of a net: figures, files, weights, how to reproduce them.

    \b
    Example:
      sqgen zoo show residual
    """
    card = read_card(name)
    if as_json:
        print_json(_as_dict(card))
        return
    print_lines(_detail_lines(card))


@zoo.command("download")
@click.argument("name", metavar="NAME", shell_complete=complete_presets)
@click.option("-o", "--out", metavar="OUT", help="file to write [its published name]")
@click.option("--from", "source", metavar="FILE|URL", help="copy from there instead, and verify")
@click.option("--force", is_flag=True, help="replace OUT if it is another file")
def fetch_weights(name: str, out: str | None, source: str | None, force: bool) -> None:
    """Download the published weights of a net and verify them.

    Resumes an interrupted download, and prints the name of the file. Exit code 3 if the download
    fails or is not the published file.

    \b
    Examples:
      sqgen zoo download v1.1
      sqgen zoo download residual --from residual.caffemodel -o w.caffemodel
    """
    if source == "":
        raise click.UsageError("--from '': give a file or an address")
    if out == "":
        raise click.UsageError("-o '': give a file")
    card = read_card(name)
    if card.weights is None or card.url is None:
        have = ", ".join(other for other in PRESETS if read_card(other).weights)
        raise DesignError(f"no weights were published for {name}; choose {have}")
    target = Path(out or card.weights.file)
    if os.path.isdir(target):
        target /= card.weights.file
    bar = partial(ProgressBar, plain_interval=None)
    downloaded = download(source or card.url, target, card.weights.git_blob, force, bar)
    click.echo("verified" if downloaded else "exists already, verified", err=True)
    write(f"{target}\n")


def _reproduce_lines(card: Card, weights: Weights) -> Iterator[tuple[str, str]]:
    """Yield the commands that reproduce the published accuracy on the validation set."""
    file, folder = weights.file, MODELS / card.name
    if not file.endswith(".caffemodel"):
        decoded = f"{Path(file).stem}.caffemodel"
        net = folder / "deploy.prototxt"
        words = ["sqgen", "compress", "decode", file, "--net", str(net), "-o", decoded]
        yield "decode", shell_join(words)
        file = decoded
    net = folder / "train_val.prototxt"
    words = ["sqgen", "test", "--model", str(net), "--weights", file, "--data", "VAL_LMDB"]
    words += ["--published", card.name] if card.accuracy else []
    yield "reproduce", shell_join(words)


def _totals(card: Card) -> Totals:
    return summary(parse_net(build(preset(card.name), "deploy"))).totals


def _weight_bytes(card: Card, totals: Totals) -> int:
    stored = card.weights.bytes if card.weights else None
    return stored or totals.weight_bytes


def _row(card: Card) -> list[str]:
    totals, accuracy = _totals(card), card.accuracy
    bound = ">= " if accuracy and accuracy.at_least else ""
    scores = [f"{bound}{score:g}" for score in (accuracy.top1, accuracy.top5)] if accuracy else []
    return [
        card.name,
        f"{totals.parameters:,}",
        f"{totals.macs:,}",
        bytes_text(_weight_bytes(card, totals)),
        *(scores or ["", ""]),
        card.title,
    ]


def _as_dict(card: Card) -> dict[str, Any]:
    totals = _totals(card)
    figures = {"parameters": totals.parameters, "macs": totals.macs}
    return {**card.as_dict(), **figures, "weight_bytes": _weight_bytes(card, totals)}


def _detail_lines(card: Card) -> list[str]:
    totals, accuracy, weights = _totals(card), card.accuracy, card.weights
    facts = [("about", card.about), ("paper", card.paper)]
    if card.repository:
        facts.append(("published at", f"https://github.com/{card.repository}"))
    statistics = f", {totals.statistics:,} statistics" if totals.statistics else ""
    facts.append(("parameters", f"{totals.parameters:,}{statistics}"))
    facts.append(("MACs", f"{totals.macs:,} an image"))
    facts.append(("weights", bytes_text(_weight_bytes(card, totals))))
    if accuracy is not None:
        bound = "at least " if accuracy.at_least else ""
        loss = f", loss {accuracy.loss:g}" if accuracy.loss is not None else ""
        scores = f"{bound}{accuracy.top1:g}% top-1, {accuracy.top5:g}% top-5{loss}"
        facts += [
            ("accuracy", scores),
            ("", f"of {IMAGES}"),
            ("", f"according to {accuracy.source}"),
        ]
    phases = phases_of(card.name)
    solvers = {f"solver_{phase}": f"solver --phase {phase}" for phase in phases}
    for file, command in {**FILES, **(solvers or {"solver": "solver"})}.items():
        origin = "as published" if file in card.published else "reconstructed"
        words = command.split()
        line = " ".join(["sqgen", words[0], "--preset", card.name, *words[1:]])
        facts.append((file, f"{line}  ({origin})"))
    facts.append(("files", str(MODELS / card.name)))
    if weights is not None:
        facts += [("fetch", f"sqgen zoo download {card.name}"), ("from", str(card.url))]
        facts += [("git blob", weights.git_blob), *_reproduce_lines(card, weights)]
    facts += [("note", note) for note in card.notes]
    width = max(len(head) for head, _ in facts)
    return [f"{card.name}: {card.title}", *(f"  {head:{width}}  {text}" for head, text in facts)]
