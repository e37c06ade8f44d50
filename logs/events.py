"""The events of a log: the interface between the parser and its listener."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

# Date, time and thread as glog prints them: `1123` or `20261123`, `02:37:17.360940`, `4096`; empty
# if stripped.
Stamp = tuple[str, str, str]
NEVER: Stamp = ("", "", "")


class Output(NamedTuple):
    """An output of a net as printed: its name, value, and weight if it is a loss."""

    name: str
    value: str
    weight: str | None = None


class Listener:
    """Receives every event in the order of the log; values are the text that Caffe printed."""

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
        """Receive an iteration of training: smoothed loss, outputs by name, and learning rate."""

    def tested(self, stamp: Stamp, iteration: str, net: str, outputs: Sequence[Output]) -> None:
        """Receive a test net's outputs while training."""

    def batch(self, stamp: Stamp, index: str, name: str, value: str) -> None:
        """Receive an output of a batch of `caffe test`."""

    def score(self, stamp: Stamp, output: Output) -> None:
        """Receive a mean over the batches of `caffe test`."""

    def layer_time(self, layer: str, direction: str, milliseconds: str) -> None:
        """Receive a row of `caffe time`; the layer is empty for the sums."""

    def net(self, text: str, cut: bool) -> None:
        """Receive a net, which Caffe prints as it creates it; `cut` if glog cut its end off."""

    def solver(self, text: str) -> None:
        """Receive the solver, which Caffe prints as it starts."""

    def notice(self, stamp: Stamp, kind: str, value: str) -> None:
        """Receive any other message of note; `kind` is a value of `parser.NOTICES`."""

    def fatal(self, stamp: Stamp, place: str, message: str) -> None:
        """Receive a fatal error."""

    def overlong(self) -> None:
        """Note a line that is longer than any of Caffe's, of which only the end was read."""

    def cut(self) -> None:
        """Note that the log ends within a line."""
