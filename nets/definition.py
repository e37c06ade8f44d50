"""Read nets and solvers of any generation of Caffe, with the line of each layer."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Set
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

from ..errors import FormatError, NetError
from ..formats import prototxt
from ..formats.files import STDIN, display_name, read_bytes
from ..formats.fork_fields import Effect, ForkUse
from ..formats.fork_layers import DEPTHWISE_TYPES
from ..formats.ristretto import RISTRETTO_TYPES
from ..formats.schema import (
    PHASES,
    LayerParameter,
    NetParameter,
    NetState,
    NetStateRule,
    SolverParameter,
)
from ..text import printable
from .layer_types import is_caffe_type
from .origins import LAYERS, LayerOrigin, layer_origins, upgrade_fork_layers

BYTE_ORDER_MARK = "\ufeff"
_REMEDIES = {
    Effect.RECORDS: "prepare the records so and take it out, or run that fork: --caffe COMMAND",
    Effect.TRAINING: "take it out, or run that fork: --caffe COMMAND",
    Effect.FUNCTION: "write it with Caffe's own layers",
    Effect.SHAPE: "write it with Caffe's own layers",
    Effect.FOREIGN: "write it with Caffe's own layers",
}


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
        origins: of each layer of `param`; empty for a net that is from no text.
        fork_uses: the fields of forks that the net as a whole is read without.
        upgrades: what reading upgraded, as Caffe does (formats/upgrade.py).
    """

    param: NetParameter
    source: str = "net"
    warnings: list[str] = field(default_factory=list)
    text: str = ""
    level: int = 0
    stages: frozenset[str] = frozenset()
    notes: list[str] = field(default_factory=list)
    origins: list[LayerOrigin] = field(default_factory=list)
    fork_uses: list[ForkUse] = field(default_factory=list)
    upgrades: list[str] = field(default_factory=list)

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
    def _origins(self) -> tuple[list[LayerParameter], dict[int, LayerOrigin]]:
        """The layers, so that their ids stay valid, and id -> origin."""
        layers = list(self.param.layer)
        return layers, dict(zip(map(id, layers), self.origins, strict=False))

    def origin(self, layer: LayerParameter | None) -> LayerOrigin:
        """Return where a layer is from; its line is 0 where that is unknown."""
        return self._origins[1].get(id(layer), LayerOrigin(0))

    def place(self, layer: LayerParameter | None) -> str:
        """Return `file:line` of a layer, or the file where no line is known."""
        line = self.origin(layer).line
        return printable(self.source) + (f":{line}" if line else "")

    def require_caffe(
        self, phase: str | None, effects: Collection[Effect], names: Collection[str] | None = None
    ) -> None:
        """Check that no field of a fork that the net is read without changes one of `effects`.

        Args:
            phase: of the layers that matter; None for all layers.
            effects: what must not change.
            names: those of the layers that matter; None for all.

        Raises:
            FormatError: the first such field, with file:line, whose it is, and what to do.
        """
        uses = [(use, "") for use in self.fork_uses]
        for layer in self.layers(phase) if phase else self.param.layer:
            if names is None or layer.name in names:
                name = f"layer '{printable(layer.name)}': "
                uses += [(use, name) for use in self.origin(layer).fork_uses]
        for use, name in uses:
            if use.field.effect in effects:
                raise _fork_error(use, self.source, name)


def _fork_error(use: ForkUse, source: str, layer: str = "") -> FormatError:
    field = use.field
    return FormatError(
        f"{printable(source)}:{use.line}: {layer}{field.path} ({field.fork}) {field.about}, which"
        f" Caffe does not; {_REMEDIES[field.effect]}"
    )


def _fork_warnings(uses: Iterable[ForkUse], source: str) -> list[str]:
    return [
        f"{printable(source)}:{use.line}: {use.field.path} ({use.field.fork}) is left out: it"
        f" {use.field.about}"
        for use in uses
        if use.field.effect is not Effect.FOREIGN
    ]


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
    try:
        data = read_bytes(path, prototxt.SIZE_LIMIT)
    except FormatError:
        if name.endswith(".caffemodel") and Path(name).is_file():  # too large for text
            raise prototxt.not_text(source) from None
        raise
    return prototxt.decode(data, source), source


