"""Test a net: score each image exactly once, with whichever engine."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from ..errors import CrashError, NetError, SqgenError
from ..formats.caffemodel import split_weights
from ..formats.files import check_file_target
from ..formats.fork_fields import TESTED
from ..formats.schema import NetState
from ..logs.logged_net import expected_scores
from ..logs.result import LogResult
from ..logs.scores import Score, require_score
from ..nets.data_layers import reads_files
from ..nets.definition import NetDefinition, read_net
from ..nets.score_heads import choose_head
from ..text import printable
from ..weights.match import match_weights
from .bits_options import BitsOptions
from .engines import TORCH, Engine
from .exact_epoch import EpochPlan, lint_iterations, plan_exact_epoch, score_records
from .live_progress import ProgressSteps
from .options import RunOptions, check_iterations, path_or_none
from .overrides import (
    DataOverride,
    RunFile,
    layer_batch_size,
    net_file,
    override_data,
    state_flags,
)
from .preflight import (
    CheckedNet,
    check_net,
    read_weight_files,
    require_weights,
    seen_image_warnings,
    weight_warnings,
)
from .run_folder import NET
from .run_record import KeptPredictions, TestRecord, record_data
from .score_means import read_score_means
from .session import Session

PREDICTIONS = "predictions.npz"
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
    scores: Sequence[str] = (),
    predictions: str | os.PathLike[str] | None = None,
    keep_predictions: bool | None = False,
    blob: str | None = None,
    force: bool = False,
    quantize: str | os.PathLike[str] | None = None,
    bits: int | None = None,
    activation_bits: int | None = None,
    calibrated: str | os.PathLike[str] | None = None,
    rounded: str | os.PathLike[str] | None = None,
    stages: Sequence[str] = (),
    level: int = 0,
    **run_options: Any,
) -> LogResult:
    """Test a net and return its scores.

        result = sqgen.test("train_val.prototxt", "squeezenet.caffemodel", data="val_lmdb")
        print(result.score("top1").value, result.images)

    Args:
        model: the net, a train_val prototxt.
        weights: a caffemodel, or several separated by commas.
        data: an LMDB or list of images that replaces the net's own.
        iterations: batches to test; None tests each record exactly once.
        batch_size: replaces the net's own.
        mean: a mean image that replaces the net's own mean.
        random_weights: allow layers without weights to run on values of their fillers.
        scores: names of scores that the net must report, or nothing is started.
        predictions: a .csv or .npz to write, with what the net says of each image, which
            `sqgen.read_predictions` reads; for the embedded engine alone.
        keep_predictions: without `predictions`, whether to write them into the run folder; None
            means where engine and net give any.
        blob: the scores (images, classes) that are the predictions; None means the last that a
            loss or an accuracy compares with labels.
        force: whether `predictions`, `calibrated` and `rounded` may be replaced.
        quantize: a file of bits of the layers that are quantized, in simulation
            (docs/quantization.md); for the embedded engine alone.
        bits, activation_bits: of weights, and of what layers read, where that file has none.
        calibrated: the file of bits to write, with the ranges that were found.
        rounded: the caffemodel to write, of weights as they are quantized.
        stages, level: select layers by their rules, as `caffe` does by --stage and --level.
        run_options: fields of `sqgen.RunOptions`.

    Returns:
        The result; `result.run["folder"]` is the run folder, `result.run["predictions"]` names the
        file of predictions.

    Raises:
        SqgenError: invalid input; nothing was started.
        RunError: the run did not complete; `result` is the partial result.
    """
    options = RunOptions(**run_options)
    if iterations is not None:
        check_iterations(iterations)
    net = read_net(model).in_state(NetState(stage=stages), level)
    options.warn(*net.warnings)
    override = DataOverride("TEST", path_or_none(data), batch_size, path_or_none(mean))
    overridden, _ = override_data(net, [override])
    checked = check_net(overridden, "TEST")
    options.log_checks(checked)
    check_scores(options, overridden, scores)
    _check_weights(options, os.fspath(weights), overridden, checked, random_weights)
    engine = options.select_engine()
    if engine.kind == TORCH:
        net.require_caffe("TEST", TESTED)
    given = BitsOptions(path_or_none(quantize), bits, activation_bits)
    quantized = QuantizedTest(given, path_or_none(calibrated), path_or_none(rounded))
    quantized.check(overridden, engine, force, options.runs_int8)
    requested = PredictionsRequest(path_or_none(predictions), keep_predictions, blob, force)
    kept = _kept_predictions(requested, engine, overridden, checked)
    files = os.fspath(weights)
    job = _TestJob(net, override, checked, engine, files, iterations, kept, quantized)
    with Session(options, engine, net.source) as session:
        return _run(session, job, files)


def check_scores(options: RunOptions, net: NetDefinition, names: Sequence[str]) -> None:
    """Check that a test of a net reports scores of these names.

    Raises:
        NetError: it reads no data in TEST.
        DesignError: there is no such score, or several are meant.
    """
    layers = net.layers("TEST")
    if not any(map(reads_files, layers)):
        raise NetError(
            f"{printable(net.source)}: reads no data in TEST; a deploy net can't be tested, give"
            " the train_val"
        )
    if not any(layer.type == "Accuracy" for layer in layers):
        options.warn("the net has no Accuracy layer in TEST, so it reports no top-1 or top-5")
    expected = expected_scores(net)
    for name in names:
        require_score(expected, re.sub(r"\[\d+\]$", "", name), printable(net.source))


def _check_weights(
    options: RunOptions, weights: str, net: NetDefinition, checked: CheckedNet, random_weights: bool
) -> None:
    models = read_weight_files(split_weights(weights))
    matching = match_weights(checked.shapes, models)
    if random_weights:
        if matching.missing:
            options.warn(f"{len(matching.missing)} layers run on random weights, as requested")
    else:
        require_weights(matching, net, weights, checked.datasets)
    options.warn(*weight_warnings(matching), *seen_image_warnings(models, checked.datasets))


class PredictionsRequest(NamedTuple):
    """The arguments of `test` that say which predictions to keep."""

    file: str | None
    keep: bool | None
    blob: str | None
    force: bool = False

    def is_made(self) -> bool:
        """Whether predictions are asked for.

        Raises:
            SqgenError: they are not, but scores that they would be.
        """
        if self.file is None and self.keep is False:
            if self.blob is not None:
                raise SqgenError("--blob names the scores of --predictions FILE; give both")
            return False
        return True

    @property
    def is_optional(self) -> bool:
        """Whether the test can do without them."""
        return self.file is None and self.keep is None

    def check_file(self) -> None:
        """Check the name of the file.

        Raises:
            SqgenError: it ends in no format.
        """
        if self.file is not None:
            from ..formats.predictions import check_suffix  # imports NumPy

            check_suffix(self.file, "--predictions ")


class QuantizedTest(NamedTuple):
    """What is quantized, and the files to write of it, if any: its bits and its weights."""

    options: BitsOptions
    calibrated: str | None
    rounded: str | None

    @property
    def _files(self) -> dict[str, str]:
        files = {"calibrated": self.calibrated, "rounded": self.rounded}
        return {name: path for name, path in files.items() if path is not None}

    def check(self, net: NetDefinition, engine: Engine, force: bool, in_integers: bool) -> None:
        """Check that the net can be, by the engine, and that the files can be written.

        Args:
            net: the net.
            engine: that runs it.
            force: whether to replace files.
            in_integers: whether the engine is to compute in int8, which needs no options.

        Raises:
            SqgenError: not so.
        """
        self.options.check(net, engine)
        if not in_integers:
            self.check_files()
        for path in self._files.values():
            check_file_target(Path(path), force)

    def check_files(self) -> None:
        """Check that a net whose files are asked for is quantized.

        Raises:
            SqgenError: it is not.
        """
        for name in self._files:
            if not self.options:
                raise SqgenError(f"--{name} FILE is for a quantized net; give --quantize FILE")

    @property
    def flags(self) -> list[str]:
        """The engine's flags."""
        return [*self.options.flags, *(f"--{name}={path}" for name, path in self._files.items())]


