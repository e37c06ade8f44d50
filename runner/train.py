"""Training a net: from nothing, from weights, or from a snapshot on."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from ..errors import FormatError, NetError, RunError, SqgenError
from ..formats.files import STDIN
from ..formats.snapshot_files import (
    check_free_space,
    complete_prefix,
    newest_snapshot,
    newest_solver_state,
)
from ..logs.result import LogResult
from ..nets.definition import NetDefinition, parse_solver, read_text
from ..nets.solver_nets import path_beside_solver, read_solver_nets
from ..nets.solver_rules import lint_solver, lint_test_iter
from ..text import first_few, printable
from .engines import AUTO, CAFFE, Engine
from .exact_epoch import all_once
from .options import RunOptions, Session, data_facts, path_of
from .overrides import Copy, DataChange, batch_of, changed, copy_of, data_layers, solver_copy
from .preflight import (
    Checked,
    check_net,
    check_state,
    check_weights,
    has_no_gpu,
    remarks,
    snapshot_bytes,
    snapshots_of,
    weight_files,
)
from .run_folder import LOG, RunFolder
from .supervise import Steps

SOLVER = "solver.prototxt"
CPU, GPU = 0, 1  # SolverParameter.SolverMode


def train(
    solver: str | os.PathLike[str],
    *,
    weights: str | os.PathLike[str] | None = None,
    snapshot: str | os.PathLike[str] | None = None,
    resume: bool = False,
    data: str | os.PathLike[str] | None = None,
    val_data: str | os.PathLike[str] | None = None,
    batch_size: int | None = None,
    mean: str | os.PathLike[str] | None = None,
    **run_options: Any,
) -> LogResult:
    """Train a net, and return what came of it.

        result = sqgen.train("solver.prototxt", data="train_lmdb", val_data="val_lmdb", cpu=True)
        print(result.score("top1").value, result.snapshots[-1])

    Args:
        solver: the solver's prototxt.
        weights: a caffemodel to fine-tune from, or several with commas.
        snapshot: a solver state to go on from.
        resume: go on from the newest whole snapshot of the solver's snapshot_prefix.
        data: another LMDB (or list of images) to train on than the net names.
        val_data: another one to test on; test_iter then covers it.
        batch_size: of the training, another one than the net's.
        mean: another mean_file than the net's.
        run_options: as for `sqgen.test`.

    Returns:
        The result; `result.troubles` tells of a training that came to its end and to nothing.

    Raises:
        SqgenError: something is not what it should be; nothing was started.
        RunError: the run did not come to its end; `result` is what it did.
    """
    options = RunOptions(**run_options)
    if (weights is not None) + (snapshot is not None) + resume > 1:
        raise SqgenError("--weights, --snapshot and --resume: give one")
    given = _read(options, os.fspath(solver))
    train_change = DataChange("TRAIN", path_of(data), batch_size, path_of(mean))
    test_change = DataChange("TEST", path_of(val_data), None, path_of(mean), flag="--val-data")
    nets = _Nets(options, given, train_change, test_change)
    start = _start(options, given, nets, path_of(weights), path_of(snapshot), resume)
    _check_room(options, given, nets.trained_data, start.iteration)
    if start.iteration == 0:
        _warn_of_snapshots(options, given.param.snapshot_prefix)
    tests = nets.cover(options)
    engine = options.choose()
    _check_mode(options, given, engine)
    session = Session(options, engine, given.source)
    session.begin(nets.copies())
    session.add(_solver(options, given, nets, session.folder))
    steps = Steps(
        given.param.max_iter - start.iteration, _images(options, given, nets), start.iteration
    )
    facts = {
        "started_from": start.path,
        "images_an_update": steps.images,
        "data": data_facts(nets.trained_data.data, data_layers(nets.trained, "TRAIN")),
        "tests": tests,
    }
    arguments = ["train", f"--solver={session.folder.file(SOLVER)}", *start.flags]
    try:
        result = session.run(arguments, steps, facts, LOG)
    except RunError as error:
        if error.result.snapshots:
            changes = {"data": data, "val-data": val_data, "batch-size": batch_size, "mean": mean}
            error.args = (f"{error}; go on with {_resuming(options, given, changes)}",)
        raise
    result = replace(result, dataset=tests[0]["digest"] if tests else None)
    return session.keep(result, facts)


def _resuming(options: RunOptions, given: _Given, changes: dict[str, Any]) -> str:
    """The command that goes on where a training stopped."""
    given_engine = options.engine if options.engine != AUTO else None
    flags = {**changes, "gpu": options.gpu, "engine": given_engine, "caffe": options.caffe}
    words = ["sqgen", "train", "--solver", given.source, "--resume"]
    for name, value in flags.items():
        words += [f"--{name}", str(value)] if value is not None else []
    words += ["--cpu"] if options.cpu else []
    return shlex.join([*words, *(("--", *options.arguments) if options.arguments else ())])


class _Given(NamedTuple):
    """The solver that was given: the message, its snapshot_prefix complete, and its file."""

    param: Any
    source: str


def _read(options: RunOptions, path: str) -> _Given:
    warnings: list[str] = []
    text, source = read_text(path)
    param = parse_solver(text, source, warnings)
    for rule, message in lint_solver(param):
        if rule == "solver":
            raise NetError(f"{printable(source)}: {message}")
        warnings.append(f"{printable(source)}: {message}")
    options.warn(*warnings)
    complete_prefix(param, "" if path == STDIN else path)
    return _Given(param, source)


def _warn_of_namesakes(options: RunOptions, paths: Iterable[str], source: str) -> None:
    """Caffe takes the net in the folder that it runs in; another may have been meant."""
    for path in dict.fromkeys(filter(None, paths)):
        here, beside = Path(path), path_beside_solver(path, source)
        if here.exists() and beside.exists() and not here.samefile(beside):
            options.warn(
                f"net {printable(path)} of this folder is run, as Caffe does, not"
                f" {printable(str(beside))} beside the solver"
            )


class _Nets:
    """The nets of a solver as they are run.

    Attributes:
        trained, tested: what is trained, and what is tested with each test_iter.
        trained_data, tested_data: what was found in looking at them.
        test_iter: of each test.
    """

    def __init__(
        self, options: RunOptions, given: _Given, train: DataChange, test: DataChange
    ) -> None:
        self._test_change = test
        nets = read_solver_nets(given.param, given.source)
        # Before anything of them is refused: the one that was meant may be sound.
        _warn_of_namesakes(options, [path for _, path in nets.origins], given.source)
        if test.source is not None and not nets.tested:
            raise NetError(
                f"--val-data {printable(test.source)}: {printable(given.source)} tests nothing;"
                " give it test_iter and test_interval"
            )
        self._origins = [path for _, path in nets.origins]
        self._files: dict[str, NetDefinition] = {}
        self._done: dict[str, list[str]] = {}
        roles = [(nets.trained, train), *((net, test) for net in nets.tested)]
        for (net, change), path in zip(roles, self._origins, strict=True):
            self._change(net, path, change)
        self.trained = self._now(nets.trained, 0)
        self.tested = [self._now(net, number) for number, net in enumerate(nets.tested, 1)]
        self.trained_data = check_net(self.trained, "TRAIN")
        self.tested_data = [check_net(net, "TEST", "--val-data") for net in self.tested]
        self.test_iter = list(given.param.test_iter)

    def _change(self, net: NetDefinition, path: str, change: DataChange) -> None:
        current = self._files.get(path)
        made, done = changed(
            net if current is None else replace(net, param=current.param), [change]
        )
        if done and not path:
            raise NetError(
                f"{printable(net.source)}: the net stands in the solver itself; give it a file of"
                " its own to run it on other data"
            )
        self._files[path] = made
        self._done.setdefault(path, []).extend(done)

    def _now(self, net: NetDefinition, number: int) -> NetDefinition:
        """A net with all that was changed in its file."""
        return replace(net, param=self._files[self._origins[number]].param)

    def cover(self, options: RunOptions) -> list[dict[str, Any]]:
        """Hold each test_iter against its data, or fit it to `--val-data`; what is tested."""
        facts = []
        for number, (net, checked) in enumerate(zip(self.tested, self.tested_data, strict=True)):
            layers = data_layers(net, "TEST")
            records = checked.data[0].records if len(layers) == 1 else None
            batch = batch_of(layers[0]) if len(layers) == 1 else 0
            if records is not None and self._test_change.source is not None:
                batch = self._fit(number, records, batch)
            if records is not None:
                line = lint_test_iter(self.test_iter[number], batch, records, None)
                if line is not None:
                    options.warn(f"test net {number}: {line}")
            facts.append(
                {
                    "test_iter": self.test_iter[number],
                    "batch": batch or None,
                    "digest": checked.data[0].digest if len(layers) == 1 else None,
                    "data": data_facts(checked.data, layers),
                }
            )
        return facts

    def _fit(self, number: int, records: int, batch: int) -> int:
        """Batch and test_iter so that each record comes once, or nearly; the batch."""
        coverage = all_once(records, batch, exact=False)
        self.test_iter[number] = coverage.iterations
        if coverage.batch != batch:
            change = DataChange("TEST", None, coverage.batch)
            self._change(self.tested[number], self._origins[number + 1], change)
        return coverage.batch

    @property
    def names(self) -> dict[str, str]:
        """Path of each net's file -> the name of its copy."""
        found: dict[str, str] = {}
        for path in filter(None, self._files):
            name = Path(path).name
            while name in (*found.values(), SOLVER):
                name = f"{Path(name).stem}_{Path(name).suffix}"
            found[path] = name
        return found

    def copies(self) -> list[Copy]:
        """The files of the nets."""
        return [
            copy_of(self._files[path], self._done[path], name) for path, name in self.names.items()
        ]