def parse_net(text: str, source: str = "net") -> NetDefinition:
    """Parse a net, or a solver with a net inside, and upgrade it to the current format.

    Raises:
        FormatError: `text` is no net; the message has source:line:column.
    """
    param = NetParameter()
    marked = text.startswith(BYTE_ORDER_MARK)
    text = text.removeprefix(BYTE_ORDER_MARK)
    try:
        parsed = prototxt.parse(text, param, source, _is_foreign)
    except FormatError as error:
        if is_solver(text):
            return _net_in_solver(text, source)
        raise _likelier_error(error, text, source) from None
    from ..formats.upgrade import INPUT_HEADER, upgrade_net

    origins = layer_origins(text, parsed)
    upgrades = upgrade_net(param, source, origins)
    if len(origins) < len(param.layer):
        origins.insert(0, LayerOrigin(_line_of_field(text, parsed, "input")))
    changes = upgrades + upgrade_fork_layers(param, origins, source)
    fork_uses = [use for use in parsed.fork_uses if parsed.fields[use.entry].name not in LAYERS]
    all_uses = [*fork_uses, *(use for origin in origins for use in origin.fork_uses)]
    warnings = parsed.warnings + _fork_warnings(all_uses, source)
    notes: list[str] = []
    for change in changes:
        # Published deploy nets have an input header, and its upgrade loses nothing: no warning.
        lines = notes if change == INPUT_HEADER else warnings
        lines.append(upgrade_line(source, change))
    if marked:
        warnings.append(f"{printable(source)}: has a byte order mark, which Caffe can't read")
    return NetDefinition(
        param,
        source,
        warnings,
        text,
        # The level comes from the flag of `caffe` alone; stages of file and flag add up.
        stages=frozenset(param.state.stage),
        notes=notes,
        origins=origins,
        fork_uses=fork_uses,
        upgrades=upgrades,
    )


def upgrade_line(source: str, change: str) -> str:
    """Return the message of what reading a file upgraded."""
    return f"{printable(source)}: upgraded {change}"


def _net_in_solver(text: str, source: str) -> NetDefinition:
    """Parse the nets inside a solver as one: that to train is in TRAIN, the first to test in TEST.

    Raises:
        FormatError: there is none.
    """
    solver = parse_solver(text, source, allow_forks=True)
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
    text = text.removeprefix(BYTE_ORDER_MARK)
    parsed = prototxt.parse(text, SolverParameter(), source, _is_foreign)
    return [
        # Blank lines in place of what stands before it.
        parse_net("\n" * text.count("\n", 0, start) + text[start:end], source)
        for field, (start, end) in ((field, field.body) for field in parsed.fields)
        if field.name in fields
    ]


def _joined(train: NetDefinition, test: NetDefinition) -> NetDefinition:
    """Return a net that is one net in TRAIN and another in TEST."""
    param, origins = NetParameter(name=train.param.name), []
    for phase, net in (("TRAIN", train), ("TEST", test)):
        for layer in net.layers(phase):
            copy = param.layer.add()
            copy.CopyFrom(layer)
            copy.ClearField("exclude")
            del copy.include[:]
            copy.include.add(phase=PHASES[phase])
            origins.append(net.origin(layer))
    return NetDefinition(
        param,
        train.source,
        train.warnings + test.warnings,
        prototxt.to_text(param),
        origins=origins,
        fork_uses=train.fork_uses + test.fork_uses,
    )


def _line_of_field(text: str, parsed: prototxt.Parsed, name: str) -> int:
    """Return the line of the first field of a name at the top level."""
    offsets = (field.offset for field in parsed.fields if field.name == name)
    return prototxt.line_of(text, next(offsets, 0))


def is_solver(text: str) -> bool:
    """Whether a prototxt is a solver."""
    solver = SolverParameter()
    try:
        parsed = prototxt.parse(text.removeprefix(BYTE_ORDER_MARK), solver, "solver", _is_foreign)
    except FormatError:
        return False
    return bool(parsed.fields)


def is_net(text: str) -> bool:
    """Whether a prototxt is a net with layers."""
    net = NetParameter()
    try:
        prototxt.parse(text.removeprefix(BYTE_ORDER_MARK), net, "net", _is_foreign)
    except FormatError:
        return False
    return bool(net.layer or net.layers)


def _is_foreign(layer_type: str) -> bool:
    known = (*DEPTHWISE_TYPES, *RISTRETTO_TYPES)
    return not is_caffe_type(layer_type) and layer_type not in known


def _likelier_error(error: FormatError, text: str, source: str) -> FormatError:
    """Return the error of parsing a net, or of a solver where parsing that gets further."""
    try:
        prototxt.parse(text, SolverParameter(), source, _is_foreign)
    except FormatError as other:
        return max(error, other, key=lambda each: each.position)
    return error


def parse_solver(
    text: str,
    source: str = "solver",
    warnings: list[str] | None = None,
    allow_forks: bool = False,
) -> SolverParameter:
    """Parse a SolverParameter.

    Args:
        text: the prototxt.
        source: its file, for messages.
        warnings: receives what was left out or upgraded.
        allow_forks: leave out fields of forks that change a training, too, with a warning.

    Raises:
        FormatError: `text` is no solver; the message has source:line:column.
    """
    solver = SolverParameter()
    try:
        parsed = prototxt.parse(text.removeprefix(BYTE_ORDER_MARK), solver, source, _is_foreign)
    except FormatError:
        if is_net(text):
            raise FormatError(
                f"{printable(source)}: is a net, not a solver; give its solver"
            ) from None
        raise
    # Those of a net inside are that net's.
    uses = [use for use in parsed.fork_uses if not parsed.fields[use.entry].fields]
    if uses and not allow_forks:
        raise _fork_error(uses[0], source)
    from ..formats.upgrade import upgrade_solver

    changes = parsed.warnings + _fork_warnings(uses, source)
    upgrades = upgrade_solver(solver, source)
    changes += [upgrade_line(source, change) for change in upgrades]
    if warnings is not None:
        warnings += changes
    return solver
