"""The command that goes on with a training that stopped."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from ..formats.files import STDIN
from ..text import shell_join
from .engines import AUTO
from .options import RunOptions


def resume_command(
    options: RunOptions,
    solver: str,
    copy: str,
    changes: Mapping[str, object],
    others: Mapping[str, object],
) -> str:
    """Return the `sqgen train` that resumes from the newest snapshot.

    Args:
        options: of the run that stopped.
        solver: the solver, as given.
        copy: its copy in the run folder, which is all that is left of a solver from stdin.
        changes: option without its dashes -> value, of those that the copy has in it already. A
            flag is True, an option given several times a sequence; None and False are left out.
        others: likewise, of those that the copy does not have.
    """
    if solver == STDIN:
        solver, changes = copy, {}
    own = {
        "gpu": options.gpu,
        "engine": options.engine if options.engine != AUTO else None,
        "caffe": options.caffe,
        "cpu": options.cpu,
        "workers": options.workers,
        "nodes": options.nodes if options.nodes > 1 else None,
        "node-rank": options.node_rank or None,
        "rendezvous": options.rendezvous,
        "max-restarts": options.max_restarts or None,
        "keep-going": options.keep_going,
    }
    words = [
        "sqgen",
        "train",
        "--solver",
        solver,
        "--resume",
        *_words({**changes, **others, **own}),
    ]
    return shell_join([*words, *(("--", *options.arguments) if options.arguments else ())])


def _words(values: Mapping[str, object]) -> Iterator[str]:
    for name, value in values.items():
        for each in value if isinstance(value, list | tuple) else (value,):
            if each is not None and each is not False:
                yield f"--{name}"
                if each is not True:
                    yield str(each)
