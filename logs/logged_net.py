"""The nets that Caffe prints in a log: which outputs are accuracies and losses, batch, classes.

What can be read of a net counts: glog cuts messages at 30,000 bytes, forks add fields, and other
programs print between the lines.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Callable
from functools import lru_cache
from textwrap import dedent
from typing import NamedTuple, TypeVar

from google.protobuf import text_format

from ..errors import FormatError
from ..formats.schema import LayerParameter, NetParameter, SolverParameter
from ..formats.upgrade import upgrade_net
from ..nets.data_layers import declared_batch_size
from ..nets.definition import NetDefinition
from ..nets.graph import build_graph
from ..text import GLOG_PREFIX
from .scores import LOSS, OTHER, TOP1, TOP_K, Score

_MAX_DROPPED = 100  # fields of a message that are left out before it counts as unreadable
_MAX_PARSED = 1 << 23  # characters, of all attempts at a message
_MAX_NETS = 1000  # of one run
# A string that prints a line of its own where Caffe logs it unescaped: `name: "a\nb"`, or with a
# prefix of glog's. Caffe logs no param_str of Python layers.
_FORGERY = re.compile(rf'\s*(?!param_str:)\w+: "(?:(?:[^"\\]|\\[^nr])*\\[nr]|.*{GLOG_PREFIX})')
Param = TypeVar("Param", NetParameter, SolverParameter)


class LoggedNet(NamedTuple):
    """A net of the log.

    Attributes:
        name: its name.
        phase: `TRAIN` or `TEST`.
        tops: of all layers.
        top_k: output -> k, of Accuracy layers.
        losses: outputs of loss layers.
        batch: images in a batch, where a data layer sets it.
        classes: num_output of the last layer that has one; None if the net was cut.
        digest: of its layers, wherever their data lies; None if not all of them can be read.
        cut: whether its end is missing.
    """

    name: str
    phase: str
    tops: frozenset[str]
    top_k: dict[str, int]
    losses: frozenset[str]
    batch: int | None
    classes: int | None
    digest: str | None
    cut: bool


@lru_cache(maxsize=16)
def read_logged_net(text: str, cut: bool = False) -> LoggedNet | None:
    """Return what can be read of a dump; None where no layer can.

    Args:
        text: the dump.
        cut: whether its end may be missing, though it ends with a whole message.
    """
    lines, whole = _known_lines(text)
    param, complete = _parse(lines, NetParameter())
    return _describe(param, complete, cut or not whole)


def _describe(param: NetParameter, complete: bool, cut: bool) -> LoggedNet | None:
    try:
        upgrade_net(param, "net")
    except FormatError:
        complete = False
    layers = [
        layer
        for layer in param.layer
        if not any(r.HasField("phase") and r.phase != param.state.phase for r in layer.include)
    ]
    if not layers:
        return None
    losses = [layer for layer in layers if layer.type.endswith("Loss") or any(layer.loss_weight)]
    filters = [
        count
        for layer in layers
        if (count := layer.convolution_param.num_output or layer.inner_product_param.num_output)
    ]
    return LoggedNet(
        param.name,
        "TEST" if param.state.phase else "TRAIN",
        frozenset(top for layer in layers for top in layer.top),
        {
            layer.top[0]: layer.accuracy_param.top_k
            for layer in layers
            if layer.type == "Accuracy" and layer.top
        },
        frozenset(top for layer in losses for top in layer.top),
        next(filter(None, map(declared_batch_size, layers)), None),
        filters[-1] if filters and not cut else None,
        _digest(layers) if complete and not cut else None,
        cut,
    )


class LoggedNets:
    """The nets of one run, read when they are first needed.

    `warn` receives a message where one of them can't be read in whole.
    """

    def __init__(self, warn: Callable[[str], None]) -> None:
        self._warn = warn
        self._dumps: list[tuple[str, bool]] = []
        self._nets: list[LoggedNet] | None = None
        self._of_solver: LoggedNet | None = None

    def add(self, text: str, cut: bool) -> None:
        """Add a net as Caffe printed it; `cut` if its end may be missing."""
        if len(self._dumps) < _MAX_NETS:
            self._dumps.append((text, cut))
            self._nets = None

    def add_solver(self, text: str) -> None:
        """Add the net in a solver as Caffe printed it, for a log without its TEST net."""
        match = re.search(r"^net_param \{\n((?:  .*(?:\n|$))*)(\})?", text, re.MULTILINE)
        if match is not None:
            text = f"state {{\n  phase: TEST\n}}\n{dedent(match[1])}"
            self._of_solver = read_logged_net(text, cut=match[2] is None)

    def read(self) -> list[LoggedNet]:
        """Return the nets, in the order of the log, without those that can't be read."""
        if self._nets is None:
            nets = [read_logged_net(text, cut) for text, cut in self._dumps]
            if None in nets:
                self._warn("a net in the log can't be read; outputs go by their names")
            self._nets = [net for net in nets if net is not None]
            if any(net.cut for net in self._nets):
                self._warn(
                    "a net in the log is cut, as glog does at 30,000 bytes: outputs of layers that"
                    " are missing go by their names"
                )
        return self._nets

    def test_net(self, index: int) -> LoggedNet | None:
        """Return the TEST net of that number, if there is one."""
        nets = [net for net in self.read() if net.phase == "TEST"]
        if not nets and self._of_solver is not None:
            nets = [self._of_solver]
        return nets[index] if index < len(nets) else None


