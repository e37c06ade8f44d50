"""Parse a log into events, streaming: complete logs and live runs.

Most lines of a long training log are displays: a line with the loss, one per output, one with the
learning rate. Once the parser has read a display line by line, it compiles a pattern that reads
each further one like it in one match; whatever differs goes line by line again. Both ways give the
same events (tested).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

from .events import NEVER, Listener, Output, Stamp
from .lines import (
    AVERAGE_TIME,
    BATCH,
    CERTAINLY_WHOLE,
    COLOURS,
    COUNT,
    ITERATION,
    LAYER_TIME,
    OUTPUT,
    RANK,
    SCORE,
    SCORE_2014,
    Line,
    split_line,
)

MAX_LINE = 1 << 20  # characters; Caffe prints no longer ones
MAX_LEAD = 200  # characters before glog's prefix

# Beginning of a message -> kind of notice; the rest of the message is the value.
NOTICES = {
    "Use CPU.": "cpu",
    "Use GPU with device ID ": "gpu",
    "Using GPUs ": "gpu",
    "Resuming from ": "resume",
    "Restoring previous solver status from ": "resume",
    "Finetuning from ": "finetune",
    "Solving ": "solve",
    "Starting Optimization": "start",
    "Running for ": "test",
    "Loss: ": "loss",
    "Tested each of ": "exact",
    "Snapshotting to ": "snapshot",
    "Snapshotting solver state to ": "state",
    "Optimization stopped early.": "stopped",
    "Optimization Done.": "done",
    "*** Benchmark begins ***": "time",
    "*** Benchmark ends ***": "timed",
    "Ignoring source layer ": "ignored",
    "Creating training net from ": "train_net",
    "Creating test net ": "test_net",
    "Test interrupted.": "interrupted",
}
_FIRST_WORDS: dict[str, list[str]] = {}
for _beginning in NOTICES:
    _FIRST_WORDS.setdefault(_beginning.split(" ")[0], []).append(_beginning)

_DUMPS = {
    "Initializing net from parameters: ": "net",
    "Initializing solver from parameters: ": "solver",
}
_DUMP_LINE = re.compile(r"\s*(?:\}|[a-z_0-9]+(?: \{|: .*))\s*")
# Errors of gflags, which have no prefix.
_FLAG_ERROR = re.compile(
    r"ERROR: (?:unknown command line flag|illegal value|flag '|'.*': give one)"
)
_SIGNAL = re.compile(r"\*\*\* (?:Aborted at|SIG)")
# What nearly every line has: a prefix up to the place in the source, and a value.
_DATED = r"[IWE](\d{4}(?:\d{4})?) (\d\d:\d\d:\d\d\.\d+) +\d+ "
_UNDATED = r"[IWE]\d{4}(?:\d{4})? \d\d:\d\d:\d\d(?:\.\d+)? +\d+ "
_USUAL = r"-?\d+(?:\.\d+)?(?:e[-+]\d+)?|-?nan|-?inf"
# Any notice but these ends a display or a test that is being read.
_QUIET = {"ignored", "resume", "finetune"}


class Parser:
    """Parses a log that comes in pieces: `feed` each, then `close`; `listener` receives the events.

    `fast` allows patterns of whole displays.
    """

    def __init__(self, listener: Listener, fast: bool = True) -> None:
        self._listener = listener
        self._fast = fast
        self._rest = b""
        self._skipping = False
        self._prefixed = False
        self._testing = False  # `caffe test` printed its loss: its scores follow
        self._dump: tuple[str, list[str]] | None = None
        self._display: _Display | None = None
        self._test: tuple[Stamp, str, str, list[Output]] | None = None
        self._block: re.Pattern[str] | None = None
        self._block_key: object = None
        self._block_names: tuple[str, ...] = ()
        self._lead = ""  # what precedes the prefix of every line, its digits as 0
        self._batch = ""
        self._seen: Counter[str] = Counter()  # names of this batch, or of the scores

    def feed(self, data: bytes) -> None:
        """Parse more of the log, cut anywhere."""
        end = data.rfind(b"\n") + 1
        if not end:
            self._keep_rest(data)
            return
        if self._skipping:
            start = data.find(b"\n") + 1
            self._skipping = False
            self._rest = b""
            whole = data[start:end]
        else:
            whole = self._rest + data[:end]
        self._rest = b""
        self._keep_rest(data[end:])
        text = whole.decode("utf-8", errors="surrogateescape")
        if "\r" in text:
            text = text.replace("\r\n", "\n")
        if "\x1b" in text:
            text = COLOURS.sub("", text)
        self._parse_text(text)

    def _keep_rest(self, data: bytes) -> None:
        """Keep the beginning of a line, unless it is too long."""
        if self._skipping:
            return
        self._rest += data
        if len(self._rest) > MAX_LINE:
            self._rest, self._skipping = b"", True

    def close(self) -> None:
        """End the log. A last line without a newline counts only if it can't have been cut."""
        rest = self._rest.decode("utf-8", errors="surrogateescape").rstrip("\r")
        self._rest = b""
        if CERTAINLY_WHOLE.search(rest):
            self._parse_line(rest)
            rest = ""
        self._flush()
        self._end_dump()
        if rest or self._skipping:
            self._listener.cut()

    # Whole lines

    def _parse_text(self, text: str) -> None:
        at = 0
        while at < len(text):
            block = self._block
            if block is None or self._dump is not None:
                end = text.index("\n", at)
                self._parse_line(text[at:end])
                at = end + 1
                continue
            for match in block.finditer(text, at):
                if match.start() > at:
                    self._parse_lines(text[at : match.start()])
                    if self._block is not block:
                        at = match.start()
                        break
                self._send_block(match)
                at = match.end()
            else:
                at = self._parse_until_new_block(text, at)

    def _parse_lines(self, text: str) -> None:
        for line in text.split("\n")[:-1]:
            self._parse_line(line)

    def _parse_until_new_block(self, text: str, at: int) -> int:
        block = self._block
        while at < len(text) and self._block is block:
            end = text.index("\n", at)
            self._parse_line(text[at:end])
            at = end + 1
        return at

    def _send_block(self, match: re.Match[str]) -> None:
        if self._display is not None or self._test is not None:
            self._flush()
        self._end_dump()
        self._testing = False
        groups = match.groups()
        self._listener.display(
            (groups[0], groups[1]),
            groups[2],
            groups[3],
            groups[4],
            self._block_names,
            groups[5:-1],
            groups[-1],
        )

    def _parse_line(self, raw: str) -> None:
        if len(raw) > MAX_LINE:
            return
        line = split_line(raw)
        if line.file:
            self._lead = _shape(line.lead[:MAX_LEAD])
        elif self._lead and _shape(raw[: len(self._lead)]) == self._lead:
            line = line._replace(text=raw[len(self._lead) :])
        if not line.file and not self._is_bare_message(line.text):
            return
        self._prefixed = self._prefixed or bool(line.file)
        self._end_dump()
        if line.severity == "F":
            self._flush()
            self._listener.fatal((line.date, line.time), line.place, line.text.strip())
        else:
            self._parse_message(line)

    def _is_bare_message(self, text: str) -> bool:
        """Handle a line without a prefix; return whether it may be a message of a stripped log."""
        if self._dump is not None:
            if _DUMP_LINE.fullmatch(text):
                self._dump[1].append(text)
                return False
            if not text.strip():
                return False
        if text.startswith("[libprotobuf ERROR"):
            self._listener.notice(NEVER, "protobuf", text)
            return False
        if _FLAG_ERROR.match(text):
            self._listener.fatal(NEVER, "", text.strip())
            return False
        if _SIGNAL.match(text):
            self._listener.notice(NEVER, "signal", text)
            return False
        return not self._prefixed

    # Messages

    def _parse_message(self, line: Line) -> None:
        text = line.text.strip()
        if text.startswith("["):
            text = RANK.sub("", text, count=1)
        stamp = (line.date, line.time)
        word = text.partition(" ")[0]
        if word == "Iteration":
            self._parse_iteration(stamp, text, line.place)
        elif word in ("Train", "Test") and (output := OUTPUT.fullmatch(text)):
            which, _, name, value, weight, _ = output.groups()
            self._add_output(which, Output(name, value, weight), line.place)
        elif word == "Test" and (old := SCORE_2014.fullmatch(text)):
            self._add_output("Test", Output(*old.groups()), line.place)
        elif word == "Batch" and (batch := BATCH.fullmatch(text)):
            index, name, value = batch.groups()
            if index != self._batch:
                self._batch, self._seen = index, Counter()
            self._listener.batch(stamp, index, _numbered(name, self._seen), value)
        elif text + " " in _DUMPS:
            self._flush()
            self._dump = (_DUMPS[text + " "], [])
        elif word in _FIRST_WORDS and self._parse_notice(stamp, text, _FIRST_WORDS[word]):
            pass
        elif time := LAYER_TIME.fullmatch(text):
            self._listener.layer_time(*time.groups())
        elif average := AVERAGE_TIME.fullmatch(text):
            self._listener.layer_time("", *average.groups())
        elif (self._testing or line.file == "caffe.cpp") and (score := SCORE.fullmatch(text)):
            name, value, weight, _ = score.groups()
            self._listener.score(stamp, Output(_numbered(name, self._seen), value, weight))

    def _parse_iteration(self, stamp: Stamp, text: str, place: str) -> None:
        match = ITERATION.fullmatch(text)
        if match is None:
            return
        iteration, speed, loss, lr, net = match.groups()
        same = self._display is not None and self._display.iteration == iteration
        if lr is not None and same and self._display is not None and self._display.lr is None:
            self._display.lr = lr
            self._display.places.append(place)
            self._compile_block(self._display)
            self._flush()
        elif loss is not None and same and self._display is not None and not self._display.loss:
            # Caffe of 2014 printed the rate first.
            self._display.loss, self._display.speed = loss, speed
        elif lr is not None or loss is not None:
            self._flush()
            self._display = _Display(stamp, iteration, speed, loss)
            self._display.lr = lr
            self._display.places.append(place)
        else:
            self._flush()
            self._test = (stamp, iteration, net or "0", [])

    def _add_output(self, which: str, output: Output, place: str) -> None:
        if which == "Train" and self._display is not None:
            self._display.outputs.append(output)
            self._display.places.append(place)
        elif which == "Test" and self._test is not None:
            self._test[3].append(output)

    def _parse_notice(self, stamp: Stamp, text: str, beginnings: Sequence[str]) -> bool:
        for beginning in beginnings:
            if text.startswith(beginning):
                kind = NOTICES[beginning]
                if kind in ("test", "loss"):
                    self._batch, self._seen = "", Counter()
                if kind not in _QUIET:
                    self._flush()
                self._testing = kind == "loss" or (self._testing and kind in _QUIET)
                self._listener.notice(stamp, kind, text[len(beginning) :])
                return True
        return False

    def _flush(self) -> None:
        if self._display is not None:
            display, self._display = self._display, None
            seen: Counter[str] = Counter()
            self._listener.display(
                display.stamp,
                display.iteration,
                display.speed,
                display.loss,
                tuple(_numbered(output.name, seen) for output in display.outputs),
                [output.value for output in display.outputs],
                display.lr,
            )
        if self._test is not None:
            stamp, iteration, net, outputs = self._test
            self._test = None
            seen = Counter()
            named = [o._replace(name=_numbered(o.name, seen)) for o in outputs]
            if named:
                self._listener.tested(stamp, iteration, net, named)

    def _end_dump(self) -> None:
        if self._dump is not None:
            (kind, lines), self._dump = self._dump, None
            text = "\n".join(lines)
            if kind == "net":
                self._listener.net(text)
            else:
                self._listener.solver(text)

    # Displays in one match

    def _compile_block(self, display: _Display) -> None:
        """Compile a pattern for displays like this one, if it has the usual lines of Caffe."""
        outputs = [(output.name, output.weight) for output in display.outputs]
        key = (outputs, display.places)
        usual = "" not in (*display.places, display.stamp[0]) and display.loss is not None
        if key == self._block_key or not usual or not self._fast:
            return
        prefixes = [rf"{_UNDATED}{re.escape(place)}\] " for place in display.places]
        prefixes[0] = rf"^{_DATED}{re.escape(display.places[0])}\] "
        lines = [rf"{prefixes[0]}Iteration ({COUNT})(?: \(([^()\n]*)\))?, loss = ({_USUAL})\n"]
        for index, (name, weight) in enumerate(outputs):
            lines.append(rf"{prefixes[index + 1]}    Train net output #{index}: ")
            lines.append(rf"{re.escape(name)} = ({_USUAL})")
            if weight is not None:
                lines.append(rf" \(\* {re.escape(weight)} = (?:{_USUAL}) loss\)")
            lines.append(r"\n")
        lines.append(rf"{prefixes[-1]}Iteration \3, lr = ({_USUAL})\n")
        self._block = re.compile("".join(lines), re.MULTILINE)
        self._block_key = key
        seen: Counter[str] = Counter()
        self._block_names = tuple(_numbered(name, seen) for name, _ in outputs)


def _shape(lead: str) -> str:
    return re.sub(r"\d", "0", lead)


def _numbered(name: str, seen: Counter[str]) -> str:
    """Number a name that is printed again, once per element of a blob: acc, acc[1]."""
    seen[name] += 1
    return f"{name}[{seen[name] - 1}]" if seen[name] > 1 else name


class _Display:
    """A display while it is read line by line."""

    def __init__(self, stamp: Stamp, iteration: str, speed: str | None, loss: str | None) -> None:
        self.stamp = stamp
        self.iteration = iteration
        self.speed = speed
        self.loss = loss
        self.outputs: list[Output] = []
        self.lr: str | None = None
        self.places: list[str] = []  # of its lines, in Caffe's source
