"""Deep Compression, whole: prune, retrain, share, retrain the shared values (arXiv:1510.00149)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ..compress.bits_file import MAXIMUM_BITS
from ..compress.constraints import codebook_constraints, prune_constraints
from ..compress.encoding import Settings, encode
from ..compress.prune import DensityRule
from ..compress.weighted_layers import WeightedLayer, find_weighted_layers
from ..errors import DesignError
from ..formats.caffemodel import read_caffemodel
from ..formats.constraints import BlobName, Constraint
from ..formats.files import check_file_target, write_files
from ..formats.schema import NetParameter
from ..nets.definition import NetDefinition, read_net
from ..nets.layer_types import Shape
from ..nets.shapes import NetShapes
from ..nets.solver_rules import ADAPTIVE_SOLVERS
from ..runner.options import RunOptions, path_or_none
from ..runner.phase import Phase
from ..runner.phased_training import PhasedTraining
from ..runner.run_folder import TESTS, RunFolder
from ..runner.solver_preflight import read_solver
from ..runner.training_plan import TrainOptions
from .retrained_pairs import UNTRAINED
from .tradeoff import Point, check_tested_net, measure_tradeoff

PRUNED, SHARED = "pruned", "shared"
MAXIMUM_STEPS = 20
SHARED_RATE = 0.1  # of the solver's rate: the gradient of a shared value is a large sum


@dataclass(frozen=True)
class CompressionPlan:
    """What `sqgen compress train` does to weights.

    Attributes:
        density: rules to prune by; none for no pruning.
        steps: in how many the layers are pruned to their density, with a training after each.
        bits: of a layer's codes in the end.

    Raises:
        DesignError: steps out of range, or without a density.
    """

    density: tuple[DensityRule, ...] = ()
    steps: int = 1
    bits: int = MAXIMUM_BITS

    def __post_init__(self) -> None:
        if not 1 <= self.steps <= MAXIMUM_STEPS:
            raise DesignError(f"--steps {self.steps}: give 1 to {MAXIMUM_STEPS}")
        if self.steps > 1 and not self.density:
            raise DesignError(f"--steps {self.steps}: of pruning; give --density, too")

    def phases(self, solver: str) -> list[Phase]:
        """Return a phase per step of pruning, and one for the shared values.

        Args:
            solver: the type of the solver. The steps of an adaptive one don't grow with the
                gradient, so that it trains shared values at the whole rate.
        """
        steps = range(1, self.steps + 1) if self.density else ()
        numbers = {step: f"{step}" if self.steps > 1 else "" for step in steps}
        pruned = [Phase(f"{PRUNED}{numbers[step]}", about={"step": step}) for step in steps]
        rate = 1.0 if solver in ADAPTIVE_SOLVERS else SHARED_RATE
        return [*pruned, Phase(SHARED, rate, {"bits": self.bits})]

    def rules(self, step: int) -> tuple[DensityRule, ...]:
        """Return the densities after a step: equal ratios lead to the last."""
        return tuple(
            DensityRule(rule.pattern, rule.density ** (step / self.steps)) for rule in self.density
        )


def train_compressed(
    weights: str,
    net_path: str,
    solver: str,
    out: str,
    plan: CompressionPlan,
    options: RunOptions,
    wanted: TrainOptions,
    *,
    force: bool = False,
) -> list[Point]:
    """Prune, retrain, share and retrain weights, write them, and test what each stage gives.

    Args:
        weights: the trained caffemodel.
        net_path: a train_val net; its layers in TEST are compressed and tested.
        solver: trains it, anew for each stage.
        out: the file to write, .sqz or .net.
        plan: what is done.
        options: of the runs.
        wanted: of the trainings; `resume` goes on in the stage where it was, or encodes and tests
            stages that are all trained.
        force: whether `out` may be replaced.

    Returns:
        The weights before, then of each stage the file before and after its training.

    Raises:
        SqgenError: invalid input; nothing was started.
        RunError: a training or test did not complete.
    """
    check_file_target(Path(out), force)
    net = read_net(net_path)
    test = {"data": wanted.val_data, "mean": wanted.mean}
    check_tested_net(net, test)  # before hours of training
    read_caffemodel(weights)  # likewise: a training takes A,B, which no test before and after does
    phases = plan.phases(read_solver(replace(options, log=None), solver).param.type)
    stages = _Stages(net, plan, Path(out).suffix.lower()[1:])
    wanted = replace(wanted, weights=None if wanted.resume else weights)
    training = PhasedTraining(options, solver, wanted, phases, stages.constrain, "compress train")
    folder = _complete(training, options, solver)
    finals = [training.final_weights(number) for number in range(len(phases))]
    files = stages.encode_all(folder, phases, [weights, *finals])
    write_files({Path(out): Path(files[-1]).read_bytes()}, force)
    table = replace(options, run_dir=folder / TESTS)
    starts = dict(zip(files[1::2], files[::2], strict=True))
    return measure_tradeoff(weights, files, [], net_path, table, starts=starts, **test)


def _complete(training: PhasedTraining, options: RunOptions, solver: str) -> Path:
    """Run what is left of the training; return the run folder.

    A stop between the last snapshot and the file leaves a training without work.
    """
    if not training.is_complete:
        return Path(training.run().run["folder"])
    options.log_line("all stages are trained; encoding and testing them")
    folder = RunFolder(path_or_none(options.run_dir), solver)
    folder.create()
    return folder.path


class _Stages:
    """What each stage keeps of weights: constraints of its training, and its files."""

    def __init__(self, net: NetDefinition, plan: CompressionPlan, layout: str) -> None:
        self._net, self._plan, self._layout = net, plan, layout
        self._image: Shape | None = None  # as the trained net reads them

    @property
    def _layers(self) -> list[WeightedLayer]:
        return find_weighted_layers(self._net, self._image)

    def constrain(
        self, phase: Phase, shapes: NetShapes, model: NetParameter
    ) -> Mapping[BlobName, Constraint]:
        """Return the constraints of a phase: a mask, or the codes of shared values."""
        self._image = next(item.tops[0][1:] for item in shapes.layers if not item.bottoms)
        if "bits" in phase.about:
            return codebook_constraints(self._start(phase, model), self._layers)
        rules = self._plan.rules(phase.about["step"])
        return prune_constraints(model, self._layers, rules)

    def _settings(self, phase: Phase) -> Settings:
        if "bits" in phase.about and self._layout != "net":
            return Settings(self._layout, self._plan.bits)
        return Settings(self._layout)

    def _start(self, phase: Phase, model: NetParameter) -> NetParameter:
        """Return weights as a phase begins with them."""
        settings = self._settings(phase)
        if "step" in phase.about:
            settings = replace(settings, density=self._plan.rules(phase.about["step"]))
        return encode(model, self._net, settings, image=self._image).model

    def encode_all(
        self, folder: Path, phases: Sequence[Phase], weights: Sequence[str]
    ) -> list[str]:
        """Write each phase's file before its training and after it; return their paths."""
        files: dict[Path, bytes] = {}
        for phase, before, after in zip(phases, weights, weights[1:], strict=False):
            for name, model in (
                (f"{phase.name}{UNTRAINED}", self._start(phase, read_caffemodel(before))),
                (phase.name, read_caffemodel(after)),
            ):
                path = folder / f"{name}.{self._layout}"
                coded = encode(model, self._net, self._settings(phase), image=self._image)
                files[path] = coded.bytes
        write_files(files, force=True)
        return [str(path) for path in files]
