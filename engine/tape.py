"""The tape of a forward pass, and the backward pass layer by layer from any blob down to the input.

Training differentiates a whole micro-batch at once, which is faster. A tape keeps the bottoms and
tops of every layer, as Caffe's blobs do, so that each layer's backward pass can run, be timed and
be observed alone (Net::BackwardFromTo, src/caffe/net.cpp).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple, TypeVar

import numpy as np
import torch

from ..errors import NetError
from ..text import did_you_mean, printable
from .hooks import Hook, Hooks
from .schedule import Step
from .tensors import to_array

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

Tensor = torch.Tensor
Version = tuple[str, int]  # a blob's name, and how many layers had written it
Key = TypeVar("Key")


class Gradients(NamedTuple):
    """The gradients of a backward pass, each in its blob's shape; only those that flow.

    Attributes:
        blobs: by blob name; that of the first value where layers compute in place.
        parameters: by layer name and number of the parameter blob.
    """

    blobs: dict[str, np.ndarray]
    parameters: dict[tuple[str, int], np.ndarray]


class _Record(NamedTuple):
    """One layer of the forward pass; `bottoms` are the leaves of its autograd graph."""

    step: Step
    bottoms: list[Tensor]
    bottom_versions: list[Version]
    tops: list[Tensor]
    top_versions: list[Version]


class Tape:
    """The record of a forward pass.

    Args:
        parameters: the tensors of the parameters, by index in `Parameters.unique`.
        force_backward: whether gradients flow down to every bottom, as the net's `force_backward`.
        passes: by number of the parameter, where the gradient of its quantizer passes.

    Attributes:
        blobs: every blob, by name: its last value.
        loss: the net's loss.
    """

    def __init__(
        self, parameters: Sequence[Tensor], force_backward: bool, passes: Mapping[int, Tensor]
    ) -> None:
        self.blobs: dict[str, Tensor] = {}
        self.loss = 0.0
        self._parameters = parameters
        self._force, self._passes = force_backward, passes
        self._records: list[_Record] = []
        self._versions: dict[str, int] = {}

    def detach_bottoms(self, step: Step, bottoms: Sequence[Tensor]) -> list[Tensor]:
        """Return the bottoms of a layer, detached: the leaves of its own autograd graph."""
        return [
            bottom.detach().requires_grad_(
                bottom.is_floating_point() and (self._force or not stopped)
            )
            for bottom, stopped in zip(bottoms, step.stop_gradient, strict=True)
        ]

    def record_layer(self, step: Step, bottoms: list[Tensor], tops: list[Tensor]) -> None:
        """Record a layer that has run."""
        bottom_versions = [(name, self._versions.get(name, 0)) for name in step.bottoms]
        for name in step.tops:
            self._versions[name] = self._versions.get(name, 0) + 1
        top_versions = [(name, self._versions[name]) for name in step.tops]
        self._records.append(_Record(step, bottoms, bottom_versions, tops, top_versions))

    def backward(
        self, gradients: Mapping[str, ArrayLike] | None = None, *, hooks: Sequence[Hook] = ()
    ) -> Gradients:
        """Run the backward pass. It runs once only: it frees the tensors that autograd saved.

        Args:
            gradients: blob name -> gradient in the blob's shape, to start from; None starts from
                the net's losses.
            hooks: called before and after each layer.

        Raises:
            NetError: no such blob, or a gradient of another shape.
        """
        blobs = self._loss_gradients() if gradients is None else self._convert(gradients)
        parameters: dict[int, Tensor] = {}
        observers = Hooks(hooks)
        for record in reversed(self._records):
            tops = [blobs.get(version) for version in record.top_versions]
            if any(gradient is not None for gradient in tops):
                self._run_layer(record, tops, observers, blobs, parameters)
        return self._collect(blobs, parameters)

    def backward_every_layer(self, hooks: Sequence[Hook] = ()) -> None:
        """Run the backward pass of every layer, as `caffe time` does, for the hooks alone.

        Layers that no gradient reaches get top gradients of 1. Nothing is converted to arrays, and
        a gradient is freed once used: neither may count in a layer's time or memory.
        """
        blobs = self._loss_gradients()
        parameters: dict[int, Tensor] = {}
        observers = Hooks(hooks)
        for record in reversed(self._records):
            tops = [
                blobs.pop(version) if version in blobs else torch.ones_like(top)
                for version, top in zip(record.top_versions, record.tops, strict=True)
            ]
            self._run_layer(record, tops, observers, blobs, parameters)

    def _run_layer(
        self,
        record: _Record,
        tops: Sequence[Tensor | None],
        observers: Hooks,
        blobs: dict[Version, Tensor],
        parameters: dict[int, Tensor],
    ) -> None:
        """Add the gradients of a layer's bottoms to `blobs`, of its parameters to `parameters`."""
        layer = record.step.layer
        for hook in observers.of(layer):
            hook.before_backward(layer, tops)
        bottoms, weights = self._differentiate(record, tops)
        _add_values(blobs, record.bottom_versions, bottoms)
        _add_values(parameters, record.step.parameters, weights)
        for hook in observers.of(layer):
            hook.after_backward(layer, bottoms)

    def _differentiate(
        self, record: _Record, gradients: Sequence[Tensor | None]
    ) -> tuple[list[Tensor | None], list[Tensor | None]]:
        """Return the gradients of a layer's bottoms and parameters from those of its tops.

        None where none flows.
        """
        parameters = [self._parameters[index] for index in record.step.parameters]
        leaves = [*record.bottoms, *parameters]
        by_leaf: dict[int, Tensor | None] = {}
        pairs = [
            (top, gradient)
            for top, gradient in zip(record.tops, gradients, strict=True)
            if gradient is not None and top.requires_grad
        ]
        inputs = [leaf for leaf in leaves if leaf.requires_grad]
        if pairs and inputs:
            outputs, output_gradients = zip(*pairs, strict=True)
            results = torch.autograd.grad(outputs, inputs, output_gradients, allow_unused=True)
            by_leaf = {id(leaf): g for leaf, g in zip(inputs, results, strict=True)}
        flowing = [by_leaf.get(id(leaf)) for leaf in leaves]
        return flowing[: len(record.bottoms)], flowing[len(record.bottoms) :]

    def _loss_gradients(self) -> dict[Version, Tensor]:
        """Return the gradients of the loss tops: their loss_weights."""
        return {
            version: torch.full_like(top, weight)
            for record in self._records
            for version, top, weight in zip(
                record.top_versions, record.tops, record.step.loss_weights, strict=True
            )
            if weight
        }

    def _convert(self, gradients: Mapping[str, ArrayLike]) -> dict[Version, Tensor]:
        """Return gradients from Python by the last version of their blobs.

        Raises:
            NetError: no such blob, or a gradient of another shape.
        """
        converted = {}
        for name, values in gradients.items():
            blob = self.blobs.get(name)
            if blob is None:
                raise NetError(f"no blob '{printable(name)}'{did_you_mean(name, self.blobs)}")
            gradient = torch.as_tensor(np.asarray(values)).to(blob.device, blob.dtype)
            if gradient.shape != blob.shape:
                shapes = f"{tuple(gradient.shape)}, not {tuple(blob.shape)}"
                raise NetError(f"the gradient of blob '{printable(name)}' has shape {shapes}")
            converted[name, self._versions.get(name, 0)] = gradient
        return converted

    def _collect(
        self, blobs: Mapping[Version, Tensor], parameters: Mapping[int, Tensor]
    ) -> Gradients:
        """Return the gradients under the names that users know."""
        # The first version of a blob comes last, and replaces the others.
        by_name = {
            name: to_array(blobs[name, version]) for name, version in sorted(blobs, reverse=True)
        }
        by_layer = {
            (record.step.layer.name, index): to_array(self._passed(parameters[number], number))
            for record in self._records
            for index, number in enumerate(record.step.parameters)
            if number in parameters
        }
        return Gradients(by_name, by_layer)

    def _passed(self, gradient: Tensor, number: int) -> Tensor:
        passes = self._passes.get(number)
        return gradient if passes is None else gradient * passes


def _add_values(
    totals: dict[Key, Tensor], keys: Sequence[Key], values: Sequence[Tensor | None]
) -> None:
    """Add each value to the total of its key; a None adds nothing."""
    for key, value in zip(keys, values, strict=True):
        if value is not None:
            totals[key] = totals[key] + value if key in totals else value
