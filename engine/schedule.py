"""The order in which a net's kernels run, and the passes that make it shorter.

A pass takes a list of steps and gives one. What all but the last may rely on: every blob has at
most one reader, thanks to splits.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from .kernels import SOURCES, kernel_of
from .kernels.base import Kernel
from .kernels.convolution import Convolution
from .kernels.neurons import Dropout, ReLU
from .kernels.pooling import MAX, Pooling
from .kernels.shaping import Split
from .parameters import Parameters
from .wiring import Wiring, last_readers


@dataclass
class Step:
    """A kernel with the names of what it reads and makes.

    Attributes:
        blobs: numbers of its parameters.
        cut: which bottoms no gradient goes down.
        weights: of its tops in the loss.
        done: blobs that nobody reads afterwards.
    """

    kernel: Kernel
    bottoms: list[str]
    tops: list[str]
    blobs: list[int]
    cut: list[bool]
    weights: list[float]
    done: list[str] = field(default_factory=list)


def make_plan(
    wiring: Wiring, parameters: Parameters, phase: str, fused: bool = True, kept: Sequence[str] = ()
) -> list[Step]:
    """The steps of a net.

    Args:
        wiring: the net.
        parameters: its parameters.
        phase: `TRAIN` or `TEST`.
        fused: whether layers may be merged; not where each is timed.
        kept: blobs to keep to the end, besides the outputs.
    """
    steps = [
        Step(
            kernel_of(layer, index, phase),
            layer.bottoms,
            layer.tops,
            parameters.of_layer[index],
            [not needed for needed in layer.bottom_needs],
            layer.loss_weights,
        )
        for index, layer in enumerate(wiring.layers)
        if layer.type not in SOURCES
    ]
    kept = [*kept, *wiring.outputs]
    if fused:
        steps = relu_into_convolution(steps, kept, phase)
        steps = relu_into_pooling(steps)
        steps = without_splits(steps, kept)
    for step, done in zip(steps, last_readers([step.bottoms for step in steps]), strict=True):
        step.done = [name for name in done if name not in kept and name not in step.tops]
    return steps


def relu_into_convolution(steps: list[Step], kept: Sequence[str], phase: str) -> list[Step]:
    """A ReLU without a slope is computed by the convolution in front of it.

    Not where propagate_down stops gradients between the two.
    """
    result: list[Step] = []
    makers: dict[str, Step] = {}
    for step in steps:
        maker = makers.get(step.bottoms[0]) if step.bottoms else None
        if (
            isinstance(step.kernel, ReLU)
            and not step.kernel.param.relu_param.negative_slope
            and maker is not None
            and isinstance(maker.kernel, Convolution)
            and maker.tops == step.bottoms
            and not maker.kernel.relu
            and not any(maker.weights)
            and (phase == "TEST" or not any(step.cut))
            and (step.tops == step.bottoms or step.bottoms[0] not in kept)
        ):
            maker.kernel.relu = True
            maker.tops = step.tops
            maker.weights = step.weights
            makers[step.tops[0]] = maker
            continue
        makers.update(dict.fromkeys(step.tops, step))
        result.append(step)
    return result


def relu_into_pooling(steps: list[Step]) -> list[Step]:
    """The backward pass of a ReLU below a MAX pooling is done on the pooled, smaller blob."""
    makers: dict[str, Step] = {}
    for step in steps:
        pool = step.kernel
        maker = makers.get(step.bottoms[0]) if step.bottoms else None
        if (
            isinstance(pool, Pooling)
            and pool.method == MAX
            and pool.native
            and len(step.tops) == 1
            and maker is not None
            and isinstance(maker.kernel, Convolution)
            and maker.kernel.relu
            and not any(maker.weights)
        ):
            pool.masks = True
            maker.kernel.masks = False
        makers.update(dict.fromkeys(step.tops, step))
    return steps


def without_splits(steps: list[Step], kept: Sequence[str]) -> list[Step]:
    """Who reads a split reads what was split; the same for a Dropout that does nothing."""
    result: list[Step] = []
    names: dict[str, str] = {}
    for step in steps:
        step.bottoms = [names.get(name, name) for name in step.bottoms]
        idle = isinstance(step.kernel, Split) or (
            isinstance(step.kernel, Dropout) and step.kernel.phase == "TEST"
        )
        stays = any(step.weights) or step.kernel.param.propagate_down or set(step.tops) & set(kept)
        if idle and not stays:
            names.update(dict.fromkeys(step.tops, step.bottoms[0]))
            continue
        for name in step.tops:
            names.pop(name, None)
        result.append(step)
    return result
