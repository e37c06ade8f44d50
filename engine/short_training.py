"""A training that begins anew with other bits each time, as a solver's file says."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from hashlib import sha256

from ..compress.bits_file import BitsFile
from ..errors import NetError
from ..formats.prototxt import debug_text
from ..formats.schema import NetParameter, SolverParameter
from ..nets.definition import parse_solver, read_text
from ..text import first_few, printable
from . import glog
from .open_net import EngineOptions
from .quantization import quantized_model
from .signals import NONE
from .solver import Solver
from .workers import Workers

_NO_FILES = {"snapshot": 0, "snapshot_after_train": False, "display": 0, "test_interval": 0}
_DIGITS = 16


class ShortTraining:
    """A training on the CPU in fp32 that tests, writes and logs nothing, and repeats.

    Args:
        path: of the solver, as typed.
        iterations: updates; None: its max_iter.
        seed: of all that is random, the same in each training, unless the solver has one.

    Attributes:
        param: the solver, as it trains.

    Raises:
        FormatError: the solver can't be read.
    """

    def __init__(self, path: str | os.PathLike[str], iterations: int | None, seed: int) -> None:
        text, self._source = read_text(os.fspath(path))
        self.param: SolverParameter = parse_solver(text, self._source, [])
        for name, value in _NO_FILES.items():
            setattr(self.param, name, value)
        for field in ("test_iter", "test_net", "test_net_param", "test_state", "weights"):
            del getattr(self.param, field)[:]
        if iterations is not None:
            self.param.max_iter = iterations
        if self.param.random_seed >= 0:
            seed = self.param.random_seed
        self._options = EngineOptions("fp32", "cpu", Workers(), seed)

    @property
    def iterations(self) -> int:
        """Updates."""
        return self.param.max_iter

    @property
    def digest(self) -> str:
        """What tells this training from others, besides what its net's files hold."""
        return sha256(debug_text(self.param).encode()).hexdigest()[:_DIGITS]

    def check(self, layers: Iterable[str]) -> None:
        """Check that it can begin, and that its net has these layers.

        Raises:
            SqgenError: the solver or its net is invalid, or the data can't be read.
        """
        with self._solver() as solver:
            net = solver.net
            own = {layer.name for layer in net.wiring.layers}
            missing = [name for name in layers if name not in own]
            if missing:
                raise NetError(
                    f"{printable(net.definition.source)}: lacks {first_few(missing)}, whose bits"
                    " are chosen; train a net with the same layers"
                )
            if not any(net.wiring.loss_weights.values()):
                raise NetError(f"{printable(net.definition.source)}: has no loss to train by")

    def run(self, model: NetParameter, source: str, bits: BitsFile) -> NetParameter:
        """Train weights with bits; return them as they are quantized in the end.

        Args:
            model: the weights to begin with.
            source: their name, for errors.
            bits: with the ranges of what layers read, if that has bits.

        Raises:
            SqgenError: the weights are another net's, or a record can't be read.
        """
        with self._solver() as solver:
            solver.net.load(model, source)
            solver.quantize(bits)
            solver.solve()
            return quantized_model(solver.net)

    @contextmanager
    def _solver(self) -> Iterator[Solver]:
        with _silent_log():
            solver = Solver(self.param, self._source, self._options, lambda: NONE)
            with closing(solver):
                yield solver


@contextmanager
def _silent_log() -> Iterator[None]:
    """Log errors only, which there are none of: they are raised."""
    before = glog.set_threshold(glog.ERROR)
    try:
        yield
    finally:
        glog.set_threshold(before)
