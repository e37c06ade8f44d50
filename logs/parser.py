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
    MAX_LINE,
    OTHER_RANK,
    OUTPUT,
    RANK,
    SCORE,
    SCORE_2014,
    Line,
    split_line,
)

_MAX_REST = 4 * (MAX_LINE + 1)  # bytes that are more than MAX_LINE characters, whatever they encode
MAX_DUMP = 1 << 22  # characters of a net or solver; the largest published nets take a tenth
# Characters of a message that glog may have cut: at 30,000 bytes (glog's kMaxLogMessageLen), and
# in the middle of a line, whose rest is no part of a net.
GLOG_CUTS = range(29_900, 30_100)
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
    "Saving the updates so far": "saving",  # sqgen-caffe's
    "Snapshotting to ": "snapshot",
    "Snapshotting solver state to ": "state",
    "Optimization stopped early.": "stopped",
    "Optimization Done": "done",  # NVCaffe: in 2h 8m 22s
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
_DUMP_STRING = re.compile(r'\s*[a-z_0-9]+: "(?:[^"\\]|\\.)*"\s*')  # it may hold any prefix
# Errors of gflags, which have no prefix.
_FLAG_ERROR = re.compile(
    r"ERROR: (?:unknown command line flag|illegal value|flag '|'.*': give one)"
)
_SIGNAL = re.compile(r"\*\*\* (?:Aborted at|SIG)")
# What nearly every line has: a prefix up to the place in the source, and a value.
_FIRST = r"[IWE](\d{4}(?:\d{4})?) (\d\d:\d\d:\d\d\.\d+) +(\d+) "
_NEXT = r"[IWE]\d{4}(?:\d{4})? \d\d:\d\d:\d\d(?:\.\d+)? +\3 "  # of the same thread
_USUAL = r"-?\d+(?:\.\d+)?(?:e[-+]\d+)?|-?nan|-?inf"
_FILLING = "\n" * 64  # millions of blank lines, not the few that a program prints
_BLANK_LINES = re.compile(r"\n{64,}")
# Any notice but these ends a display or a test that is being read.
_QUIET = {"ignored", "resume", "finetune"}
_MAX_THREADS = 100  # with an unfinished display or test each
# A pattern is worth its compilation where displays look alike, as those of a training do.
_MAX_PATTERNS = 100
_MAX_PATTERN_OUTPUTS = 1000


