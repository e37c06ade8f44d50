"""The tape of a forward pass, and the backward pass layer by layer from any blob down to the input.

Training differentiates a whole micro-batch at once, which is faster. A tape keeps the bottoms and
tops of every layer, as Caffe's blobs do, so that each layer's backward pass can run, be timed and
be observed alone (Net::BackwardFromTo, src/caffe/net.cpp).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch

from ..errors import NetError
from ..text import did_you_mean, printable
from .hooks import Hook, Hooks
from .schedule import Step
from .tensors import to_array

Tensor = torch.Tensor
Version = tuple[str, int]  # a blob, and how many layers wrote it before this value


class Gradients(NamedTuple):
    """Gradients by blob name, and by (layer, index) of a parameter blob; absent: none flows there.

    For a blob that layers compute in place, the gradient of its first value.
    """

    blobs: dict[str, np.ndarray]
    parameters: dict[tuple[str, int], np.ndarray]


class _Record(NamedTuple):
    """One layer of the forward pass."""

    step: Step
    bottoms: list[Tensor]
    bottom_versions: list[Version]
    tops: list[Tensor]
    top_versions: list[Version]


class Tape:
    """What a forward pass left behind.

    Args:
        parameters: the tensors of the parameters, by index in `Parameters.unique`.
        force_backward: whether gradients flow down to every bottom, as the net's `force_backward`.

    Attributes:
        blobs: every blob, by name: its last value.
        loss: the net's loss.
    """

    def __init__(self, parameters: Sequence[Tensor], force_backward: bool) -> None:
        self.blobs: dict[str, Tensor] = {}
        self.loss = 0.0
        self._parameters = parameters
        self._force = force_backward
        self._records: list[_Record] = []
        self._versions: dict[str, int] = {}

    def enter(self, step: Step, bottoms: Sequence[Tensor]) -> list[Tensor]:
        """Return the bottoms of a layer as the leaves of its own graph."""
        return [
            bottom.detach().requires_grad_(
                bottom.is_floating_point() and (self._force or not stopped)
            )
            for bottom, stopped in zip(bottoms, step.stop_gradient, strict=True)
        ]

    def leave(self, step: Step, bottoms: list[Tensor], tops: list[Tensor]) -> None:
        """Record a layer that has run."""
        read = [(name, self._versions.get(name, 0)) for name in step.bottoms]
        for name in step.tops:
            self._versions[name] = self._versions.get(name, 0) + 1
        made = [(name, self._versions[name]) for name in step.tops]
        self._records.append(_Record(step, bottoms, read, tops, made))

    def backward(
        self,
        gradients: Mapping[str, Any] | None = None,
        *,
        hooks: Sequence[Hook] = (),
        every_layer: bool = False,
    ) -> Gradients:
        """Run the backward pass, once: it frees what the layers kept for it.

        Args:
            gradients: blob -> its gradient, for blobs to start from; None starts from the net's own
                losses.
            hooks: called before and after each layer.
            every_layer: whether layers that no gradient reaches run too, from ones, as in
                `caffe time`.

        Raises:
            NetError: no such blob, or a gradient of another shape.
        """
        observers = Hooks(hooks)
        flow = self._loss_gradients() if gradients is None else self._given_gradients(gradients)
        totals: dict[int, Tensor] = {}
        for record in reversed(self._records):
            tops = [flow.get(version) for version in record.top_versions]
            if every_layer:
                pairs = zip(tops, record.tops, strict=True)
                tops = [torch.ones_like(top) if g is None else g for g, top in pairs]
            if all(gradient is None for gradient in tops):
                continue
            for hook in observers.of(record.step.layer):
                hook.before_backward(record.step.layer, tops)
            bottoms, parameters = self._differentiate(record, tops)
            _add(flow, record.bottom_versions, bottoms)
            _add(totals, record.step.parameters, parameters)
            for hook in observers.of(record.step.layer):
                hook.after_backward(record.step.layer, bottoms)
        return self._collect(flow, totals)

    def _differentiate(
        self, record: _Record, gradients: Sequence[Tensor | None]
    ) -> tuple[list[Tensor | None], list[Tensor | None]]:
        """Return the gradients of a layer's bottoms and parameters."""
        parameters = [self._parameters[index] for index in record.step.parameters]
        leaves = [*record.bottoms, *parameters]
        found: dict[int, Tensor | None] = {}
        pairs = [
            (top, gradient)
            for top, gradient in zip(record.tops, gradients, strict=True)
            if gradient is not None and top.requires_grad
        ]
        wanted = [leaf for leaf in leaves if leaf.requires_grad]
        if pairs and wanted:
            tops, outer = zip(*pairs, strict=True)
            inner = torch.autograd.grad(tops, wanted, outer, allow_unused=True)
            found = {id(leaf): g for leaf, g in zip(wanted, inner, strict=True)}
        all_found = [found.get(id(leaf)) for leaf in leaves]
        return all_found[: len(record.bottoms)], all_found[len(record.bottoms) :]

    def _loss_gradients(self) -> dict[Version, Tensor]:
        """Return the gradients that the losses start from: their weights."""
        return {
            version: torch.full_like(top, weight)
            for record in self._records
            for version, top, weight in zip(
                record.top_versions, record.tops, record.step.loss_weights, strict=True
            )
            if weight
        }

    def _given_gradients(self, gradients: Mapping[str, Any]) -> dict[Version, Tensor]:
        flow = {}
        for name, values in gradients.items():
            blob = self.blobs.get(name)
            if blob is None:
                raise NetError(f"no blob '{printable(name)}'{did_you_mean(name, self.blobs)}")
            gradient = torch.as_tensor(np.asarray(values)).to(blob.device, blob.dtype)
            if gradient.shape != blob.shape:
                shapes = f"{tuple(gradient.shape)}, not {tuple(blob.shape)}"
                raise NetError(f"the gradient of blob '{printable(name)}' has shape {shapes}")
            flow[name, self._versions.get(name, 0)] = gradient
        return flow

    def _collect(self, flow: Mapping[Version, Tensor], totals: Mapping[int, Tensor]) -> Gradients:
        # Of several values of a blob, the first is written last.
        blobs = {
            name: to_array(flow[name, version]) for name, version in sorted(flow, reverse=True)
        }
        parameters = {
            (record.step.layer.name, index): to_array(totals[number])
            for record in self._records
            for index, number in enumerate(record.step.parameters)
            if number in totals
        }
        return Gradients(blobs, parameters)


def _add(totals: dict[Any, Tensor], keys: Sequence[Any], values: Sequence[Tensor | None]) -> None:
    for key, value in zip(keys, values, strict=True):
        if value is not None:
            totals[key] = totals[key] + value if key in totals else value