def _kept_predictions(
    requested: PredictionsRequest, engine: Engine, net: NetDefinition, checked: CheckedNet
) -> KeptPredictions | None:
    """Return the predictions to keep; None where the caller wants none, or can do without.

    Raises:
        SqgenError: the engine or the net gives none, or the file can't be written.
    """
    file, _, blob, force = requested
    if not requested.is_made():
        return None
    try:
        if engine.kind != TORCH:
            raise SqgenError(
                f"{printable(engine.name)} is a real caffe, which reports no scores of single"
                " images for --predictions and --per-class; give --engine torch"
            )
        choose_head(net, checked.shapes, blob)
    except SqgenError:
        if requested.is_optional:
            return None
        raise
    requested.check_file()
    if file is not None:
        check_file_target(Path(file), force)
    return KeptPredictions(file or "", blob)


class _TestJob:
    """A net to test, its datasets, and the batches that cover them.

    Args:
        net: the net as given.
        override: the requested overrides.
        checked: the net with them, after preflight.
        engine: the engine that tests it.
        weights: as given.
        iterations: requested batches; None for each record once.
        predictions: the file of predictions to write, or None.
        quantized: what is quantized.

    Raises:
        NetError: the records can't be counted, and no iterations are requested.
    """

    def __init__(
        self,
        net: NetDefinition,
        override: DataOverride,
        checked: CheckedNet,
        engine: Engine,
        weights: str,
        iterations: int | None,
        predictions: KeptPredictions | None,
        quantized: QuantizedTest,
    ) -> None:
        self.predictions, self.quantized = predictions, quantized
        self.net, self._override, self._weights = net, override, weights
        self.checked = checked
        self.has_iterations = iterations is not None
        self._engine_stops = engine.kind == TORCH and iterations is None
        self.plan = self._plan(iterations)

    def _plan(self, iterations: int | None) -> EpochPlan:
        counts = {dataset.records for dataset in self.checked.datasets}
        batch_sizes = {layer_batch_size(layer) for layer in self.checked.layers}
        batch_size = max(batch_sizes, default=1)
        if iterations is not None:
            records = counts.pop() if len(counts) == 1 else None
            return EpochPlan(records, batch_size, iterations)
        if len(counts) == 1 and len(batch_sizes) == 1 and None not in counts:
            return plan_exact_epoch(counts.pop() or 0, batch_size, self._engine_stops)
        raise NetError(
            f"{printable(self.net.source)}: its records can't be counted as one set; give"
            " --iterations N"
        )

    def net_file(self, batch_size: int, name: str) -> RunFile:
        """Return the net's file for the run folder, with the batch size of the plan."""
        sequential = self.averages_batches
        requested = self._override
        override = DataOverride(
            "TEST",
            requested.source,
            batch_size if sequential else requested.batch_size,
            requested.mean_file,
            sequential,
            requested.flag,
        )
        return net_file(*override_data(self.net, [override]), name)

    def means_over_images(self, scores: Sequence[Score]) -> tuple[Score, ...]:
        """Return the scores that are means over images.

        An Accuracy's accuracies by class are not: Caffe averages batches, also those without images
        of a class (accuracy_layer.cpp).
        """
        by_class = {
            name
            for node in self.checked.shapes.graph.nodes
            if node.layer.type == "Accuracy"
            for name in node.tops[1:]
        }
        return tuple(score for score in scores if score.name.partition("[")[0] not in by_class)

    @property
    def averages_batches(self) -> bool:
        """Whether the engine averages batches, and the result is to be one over records."""
        return not self.has_iterations and not self._engine_stops

    @property
    def length_flag(self) -> str:
        """The engine's flag for the number of batches."""
        return "--exact" if self._engine_stops else f"--iterations={self.plan.iterations}"

    @property
    def record(self) -> TestRecord:
        """What the test reads, for the record of the run."""
        quantized = self.quantized.options
        return TestRecord(self._weights, self.plan, record_data(self.checked), quantized)


