"""Timing a net, layer by layer."""

from __future__ import annotations

import os
from typing import Any

from ..errors import SqgenError
from ..formats.schema import PHASES
from ..logs.result import LogResult
from ..nets.definition import read_net
from .engines import ITERATIONS
from .options import RunOptions, Session, check_iterations, path_of
from .overrides import DataChange, net_copy
from .preflight import check_net, check_weights, remarks, weight_files
from .run_folder import LOG
from .supervise import Steps
from .test import NET


def time(
    model: str | os.PathLike[str],
    weights: str | os.PathLike[str] | None = None,
    *,
    data: str | os.PathLike[str] | None = None,
    iterations: int = ITERATIONS,
    batch_size: int | None = None,
    phase: str = "TRAIN",
    **run_options: Any,
) -> LogResult:
    """Time each layer of a net, forward and backward, as `caffe time` does.

    Args:
        model: the net, a train_val or a deploy prototxt.
        weights: a caffemodel; numbers don't change the time, but nan and zeros may.
        data: another LMDB (or list of images) than the net names.
        iterations: passes to average.
        batch_size: another one than the net's.
        phase: `TRAIN` or `TEST`.
        run_options: as for `sqgen.test`.

    Raises:
        SqgenError: something is not what it should be; nothing was started.
        RunError: the run did not come to its end.
    """
    options = RunOptions(**run_options)
    if phase not in PHASES:
        raise SqgenError(f"no phase '{phase}'; TRAIN or TEST")
    check_iterations(iterations)
    net = read_net(model)
    options.warn(*net.warnings)
    made, copy = net_copy(net, [DataChange(phase, path_of(data), batch_size)], NET)
    checked = check_net(made, phase)
    if weights is not None:
        options.warn(*remarks(check_weights(weight_files(os.fspath(weights)), checked.shapes)))
    session = Session(options, options.choose(), net.source)
    session.begin([copy])
    arguments = ["time", f"--model={session.folder.file(NET)}", f"--iterations={iterations}"]
    arguments += [] if weights is None else [f"--weights={os.fspath(weights)}"]
    # Its default needs no saying, and older ones don't know the flag.
    arguments += ["--phase=TEST"] if phase == "TEST" else []
    result = session.run(arguments, Steps(0, 1), {}, LOG)
    return session.keep(result, {})
