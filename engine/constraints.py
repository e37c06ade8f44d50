"""Constraints that a training obeys exactly: weights that stay zero, weights that share a value.

The solver then learns other numbers than the blob's weights (`Constrained.numbers`). The gradient
of a shared value is the sum of its members' (chain rule; Han et al., arXiv:1510.00149, section 3);
weight decay adds each member's term, so that the loss is that of the same net without sharing.
Weights that stay zero have no gradient and no history.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import torch

from ..errors import NetError
from ..formats.constraints import (
    FREE,
    ZERO,
    BlobName,
    Constraint,
    check_constraints,
    constraints_digest,
    describe_constraints,
    read_constraints,
)
from ..text import printable
from .parameters import Parameter, Parameters

Tensor = torch.Tensor


@dataclass(frozen=True)
class TrainingConstraints:
    """The constraints of a training.

    Attributes:
        of_blob: one for each blob that has any.
        path: their file, as given.
        digest: of what it says.
    """

    of_blob: Mapping[BlobName, Constraint] = field(default_factory=dict)
    path: str = ""
    digest: str = ""

    @classmethod
    def read(cls, path: str) -> TrainingConstraints:
        """Read a file.

        Raises:
            FormatError: as `read_constraints`.
        """
        of_blob = read_constraints(path)
        return cls(of_blob, path, constraints_digest(of_blob))

    def describe(self) -> str:
        """Return a line for the log."""
        return f"Constraints from {self.path}: {describe_constraints(self.of_blob)}"


class Constrained(ABC):
    """A parameter with a constraint.

    Attributes:
        parameter: the net's.
        numbers: what the solver learns in its place, as a parameter.
        members: for each number, how many weights have it.
    """

    parameter: Parameter
    numbers: Parameter
    members: Tensor

    @abstractmethod
    def impose(self) -> None:
        """Take the numbers from the parameter's values, and make these obey."""

    @abstractmethod
    def collect(self) -> None:
        """Take the gradient of the numbers from the parameter's."""

    @abstractmethod
    def distribute(self, with_update: bool) -> None:
        """Give the parameter the numbers; with what was subtracted from them, if it is kept."""

    @abstractmethod
    def spread(self, history: Tensor) -> Tensor:
        """Return a history of the numbers in the parameter's shape, 0 where it is constant."""

    @abstractmethod
    def gather(self, history: Tensor) -> Tensor:
        """Return a history of the numbers from one in the parameter's shape."""


class Masked(Constrained):
    """A parameter whose weights stay zero or are free."""

    def __init__(self, parameter: Parameter, constraint: Constraint) -> None:
        data = parameter.data
        # Bits, all set or none: of a nan, too, nothing is left.
        self._integer = torch.int64 if data.element_size() == 8 else torch.int32
        bits = torch.from_numpy(np.where(constraint.codes == ZERO, 0, -1)).to(self._integer)
        form = torch.channels_last if data.dim() == 4 else torch.contiguous_format
        self._bits = bits.to(data.device).contiguous(memory_format=form)
        self.parameter = parameter
        self.numbers = replace(parameter, grad=None)  # with the same data
        self.members = data.new_ones(())

    def _clear(self, blob: Tensor) -> Tensor:
        """Clear what is masked, in place."""
        blob.view(self._integer).bitwise_and_(self._bits)
        return blob

    def impose(self) -> None:
        """Clear what is masked."""
        self._clear(self.parameter.data)

    def collect(self) -> None:
        """Clear what is masked of the gradient."""
        grad = self.parameter.grad
        self.numbers.grad = None if grad is None else self._clear(grad)

    def distribute(self, with_update: bool) -> None:
        """Clear what a rule without delta makes of nothing by nothing."""
        update = self.numbers.grad
        self.parameter.grad = self._clear(update) if with_update and update is not None else None
        self._clear(self.parameter.data)

    def spread(self, history: Tensor) -> Tensor:
        """Return the history, cleared."""
        return self._clear(history.clone())

    def gather(self, history: Tensor) -> Tensor:
        """Return the same."""
        return self.spread(history)