@lru_cache(maxsize=1)
def _field_names() -> frozenset[str]:
    messages = SolverParameter.DESCRIPTOR.file.message_types_by_name.values()
    return frozenset(field.name for message in messages for field in message.fields)


def _known_lines(text: str) -> tuple[list[str], bool]:
    """Return the lines of whole fields that Caffe has, and whether no field was cut.

    Lines that other programs wrote between them, and messages of forks, are left out.
    """
    lines: list[str] = []
    depth = unknown_depth = whole_lines = 0
    for line in text.split("\n"):
        opens, closes = line.endswith("{"), line.strip() == "}"
        if unknown_depth:
            unknown_depth += opens - closes
            continue
        word = re.split(r"[ :]", line.strip(), maxsplit=1)[0]
        if closes or word in _field_names():
            lines.append(line)
            depth += opens - closes
        elif opens:
            unknown_depth = 1
        if depth <= 0:
            whole_lines = len(lines)
    return lines[:whole_lines], not unknown_depth and whole_lines == len(lines)


def _parse(lines: list[str], param: Param) -> tuple[Param, bool]:
    """Fill a message with what can be read, and return whether that is all of it."""
    complete = True
    size = sum(map(len, lines)) + 1
    for _ in range(min(_MAX_DROPPED, 2 + _MAX_PARSED // size)):
        try:
            text_format.Parse("\n".join(lines), param, allow_unknown_field=not complete)
        except text_format.ParseError as error:
            param.Clear()
            if complete:
                complete = False  # once more, without the fields that Caffe doesn't have
            else:
                _drop_field(lines, (error.GetLine() or 1) - 1)
        except RecursionError:
            break
        except (SystemError, UnicodeError):  # protobuf's, where an enum is not UTF-8
            param.Clear()
            complete = False
            valid = [line for line in lines if '"' in line or line.isascii()]
            if len(valid) == len(lines):
                break
            lines[:] = valid
        else:
            return param, complete
    param.Clear()
    return param, False


def _drop_field(lines: list[str], index: int) -> None:
    """Remove the field of a line, with the lines of its message."""
    index = min(index, len(lines) - 1)
    depth = 0
    while lines and index < len(lines):
        line = lines.pop(index)
        depth += line.endswith("{") - (line.strip() == "}")
        if depth <= 0:
            return


def expected_scores(net: NetDefinition) -> list[Score]:
    """Return the scores that a test of a net reports, without values."""
    layers = net.layers("TEST")
    described = _describe(NetParameter(layer=layers), complete=True, cut=False)
    names = build_graph(layers).output_names()
    roles = [role_of(name, False, described, losses_known=True) for name in names]
    return [Score(name, math.nan, *role) for name, role in zip(names, roles, strict=True)]


def can_forge_lines(text: str) -> bool:
    """Decide whether a string in a dump can print what looks like a line of Caffe's."""
    return any(_FORGERY.match(line) for line in text.split("\n"))


def _digest(layers: list[LayerParameter]) -> str:
    """Return a digest that is equal for equal layers, wherever their data lies."""
    digest = hashlib.sha256()
    for layer in layers:
        hashed = layer
        if not layer.bottom:  # a data layer: only its transform changes the net
            hashed = type(layer)(transform_param=layer.transform_param)
            hashed.transform_param.ClearField("mean_file")
        digest.update(hashed.SerializeToString(deterministic=True))
    return digest.hexdigest()[:16]


def read_logged_solver(text: str) -> SolverParameter | None:
    """Return what can be read of a SolverParameter's dump; None where nothing can."""
    solver, _ = _parse(_known_lines(text)[0], SolverParameter())
    return solver if solver.ListFields() else None


def role_of(
    name: str, weighted: bool, net: LoggedNet | None, losses_known: bool
) -> tuple[str, int | None, str]:
    """Return an output's role, its k, and whether the `net` or its `name` tells them.

    Args:
        name: of the output.
        weighted: whether Caffe printed its loss weight.
        net: the net in the log.
        losses_known: whether Caffe printed the weights of losses, and so of all of them.
    """
    if net is not None and name in net.top_k:
        k = net.top_k[name]
        return (TOP1 if k == 1 else TOP_K), k, "net"
    if weighted or (net is not None and name in net.losses):
        return LOSS, None, "net"
    if net is not None and re.sub(r"\[\d+\]$", "", name) in net.tops:
        return OTHER, None, "net"  # a layer of another type makes it
    # The last part is what the output is: loss1/accuracy.
    guess = _role_of_name(name.lower().rpartition("/")[2])
    if guess[0] == OTHER:
        guess = _role_of_name(name.lower())
    return (OTHER, None, "name") if guess[0] == LOSS and losses_known else (*guess, "name")


def _role_of_name(name: str) -> tuple[str, int | None]:
    if re.search(r"err(?:or)?s?(?![a-z])|per[-_ ]?class", name):
        return OTHER, None
    match = re.search(r"(?<![a-z])(?:top|acc(?:uracy)?)[-_@ /]*([0-9]{1,6})|@([0-9]{1,6})", name)
    if match:
        k = int(match[1] or match[2])
        return (TOP1 if k == 1 else TOP_K), k
    if "loss" in name:
        return LOSS, None
    if re.search(r"(?<![a-z])acc(?:uracy)?(?![a-z])", name):
        return TOP1, 1
    return OTHER, None
