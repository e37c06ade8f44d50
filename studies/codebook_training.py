"""Train the shared values of a compressed net (Han et al., arXiv:1510.00149, section 3)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path

from ..compress.constraints import codebook_constraints
from ..compress.encoding import Settings, encode, read_compressed
from ..compress.weighted_layers import WeightedLayer, find_weighted_layers
from ..errors import NetError, SqgenError
from ..formats.caffemodel import encode_caffemodel, read_caffemodel
from ..formats.constraints import encode_constraints
from ..formats.files import check_file_target, write_files
from ..formats.schema import NetParameter
from ..logs.result import LogResult
from ..nets.definition import NetDefinition, read_net
from ..nets.layer_types import Shape
from ..runner.options import RunOptions
from ..runner.overrides import DataOverride
from ..runner.preflight import image_of_data
from ..runner.solver_preflight import read_solver
from ..runner.training_plan import TrainingPlan, TrainOptions
from ..text import printable


@dataclass(frozen=True)
class TrainedCodebook:
    """A compressed net whose shared values were trained.

    Attributes:
        before, after: bytes of the file that was given, and of the new one.
        result: of the training.
    """

    before: int
    after: int
    result: LogResult

    @property
    def scores(self) -> list[tuple[str, float | None, float]]:
        """Outputs of the first test net: before training, if it was tested then, and the last."""
        tests = [row for segment in self.result.segments for row in segment.test if row.net == 0]
        if not tests or not tests[-1].iteration:
            return []  # no test after an update
        first, last = tests[0], tests[-1]
        before = first.outputs if first.iteration == 0 else {}
        return [(name, before.get(name), value) for name, value in last.outputs.items()]


def train_codebook(
    file: str,
    net_path: str,
    solver: str,
    out: str,
    options: RunOptions,
    wanted: TrainOptions,
    *,
    image: Shape | None = None,
    force: bool = False,
) -> TrainedCodebook:
    """Train the values of a `.sqz` or `.net`, and write a file of the same codes.

    The weights that it starts from and their constraints are written beside the snapshots.

    Args:
        file: the compressed weights.
        net_path: the net that they are of.
        solver: trains that net.
        out: the file to write, in the layout of its ending.
        options: of the run.
        wanted: of the training; `resume` goes on with the newest snapshot.
        image: (channels, height, width) of the records of data layers that don't define it.
        force: whether `out` may be replaced.

    Raises:
        SqgenError: invalid input; nothing was started.
        RunError: the training did not complete.
    """
    check_file_target(Path(out), force)
    net = read_net(net_path)
    image = image or _image_of_data(net, wanted)
    model = read_compressed(file, net, image)
    layers = find_weighted_layers(net, image)
    settings = Settings(Path(out).suffix.lower()[1:])
    before = encode(model, net, settings, source=file, image=image)
    if wanted.resume:
        plan = TrainingPlan(options, solver, wanted)
    else:
        plan = _plan_start(options, solver, wanted, model, layers)
    result = plan.run()
    if not result.snapshots:
        raise NetError(f"{printable(solver)}: wrote no snapshot of the trained values")
    trained = read_caffemodel(result.snapshots[-1])
    after = encode(trained, net, settings, source=result.snapshots[-1], image=image)
    write_files({Path(out): after.bytes}, force)
    return TrainedCodebook(len(before.bytes), len(after.bytes), result)


def _image_of_data(net: NetDefinition, wanted: TrainOptions) -> Shape | None:
    """Return the shape of the images that are trained or tested on, where their files tell."""
    for phase, source in (("TRAIN", wanted.data), ("TEST", wanted.val_data)):
        image = image_of_data(net, DataOverride(phase, source, None, wanted.mean))
        if image is not None:
            return image
    return None


def _plan_start(
    options: RunOptions,
    solver: str,
    wanted: TrainOptions,
    model: NetParameter,
    layers: Sequence[WeightedLayer],
) -> TrainingPlan:
    """Write the weights and constraints beside the snapshots, and plan; leave none if it fails."""
    prefix = read_solver(replace(options, log=None), solver).param.snapshot_prefix
    constraints = encode_constraints(codebook_constraints(model, layers))
    weights = encode_caffemodel(model, "weights.caffemodel")
    # Named by their contents: a training of another file that may be resumed keeps its own.
    stem = f"{prefix}_codebook_{sha256(constraints + weights).hexdigest()[:12]}"
    files = {Path(f"{stem}.caffemodel"): weights, Path(f"{stem}.npz"): constraints}
    new = {path: data for path, data in files.items() if not path.exists()}
    write_files(new)
    try:
        start = replace(wanted, weights=f"{stem}.caffemodel", constraints=f"{stem}.npz")
        return TrainingPlan(options, solver, start)
    except SqgenError:
        for path in new:
            path.unlink(missing_ok=True)
        raise