def _run(session: Session, job: _TestJob, weights: str) -> LogResult:
    options, plan = session.options, job.plan
    files = [job.net_file(plan.batch_size, NET)]
    if plan.repeated:
        files.append(job.net_file(plan.repeated, AGAIN_NET))
    session.create_folder(files)
    kept = job.predictions and job.predictions.placed(session.folder.file_path(PREDICTIONS))
    warning = lint_iterations(plan) if job.has_iterations else None
    if warning is None:
        options.log_line(f"testing {plan}")
    else:
        options.warn(warning)

    def arguments(net: str, length_flag: str) -> list[str]:
        model = session.folder.file_path(net)
        flags = [length_flag, *state_flags(job.net)]
        flags += job.quantized.flags
        if kept is not None:
            flags += kept.flags
        return ["test", f"--model={model}", f"--weights={weights}", *flags]

    steps = ProgressSteps(plan.iterations, plan.batch_size, last_images=plan.last_images)
    result = session.run(arguments(NET, job.length_flag), steps, job.record)
    second = None
    if plan.repeated:
        options.log_line(f"testing the {plan.repeated} records again that the first run read twice")
        steps = ProgressSteps(1, plan.repeated)
        second = session.run(arguments(AGAIN_NET, "--iterations=1"), steps, job.record, AGAIN_LOG)
    if job.averages_batches:
        result = _score_records(options, result, second, job)
    try:
        result = _add_images(result, job)
    except CrashError as error:
        error.result = session.write_result(error.result, job.record, str(error))
        raise
    return session.write_result(result, replace(job.record, predictions=kept))


def _score_records(
    options: RunOptions, first: LogResult, second: LogResult | None, job: _TestJob
) -> LogResult:
    """Return the result with its scores over each record once; warn of those it can't have."""
    means = read_score_means(job.checked)
    for name, mean in means.items():
        if not mean.known:
            options.warn(
                f"{printable(name)} is a mean over labels that are not ignored, "
                + ("left out because" if second is not None else "averaged over batches though")
                + " their number is unknown; --engine torch counts them"
            )
    return score_records(first, second, job.plan, means)


def _add_images(result: LogResult, job: _TestJob) -> LogResult:
    """Return the result with its dataset and number of images.

    Raises:
        CrashError: the engine reports another number of records.
    """
    plan = job.plan
    digests = {dataset.digest for dataset in job.checked.datasets}
    result = replace(result, dataset=digests.pop() if len(digests) == 1 else None)
    if plan.engine_stops and result.images != plan.records:
        error = CrashError(
            f"the engine tested {result.images} of {plan.records} records; was the set changed"
            " meanwhile?"
        )
        error.result = result
        raise error
    return replace(result, images=plan.images, scores=job.means_over_images(result.scores))
