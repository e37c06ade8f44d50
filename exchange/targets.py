"""What a net can be exported for: the table of targets, each of which makes files of a net."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from ..extras import required
from .trained_net import Exported, ExportOptions, TrainedNet


class Target(NamedTuple):
    """A target.

    Attributes:
        about: who reads its files.
        suffix: of its model.
        write: makes the files; raises SqgenError for what the target can't take.
    """

    about: str
    suffix: str
    write: Callable[[TrainedNet, ExportOptions], Exported]


def _write_onnx(trained: TrainedNet, options: ExportOptions) -> Exported:
    with required("onnx", "sqgen export --for onnx"):
        from .onnx_target import write_onnx
    return write_onnx(trained, options)


TARGETS = {
    "onnx": Target("ONNX Runtime, OpenCV 5, OpenVINO, TensorRT", ".onnx", _write_onnx),
}
