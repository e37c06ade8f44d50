"""One line of a log: glog's prefix, and the messages that carry something.

Everything goes by the message's text. The prefix may have a year or not, may stand behind what a
container or a CI put before it, or may have been stripped.
"""

from __future__ import annotations

import re
from typing import NamedTuple

# A number as C++ streams print it, on Linux and on Windows: 0.5, 1e-05, -nan, nan(ind), 1.#QNAN.
VALUE = (
    r"[-+]?(?:\d+(?:\.\d*)?(?:[eE][-+]?\d+)?|\.\d+(?:[eE][-+]?\d+)?"
    r"|nan(?:\([a-z]*\))?|inf(?:inity)?|NaN|NAN|Inf(?:inity)?|INF|1\.#(?:QNAN|SNAN|IND|INF)0*)"
)
COUNT = r"[0-9]{1,12}"
_NON_FINITE = re.compile(r"([-+]?)(?:1\.#)?(nan|qnan|snan|ind|inf)", re.IGNORECASE)

PREFIX = r"([IWEF])(\d{4}(?:\d{4})?) (\d\d:\d\d:\d\d(?:\.\d+)?) +(\d+) ([^\s\]]+):(\d+)\] "
_PREFIX = re.compile(PREFIX)

ITERATION = re.compile(
    rf"Iteration ({COUNT})(?: \(([^()]*)\))?(?:, [\d./]+ep)?, "
    rf"(?:loss = ({VALUE})|lr = ({VALUE})(?:, \w+ = \S+)*|Testing net(?: \(#({COUNT})\))?)"
)
WEIGHTED = rf"(?: \(\* ({VALUE}) = ({VALUE}) loss\))?"
OUTPUT = re.compile(rf"(Train|Test) net output #({COUNT}): (.+) = ({VALUE}){WEIGHTED}")
SCORE_2014 = re.compile(rf"Test (score #{COUNT}): ({VALUE})")
BATCH = re.compile(rf"Batch ({COUNT}), (.+) = ({VALUE})")
SCORE = re.compile(rf"(\S.*) = ({VALUE}){WEIGHTED}")
LAYER_TIME = re.compile(rf"(\S.*?)\s+(forward|backward): ({VALUE}) ms\.")
AVERAGE_TIME = re.compile(
    rf"(?:Average )?(Forward pass|Backward pass|Forward-Backward|Total Time): ({VALUE}) ms\."
)
COLOURS = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
RANK = re.compile(r"\[\d+\.\d+\] ")  # NVCaffe's, before its messages
# A cut line may look whole; these can't be the beginning of something longer.
CERTAINLY_WHOLE = re.compile(r" loss\)$|Optimization Done\.$|\*\*\* Benchmark ends \*\*\*$")


class Line(NamedTuple):
    """A line: what glog says of it (empty without a prefix), and its message.

    `lead` is what stood before the prefix: a container's name, a CI's time.
    """

    severity: str
    date: str
    time: str
    file: str
    number: str
    text: str
    lead: str = ""

    @property
    def place(self) -> str:
        """`file:line` of Caffe's source."""
        return f"{self.file}:{self.number}" if self.file else ""


def split_line(line: str) -> Line:
    """Take the prefix off. Where a line was cut and another began on it, the last one counts."""
    found = None
    for found in _PREFIX.finditer(line):  # noqa: B007 - the last one is wanted
        pass
    if found is None:
        return Line("", "", "", "", "", line)
    severity, date, time, _, file, number = found.groups()
    return Line(severity, date, time, file, number, line[found.end() :], line[: found.start()])


def number(text: str) -> float:
    """The float that a printed number is; every nan is nan, whatever its spelling."""
    odd = _NON_FINITE.match(text)
    if odd is None:
        return float(text)
    sign, word = odd.groups()
    return float(f"{sign}inf" if word.lower() == "inf" else "nan")
