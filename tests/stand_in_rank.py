"""A stand-in for a rank: `python stand_in_rank.py SCRIPT` does what the JSON of SCRIPT says.

SCRIPT is a file: rank -> list of steps, or "all" for those that are not named. A step is a list:

say TEXT            print a line of the log, `I` before it unless it has a severity
raw TEXT            print just that, without a line's end
mark PHASE N        report what it does
wait SECONDS|for-ever
touch FILE          make a file
until FILE          wait for a file
attempt N STEP...   a step of the attempt N alone; attempts are counted in files
kill NAME           send itself a signal
stop-on NAME TEXT   at a signal, print a line and exit with 0
exit CODE
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

from sqgen.engine.distributed import watch

RANK = os.environ["RANK"]


def say(text: str) -> None:
    severity, text = (text[0], text[2:]) if text[1:2] == " " else ("I", text)
    line = f"{severity}1127 12:00:00.000000 {os.getpid()} stand_in.py:1] {text}\n"
    os.write(2, line.encode())


def stop(text: str) -> None:
    say(text)
    os._exit(0)


def run(step: list[Any], attempt: int) -> None:
    name, *words = step
    if name == "say":
        say(words[0])
    elif name == "raw":
        os.write(2, words[0].encode())
    elif name == "mark":
        watch.ACTIVITY.mark(*words)
    elif name == "wait":
        time.sleep(1e6 if words[0] == "for-ever" else words[0])
    elif name == "touch":
        Path(words[0]).write_text(str(os.getpid()))
    elif name == "until":
        while not Path(words[0]).exists():
            time.sleep(0.01)
    elif name == "attempt":
        if words[0] == attempt:
            run(words[1:], attempt)
    elif name == "kill":
        os.kill(os.getpid(), getattr(signal, words[0]))
    elif name == "stop-on":
        signal.signal(getattr(signal, words[0]), lambda number, frame: stop(words[1]))
    elif name == "exit":
        os._exit(words[0])
    else:
        raise ValueError(name)


def main() -> None:
    script = json.loads(Path(sys.argv[1]).read_text())
    attempt = len(list(Path().glob(f"attempt-{RANK}-*"))) + 1
    Path(f"attempt-{RANK}-{attempt}").write_text(
        json.dumps(
            {
                "arguments": sys.argv[2:],
                "environment": {
                    k: v
                    for k, v in os.environ.items()
                    if k.startswith(("SQGEN_", "MASTER_", "LOCAL_")) or k in ("RANK", "WORLD_SIZE")
                },
            }
        )
    )
    watch.SECONDS = 0.1
    watch.follow_launcher()
    for step in script.get(RANK, script["all"]):
        run(step, attempt)


if __name__ == "__main__":
    main()
