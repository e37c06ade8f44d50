"""What was run and with what: commands, net, data, solver, versions, machine."""

from __future__ import annotations

from ..text import escaped, shell_join
from .page import Block, Code, Fact, Facts, Section, Table, Text
from .report_options import ReportOptions
from .reported_run import ReportedRun
from .run_facts import run_facts, solver_facts

COMMANDS = 20  # of a run to show


def record_section(run: ReportedRun, options: ReportOptions) -> Section:
    """Return the section; of a bare log, it has what the log says."""
    blocks: list[Block] = []
    typed = run.result.run.get("typed")
    if isinstance(typed, list) and typed:
        blocks += [Code(escaped(shell_join(map(str, typed)))), Text("It ran:", "note")]
    commands = run.result.run.get("commands")
    if isinstance(commands, list) and commands:
        lines = [shell_join(map(str, each)) for each in commands if isinstance(each, list)]
        blocks.append(Code("\n".join(map(escaped, lines[:COMMANDS]))))
    blocks.append(Facts([Fact(name, value) for name, value in run_facts(run)]))
    solver = solver_facts(run)
    if solver:
        blocks.append(Table(["field", "value"], solver, caption="Solver", folded=True))
    return Section("What ran", "record", blocks)