class _Start(NamedTuple):
    """Where a training starts: the flags that say so, its iteration, and the file."""

    flags: list[str]
    iteration: int = 0
    path: str | None = None


def _start(
    options: RunOptions,
    given: _Given,
    nets: _Nets,
    weights: str | None,
    snapshot: str | None,
    resume: bool,
) -> _Start:
    if weights is not None:
        _check_fine_tuning(options, nets, weights)
        return _Start([f"--weights={weights}"], 0, weights)
    if resume:
        snapshot = _newest(options, given)
    if snapshot is None:
        if given.param.weights:
            _check_fine_tuning(options, nets, ",".join(given.param.weights))
        return _Start([])
    iteration = check_state(snapshot)
    if iteration >= given.param.max_iter:
        raise FormatError(
            f"{printable(snapshot)}: is of iteration {iteration}, and max_iter of"
            f" {printable(given.source)} is {given.param.max_iter}: nothing is left to do"
        )
    options.say(f"resuming from {printable(snapshot)}, iteration {iteration}")
    return _Start([f"--snapshot={snapshot}"], iteration, snapshot)


def _warn_of_snapshots(options: RunOptions, prefix: str) -> None:
    there = newest_solver_state(prefix)
    if there is not None:
        options.warn(
            f"{printable(there)} and others of an earlier training are there: those of the same"
            " iteration will be replaced; --resume goes on with it"
        )


