"""Read nets and solvers of any generation of Caffe, with the line of each layer."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Set
from dataclasses import dataclass, field, replace
from functools import cached_property

from ..errors import FormatError, NetError
from ..formats import prototxt
from ..formats.files import STDIN, display_name, read_bytes
from ..formats.schema import (
    PHASES,
    LayerParameter,
    NetParameter,
    NetState,
    NetStateRule,
    SolverParameter,
)
from ..text import printable

BYTE_ORDER_MARK = "\ufeff"
# Compiled on use: few runs need these patterns.
_EMPTY = r"(?:\s|#[^\n]*)*"
_WORDS = r"""#[^\n]*|"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'|[{}<>]|\w+"""


@dataclass(eq=False, repr=False)
class NetDefinition:
    """A net, with the file and lines that messages about it name.

    Attributes:
        param: the `NetParameter`, upgraded to the current format.
        source: the file's name, for messages.
        warnings: fields changed or dropped on reading, a line each.
        text: the prototxt that it was parsed from, or empty.
        level, stages: the NetState that selects layers; stages of the net's own `state` as read.
        notes: harmless changes on reading, a line each.
    """

    param: NetParameter
    source: str = "net"
    warnings: list[str] = field(default_factory=list)
    text: str = ""
    level: int = 0
    stages: frozenset[str] = frozenset()
    notes: list[str] = field(default_factory=list)

    def __repr__(self) -> str:
        return f"NetDefinition({printable(self.source)}: {len(self.param.layer)} layers)"

    def in_state(self, state: NetState, level: int = 0) -> NetDefinition:
        """Return this net at a level, with the stages of a solver's NetState added to its own."""
        return replace(self, stages=self.stages | set(state.stage), level=level)

    @cached_property
    def stage_names(self) -> list[str]:
        """The stages that the layers' rules name, sorted."""
        rules = [rule for layer in self.param.layer for rule in (*layer.include, *layer.exclude)]
        return sorted({stage for rule in rules for stage in (*rule.stage, *rule.not_stage)})

    @cached_property
    def lines(self) -> list[int]:
        """The line of each layer of `param`; empty where there is no text."""
        lines = layer_lines(self.text)
        added = len(self.param.layer) - len(lines)  # upgrade makes a layer of an input header
        return [1] * added + lines if self.text and added >= 0 else []

    def layers(self, phase: str) -> list[LayerParameter]:
        """Return the layers that Caffe keeps for a phase, `TRAIN` or `TEST`, in order.

        Raises:
            NetError: no such phase.
        """
        if phase not in PHASES:
            raise NetError(f"no phase '{printable(str(phase))}'; TRAIN or TEST")
        state = (PHASES[phase], self.level, self.stages)
        return [layer for layer in self.param.layer if layer_is_in(layer, *state)]

    @cached_property
    def _places(self) -> tuple[list[LayerParameter], dict[int, int]]:
        """The layers, so that their ids stay valid, and id -> line."""
        layers = list(self.param.layer)
        return layers, dict(zip(map(id, layers), self.lines, strict=False))

    def line(self, layer: LayerParameter | None) -> int:
        """Return the line of a layer; 0 where it is unknown."""
        return self._places[1].get(id(layer), 0)

    def place(self, layer: LayerParameter | None) -> str:
        """Return `file:line` of a layer, or the file where no line is known."""
        line = self.line(layer)
        return printable(self.source) + (f":{line}" if line else "")


def layer_is_in(layer: LayerParameter, phase: int, level: int, stages: Set[str]) -> bool:
    """Whether a NetState keeps a layer (Net::FilterNet, src/caffe/net.cpp)."""
    if layer.include:
        return any(_rule_holds(rule, phase, level, stages) for rule in layer.include)
    return not any(_rule_holds(rule, phase, level, stages) for rule in layer.exclude)


def _rule_holds(rule: NetStateRule, phase: int, level: int, stages: Set[str]) -> bool:
    """Whether a state meets a rule (Net::StateMeetsRule)."""
    return not (
        (rule.HasField("phase") and rule.phase != phase)
        or (rule.HasField("min_level") and level < rule.min_level)
        or (rule.HasField("max_level") and level > rule.max_level)
        or any(stage not in stages for stage in rule.stage)
        or any(stage in stages for stage in rule.not_stage)
    )


def read_net(path: str | os.PathLike[str]) -> NetDefinition:
    """Read a net of any generation from a prototxt, or from standard input for `-`.

    Raises:
        FormatError: the file can't be read or parsed; the message has file:line:column.
    """
    return parse_net(*read_text(path))


def read_text(path: str | os.PathLike[str]) -> tuple[str, str]:
    """Return the text of a prototxt and its name for messages.

    Raises:
        FormatError: the file can't be read, is binary or too large.
    """
    name = os.fspath(path)
    source = display_name(name) if name == STDIN else name
    return prototxt.decode(read_bytes(path, prototxt.SIZE_LIMIT), source), source


