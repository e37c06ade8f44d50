"""Work of seconds in a process of its own: here it would stop all other answers of the board."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence

from ..errors import SqgenError
from ..text import printable

SECONDS = 600.0  # after which it has failed
# In the user's folder, a random.py would replace Python's own.
_PREAMBLE = "import sys; sys.path = [path for path in sys.path if path]\n"


def run_python(code: str, arguments: Sequence[str] = ()) -> bytes:
    """Run Python code; return what it prints to standard output.

    Raises:
        SqgenError: it failed; the message is the last line of its standard error.
    """
    try:
        done = subprocess.run(  # noqa: S603 - our own code
            [sys.executable, "-c", _PREAMBLE + code, *arguments],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise SqgenError(f"took more than {SECONDS:g} s") from None
    except OSError as error:
        raise SqgenError(f"{printable(sys.executable)}: {error.strerror}") from None
    if done.returncode:
        lines = done.stderr.decode(errors="replace").strip().splitlines()
        message = lines[-1] if lines else f"exit code {done.returncode}"
        raise SqgenError(printable(message.removeprefix("sqgen: "), 600))
    return done.stdout
