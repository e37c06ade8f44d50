"""Hooks: observers of a net's layers as they run.

    class Largest(Hook):
        layers = frozenset({"conv1"})

        def after_forward(self, layer, tops):
            print(layer.name, [float(top.abs().max()) for top in tops])

    net.forward(images, hooks=[Largest()])

A layer that a hook observes runs by itself: it isn't fused with its neighbors, and its bottoms and
tops are whole tensors. All other layers stay fused. A batch runs in micro-batches only if all hooks
treat each record alone.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from .wiring import WiredLayer

Tensor = torch.Tensor


class Hook:
    """Base of hooks; override the methods that are needed.

    Attributes:
        layers: names of the layers to observe; None observes every layer, data layers too.
        per_record: whether the hook treats each record alone. It is then called once per
            micro-batch, from several threads, but once for the whole batch at data layers, losses
            and accuracies; a loss that it replaces keeps its gradient. Otherwise the batch runs
            whole.
    """

    layers: frozenset[str] | None = None
    per_record = False

    def before_forward(self, layer: WiredLayer, bottoms: Sequence[Tensor]) -> None:
        """Observe the bottoms of a layer before it runs; a data layer has none."""

    def after_forward(self, layer: WiredLayer, tops: Sequence[Tensor]) -> Sequence[Tensor] | None:
        """Observe the tops of a layer; return tensors to replace them, or None."""

    def before_backward(self, layer: WiredLayer, tops: Sequence[Tensor | None]) -> None:
        """Observe the gradients of the tops before a layer's backward pass (`Tape.backward`)."""

    def after_backward(self, layer: WiredLayer, bottoms: Sequence[Tensor | None]) -> None:
        """Observe the gradients of the bottoms after a layer's backward pass."""


class Hooks:
    """The hooks of one pass."""

    def __init__(self, hooks: Sequence[Hook] = ()) -> None:
        self._hooks = tuple(hooks)

    def __contains__(self, layer: object) -> bool:
        """Whether a hook observes the layer of this name."""
        return any(hook.layers is None or layer in hook.layers for hook in self._hooks)

    def __bool__(self) -> bool:
        return bool(self._hooks)

    @property
    def per_record(self) -> bool:
        """Whether all hooks treat each record alone, so that micro-batches may run."""
        return all(hook.per_record for hook in self._hooks)

    def of(self, layer: WiredLayer) -> list[Hook]:
        """Return the hooks that observe a layer."""
        return [hook for hook in self._hooks if hook.layers is None or layer.name in hook.layers]

    def before_forward(self, layer: WiredLayer, bottoms: Sequence[Tensor]) -> None:
        """Let a layer's hooks observe its bottoms."""
        for hook in self.of(layer):
            hook.before_forward(layer, bottoms)

    def after_forward(self, layer: WiredLayer, tops: Sequence[Tensor]) -> Sequence[Tensor]:
        """Let a layer's hooks observe its tops; return the tops, or their replacements."""
        for hook in self.of(layer):
            replacements = hook.after_forward(layer, tops)
            tops = tops if replacements is None else replacements
        return tops
