"""Testing a net: each image once, whichever engine does it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from ..errors import CrashError, NetError
from ..logs.result import LogResult
from ..nets.data_layers import reads_files
from ..nets.definition import NetDefinition, read_net
from ..text import printable
from .engines import TORCH, Engine
from .exact_epoch import Coverage, all_once, remark, without_again
from .options import RunOptions, Session, check_iterations, data_facts, path_of
from .overrides import Copy, DataChange, batch_of, data_layers, net_copy
from .preflight import Checked, check_net, check_weights, refuse_random, remarks, weight_files
from .run_folder import LOG
from .supervise import Steps

NET = "net.prototxt"
AGAIN_NET, AGAIN_LOG = "again.prototxt", "again.log"


def test(
    model: str | os.PathLike[str],
    weights: str | os.PathLike[str],
    *,
    data: str | os.PathLike[str] | None = None,
    iterations: int | None = None,
    batch_size: int | None = None,
    mean: str | os.PathLike[str] | None = None,
    random_weights: bool = False,
    **run_options: Any,
) -> LogResult:
    """Test a net, and return what came of it.

        result = sqgen.test("train_val.prototxt", "squeezenet.caffemodel", data="val_lmdb")
        print(result.score("top1").value, result.images)

    Args:
        model: the net, a train_val prototxt.
        weights: a caffemodel, or several with commas.
        data: another LMDB (or list of images) than the net names.
        iterations: batches; None tests each record exactly once.
        batch_size: another one than the net's.
        mean: another mean_file than the net's.
        random_weights: whether layers without weights may run on what their fillers draw.
        run_options: the fields of `sqgen.RunOptions`.

    Returns:
        The result; `result.run["folder"]` has everything else.

    Raises:
        SqgenError: something is not what it should be; nothing was started.
        RunError: the run did not come to its end; `result` is what it did.
    """
    options = RunOptions(**run_options)
    if iterations is not None:
        check_iterations(iterations)
    net = read_net(model)
    options.warn(*net.warnings)
    asked = DataChange("TEST", path_of(data), batch_size, path_of(mean))
    asked_net, _ = net_copy(net, [asked], NET)
    checked = check_net(asked_net, "TEST")
    _check_scores(options, asked_net)
    _check_weights(options, os.fspath(weights), asked_net, checked, random_weights)
    engine = options.choose()
    session = Session(options, engine, net.source)
    job = _Job(net, asked, asked_net, checked, engine, iterations)
    return _run(session, job, os.fspath(weights))


def _check_scores(options: RunOptions, net: NetDefinition) -> None:
    layers = net.layers("TEST")
    if not any(map(reads_files, layers)):
        raise NetError(
            f"{printable(net.source)}: reads no data in TEST; a deploy net can't be tested, give"
            " the train_val"
        )
    if not any(layer.type == "Accuracy" for layer in layers):
        options.warn("the net has no Accuracy layer in TEST, so it tells no top-1 or top-5")


def _check_weights(
    options: RunOptions, weights: str, net: NetDefinition, checked: Checked, random_weights: bool
) -> None:
    matching = check_weights(weight_files(weights), checked.shapes)
    if random_weights:
        if matching.missing:
            options.warn(f"{len(matching.missing)} layers run on random weights, as asked")
    else:
        refuse_random(matching, net, weights)
    options.warn(*remarks(matching))


class _Job:
    """What is tested: the net as it is run, and how it covers its data."""

    def __init__(
        self,
        net: NetDefinition,
        asked: DataChange,
        asked_net: NetDefinition,
        checked: Checked,
        engine: Engine,
        iterations: int | None,
    ) -> None:
        self._net, self._asked = net, asked
        self.data = checked.data
        self.layers = data_layers(asked_net, "TEST")
        self.asked_iterations = iterations
        records = {one.records for one in checked.data}
        batches = {batch_of(layer) for layer in self.layers}
        batch = max(batches, default=1)
        self._by_engine = engine.kind == TORCH and iterations is None
        if iterations is not None:
            only = records.pop() if len(records) == 1 else None
            self.coverage = Coverage(only, batch, iterations)
        elif len(records) == 1 and len(batches) == 1 and None not in records:
            self.coverage = all_once(records.pop() or 0, batch, self._by_engine)
        else:
            raise NetError(
                f"{printable(net.source)}: its records can't be counted as one set; give"
                " --iterations N"
            )

    def copy(self, batch: int, name: str) -> Copy:
        """The net's file at a batch."""
        once = self.asked_iterations is None and not self._by_engine
        size = batch if once else self._asked.batch_size
        change = DataChange(
            "TEST", self._asked.source, size, self._asked.mean_file, once, self._asked.flag
        )
        return net_copy(self._net, [change], name)[1]

    @property
    def how_many(self) -> str:
        """The flag that says so."""
        return "--exact" if self._by_engine else f"--iterations={self.coverage.iterations}"

    @property
    def facts(self) -> dict[str, Any]:
        """What is kept of it."""
        return {
            "coverage": {**self.coverage._asdict(), "whole": self.coverage.whole},
            "data": data_facts(self.data, self.layers),
        }


def _run(session: Session, job: _Job, weights: str) -> LogResult:
    options, coverage = session.options, job.coverage
    copies = [job.copy(coverage.batch, NET)]
    if coverage.again:
        copies.append(job.copy(coverage.again, AGAIN_NET))
    session.begin(copies)
    line = remark(coverage) if job.asked_iterations is not None else None
    if line is None:
        options.say(f"testing {coverage}")
    else:
        options.warn(line)
    folder = session.folder

    def arguments(net: str, how_many: str) -> Sequence[str]:
        return ["test", f"--model={folder.file(net)}", f"--weights={weights}", how_many]

    steps = Steps(coverage.iterations, coverage.batch)
    result = session.run(arguments(NET, job.how_many), steps, job.facts, LOG)
    if coverage.again:
        options.say(f"testing the {coverage.again} records that came twice once more")
        steps = Steps(1, coverage.again)
        again = session.run(arguments(AGAIN_NET, "--iterations=1"), steps, job.facts, AGAIN_LOG)
        result = without_again(result, again, coverage)
    try:
        result = _settle(result, job)
    except CrashError as error:
        error.result = session.keep(error.result, job.facts, str(error))
        raise
    return session.keep(result, job.facts)


def _settle(result: LogResult, job: _Job) -> LogResult:
    """Return the result with the data set and the number of images that it is of.

    Raises:
        CrashError: the engine says that it tested others.
    """
    coverage = job.coverage
    digests = {one.digest for one in job.data}
    result = replace(result, dataset=digests.pop() if len(digests) == 1 else None)
    if coverage.exact and result.images != coverage.records:
        error = CrashError(
            f"the engine tested {result.images} of {coverage.records} records; was the set changed"
            " meanwhile?"
        )
        error.result = result
        raise error
    return replace(result, images=coverage.images)