def parse_net(text: str, source: str = "net") -> NetDefinition:
    """Parse a net, or a solver with a net inside, and upgrade it to the current format.

    Raises:
        FormatError: `text` is no net; the message has source:line:column.
    """
    param = NetParameter()
    marked = text.startswith(BYTE_ORDER_MARK)
    text = text.removeprefix(BYTE_ORDER_MARK)
    try:
        warnings = prototxt.parse(text, param, source)
    except FormatError as error:
        if is_solver(text):
            return _net_in_solver(text, source)
        raise _likelier_error(error, text, source) from None
    from ..formats.upgrade import INPUT_HEADER, upgrade_net

    notes: list[str] = []
    for change in upgrade_net(param, source):
        # Published deploy nets have an input header, and its upgrade loses nothing: no warning.
        lines = notes if change == INPUT_HEADER else warnings
        lines.append(f"{printable(source)}: upgraded {change}")
    if marked:
        warnings.append(f"{printable(source)}: has a byte order mark, which Caffe can't read")
    # The level comes from the flag of `caffe` alone; stages of file and flag add up.
    return NetDefinition(
        param, source, warnings, text, stages=frozenset(param.state.stage), notes=notes
    )


def _net_in_solver(text: str, source: str) -> NetDefinition:
    """Parse the nets inside a solver as one: that to train is in TRAIN, the first to test in TEST.

    Raises:
        FormatError: there is none.
    """
    solver = parse_solver(text, source)
    train = parse_inner_nets(text, source, "net_param", "train_net_param")
    tests = parse_inner_nets(text, source, "test_net_param")
    if not train:
        other = solver.net or solver.train_net
        hint = f"; it trains {printable(other)}" if other else ""
        raise FormatError(f"{printable(source)}: is a solver, not a net{hint}")
    if not tests:
        return train[0]
    state = solver.test_state[0] if solver.test_state else NetState()
    return _joined(train[0].in_state(solver.train_state), tests[0].in_state(state, state.level))


def parse_inner_nets(text: str, source: str, *fields: str) -> list[NetDefinition]:
    """Parse the nets that fields of a solver hold; their lines are those of the solver's file."""
    return [
        # Blank lines in place of what stands before it.
        parse_net("\n" * text.count("\n", 0, start) + text[start:end], source)
        for name, _, start, end in _top_level_messages(text)
        if name in fields
    ]


def _joined(train: NetDefinition, test: NetDefinition) -> NetDefinition:
    """Return a net that is one net in TRAIN and another in TEST."""
    param, lines = NetParameter(name=train.param.name), []
    for phase, net in (("TRAIN", train), ("TEST", test)):
        for layer in net.layers(phase):
            copy = param.layer.add()
            copy.CopyFrom(layer)
            copy.ClearField("exclude")
            del copy.include[:]
            copy.include.add(phase=PHASES[phase])
            lines.append(net.line(layer))
    warnings = train.warnings + test.warnings
    joined = NetDefinition(param, train.source, warnings, prototxt.to_text(param))
    joined.lines = lines
    return joined


def is_solver(text: str) -> bool:
    """Whether a prototxt is a solver."""
    try:
        prototxt.parse(text.removeprefix(BYTE_ORDER_MARK), SolverParameter(), "solver")
    except FormatError:
        return False
    return not re.fullmatch(_EMPTY, text)


def _is_net(text: str) -> bool:
    """Whether a prototxt is a net with layers."""
    net = NetParameter()
    try:
        prototxt.parse(text.removeprefix(BYTE_ORDER_MARK), net, "net")
    except FormatError:
        return False
    return bool(net.layer or net.layers)


def _likelier_error(error: FormatError, text: str, source: str) -> FormatError:
    """Return the error of parsing a net, or of a solver where parsing that gets further."""
    try:
        prototxt.parse(text, SolverParameter(), source)
    except FormatError as other:
        return max(error, other, key=lambda each: each.position)
    return error


def parse_solver(
    text: str, source: str = "solver", warnings: list[str] | None = None
) -> SolverParameter:
    """Parse a SolverParameter; append what was left out or upgraded to `warnings`.

    Raises:
        FormatError: `text` is no solver; the message has source:line:column.
    """
    solver = SolverParameter()
    try:
        changes = prototxt.parse(text.removeprefix(BYTE_ORDER_MARK), solver, source)
    except FormatError:
        if _is_net(text):
            raise FormatError(f"{printable(source)}: is a net, not a solver") from None
        raise
    from ..formats.upgrade import upgrade_solver

    upgrades = upgrade_solver(solver, source)
    changes += [f"{printable(source)}: upgraded {change}" for change in upgrades]
    if warnings is not None:
        warnings += changes
    return solver


def layer_lines(text: str) -> list[int]:
    """Return the line on which each top-level `layer` or `layers` of a prototxt starts."""
    lines: list[int] = []
    line, end = 1, 0
    for name, start, *_ in _top_level_messages(text):
        line += text.count("\n", end, start)
        end = start
        if name in ("layer", "layers"):
            lines.append(line)
    return lines


def _top_level_messages(text: str) -> Iterator[tuple[str, int, int, int]]:
    """Yield name and start of each message of a prototxt, and start and end of its body."""
    depth, name, start, body = 0, "", 0, 0
    for token in re.finditer(_WORDS, text):
        word = token.group()
        if word in "{<":
            body = token.end() if depth == 0 else body
            depth += 1
        elif word in "}>":
            depth -= 1
            if depth == 0:
                yield name, start, body, token.start()
        elif depth == 0:
            name, start = word, token.start()
