"""sqgen: generate, check, run, compare and compress Caffe nets of the SqueezeNet family.

    import sqgen

    text = sqgen.build(sqgen.Design(bypass="simple", classes=10))
    print(sqgen.summary(sqgen.read_net("trainval.prototxt")).totals.parameters)
    net = sqgen.Net("deploy.prototxt", "weights.caffemodel")
    probabilities = net.forward(images)["prob"]

What is exported here is loaded when it is first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .engine.api import Net
    from .errors import (
        CrashError,
        DesignError,
        DownloadError,
        FormatError,
        NetError,
        OutputError,
        RefusedError,
        ResourceError,
        RunError,
        SqgenError,
        StallError,
        StoppedError,
    )
    from .formats.diff import Difference, diff_nets
    from .formats.lint import Finding, lint_net
    from .formats.net import NetDefinition, parse_net, read_net
    from .formats.summary import Summary, summary
    from .generator.build import build, build_solver
    from .generator.design import Design
    from .generator.presets import PRESETS, preset
    from .tools.logs.files import parse_log
    from .tools.logs.result import LogResult
    from .tools.runs.how import How
    from .tools.runs.test import test
    from .tools.runs.time import time
    from .tools.runs.train import train

__version__ = "0.1.0"

_HOMES = {
    ".engine.api": ("Net",),
    ".errors": (
        "CrashError",
        "DesignError",
        "DownloadError",
        "FormatError",
        "NetError",
        "OutputError",
        "RefusedError",
        "ResourceError",
        "RunError",
        "SqgenError",
        "StallError",
        "StoppedError",
    ),
    ".formats.diff": ("Difference", "diff_nets"),
    ".formats.lint": ("Finding", "lint_net"),
    ".formats.net": ("NetDefinition", "parse_net", "read_net"),
    ".formats.summary": ("Summary", "summary"),
    ".generator.build": ("build", "build_solver"),
    ".generator.design": ("Design",),
    ".generator.presets": ("PRESETS", "preset"),
    ".tools.logs.files": ("parse_log",),
    ".tools.logs.result": ("LogResult",),
    ".tools.runs.how": ("How",),
    ".tools.runs.test": ("test",),
    ".tools.runs.time": ("time",),
    ".tools.runs.train": ("train",),
}
_HOME = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [
    "PRESETS",
    "CrashError",
    "Design",
    "DesignError",
    "Difference",
    "DownloadError",
    "Finding",
    "FormatError",
    "How",
    "LogResult",
    "Net",
    "NetDefinition",
    "NetError",
    "OutputError",
    "RefusedError",
    "ResourceError",
    "RunError",
    "SqgenError",
    "StallError",
    "StoppedError",
    "Summary",
    "__version__",
    "build",
    "build_solver",
    "diff_nets",
    "lint_net",
    "parse_log",
    "parse_net",
    "preset",
    "read_net",
    "summary",
    "test",
    "time",
    "train",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'sqgen' has no attribute '{name}'")
    from importlib import import_module

    try:
        return getattr(import_module(_HOME[name], __name__), name)
    except ModuleNotFoundError as error:
        if error.name != "torch":
            raise
        from .errors import SqgenError

        raise SqgenError(
            f"sqgen.{name} needs PyTorch: pip install 'sqgen[engine]' brings it"
        ) from None


def __dir__() -> list[str]:
    return __all__