class Parser:
    """Parses a log that comes in pieces: `feed` each, then `close`; `listener` receives the events.

    `fast` allows patterns of whole displays.
    """

    def __init__(self, listener: Listener, fast: bool = True) -> None:
        self._listener = listener
        self._fast = fast
        self._rest = b""
        self._prefixed = False
        self._testing = False  # `caffe test` printed its loss: its scores follow
        self._dump: _Dump | None = None
        self._open: dict[str, _Display | _Test] = {}  # by thread
        self._block: re.Pattern[str] | None = None
        self._block_key: object = None
        self._block_names: tuple[str, ...] = ()
        self._block_count = 0
        self._lead = ""  # what precedes the prefix of every line, its digits as 0
        self._batch = ""
        self._seen: Counter[str] = Counter()  # names of this batch, or of the scores

    def feed(self, data: bytes) -> None:
        """Parse more of the log, cut anywhere."""
        end = data.rfind(b"\n") + 1
        if not end:
            self._rest = (self._rest + data)[-_MAX_REST:]
            return
        whole = self._rest + data[:end]
        self._rest = data[end:][-_MAX_REST:]
        text = whole.decode("utf-8", errors="surrogateescape")
        if "\r" in text:
            text = text.replace("\r\n", "\n")
        if _FILLING in text:
            text = _BLANK_LINES.sub("\n", text)
        if "\x1b" in text:
            text = COLOURS.sub("", text)
        self._parse_text(text)

    def close(self) -> None:
        """End the log. A last line without a newline counts only if it can't have been cut."""
        rest = self._rest.decode("utf-8", errors="surrogateescape").rstrip("\r")
        self._rest = b""
        if CERTAINLY_WHOLE.search(rest):
            self._parse_line(rest)
            rest = ""
        self._flush()
        self._end_dump()
        if rest:
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
        groups = match.groups()
        if self._open:
            self._flush(groups[2])
        self._end_dump()
        self._testing = False
        self._listener.display(
            (groups[0], groups[1], groups[2]),
            groups[3],
            groups[4],
            groups[5],
            self._block_names,
            groups[6:-1],
            groups[-1],
        )

    def _parse_line(self, raw: str) -> None:
        if len(raw) > MAX_LINE:
            self._listener.overlong()
            raw = raw[-MAX_LINE:]
            if not split_line(raw).file:
                return
        if "[rank " in raw[:MAX_LEAD] and self._is_of_another_rank(raw):
            self._parse_fatal_of_rank(raw)
            return
        if self._dump is not None and _DUMP_STRING.fullmatch(raw):
            line = Line("", "", "", "", "", "", raw)
        else:
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
            self._listener.fatal(line.stamp, line.place, line.text.strip())
        else:
            self._parse_message(line, len(raw) - len(line.lead))

    def _is_of_another_rank(self, raw: str) -> bool:
        """Decide whether a line of several devices is not of the first, whose log is the run's."""
        match = OTHER_RANK.search(raw, 0, MAX_LEAD)
        if match is None or (self._dump is not None and _DUMP_STRING.fullmatch(raw)):
            return False
        return _shape(raw[: match.start()]) == self._lead or not match.start()

    def _parse_fatal_of_rank(self, raw: str) -> None:
        """Take the error that ended another rank, where no launcher has the last word."""
        line = split_line(raw)
        if line.severity == "F":
            self._flush()
            rank = line.lead.rpartition("[")[2].rstrip("] ")
            self._listener.fatal(line.stamp, line.place, f"{rank}: {line.text.strip()}")

    def _is_bare_message(self, text: str) -> bool:
        """Handle a line without a prefix; return whether it may be a message of a stripped log."""
        if self._dump is not None:
            self._dump.size += len(text) + 1
            if _DUMP_LINE.fullmatch(text):
                if self._dump.size <= MAX_DUMP:
                    self._dump.lines.append(text)
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

    def _parse_message(self, line: Line, raw_length: int) -> None:
        text = line.text.strip()
        if text.startswith("["):
            text = RANK.sub("", text, count=1)
        stamp = line.stamp
        word = text.partition(" ")[0]
        if word == "Iteration":
            self._parse_iteration(stamp, text, line.place)
        elif word in ("Train", "Test") and (output := OUTPUT.fullmatch(text)):
            which, _, name, value, weight, _ = output.groups()
            self._add_output(line, which, Output(name, value, weight))
        elif word == "Test" and (old := SCORE_2014.fullmatch(text)):
            self._add_output(line, "Test", Output(*old.groups()))
        elif word == "Batch" and (batch := BATCH.fullmatch(text)):
            index, name, value = batch.groups()
            if index != self._batch:
                self._batch, self._seen = index, Counter()
            self._listener.batch(stamp, index, _numbered(name, self._seen), value)
        elif text + " " in _DUMPS:
            self._flush()
            self._dump = _Dump(_DUMPS[text + " "], raw_length + 1)
        elif word in _FIRST_WORDS and self._parse_notice(stamp, text, _FIRST_WORDS[word]):
            pass
        elif time := LAYER_TIME.search(text):
            self._listener.layer_time(text[: time.start()].rstrip(), *time.groups())
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
        thread = stamp[2]
        unfinished = self._open.get(thread)
        display = unfinished if isinstance(unfinished, _Display) else None
        if display is not None and display.iteration != iteration:
            display = None
        if display is not None and lr is not None and display.lr is None:
            display.lr = lr
            display.places.append(place)
            self._compile_block(display)
            self._flush(thread)
        elif display is not None and loss is not None and not display.loss:
            display.loss, display.speed = loss, speed  # Caffe of 2014 printed the rate first
        elif lr is not None or loss is not None:
            display = _Display(stamp, iteration, speed, loss)
            display.lr = lr
            display.places.append(place)
            self._begin(thread, display)
        else:
            self._begin(thread, _Test(stamp, iteration, net or "0"))

    def _begin(self, thread: str, unfinished: _Display | _Test) -> None:
        self._flush(thread if len(self._open) < _MAX_THREADS else None)
        self._open[thread] = unfinished

    def _add_output(self, line: Line, which: str, output: Output) -> None:
        unfinished = self._open.get(line.thread)
        if which == "Train" and isinstance(unfinished, _Display):
            unfinished.outputs.append(output)
            unfinished.places.append(line.place)
        elif which == "Test" and isinstance(unfinished, _Test):
            unfinished.outputs.append(output)

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

    def _flush(self, thread: str | None = None) -> None:
        """End what a thread has not finished; None means every thread."""
        for key in list(self._open) if thread is None else [thread]:
            unfinished = self._open.pop(key, None)
            if unfinished is not None:
                unfinished.send(self._listener)

    def _end_dump(self) -> None:
        if self._dump is not None:
            dump, self._dump = self._dump, None
            text = "\n".join(dump.lines)
            if dump.kind == "net":
                self._listener.net(text, dump.size in GLOG_CUTS or dump.size > MAX_DUMP)
            else:
                self._listener.solver(text)

    # Displays in one match

    def _compile_block(self, display: _Display) -> None:
        """Compile a pattern for displays like this one, if it has the usual lines of Caffe."""
        outputs = [(output.name, output.weight) for output in display.outputs]
        key = (outputs, display.places)
        usual = "" not in (*display.places, *display.stamp) and display.loss is not None
        if key == self._block_key or not usual or not self._fast:
            return
        if len(outputs) > _MAX_PATTERN_OUTPUTS or self._block_count == _MAX_PATTERNS:
            return
        self._block_count += 1
        prefixes = [rf"{_NEXT}{re.escape(place)}\] " for place in display.places]
        prefixes[0] = rf"^{_FIRST}{re.escape(display.places[0])}\] "
        lines = [rf"{prefixes[0]}Iteration ({COUNT})(?: \(([^()\n]*)\))?, loss = ({_USUAL})\n"]
        for index, (name, weight) in enumerate(outputs):
            lines.append(rf"{prefixes[index + 1]}    Train net output #{index}: ")
            lines.append(rf"{re.escape(name)} = ({_USUAL})")
            if weight is not None:
                lines.append(rf" \(\* {re.escape(weight)} = (?:{_USUAL}) loss\)")
            lines.append(r"\n")
        lines.append(rf"{prefixes[-1]}Iteration \4, lr = ({_USUAL})\n")
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


class _Dump:
    """A net or solver while it is read.

    Attributes:
        kind: `net` or `solver`.
        size: characters of the whole message.
        lines: those that may be of a prototxt.
    """

    def __init__(self, kind: str, size: int) -> None:
        self.kind, self.size = kind, size
        self.lines: list[str] = []


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

    def send(self, listener: Listener) -> None:
        """Send it as an event."""
        seen: Counter[str] = Counter()
        listener.display(
            self.stamp,
            self.iteration,
            self.speed,
            self.loss,
            tuple(_numbered(output.name, seen) for output in self.outputs),
            [output.value for output in self.outputs],
            self.lr,
        )


class _Test:
    """A test while it is read line by line."""

    def __init__(self, stamp: Stamp, iteration: str, net: str) -> None:
        self.stamp = stamp
        self.iteration = iteration
        self.net = net
        self.outputs: list[Output] = []

    def send(self, listener: Listener) -> None:
        """Send it as an event, if it has outputs."""
        seen: Counter[str] = Counter()
        named = [o._replace(name=_numbered(o.name, seen)) for o in self.outputs]
        if named:
            listener.tested(self.stamp, self.iteration, self.net, named)
