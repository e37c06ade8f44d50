"""What an export takes and returns, whatever its target."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from ..formats.files import write_files
from ..nets.definition import NetDefinition
from ..nets.image_transform import ImageTransform

if TYPE_CHECKING:
    from ..weights.net_arrays import Arrays  # imports NumPy


class TrainedNet(NamedTuple):
    """What is exported.

    Attributes:
        net: a deploy net.
        arrays: name of a layer -> its parameter blobs.
        transform: how images become its input; None where nothing says so.
        labels: of its classes; empty where they are unknown.
    """

    net: NetDefinition
    arrays: Arrays
    transform: ImageTransform | None = None
    labels: tuple[str, ...] = ()


class ExportOptions(NamedTuple):
    """What a user chooses.

    Attributes:
        opset: of ONNX; None is the target's default.
        with_preprocessing: whether an ONNX model takes images rather than Caffe's blob.
        as_bytes: whether these are uint8 in (batch, height, width, channels).
        keep_batch_norm: whether to keep BatchNorm layers, rather than fold them.
        prove: whether to run the files, where that is possible, and compare with the engine.
    """

    opset: int | None = None
    with_preprocessing: bool = False
    as_bytes: bool = False
    keep_batch_norm: bool = False
    prove: bool = True


class Comparison(NamedTuple):
    """How far a model differs from the net that it should equal, run on random inputs.

    Attributes:
        blobs: number of blobs compared.
        largest: the largest difference, relative to its blob's largest element.
        constant: outputs that are the same for all inputs, which proves little.
    """

    blobs: int
    largest: float
    constant: list[str]


class Exported(NamedTuple):
    """The result of an export.

    Attributes:
        files: name -> contents; the first is the model.
        comparison: None where the model was not run.
        warnings: what the user should know, a line each.
        notes: what was done, a line each.
    """

    files: Mapping[str, bytes]
    comparison: Comparison | None
    warnings: list[str]
    notes: list[str]

    def save(self, out: str | os.PathLike[str], force: bool = False) -> list[Path]:
        """Write all files or none, into a folder, or the only one as a file; return their paths.

        Raises:
            OutputError: one can't be written, or exists and `force` is not set.
        """
        is_file = len(self.files) == 1 and Path(out).suffix == Path(*self.files).suffix
        paths = {Path(out) if is_file else Path(out, name): self.files[name] for name in self.files}
        write_files(paths, force)
        return list(paths)
