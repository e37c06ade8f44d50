"""Time a net, layer by layer."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from ..errors import SqgenError
from ..formats.caffemodel import split_weights
from ..formats.schema import PHASES, NetState
from ..logs.result import LogResult
from ..nets.definition import read_net
from .engines import TIME_ITERATIONS
from .live_progress import ProgressSteps
from .options import RunOptions, check_iterations, path_or_none
from .overrides import DataOverride, net_file, override_data, state_flags
from .preflight import check_net, match_weight_files, weight_warnings
from .run_folder import NET
from .session import Session


def time(
    model: str | os.PathLike[str],
    weights: str | os.PathLike[str] | None = None,
    *,
    data: str | os.PathLike[str] | None = None,
    iterations: int = TIME_ITERATIONS,
    batch_size: int | None = None,
    phase: str = "TRAIN",
    stages: Sequence[str] = (),
    level: int = 0,
    **run_options: Any,
) -> LogResult:
    """Time each layer of a net, forward and backward, as `caffe time` does.

    Args:
        model: the net, a train_val or a deploy prototxt.
        weights: a caffemodel; its values hardly change the time, but nan and zeros may.
        data: an LMDB or list of images that replaces the net's own.
        iterations: passes to average.
        batch_size: replaces the net's own.
        phase: `TRAIN` or `TEST`.
        stages, level: select layers by their rules, as `caffe` does by --stage and --level.
        run_options: fields of `sqgen.RunOptions`.

    Returns:
        The result; `layer_times` are in milliseconds.

    Raises:
        SqgenError: invalid input; nothing was started.
        RunError: the run did not complete.
    """
    options = RunOptions(**run_options)
    if phase not in PHASES:
        raise SqgenError(f"no phase '{phase}'; TRAIN or TEST")
    check_iterations(iterations)
    options.require_one_process("time")
    net = read_net(model).in_state(NetState(stage=stages), level)
    options.warn(*net.warnings)
    override = DataOverride(phase, path_or_none(data), batch_size)
    overridden, changes = override_data(net, [override])
    checked = check_net(overridden, phase)
    options.log_checks(checked)
    if weights is not None:
        matching = match_weight_files(split_weights(os.fspath(weights)), checked.shapes)
        options.warn(*weight_warnings(matching))
    arguments = [f"--iterations={iterations}"]
    arguments += [] if weights is None else [f"--weights={os.fspath(weights)}"]
    # TRAIN is the default, and older versions of Caffe lack the flag.
    arguments += ["--phase=TEST"] if phase == "TEST" else []
    arguments += state_flags(net)
    with Session(options, options.select_engine(), net.source) as session:
        session.create_folder([net_file(overridden, changes, NET)])
        model = f"--model={session.folder.file_path(NET)}"
        result = session.run(["time", model, *arguments], ProgressSteps(0, 1), None)
        return session.write_result(result, None)
