"""What can happen in a log: the interface between the parser and whoever listens."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

# When, as glog prints it: `1123` or `20261123`, and `02:37:17.360940`; both empty if stripped.
Stamp = tuple[str, str]
NEVER: Stamp = ("", "")


class Output(NamedTuple):
    """An output of a net as printed: its name, value, and weight if it is a loss."""

    name: str
    value: str
    weight: str | None = None


class Listener:
    """Told of every event, in the order of the log; values are the text that was printed."""

    def display(
        self,
        stamp: Stamp,
        iteration: str,
        speed: str | None,
        loss: str | None,
        names: tuple[str, ...],
        values: Sequence[str],
        lr: str | None,
    ) -> None:
        """An iteration of training: its smoothed loss, outputs by name, and learning rate."""

    def tested(self, stamp: Stamp, iteration: str, net: str, outputs: Sequence[Output]) -> None:
        """A test net's outputs while training."""

    def batch(self, stamp: Stamp, index: str, name: str, value: str) -> None:
        """A batch of `caffe test`."""

    def score(self, stamp: Stamp, output: Output) -> None:
        """A mean over the batches of `caffe test`."""

    def layer_time(self, layer: str, direction: str, milliseconds: str) -> None:
        """A row of `caffe time`; the layer is empty for the sums."""

    def net(self, text: str) -> None:
        """The net that Caffe prints as it makes it."""

    def solver(self, text: str) -> None:
        """The solver that Caffe prints as it starts."""

    def notice(self, stamp: Stamp, kind: str, value: str) -> None:
        """Anything else of note; `kind` is a value of `parser.NOTICES`."""

    def fatal(self, stamp: Stamp, place: str, message: str) -> None:
        """A fatal error."""

    def cut(self) -> None:
        """The log ends within a line."""