def _newest(options: RunOptions, given: _Given) -> str:
    prefix = given.param.snapshot_prefix
    found = newest_snapshot(prefix)
    if found is None:
        raise FormatError(
            f"--resume: no whole snapshot {printable(prefix)}_iter_*.solverstate; leave --resume"
            " out to start"
        )
    options.warn(*found.remarks)
    return found.path


def _check_fine_tuning(options: RunOptions, nets: _Nets, weights: str) -> None:
    matching = check_weights(weight_files(weights), nets.trained_data.shapes)
    if not matching.matched:
        raise NetError(
            f"{printable(weights)}: has weights for none of the layers of"
            f" {printable(nets.trained.source)}; sqgen weights map renames them"
        )
    if matching.missing:
        options.say(f"start fresh: {first_few(matching.missing)}")
    options.warn(*remarks(matching))


def _check_room(options: RunOptions, given: _Given, trained: Checked, start: int) -> None:
    snapshots = snapshots_of(given.param, start)
    if not snapshots:
        options.warn("the solver writes no snapshots: what is learned is lost at the end")
        return
    one = snapshot_bytes(given.param, trained.shapes)
    free = check_free_space(given.param.snapshot_prefix, one)
    if free < one * snapshots:
        options.warn(
            f"{snapshots} snapshots of {one >> 20} MiB are more than the {free >> 20} MiB"
            f" that are free at {printable(given.param.snapshot_prefix)}"
        )


def _check_mode(options: RunOptions, given: _Given, engine: Engine) -> None:
    """A solver that asks for a GPU, where none is: Caffe's default does, ours does not."""
    asks = given.param.solver_mode == GPU
    asks = asks and (engine.kind == CAFFE or given.param.HasField("solver_mode"))
    if asks and not options.cpu and options.gpu is None and options.caffe is None and has_no_gpu():
        raise SqgenError(
            f"{printable(given.source)}: solver_mode is GPU, and this machine has none that a"
            " driver knows; --cpu runs it on the CPU"
        )


def _solver(options: RunOptions, given: _Given, nets: _Nets, folder: RunFolder) -> Copy:
    paths = {path: folder.file(name) for path, name in nets.names.items()}
    settings: dict[str, Any] = {"test_iter": nets.test_iter}
    if options.cpu:
        settings["solver_mode"] = CPU
    return solver_copy(given.param, given.source, paths, settings)


def _images(options: RunOptions, given: _Given, nets: _Nets) -> int:
    """Images in an update; says how they come about."""
    layers = data_layers(nets.trained, "TRAIN")
    if not layers:
        return 0
    batch, passes = batch_of(layers[0]), max(1, given.param.iter_size)
    images: int = batch * passes * options.gpus
    factors = [f"{batch}"]
    factors += [f"iter_size {passes}"] if passes > 1 else []
    factors += [f"{options.gpus} GPUs"] if options.gpus > 1 else []
    product = f"{' x '.join(factors)} = {images}" if len(factors) > 1 else f"{images}"
    records = nets.trained_data.data[0].records
    epochs = f", {given.param.max_iter * images / records:.3g} passes over them" if records else ""
    of = f" of {records:,} records" if records else ""
    options.say(f"training: {product} images an update, {given.param.max_iter} updates{of}{epochs}")
    return images
