"""sqgen: generate, check, run, compare and compress Caffe nets of the SqueezeNet family.

    import sqgen

    text = sqgen.build(sqgen.Design(bypass="simple", classes=10))
    print(sqgen.summary(sqgen.read_net("trainval.prototxt")).totals.parameters)
    net = sqgen.Net("deploy.prototxt", "weights.caffemodel")
    probabilities = net.forward(images)["prob"]

Each exported name is imported when it is first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .version import __version__

if TYPE_CHECKING:
    from .engine.api import Net
    from .errors import (
        CrashError,
        DesignError,
        DivergedError,
        DownloadError,
        FormatError,
        MissingExtraError,
        NetError,
        OutputError,
        PeerLostError,
        RefusedError,
        ResourceError,
        RunError,
        SqgenError,
        StallError,
        StoppedError,
    )
    from .evaluation.evaluate import Evaluation, evaluate_predictions
    from .evaluation.paired import PairedComparison, compare_predictions
    from .exchange.convert import convert_weights
    from .exchange.export_net import export_net
    from .exchange.trained_net import ExportOptions
    from .formats.predictions import Predictions, read_predictions, write_predictions
    from .generator.build import build, build_solver
    from .generator.design import Design
    from .generator.presets import PRESETS, preset
    from .logs.read_log import parse_log
    from .logs.result import LogResult
    from .nets.definition import NetDefinition, parse_net, read_net
    from .nets.diff import Difference, diff_nets
    from .nets.lint import Finding, lint_net
    from .nets.summary import Summary, summary
    from .runner.options import RunOptions
    from .runner.test import test
    from .runner.time import time
    from .runner.train import train

_HOMES = {
    ".engine.api": ("Net",),
    ".errors": (
        "CrashError",
        "DesignError",
        "DivergedError",
        "DownloadError",
        "FormatError",
        "MissingExtraError",
        "NetError",
        "OutputError",
        "PeerLostError",
        "RefusedError",
        "ResourceError",
        "RunError",
        "SqgenError",
        "StallError",
        "StoppedError",
    ),
    ".evaluation.evaluate": ("Evaluation", "evaluate_predictions"),
    ".evaluation.paired": ("PairedComparison", "compare_predictions"),
    ".formats.predictions": ("Predictions", "read_predictions", "write_predictions"),
    ".exchange.convert": ("convert_weights",),
    ".exchange.export_net": ("export_net",),
    ".exchange.trained_net": ("ExportOptions",),
    ".nets.diff": ("Difference", "diff_nets"),
    ".nets.lint": ("Finding", "lint_net"),
    ".nets.definition": ("NetDefinition", "parse_net", "read_net"),
    ".nets.summary": ("Summary", "summary"),
    ".generator.build": ("build", "build_solver"),
    ".generator.design": ("Design",),
    ".generator.presets": ("PRESETS", "preset"),
    ".logs.read_log": ("parse_log",),
    ".logs.result": ("LogResult",),
    ".runner.options": ("RunOptions",),
    ".runner.test": ("test",),
    ".runner.time": ("time",),
    ".runner.train": ("train",),
}
_HOME = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [
    "PRESETS",
    "CrashError",
    "Design",
    "DesignError",
    "Difference",
    "DivergedError",
    "DownloadError",
    "Evaluation",
    "ExportOptions",
    "Finding",
    "FormatError",
    "LogResult",
    "MissingExtraError",
    "Net",
    "NetDefinition",
    "NetError",
    "OutputError",
    "PairedComparison",
    "PeerLostError",
    "Predictions",
    "RefusedError",
    "ResourceError",
    "RunError",
    "RunOptions",
    "SqgenError",
    "StallError",
    "StoppedError",
    "Summary",
    "__version__",
    "build",
    "build_solver",
    "compare_predictions",
    "convert_weights",
    "diff_nets",
    "evaluate_predictions",
    "export_net",
    "lint_net",
    "parse_log",
    "parse_net",
    "preset",
    "read_net",
    "read_predictions",
    "summary",
    "test",
    "time",
    "train",
    "write_predictions",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'sqgen' has no attribute '{name}'")
    from importlib import import_module

    from .extras import required

    with required("torch", f"sqgen.{name}"):
        return getattr(import_module(_HOME[name], __name__), name)


def __dir__() -> list[str]:
    return __all__
