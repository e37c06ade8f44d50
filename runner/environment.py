"""Versions of sqgen, the engine, and the packages that it computes with."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version

from ..version import __version__
from .engines import TORCH, Engine

_PACKAGES = ("torch", "numpy", "opencv-python-headless", "lmdb", "h5py", "protobuf")


def collect_versions(engine: Engine) -> dict[str, str]:
    """Return version numbers by name; packages only for the embedded engine."""
    versions = {"sqgen": __version__, "python": platform.python_version(), "engine": engine.version}
    if engine.kind == TORCH:
        versions |= {name: number for name in _PACKAGES if (number := _package_version(name))}
    return versions


def _package_version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""
