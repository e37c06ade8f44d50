"""Every error sqgen raises on purpose, with the exit code a command ends with.

    SqgenError            2  invalid input; the message is one line: what, where, what to do
    ├── DesignError       2  a metaparameter, option or bypass placement that makes no valid net
    ├── FormatError       2  a missing, damaged or malformed file (file:line:column)
    ├── NetError          2  a net that Caffe would refuse: wiring, shapes, lint errors
    ├── OutputError       2  a file that can't be written or already exists
    ├── MissingExtraError 2  an optional package is missing; the message names the extra
    ├── DownloadError     3  weights that can't be downloaded or fail verification
    ├── PeerLostError     7  a rank of a training lost another, which knows why
    └── RunError             a run of caffe that did not complete
        ├── DivergedError 1  the loss became nan or inf, and sqgen ended the training
        ├── RefusedError  2  caffe refused a file, a net or a flag
        ├── ResourceError 4  out of memory, disk space or GPU failure
        ├── CrashError    5  caffe crashed, was killed, or exited without a reason
        ├── StallError    6  caffe stopped printing, and sqgen ended it
        └── StoppedError  130  stopped by Ctrl-C (143: SIGTERM, 129: SIGHUP)

Exit code 0 means success. 1 is an answer, not an error: `sqgen diff` found differences, `sqgen
lint` found errors, a gate failed, a training diverged. Any other exception is a bug in sqgen.
"""

from __future__ import annotations

from typing import Any


class SqgenError(Exception):
    """Base class; `str(error)` is the one-line message."""

    exit_code = 2


class DesignError(SqgenError):
    """Design options that make no valid net."""


class FormatError(SqgenError):
    """A file that can't be read or parsed; `position` is (line, column), (0, 0) if unknown."""

    position = (0, 0)


class NetError(SqgenError):
    """A net that parses but that Caffe would refuse."""


class OutputError(SqgenError):
    """A file that can't be written."""


class MissingExtraError(SqgenError):
    """An optional package that is not installed."""


class DownloadError(SqgenError):
    """A download that failed or did not verify."""

    exit_code = 3


class PeerLostError(SqgenError):
    """A rank of a training on several devices lost another: the symptom of a fault there."""

    exit_code = 7


class RunError(SqgenError):
    """A run of caffe that did not complete; `result` is the LogResult up to where it ended."""

    result: Any = None


class DivergedError(RunError):
    """The loss became nan or inf, and sqgen ended the training."""

    exit_code = 1


class RefusedError(RunError):
    """Caffe refused a file, a net or a flag."""


class ResourceError(RunError):
    """Out of memory, disk space or GPU failure."""

    exit_code = 4


class CrashError(RunError):
    """Caffe crashed, was killed, or exited without a reason."""

    exit_code = 5


class StallError(RunError):
    """Caffe stopped printing, and sqgen ended it."""

    exit_code = 6


class StoppedError(RunError):
    """A signal stopped the run; `exit_code` is 128 plus its number."""

    exit_code = 130