class Shared(Constrained):
    """A parameter with shared values: a number for each group that learns, and each free weight."""

    def __init__(self, parameter: Parameter, constraint: Constraint) -> None:
        data = parameter.data
        slots, self._learned, constants = _number(constraint)
        self._shape = tuple(data.shape)
        self._slots = self._flat(torch.from_numpy(slots).to(data.device))
        self._constants = torch.from_numpy(constants).to(data)
        counts = torch.bincount(self._slots, minlength=self._learned)
        self._counts = counts[: self._learned]
        self._order = torch.argsort(self._slots, stable=True)[: int(self._counts.sum())]
        self.members = self._counts.to(data.dtype)
        self.parameter = parameter
        self.numbers = replace(parameter, data=self._means(data), grad=None)

    def _flat(self, blob: Tensor) -> Tensor:
        """Return a blob in a row, in the order in which the engine has weights in memory."""
        return (blob.permute(0, 2, 3, 1) if len(self._shape) == 4 else blob).reshape(-1)

    def _sums(self, blob: Tensor) -> Tensor:
        """Add up in double and in order, so that equal runs have equal bits."""
        flat = self._flat(blob).double()
        if flat.is_cuda:  # there, bincount adds in any order
            return torch.segment_reduce(flat[self._order], "sum", lengths=self._counts)
        return torch.bincount(self._slots, flat, self._learned)[: self._learned]

    def _means(self, blob: Tensor) -> Tensor:
        """Return the mean of each number's members; of equal floats, just their value."""
        return (self._sums(blob) / self._counts).to(blob.dtype)

    def _expand(self, numbers: Tensor, constants: Tensor) -> Tensor:
        flat = torch.cat([numbers, constants])[self._slots]
        if len(self._shape) != 4:
            return flat.reshape(self._shape)
        count, channels, height, width = self._shape
        return flat.reshape(count, height, width, channels).permute(0, 3, 1, 2)

    def impose(self) -> None:
        """Give each number the mean of its members, and these the number."""
        self.numbers.data = self._means(self.parameter.data)
        self.parameter.data.copy_(self._expand(self.numbers.data, self._constants))

    def collect(self) -> None:
        """Sum the gradient over each number's members."""
        grad = self.parameter.grad
        self.numbers.grad = None if grad is None else self._sums(grad).to(grad.dtype)

    def distribute(self, with_update: bool) -> None:
        """Give each weight its number."""
        update = self.numbers.grad
        if update is not None:
            self.parameter.data.copy_(self._expand(self.numbers.data, self._constants))
        self.parameter.grad = self.spread(update) if with_update and update is not None else None

    def spread(self, history: Tensor) -> Tensor:
        """Return each weight's."""
        return self._expand(history, torch.zeros_like(self._constants))

    def gather(self, history: Tensor) -> Tensor:
        """Return each number's."""
        return self._means(history)


def constrain(parameter: Parameter, constraint: Constraint) -> Constrained:
    """Put a parameter under a constraint of its shape."""
    return (Shared if constraint.codes.max() > ZERO else Masked)(parameter, constraint)


def _number(constraint: Constraint) -> tuple[np.ndarray, int, np.ndarray]:
    """Number what weights stand for: first what learns, then constants.

    Returns:
        For each weight its number, from 0 on; how many learn; the constants, 0 first.
    """
    codes, values = constraint.codes, constraint.values
    table = np.full(len(values) + 1, FREE, dtype=np.int64)  # of codes from 0 on
    present = np.unique(codes[codes > ZERO])
    groups = present[np.isnan(values[present - 1])]
    table[groups] = np.arange(len(groups))
    learned = len(groups) + int(np.count_nonzero(codes == FREE))
    constant = np.array([ZERO, *np.flatnonzero(~np.isnan(values)) + 1])
    table[constant] = learned + np.arange(len(constant))
    slots = table[np.maximum(codes, ZERO)]
    slots[codes == FREE] = np.arange(len(groups), learned)
    return slots, learned, np.concatenate([[0.0], values[constant[1:] - 1]])


def constrain_net(
    constraints: Mapping[BlobName, Constraint], parameters: Parameters, source: str
) -> list[Constrained | None]:
    """Put a net's parameters under constraints; return one or None for each, in their order.

    Raises:
        NetError: a blob that the net lacks, of another shape, or that two constraints name; one
            that BatchNorm measures.
    """
    shapes = {layer.name: [blob.shape for blob in layer.blobs] for layer in parameters.layers}
    check_constraints(constraints, shapes, source)
    found: list[Constrained | None] = [None] * len(parameters.unique)
    by_layer = dict(zip(parameters.names(), parameters.of_layer, strict=True))
    for name, constraint in constraints.items():
        number = by_layer[name.layer][name.number]
        parameter = parameters.unique[number]
        shown = printable(f"{source}: {name}")
        if parameter.statistic:
            raise NetError(f"{shown}: is a statistic of BatchNorm, which no solver learns")
        if found[number] is not None:
            raise NetError(
                f"{shown}: is shared with another layer, whose blob has a constraint already"
            )
        found[number] = constrain(parameter, constraint)
    return found
