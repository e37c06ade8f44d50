"""Every error sqgen raises on purpose, with the exit code a command ends with.

    SqgenError            2  what was typed or read is wrong; one line says what, where, what to do
    ├── DesignError       2  a metaparameter, an option or a bypass placement that makes no net
    ├── FormatError       2  a file that is not what it should be (file:line:column)
    ├── NetError          2  a net that Caffe would refuse: wiring, shapes, lint errors
    ├── OutputError       2  a file that can't be written, or is there already
    ├── MissingExtraError 2  an optional package is not installed; names the extra that brings it
    ├── DownloadError     3  weights that can't be fetched, or are not the published ones
    └── RunError             a run of caffe that did not come to its end
        ├── RefusedError  2  caffe refused what it was given
        ├── ResourceError 4  memory, the disk or the GPU did not do
        ├── CrashError    5  caffe crashed, was killed, or ended without a reason
        ├── StallError    6  caffe went silent and was stopped for it
        └── StoppedError  130  it was asked to stop: Ctrl-C (143: SIGTERM, 129: SIGHUP)

Exit code 0 is success; 1 is an answer, not an error (`sqgen diff` found differences, `sqgen
lint` found lint errors, a score does not hold, a training has diverged); 130 follows Ctrl-C.
Anything else is a defect of sqgen.
"""

from __future__ import annotations

from typing import Any


class SqgenError(Exception):
    """The base of all; `str(error)` is the one line a person reads."""

    exit_code = 2


class DesignError(SqgenError):
    """The design asked for does not exist."""


class FormatError(SqgenError):
    """A file could not be read as what it should be; `position` is (line, column), if known."""

    position = (0, 0)


class NetError(SqgenError):
    """A net that is well written but can't be built."""


class OutputError(SqgenError):
    """A file could not be written."""


class MissingExtraError(SqgenError):
    """An optional package is not installed."""


class DownloadError(SqgenError):
    """A download failed or did not verify."""

    exit_code = 3


class RunError(SqgenError):
    """A run of caffe did not come to its end; `result` is the LogResult of what it did."""

    result: Any = None


class RefusedError(RunError):
    """Caffe refused a file, a net or a flag."""


class ResourceError(RunError):
    """Memory, the disk or the GPU did not do."""

    exit_code = 4


class CrashError(RunError):
    """Caffe crashed, was killed, or ended without a reason."""

    exit_code = 5


class StallError(RunError):
    """Caffe went silent, and was stopped for it."""

    exit_code = 6


class StoppedError(RunError):
    """The run was asked to stop; the exit code is 128 and the signal's number."""

    exit_code = 130
