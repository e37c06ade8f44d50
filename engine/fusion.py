"""Fusion: passes that turn a net's steps into fewer and faster ones with the same results.

Each pass takes a list of steps and returns one. All but the last rely on insert_splits, after which
a blob has at most one reader. No pass hides a blob to keep or a layer to observe.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Container, Sequence

from .kernels.convolution import Convolution
from .kernels.neurons import Dropout, ReLU
from .kernels.normalization import BatchNorm, Scale
from .kernels.pooling import MAX, Pooling
from .kernels.shaping import Split
from .parameters import Parameters
from .schedule import Step, layer_steps, schedule_releases
from .wiring import Wiring

COMPUTES_RELU = (Convolution, BatchNorm)


def fused_schedule(
    wiring: Wiring,
    parameters: Parameters,
    phase: str,
    keep: Collection[str] = (),
    observed: Container[str] = (),
) -> list[Step]:
    """Return the fused steps of a net.

    Args:
        wiring: the net.
        parameters: its parameters.
        phase: `TRAIN` or `TEST`.
        keep: blobs that are never released, besides the outputs.
        observed: names of layers that are not fused.
    """
    keep = {*keep, *wiring.outputs}
    steps = layer_steps(wiring, parameters, phase)
    steps = fuse_scale_into_batch_norm(steps, keep, observed, phase)
    steps = fuse_relu_into_maker(steps, keep, observed, phase)
    steps = fuse_relu_gradient_into_pooling(steps, observed)
    steps = bypass_splits(steps, keep, observed)
    return schedule_releases(steps, keep)


def fuse_scale_into_batch_norm(
    steps: Sequence[Step], keep: Container[str], observed: Container[str], phase: str
) -> list[Step]:
    """Let a BatchNorm compute the Scale with a bias per channel that reads it."""

    def absorb(maker: Step, step: Step) -> bool:
        param = step.kernel.param.scale_param
        channels = maker.layer.top_shapes[0][1:2]
        if not (
            isinstance(step.kernel, Scale)
            and isinstance(maker.kernel, BatchNorm)
            and len(maker.parameters) == len(maker.layer.blobs)  # one Scale at most
            and [blob.shape for blob in step.layer.blobs] == [channels, channels]
            and param.axis == 1
        ):
            return False
        maker.parameters = [*maker.parameters, *step.parameters]
        return True

    return _fuse_into_maker(steps, keep, observed, phase, absorb)


def fuse_relu_into_maker(
    steps: Sequence[Step], keep: Container[str], observed: Container[str], phase: str
) -> list[Step]:
    """Let a convolution or a BatchNorm compute the ReLU that reads it."""

    def absorb(maker: Step, step: Step) -> bool:
        if not (
            isinstance(step.kernel, ReLU)
            and not step.kernel.param.relu_param.negative_slope
            and isinstance(maker.kernel, COMPUTES_RELU)
            and maker.kernel.fuses_relu
            and not maker.kernel.relu
        ):
            return False
        maker.kernel.relu = True
        return True

    return _fuse_into_maker(steps, keep, observed, phase, absorb)


def _fuse_into_maker(
    steps: Sequence[Step],
    keep: Container[str],
    observed: Container[str],
    phase: str,
    absorb: Callable[[Step, Step], bool],
) -> list[Step]:
    """Drop each step that the maker of its only bottom absorbs.

    None where a gradient stops between the two, or where someone looks at one of them.
    """
    result: list[Step] = []
    makers: dict[str, Step] = {}
    for step in steps:
        maker = makers.get(step.bottoms[0]) if step.bottoms else None
        if (
            maker is not None
            and maker.tops == step.bottoms
            and not maker.is_loss
            and (phase == "TEST" or not any(step.stop_gradient))
            and (step.tops == step.bottoms or step.bottoms[0] not in keep)
            and step.layer.name not in observed
            and maker.layer.name not in observed
            and absorb(maker, step)
        ):
            maker.tops = step.tops
            maker.loss_weights = step.loss_weights
            makers[step.tops[0]] = maker
            continue
        makers.update(dict.fromkeys(step.tops, step))
        result.append(step)
    return result


def fuse_relu_gradient_into_pooling(steps: list[Step], observed: Container[str]) -> list[Step]:
    """Let a MAX pooling mask the gradient of the ReLU below it: the pooled blob is smaller."""
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
            and isinstance(maker.kernel, COMPUTES_RELU)
            and maker.kernel.relu
            and not maker.is_loss
            and step.layer.name not in observed
        ):
            pool.masks = True
            maker.kernel.masks = False
        makers.update(dict.fromkeys(step.tops, step))
    return steps


def bypass_splits(
    steps: Sequence[Step], keep: Container[str], observed: Container[str]
) -> list[Step]:
    """Drop splits, and Dropout in TEST: readers of their tops read their bottom."""
    result: list[Step] = []
    aliases: dict[str, str] = {}  # top of a dropped layer -> its bottom
    for step in steps:
        step.bottoms = [aliases.get(name, name) for name in step.bottoms]
        copies_bottom = isinstance(step.kernel, Split) or (
            isinstance(step.kernel, Dropout) and step.kernel.phase == "TEST"
        )
        is_needed = (
            step.is_loss
            or step.kernel.param.propagate_down
            or any(name in keep for name in step.tops)
            or step.layer.name in observed
        )
        if copies_bottom and not is_needed:
            aliases.update(dict.fromkeys(step.tops, step.bottoms[0]))
            continue
        for name in step.tops:
            aliases.pop(name, None)
        result.append(step)
    return result
