"""The options that testing, training and timing share."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from ..errors import SqgenError
from ..host import list_gpus, visible_gpus
from ..progress import StartBar, no_bar
from ..text import printable
from .engines import AUTO, CHOICES, TORCH, Engine, select_engine
from .preflight import CheckedNet, check_gpus
from .subprocess_guard import STALL_TIMEOUT

# Flags of caffe that sqgen sets itself, and counts images by.
_RESERVED_FLAGS = frozenset(
    "activation-bits activation_bits bits blob calibrated constraints exact gpu iterations level"
    " model phase predictions quantize rounded snapshot solver stage weights"
    " workers nodes node-rank node_rank rendezvous max-restarts max_restarts stall-timeout"
    " stall_timeout".split()
)


@dataclass(frozen=True)
class RunOptions:
    """The options that testing, training and timing share.

    Attributes:
        engine: `auto`, `caffe` or `torch`.
        caffe: a command line that runs a caffe.
        gpu: `0` or 0, `0,1` or `all`; None leaves the device to the solver.
        cpu: run on the CPU, whatever the solver says.
        run_dir: the folder to make; None makes `runs/<time>-<name>`.
        workers: processes that train or test on this machine, of the embedded engine; None means
            one, or one for each GPU.
        nodes: machines that train.
        node_rank: which of them this is, from 0.
        rendezvous: HOST:PORT of node 0, where several machines meet.
        max_restarts: how often a training starts again from its newest snapshot when a process
            dies.
        stall_timeout: seconds of silence before it is reported; 0 means never. Several processes
            end when none makes progress for that long.
        stop_stalled: end a run that is silent for that long.
        keep_going: let a training whose loss is nan or inf go on.
        arguments: further arguments for the engine, passed on unchanged.
        log: called with a line per event; None is silent.
        quiet: call it for warnings and troubles alone.
        progress: makes the progress bar.
        typed: the words of the command that asks for the run, for its record; none from Python.

    Raises:
        SqgenError: `arguments` is no list of flags, or sets one that sqgen sets itself.
    """

    engine: str = AUTO
    caffe: str | None = None
    gpu: str | int | None = None
    cpu: bool = False
    workers: int | None = None
    nodes: int = 1
    node_rank: int = 0
    rendezvous: str | None = None
    max_restarts: int = 0
    run_dir: str | os.PathLike[str] | None = None
    stall_timeout: float = STALL_TIMEOUT
    stop_stalled: bool = False
    keep_going: bool = False
    arguments: Sequence[str] = ()
    log: Callable[[str], None] | None = None
    quiet: bool = False
    progress: StartBar = no_bar
    typed: Sequence[str] = ()

    def __post_init__(self) -> None:
        self._check_workers()
        if isinstance(self.arguments, str):
            raise SqgenError(
                f"arguments '{printable(self.arguments)}': give a list, such as ['--threads=1']"
            )
        if self.arguments and not self.arguments[0].startswith("-"):
            is_state = ".solverstate" in self.arguments[0]
            meant = "--snapshot FILE resumes from a file, --resume from the newest snapshot"
            raise SqgenError(
                f"unexpected '{printable(self.arguments[0])}';"
                f" {meant if is_state else 'options for caffe stand behind --'}"
            )
        for argument in self.arguments:
            flag = argument.lstrip("-").partition("=")[0]
            if argument.startswith("-") and flag in _RESERVED_FLAGS:
                raise SqgenError(
                    f"{printable(argument)} behind --: sqgen sets --{flag} itself; give sqgen's"
                    " own option before the --"
                )

    def _check_workers(self) -> None:
        """Refuse numbers of processes and machines that make no sense."""
        if self.workers is not None and self.workers < 1:
            raise SqgenError(f"--workers {self.workers}: give one or more processes")
        if self.nodes < 1 or not 0 <= self.node_rank < self.nodes:
            raise SqgenError(
                f"--nodes {self.nodes} --node-rank {self.node_rank}: the nodes are 0 to"
                f" {max(self.nodes, 1) - 1}"
            )
        if self.max_restarts < 0:
            raise SqgenError(f"--max-restarts {self.max_restarts}: give none, or one or more")
        if self.rendezvous is not None and self.nodes == 1:
            raise SqgenError("--rendezvous is for several machines; give --nodes, too")

    @property
    def runs_int8(self) -> bool:
        """Whether `arguments` ask the embedded engine to compute in integers."""
        words = [word.lstrip("-") for word in self.arguments]
        pairs = [word.partition("=")[::2] for word in words] + list(pairwise(words))
        return ("precision", "int8") in pairs

    def log_line(self, line: str) -> None:
        """Log a line about what is going on."""
        if not self.quiet:
            self.log_problem(line)

    def log_problem(self, line: str) -> None:
        """Log a line that even the quiet want to read."""
        if self.log is not None:
            self.log(line)

    def warn(self, *warnings: str) -> None:
        """Log warnings, a line each."""
        for warning in warnings:
            self.log_problem(f"warning: {warning}")

    def log_checks(self, *checks: CheckedNet) -> None:
        """Log the warnings and remarks of nets that were checked, each once."""
        self.warn(*dict.fromkeys(warning for check in checks for warning in check.warnings))
        for remark in dict.fromkeys(remark for check in checks for remark in check.remarks):
            self.log_line(remark)

    def check_devices(self) -> None:
        """Check the options that say where it runs, whatever this machine has.

        Raises:
            SqgenError: they don't go together, or there is no such engine.
        """
        if self.engine not in CHOICES:
            raise SqgenError(f"no engine '{self.engine}'; one of {', '.join(CHOICES)}")
        if self.gpu is not None and self.cpu:
            raise SqgenError("--gpu and --cpu: give one")
        if self.nodes > 1 and self.rendezvous is None and self.caffe is None:
            raise SqgenError(
                f"--nodes {self.nodes} needs --rendezvous HOST:PORT, an address of node 0 and a"
                " free port"
            )

    def select_engine(self) -> Engine:
        """Return the engine, after checking that the requested GPUs exist.

        Raises:
            SqgenError: there is no such engine or GPU.
        """
        self.check_devices()
        check_gpus(self.requested_gpus, self.caffe is not None)
        engine = select_engine(self.engine, self.caffe)
        if engine.kind != TORCH:
            for flag in self._worker_flags:
                raise SqgenError(
                    f"{engine.name} is a real caffe, which takes no {flag.partition('=')[0]}; give"
                    " --engine torch"
                )
        self.log_line(f"engine {engine}")
        return engine

    @property
    def requested_gpus(self) -> str | None:
        """`gpu` as text: `0`, `0,1`, `all`, or None."""
        return None if self.gpu is None else str(self.gpu)

    def require_one_process(self, command: str) -> None:
        """Refuse several devices, for a command of one process; a real caffe may take them.

        Raises:
            SqgenError: several are asked for.
        """
        if self.device_count > 1 and self.caffe is None and self.engine == TORCH:
            raise SqgenError(f"sqgen {command} runs on one device; give one GPU, and no --workers")

    def device_flags(self, engine: Engine) -> list[str]:
        """Return the engine's flags for devices and processes."""
        flags = [f"--gpu={self.gpu}"] if self.gpu is not None else []
        flags += self._worker_flags
        several = flags and (self._worker_flags or not str(self.gpu).isdigit())
        if engine.kind == TORCH and several:
            flags.append(f"--stall-timeout={math.ceil(self.stall_timeout)}")
        return flags

    @property
    def _worker_flags(self) -> list[str]:
        given = {
            "workers": self.workers,
            "nodes": self.nodes if self.nodes > 1 else None,
            "node-rank": self.node_rank if self.rendezvous else None,
            "rendezvous": self.rendezvous,
            "max-restarts": self.max_restarts or None,
        }
        return [f"--{name}={value}" for name, value in given.items() if value is not None]

    @property
    def device_count(self) -> int:
        """Number of devices that each compute a batch; `all` counts the driver's GPUs."""
        return self.local_count * self.nodes

    @property
    def local_count(self) -> int:
        """Those of this machine."""
        if self.workers is not None:
            return self.workers
        if self.gpu == "all":
            return max(1, len(visible_gpus(list_gpus())))
        return len((self.requested_gpus or "0").split(","))


def path_or_none(path: str | os.PathLike[str] | None) -> str | None:
    """Return a path as text; None stays None."""
    return None if path is None else os.fspath(path)


def check_iterations(count: int) -> None:
    """Check that a number of iterations is at least 1.

    Raises:
        SqgenError: it is not.
    """
    if count < 1:
        raise SqgenError(f"{count} iterations; give one or more")
