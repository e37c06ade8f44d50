"""A line of a log: glog's prefix, and patterns of the messages that matter.

Messages are recognised by their text alone: the prefix may have a year or not, may follow what a
container or a CI put before every line, or may have been stripped.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from ..text import GLOG_PREFIX

# Characters of a line. glog prints at most 30,000 bytes of a message; what other programs left on
# its line may stand before them.
MAX_LINE = 1 << 16
# A number as C++ streams print it, on Linux and on Windows: 0.5, 1e-05, -nan, nan(ind), 1.#QNAN.
VALUE = (
    r"[-+]?(?:\d+(?:\.\d*)?(?:[eE][-+]?\d+)?|\.\d+(?:[eE][-+]?\d+)?"
    r"|nan(?:\([a-z]*\))?|inf(?:inity)?|NaN|NAN|Inf(?:inity)?|INF|1\.#(?:QNAN|SNAN|IND|INF)0*)"
)
COUNT = r"[0-9]{1,12}"
_NON_FINITE = re.compile(r"([-+]?)(?:1\.#)?(nan|qnan|snan|ind|inf)", re.IGNORECASE)

_PREFIX = re.compile(GLOG_PREFIX)

ITERATION = re.compile(
    rf"Iteration ({COUNT})(?: \(([^()]*)\))?(?:, [\d./]+ep)?, "
    rf"(?:loss = ({VALUE})|lr = ({VALUE})(?:, \w+ = \S+)*|Testing net(?: \(#({COUNT})\))?)"
)
WEIGHTED = rf"(?: \(\* ({VALUE}) = ({VALUE}) loss\))?"
# NVCaffe's SSD prints the name of a score before the number: `mAP #0`.
OUTPUT = re.compile(rf"(Train|Test) net output (?:\w+ )?#({COUNT}): (.+) = ({VALUE}){WEIGHTED}")
SCORE_2014 = re.compile(rf"Test (score #{COUNT}): ({VALUE})")
BATCH = re.compile(rf"Batch ({COUNT}), (.+) = ({VALUE})")
SCORE = re.compile(rf"(\S.*) = ({VALUE}){WEIGHTED}")
# What follows the name of a layer. Searched for, since a name may hold blanks: `(.*?)\s+` before it
# would take quadratic time in a line of blanks.
LAYER_TIME = re.compile(rf"\s(forward|backward): ({VALUE}) ms\.\Z")
AVERAGE_TIME = re.compile(
    rf"(?:Average )?(Forward pass|Backward pass|Forward-Backward|Total Time): ({VALUE}) ms\."
)
COLOURS = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
RANK = re.compile(r"\[\d+\.\d+\] ")  # NVCaffe's, before its messages
OTHER_RANK = re.compile(r"\[rank [1-9]\d{0,6}\] ")  # of sqgen-caffe, before a line
# A cut line may look whole; these can't be the beginning of something longer.
CERTAINLY_WHOLE = re.compile(
    r" loss\)$|Optimization Done(?:\.| in .+)$|\*\*\* Benchmark ends \*\*\*$"
)


class Line(NamedTuple):
    """A line: the parts of glog's prefix (empty without one), and its message.

    `lead` is what precedes the prefix: a container's name, a CI's time.
    """

    severity: str
    date: str
    time: str
    thread: str
    file: str
    number: str
    text: str
    lead: str = ""

    @property
    def stamp(self) -> tuple[str, str, str]:
        """Date, time and thread."""
        return self.date, self.time, self.thread

    @property
    def place(self) -> str:
        """`file:line` of Caffe's source."""
        return f"{self.file}:{self.number}" if self.file else ""


def split_line(line: str) -> Line:
    """Split off the prefix. Where another line begins within a cut one, the last one counts."""
    match = None
    for match in _PREFIX.finditer(line):  # noqa: B007 - the last one is wanted
        pass
    if match is None:
        return Line("", "", "", "", "", "", line)
    severity, date, time, thread, file, number = match.groups()
    text, lead = line[match.end() :], line[: match.start()]
    return Line(severity, date, time, thread, file, number, text, lead)


def parse_number(text: str) -> float:
    """Return the value of a printed number, whatever the spelling of nan and inf."""
    try:
        return float(text)
    except ValueError:
        match = _NON_FINITE.match(text)
        if match is None:
            raise
        sign, word = match.groups()
        return float(f"{sign}inf" if word.lower() == "inf" else "nan")


def parse_optional(text: str | None) -> float | None:
    """Return the value of a printed number, if there is one."""
    return None if text is None else parse_number(text)
