"""`sqgen deploy`."""

from __future__ import annotations

from pathlib import Path

import click

from ..formats import prototxt
from ..formats.files import STDIN, write_files
from ..text import shell_join
from ..version import __version__
from .deploy_net import make_deploy_net
from .state_options import stage_option
from .terminal import parse_image, write


@click.command()
@click.argument("net", metavar="NET")
@click.option("--batch", type=click.IntRange(min=1), metavar="N", help="images in a batch [1]")
@click.option("--image", metavar="CxHxW", help="size of images, if data layers don't give it")
@click.option("--keep-dropout", is_flag=True, help="keep Dropout, which does nothing in TEST")
@stage_option
@click.option("-o", "--out", metavar="OUT", help="file to write, instead of standard output")
@click.option("--force", is_flag=True, help="replace OUT if it exists")
def deploy(
    net: str,
    batch: int | None,
    image: str | None,
    keep_dropout: bool,
    stages: tuple[str, ...],
    out: str | None,
    force: bool,
) -> None:
    """Make the deploy net of a net: its layers in TEST, without data, labels and scores.

    An Input layer takes images, and a SoftmaxWithLoss becomes a Softmax. Layer names stay, so that
    the net's weights load. The header says how images are preprocessed; sqgen classify reads it.

    \b
    Examples:
      sqgen deploy train_val.prototxt > deploy.prototxt
      sqgen deploy old.prototxt --batch 10 --image 3x64x64 -o deploy.prototxt
    """
    made = make_deploy_net(net, stages, parse_image(image), batch, keep_dropout)
    words = ["sqgen", "deploy", net]
    words += ["--batch", str(batch)] if batch is not None else []
    words += ["--image", image] if image is not None else []
    words += ["--keep-dropout"] if keep_dropout else []
    words += [word for stage in stages for word in ("--stage", stage)]
    header = f"# {shell_join(words)}\n# sqgen {__version__}\n"
    comment = "" if made.transform is None else made.transform.comment()
    text = f"{header}{comment}{prototxt.to_text(made.net.param)}"
    if out in (None, STDIN):
        write(text)
    else:
        write_files({Path(str(out)): text.encode()}, force)
