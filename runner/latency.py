"""Time single layers by `caffe time`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from shutil import rmtree
from tempfile import mkdtemp

from ..errors import FormatError, StoppedError
from ..formats.files import write_files
from ..formats.prototxt import to_text
from ..nets.latency_net import Point, latency_net
from ..progress import no_bar
from .options import RunOptions
from .time import time


class CaffeMeter:
    """Times layers of a net by a caffe, in a net of a branch for each.

    Args:
        batch: images.
        iterations: passes of which caffe prints the mean.
        options: of the run, whose folder is temporary.
    """

    def __init__(self, batch: int, iterations: int, options: RunOptions) -> None:
        self._batch, self._iterations, self._options = batch, iterations, options

    def __call__(self, points: Sequence[Point]) -> list[float]:
        """Return the forward milliseconds of each point.

        Raises:
            RunError: caffe did not complete; the message names its log.
            FormatError: it printed no times of a layer.
        """
        param, branches = latency_net(points, self._batch)
        folder = Path(mkdtemp(prefix="sqgen-latency-"))
        model = folder / "latency.prototxt"
        write_files({model: to_text(param).encode()})
        run = replace(self._options, run_dir=folder / "run", quiet=True, progress=no_bar)
        try:
            result = time(model, iterations=self._iterations, phase="TEST", **vars(run))
        except StoppedError as error:
            rmtree(folder, ignore_errors=True)
            stopped = StoppedError("stopped; the same command goes on")
            stopped.exit_code = error.exit_code
            raise stopped from None
        rmtree(folder, ignore_errors=True)  # after a failure, its log stays
        forward = {each.layer: each.forward for each in result.layer_times}
        found = []
        for point, branch in zip(points, branches, strict=True):
            times = [each for name in branch.timed if (each := forward.get(name)) is not None]
            if len(times) < len(branch.timed):
                raise FormatError(f"caffe time printed no time of a {point.layer.kind}")
            found.append(sum(times))
        return found
