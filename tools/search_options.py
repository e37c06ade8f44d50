"""Options of the commands that search for a smaller net, and what they mean."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import click

from ..formats.files import STDIN
from ..formats.lmdb_reader import is_lmdb
from ..nets.layer_types import Shape
from ..text import printable
from .image_options import PreprocessingOptions, check_preprocessing
from .terminal import parse_image

if TYPE_CHECKING:
    from ..search.journal import Trials
    from ..search.run import Search

METHODS = UNIFORM, FISHER, *SEARCHES = (  # of search/methods.py
    *("uniform", "fisher", "random", "greedy", "evolution"),
    *("knapsack", "ddpg", "haq"),
)
SCORES = DIVERGENCE, TOP1 = ("divergence", "top-1")  # of engine/agreement.py
TRIALS, MOST_TRIALS = 100, 10_000_000

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]


def add_options(*options: Decorator) -> Decorator:
    """Return what adds options to a command, in their order in its help."""

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


net_options = add_options(
    click.argument("weights", metavar="W"),
    click.option("--net", "--model", "net_path", required=True, metavar="NET", help="the net of W"),
    click.option(
        "--out", "-o", required=True, metavar="DIR", help="folder to write the files into"
    ),
)

seed_option = click.option(
    "--seed",
    type=click.IntRange(0, (1 << 32) - 1),
    default=0,
    metavar="N",
    help="of random choices [0]",
)

image_option = click.option(
    "--image", metavar="CxHxW", help="size of images, if data layers don't give it"
)


def search_options(
    decisions: str, default: str | None, names: Mapping[str, str], otherwise: str = ""
) -> Decorator:
    """Return what adds the options of a search.

    Args:
        decisions: what is found, for the help.
        default: method, which the command fills in; None if other options decide.
        names: what can be typed -> one of `METHODS`.
        otherwise: says in the help how they do.
    """
    return add_options(
        click.option(
            "--by",
            type=click.Choice(list(names)),
            callback=lambda context, option, by: names.get(by),
            help=f"how {decisions} within a budget are found [{default or otherwise}]",
        ),
        click.option(
            "--trials", type=int, metavar="N", help=f"nets that a search tries [{TRIALS}]"
        ),
        click.option(
            "--score",
            type=click.Choice(list(SCORES)),
            help="what a search makes small: divergence from the whole net, top-1 error"
            " [divergence]",
        ),
        click.option("--resume", is_flag=True, help="go on with the search of DIR"),
        click.option(
            "--scores-from",
            multiple=True,
            metavar="DIR",
            help="take scores of a search with other options for the same choices",
        ),
    )


@dataclass(frozen=True)
class SearchOptions:
    """Options as typed that all commands with a search have.

    Attributes:
        searches: the command's methods that try nets.
    """

    searches: ClassVar[Sequence[str]] = SEARCHES

    weights: str
    net_path: str
    out: str
    by: str
    trials: int | None
    score: str | None
    resume: bool
    scores_from: tuple[str, ...]
    data: str | None
    resize: str | None
    like: str | None
    mean: str | None
    scale: float | None
    seed: int
    image: str | None
    force: bool
    as_json: bool

    def check(self) -> None:
        """Refuse options that contradict each other, before anything is read.

        Raises:
            click.UsageError: some do, or one is malformed.
        """
        if not self.out:
            raise click.UsageError("--out '': give a folder; . is this one")
        if self.out == STDIN:
            raise click.UsageError("--out -: give a folder")
        parse_image(self.image)
        self._check_search()
        check_preprocessing(self.preprocessing)

    def _check_search(self) -> None:
        if self.trials is not None and not 0 < self.trials <= MOST_TRIALS:
            raise click.UsageError(f"--trials {self.trials}: give 1 to {MOST_TRIALS:,}")
        typed = {
            "--resume: goes on": self.resume,
            "--scores-from: goes": bool(self.scores_from),
            "--trials: goes": self.trials is not None,
            "--score: goes": self.score is not None,
        }
        for words, is_typed in typed.items():
            if is_typed and not self.is_search:
                raise click.UsageError(f"{words} with a search, --by {', '.join(self.searches)}")
        if self.score == TOP1 and not is_lmdb(self.data or ""):
            raise click.UsageError(
                f"--score top-1: needs labels; --data {printable(self.data or '')} is no LMDB"
            )

    @property
    def preprocessing(self) -> PreprocessingOptions:
        """How images are preprocessed."""
        return PreprocessingOptions(self.resize, self.like, self.mean, self.scale)

    @property
    def shape(self) -> Shape | None:
        """The size of images."""
        return parse_image(self.image)

    @property
    def is_search(self) -> bool:
        """Whether nets are tried."""
        return self.by in SEARCHES

    @property
    def recorded(self) -> Trials:
        """Where the trials of a search are recorded."""
        from ..search.journal import Trials

        return Trials(Path(self.out), self.resume, tuple(map(Path, self.scores_from)))

    @property
    def search(self) -> Search:
        """How a choice within budgets is found."""
        from ..search.run import Search

        return Search(self.by, self.trials or TRIALS, self.seed)

    @contextmanager
    def interruptible(self) -> Iterator[None]:
        """Of a search that is interrupted, say how it goes on."""
        try:
            yield
        except KeyboardInterrupt:
            if self.is_search:
                where = printable(self.out)
                line = f"\nsqgen: --resume goes on with the trials in {where}"
                click.echo(line, err=True, nl=False)
            raise
