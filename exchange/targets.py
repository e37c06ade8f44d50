"""What a net can be exported for: the table of targets, each of which makes files of a net."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

from ..extras import required
from .toolchains import TOOLCHAINS
from .trained_net import Exported, ExportOptions, TrainedNet


class Target(NamedTuple):
    """A target.

    Attributes:
        about: who reads its files.
        is_deploy_pair: whether it reads Caffe's files, with batch 1.
        write: makes the files; raises SqgenError for what the target can't take.
    """

    about: str
    is_deploy_pair: bool
    write: Callable[[TrainedNet, ExportOptions], Exported]


def _write_onnx(trained: TrainedNet, options: ExportOptions) -> Exported:
    with required("onnx", "sqgen export --for onnx"):
        from .onnx_target import write_onnx
    return write_onnx(trained, options)


def _write_deploy_pair(name: str, trained: TrainedNet, options: ExportOptions) -> Exported:
    with required("torch", f"sqgen export --for {name}"):
        from .deploy_pair import write_deploy_pair
    return write_deploy_pair(name, trained, options)


TARGETS = {
    name: Target(toolchain.about, True, partial(_write_deploy_pair, name))
    for name, toolchain in TOOLCHAINS.items()
} | {"onnx": Target("ONNX Runtime, OpenCV 5, OpenVINO, TensorRT", False, _write_onnx)}
