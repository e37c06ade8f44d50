"""A stand-in for caffe: `python stand_in.py SCRIPT ...` does what the JSON of SCRIPT says.

version     what it answers to --version [caffe version 1.0.0]; "" is nothing
calls       a file that gets its arguments, a JSON list a line
log         a file to print
logs        more of them, one for each call after the first
lines       how many of its lines [all]
part        and a part of the next one, without its end
alive       a named pipe: it writes its number when it has printed, and holds it open as long as
            it lives
ignore      names of signals that it ignores
on_sigint   lines that it prints at SIGINT, which it waits for
wait        whether it then waits for ever
close       whether it closes its output before it waits
child       whether a child of its own waits for ever; it holds `alive` open too
chatter     whether that child prints without end
then        its exit code [0], or the name of a signal that it sends itself
"""

from __future__ import annotations

import json
import os
import signal
import sys

TYPE_CHECKING = False  # with `typing`, `pathlib` and `subprocess` it would start half as fast
if TYPE_CHECKING:
    from typing import Any

_FOR_EVER = "import signal\nwhile True: signal.pause()"
_CHATTER = "import os\nwhile True: os.write(1, b'more\\n' * 4000)"


def main(script: dict[str, Any], arguments: list[str]) -> None:
    if arguments == ["--version"]:
        print(script.get("version", "caffe version 1.0.0"))
        return
    if "calls" in script:
        with open(script["calls"], "a") as file:
            file.write(json.dumps(arguments) + "\n")
    for name in script.get("ignore", ()):
        signal.signal(getattr(signal, name), signal.SIG_IGN)
    if "on_sigint" in script:
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    _print(script)
    alive = os.open(script["alive"], os.O_WRONLY) if "alive" in script else None
    if script.get("child"):
        os.set_inheritable(alive or 0, True)
        code = _CHATTER if script.get("chatter") else _FOR_EVER
        command = [sys.executable, "-I", "-S", "-c", code]
        os.posix_spawn(sys.executable, command, os.environ)
    if script.get("close"):
        os.close(1)
        os.close(2)
    if alive is not None:
        os.write(alive, b"%d\n" % os.getpid())
    if "on_sigint" in script:
        signal.sigwait([signal.SIGINT])
        for line in script["on_sigint"]:
            print(line, file=sys.stderr, flush=True)
    while script.get("wait"):
        signal.pause()
    then = script.get("then", 0)
    if isinstance(then, str):
        os.kill(os.getpid(), getattr(signal, then))
    os._exit(then)


def _print(script: dict[str, Any]) -> None:
    if "log" not in script:
        return
    with open(script["log"], "rb") as file:
        lines = file.read().splitlines(keepends=True)
    count = script.get("lines", len(lines))
    data = b"".join(lines[:count])
    if script.get("part") and count < len(lines):
        data += lines[count][: len(lines[count]) // 2]
    while data:
        data = data[os.write(2, data) :]


if __name__ == "__main__":
    with open(sys.argv[1]) as file:
        main(json.load(file), sys.argv[2:])
