"""Check the options of a step of a study against its net, as its command does when it has read it.

What needs weights or data is left to the command.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from ..errors import DesignError
from .image_options import check_images_fit
from .option_checks import compression_plan_of, encode_settings_of, train_options_of
from .terminal import parse_image

if TYPE_CHECKING:
    from ..formats.schema import NetParameter
    from ..generator.design import Design
    from ..nets.definition import NetDefinition
    from ..nets.layer_types import Shape
    from ..runner.solver_preflight import ParsedSolver
    from ..runner.training_plan import TrainOptions

Parsed = Mapping[str, Any]  # name of an option -> its value, as click parsed it
TRAIN_VAL, DEPLOY, SOLVER = "train_val.prototxt", "deploy.prototxt", "solver.prototxt"
STAND_IN = "weights"  # a name of a file that is not there yet, for messages


@dataclass(frozen=True)
class StepNet:
    """The net that a step gets.

    Attributes:
        design: of the net that `sqgen build` made.
        files: that it wrote, by name.
        is_pruned: whether it lost channels since.
        has_bits: whether a step before chose bits, which this one gets.
    """

    design: Design
    files: Mapping[str, str]
    is_pruned: bool = False
    has_bits: bool = False

    @cached_property
    def train_val(self) -> NetDefinition:
        """The net that is trained and tested, with all its channels."""
        return self._parse(TRAIN_VAL)

    @cached_property
    def deploy(self) -> NetDefinition:
        """Its deploy net."""
        return self._parse(DEPLOY)

    def _parse(self, name: str) -> NetDefinition:
        from ..nets.definition import parse_net

        return parse_net(self.files[name], name)


def check_on_net(command: str, parsed: Parsed, net: StepNet) -> None:
    """Check the options of a command that a study may run, but `build`, against the step's net.

    Raises:
        SqgenError: they don't fit it.
    """
    if command in _CHECKS:
        _CHECKS[command](parsed, net)


def _check_train(parsed: Parsed, net: StepNet) -> None:
    from ..nets.shapes import require_shapes
    from ..nets.solver_nets import read_solver_nets
    from ..runner.best_weights import find_best_score
    from ..runner.dsd import check_masks
    from ..runner.freeze import freeze_layers, frozen_shapes, split_patterns
    from ..runner.overrides import DataOverride, override_data
    from ..runner.training_plan import read_net_constraints

    wanted = train_options_of(parsed)
    solver = _solver(wanted, net)
    nets = read_solver_nets(solver.param, SOLVER, net.train_val, wanted.level)
    trained, _ = override_data(nets.trained, [DataOverride("TRAIN", None, wanted.batch_size)])
    shapes = require_shapes(trained, "TRAIN", net.design.image)
    frozen = freeze_layers(trained, shapes, split_patterns(wanted.freeze))
    wanted.bits_options.check_layers(trained)
    if wanted.constraints is not None and not net.is_pruned:
        read_net_constraints(wanted.constraints, shapes)
    if wanted.dsd_options is not None:
        if net.has_bits:
            replace(wanted, quantize=wanted.quantize or STAND_IN).check_phased("--dsd")
        check_masks(frozen_shapes(shapes, frozen), wanted.dsd_options)
    if wanted.keep_best is not None:
        find_best_score(wanted.keep_best, solver, nets.tested)


def _solver(wanted: TrainOptions, net: StepNet) -> ParsedSolver:
    """Return the solver as options change it.

    Raises:
        DesignError: the design has several, of phases.
    """
    from ..nets.definition import parse_solver
    from ..runner.overrides import SolverOverride
    from ..runner.solver_preflight import ParsedSolver, override_solver
    from ..runner.training_plan import end_with_test

    if SOLVER not in net.files:
        solvers = ", ".join(name for name in net.files if name not in (TRAIN_VAL, DEPLOY))
        raise DesignError(
            f"[build] writes {solvers}, of which no step trains; build another preset, and give"
            " dsd = 0.3"
        )
    given = ParsedSolver(parse_solver(net.files[SOLVER], SOLVER), SOLVER, net.files[SOLVER])
    given.param.train_state.stage.extend(wanted.stages)
    # Epochs end after a number of updates that the data tells, and with a test in any case.
    length = wanted.max_iter if wanted.epochs is None else max(1, given.param.test_interval)
    settings = SolverOverride(wanted.base_lr, length).settings(None, 0)
    return override_solver(given, {**settings, **end_with_test(given, settings)})


def _check_test(parsed: Parsed, net: StepNet) -> None:
    from ..formats.schema import NetState
    from ..nets.score_heads import choose_head
    from ..nets.shapes import require_shapes
    from ..runner.bits_options import BitsOptions
    from ..runner.options import RunOptions
    from ..runner.overrides import DataOverride, override_data
    from ..runner.test import PredictionsRequest, QuantizedTest, check_scores
    from .gate_options import parse_gate
    from .test import expected_names, keeps_predictions

    gate, override = parse_gate(parsed), DataOverride("TEST", None, parsed["batch_size"])
    tested = net.train_val.in_state(NetState(stage=parsed["stages"]), parsed["level"])
    tested, _ = override_data(tested, [override])
    shapes = require_shapes(tested, "TEST", net.design.image)
    check_scores(RunOptions(), tested, expected_names(gate))
    keep = keeps_predictions(gate, parsed["per_class"])
    request = PredictionsRequest(parsed["predictions"], keep, parsed["blob"])
    if request.is_made() and not request.is_optional:
        choose_head(tested, shapes, request.blob)
        request.check_file()
    bits = BitsOptions(parsed["quantize"], parsed["bits"], parsed["activation_bits"])
    bits.check_layers(tested)
    if net.has_bits:
        bits = replace(bits, file=bits.file or STAND_IN)
    QuantizedTest(bits, parsed["calibrated"], parsed["rounded"]).check_files()


def _check_time(parsed: Parsed, net: StepNet) -> None:
    from ..runner.overrides import DataOverride, override_data

    override_data(net.deploy, [DataOverride(parsed["phase"], parsed["data"])])


def _check_prune(parsed: Parsed, net: StepNet) -> None:
    from ..pruning.budgets import Budget
    from ..pruning.costs import NetCosts
    from ..pruning.job import PruningJob
    from ..pruning.prune import Pruner
    from .prune_options import PruneOptions

    if net.is_pruned:
        return  # how many channels are left depends on the weights
    options = PruneOptions.of(parsed)
    image = options.shape or net.design.image
    if options.data is not None:
        check_images_fit(options.preprocessing, image)
    weights = _stand_in_weights(net.train_val, net.design.image)
    pruner = Pruner(net.train_val, [(STAND_IN, weights)], image)
    if options.lossless:
        return
    budgets = options.budgets(pruner, without=("bytes",))
    if options.bytes is not None:
        # Bytes depend on the weights: a budget that every net meets stands in for theirs.
        budgets = [*budgets, Budget(NetCosts(pruner.groups).macs, 1.0)]
    PruningJob(pruner, options.selection, budgets, options.search)


def _check_quantize(parsed: Parsed, net: StepNet) -> None:
    from ..nets.shapes import require_shapes
    from ..quantization.job import QuantizationJob
    from ..quantization.layer_table import LayerTable
    from ..quantization.problem import FLOAT_BITS
    from .quantize import make_budgets
    from .quantize_options import RISTRETTO, QuantizeOptions
    from .quantize_ristretto import bits_by_layer
    from .search_options import DIVERGENCE

    options = QuantizeOptions.of(parsed)
    check_images_fit(options.preprocessing, net.design.image)
    if options.format == RISTRETTO:
        bits_by_layer(net.deploy, options)
        return
    image = options.shape or net.design.image
    weights = _stand_in_weights(net.deploy, net.design.image)
    table = LayerTable(net.deploy, weights, STAND_IN, image, options.weights_quantizer)
    # Bytes depend on the weights; all costs on how many channels a pruning leaves.
    unknown = list(options.parse_budgets()) if net.is_pruned else ["--bytes"]
    budgets = make_budgets(options, table, require_shapes(net.deploy, "TEST", image), unknown)
    bits = None if options.activations else options.activation_bits or FLOAT_BITS
    QuantizationJob(net.deploy, table, budgets, options.search, DIVERGENCE, image, bits)


def _check_compress_train(parsed: Parsed, net: StepNet) -> None:
    from ..compress.constraints import prune_constraints
    from ..compress.encoding import Settings, check_patterns
    from ..compress.weighted_layers import find_weighted_layers

    plan, image = compression_plan_of(parsed), net.design.image
    _solver(train_options_of(parsed), net)
    layers = find_weighted_layers(net.train_val, image)
    rules = plan.rules(plan.steps)
    check_patterns(layers, Settings(density=rules))
    prune_constraints(_stand_in_weights(net.train_val, image), layers, rules)


def _check_encode(parsed: Parsed, net: StepNet) -> None:
    from ..compress.encoding import check_patterns
    from ..compress.weighted_layers import find_weighted_layers

    image = parse_image(parsed["image"]) or net.design.image
    check_patterns(find_weighted_layers(net.deploy, image), encode_settings_of(parsed))


def _stand_in_weights(net: NetDefinition, image: Shape | None) -> NetParameter:
    """Return weights of a net, all 1, for checks that don't depend on them."""
    import numpy as np

    from ..nets.shapes import require_shapes
    from ..weights.make_caffemodel import make_caffemodel

    layers = require_shapes(net, "TEST", image).layers
    arrays = {
        item.layer.name: [np.ones(blob.shape, np.float32) for blob in item.blobs] for item in layers
    }
    return make_caffemodel(net, arrays)


_CHECKS: dict[str, Callable[[Parsed, StepNet], None]] = {
    "train": _check_train,
    "test": _check_test,
    "time": _check_time,
    "prune": _check_prune,
    "quantize": _check_quantize,
    "compress train": _check_compress_train,
    "compress encode": _check_encode,
}
