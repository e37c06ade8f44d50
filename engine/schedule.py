"""The schedule of a net: its kernels in execution order, and the blobs to release after each."""

from __future__ import annotations

from collections.abc import Container, Sequence
from dataclasses import dataclass, field, replace

from ..nets.graph import Graph, build_graph
from .kernels import SOURCES, kernel_of
from .kernels.base import Kernel
from .parameters import Parameters
from .wiring import WiredLayer, Wiring

_SHARING_TYPES = ("Split", "Flatten", "Reshape")  # their tops are their bottom in other shapes


@dataclass
class Step:
    """One kernel call.

    Attributes:
        kernel: of the layer; layers fused into it have no step.
        bottoms, tops: names of blobs.
        parameters: indices of the layer's parameters in `Parameters.unique`.
        stop_gradient: for each bottom, whether no gradient flows down it.
        loss_weights: one per top.
        release: blobs to free after the step, as no later step reads them.
        sharing: for each bottom, the other blobs whose data it shares in Caffe.
    """

    kernel: Kernel
    bottoms: list[str]
    tops: list[str]
    parameters: list[int]
    stop_gradient: list[bool]
    loss_weights: list[float]
    release: list[str] = field(default_factory=list)
    sharing: list[list[str]] = field(default_factory=list)

    @property
    def layer(self) -> WiredLayer:
        """The layer that the kernel computes."""
        return self.kernel.layer

    @property
    def is_loss(self) -> bool:
        """Whether a top counts in the net's loss."""
        return any(self.loss_weights)


class Everything(Container[str]):
    """A container of every name: to keep all blobs, or observe all layers."""

    def __contains__(self, name: object) -> bool:
        return True


EVERYTHING = Everything()


def layer_steps(wiring: Wiring, parameters: Parameters, phase: str) -> list[Step]:
    """Return a step for every layer that computes, unfused."""
    sharing = _sharing_blobs(wiring.layers)
    return [
        Step(
            kernel_of(layer, index, phase),
            layer.bottoms,
            layer.tops,
            parameters.of_layer[index],
            [not needed for needed in layer.bottom_needs],
            layer.loss_weights,
            sharing=[sharing.get(name, []) for name in layer.bottoms],
        )
        for index, layer in enumerate(wiring.layers)
        if layer.type not in SOURCES
    ]


def _sharing_blobs(layers: Sequence[WiredLayer]) -> dict[str, list[str]]:
    """Return each blob whose data is another's in Caffe, too (Blob::ShareData) -> all of these."""
    groups: dict[str, list[str]] = {}
    for layer in layers:
        is_single = (layer.type, 1) in (("Concat", len(layer.bottoms)), ("Slice", len(layer.tops)))
        if layer.type in _SHARING_TYPES or is_single:
            bottom = layer.bottoms[0]
            group = groups.setdefault(bottom, [bottom])
            group += [name for name in layer.tops if name not in group]
            groups |= dict.fromkeys(group, group)
    return groups


def step_graph(steps: Sequence[Step]) -> Graph[Step]:
    """Return the graph of steps in execution order."""
    return build_graph(steps, lambda step: (step.bottoms, step.tops, step.loss_weights))


def schedule_releases(steps: Sequence[Step], keep: Container[str]) -> list[Step]:
    """Return steps that release the blobs that they are the last to read, unless in `keep`."""
    graph = step_graph(steps)
    return [
        replace(
            step,
            release=[
                name
                for name in graph.last_reads(index)
                if name not in keep and name not in step.tops
            ],
        )
        for index, step in enumerate(steps)
    ]
