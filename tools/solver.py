"""`sqgen solver`."""

from __future__ import annotations

from typing import Any

import click

from ..generator.build import build_solver
from ..generator.presets import PHASES, phases_of
from .completion import one_of
from .design_options import DesignCommand, design_options, select_design
from .terminal import write


@click.command(cls=DesignCommand)
@design_options
@click.option(
    "--phase",
    metavar="|".join(PHASES),
    help="of Dense-Sparse-Dense training; dense: a tenth of the rate",
    shell_complete=one_of(PHASES),
)
def solver(preset: str | None, design_file: str | None, phase: str | None, **options: Any) -> None:
    """Print the solver that trains a net, with the published schedule by default.

    test_iter covers the validation set, and iter_size reaches the effective batch size. The
    published rate of 0.04 is for random weights; fine-tune with --base-lr 0.0001. The preset dsd
    prints the sparse phase's solver, which sqgen train --dsd takes for both phases.

    \b
    Examples:
      sqgen solver --preset residual > solver.prototxt
      sqgen solver --preset dsd --phase dense > solver_dense.prototxt
      sqgen solver --batch-size 64 --gpus 2 --effective-batch 512
      sqgen solver --base-lr 0.0001 --max-iter 500 --effective-batch 32
      sqgen solver --val-images 297 --val-batch-size 27 --max-iter 2000 --cpu
    """
    first = next(iter(phases_of(preset)), None)
    write(build_solver(select_design(preset, design_file, options), phase or first))
