"""Convert weights between formats, frameworks and nets, and prove what can be run.

What is read becomes a caffemodel (`weight_file.py`), for another net mapped (`map_stored.py`). What
is written for PyTorch has torchvision's names where it computes the same as torchvision's net, else
Caffe's (`torchvision_weights.py`).
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ..errors import NetError
from ..formats.files import check_file_target, display_name, write_files
from ..formats.foreign_weights import TORCH
from ..nets.definition import NetDefinition
from ..nets.image_transform import layer_transform, read_comment, transforming_layer
from ..nets.layer_types import Shape
from ..text import printable
from ..weights.mapping import WeightMapping
from .known_nets import KERAS, KnownNet
from .map_stored import MappingOptions, map_stored
from .normalization import Normalization, from_transform
from .torchvision_weights import Step, as_torchvision, take_caffes_input, torchvision_tensors
from .weight_file import KERAS_HDF5, encode_weights, output_format, read_weights

if TYPE_CHECKING:
    from ..engine.equivalence import Proof
    from .torchvision_module import TorchProof

_MEAN_TOLERANCE = 0.01  # of pixels from 0 to 255


class Conversion(NamedTuple):
    """What was written.

    Attributes:
        out: the file.
        source_format, format: of what was read and written.
        layers: how many with weights it has.
        known: the net of torchvision or Keras that IN or OUT is of; None for others.
        normalization: of the images that OUT takes; None where unknown.
        mapping: to the layers of the target; None without one.
        proof: that source and target compute the same; None where not run.
        torch_proof: that torchvision's net on PyTorch computes the same; None where not run.
        notes: what a user should know, a line each.
    """

    out: str
    source_format: str
    format: str
    layers: int
    known: KnownNet | None
    normalization: Normalization | None
    mapping: WeightMapping | None
    proof: Proof | None
    torch_proof: TorchProof | None
    notes: tuple[str, ...]


def convert_weights(
    source: str | os.PathLike[str],
    out: str | os.PathLike[str],
    target: NetDefinition | None = None,
    trained: NetDefinition | None = None,
    *,
    fold_preprocessing: bool = False,
    image: Shape | None = None,
    partial: bool = False,
    ignore_bypass: bool = False,
    proof: bool = True,
    force: bool = False,
) -> Conversion:
    """Convert a file of weights; its contents say what it is, the suffix of `out` what to write.

    Args:
        source: a caffemodel, Caffe's or Keras's HDF5, an npz, safetensors, PyTorch's state dict,
            or compressed weights.
        out: `.caffemodel`, `.h5` (Caffe's), `.keras.h5`, `.npz`, `.safetensors` or `.pth`.
        target: a net that gets the weights; None keeps the layers.
        trained: the net that they are of; None takes what the file says.
        fold_preprocessing: change the first convolution so that it takes what OUT's nets do:
            torchvision's input in a file of torchvision's names, else pixels as BGR from 0 to 255,
            minus the mean.
        image: (channels, height, width) of images, where data layers don't say.
        partial: allow layers of the target without weights.
        ignore_bypass: leave out bypasses that only one net has.
        proof: whether to run what can be run.
        force: replace `out`.

    Raises:
        FormatError: the source can't be read, is damaged, or would run code.
        NetError: weights don't fit the target, a proof fails, or nothing can be folded.
        OutputError: `out` can't be written, or exists and `force` is not set.
        MissingExtraError: the package that reads or writes a format is not installed.
    """
    options = MappingOptions(image, partial, ignore_bypass, proof)
    shown, out = display_name(source), os.fspath(out)
    kind = output_format(out)
    check_file_target(Path(out), force)
    file = read_weights(source, trained or target)
    if file.known is not None and trained is not None:
        raise NetError(f"{shown}: is of {file.known.name}, whose net is known; leave out --from")
    net = trained or NetDefinition(file.model)
    normalization = file.known.normalization if file.known else net_normalization(net)
    step = Step(file.model, file.known, normalization, notes=tuple(file.notes))
    if kind != TORCH:
        step = take_caffes_input(step, fold_preprocessing, proof, shown)
    mapped = None
    if target is not None:
        mapped = map_stored(step.model, shown, target, trained, options, by_names=True)
        step = step._replace(model=mapped.model)
    if kind == TORCH:
        own = trained if target is None else None
        step = as_torchvision(step, own, fold_preprocessing, proof, shown)
    if target is not None:
        step = _compare_input(step, printable(target.source), net_normalization(target))
    if kind == KERAS_HDF5:
        step = _compare_input(step, "preprocess_input of Keras", KERAS)
    write_files({Path(out): _encode(step, out, kind)}, force)
    return Conversion(
        out,
        file.format,
        kind,
        sum(bool(layer.blobs) for layer in step.model.layer),
        step.known,
        step.normalization,
        mapped and mapped.mapping,
        mapped and mapped.proof,
        step.proof,
        step.notes,
    )


def _encode(step: Step, out: str, kind: str) -> bytes:
    if kind != TORCH or step.known is None:
        return encode_weights(step.model, out)
    from ..formats.torch_file import write_state_dict

    return write_state_dict(torchvision_tensors(step.known, step.model))


def net_normalization(net: NetDefinition) -> Normalization | None:
    """Return how a net's comment or data layer normalizes images; None where unknown."""
    transform, layer = read_comment(net), transforming_layer(net)
    if transform is None and layer is not None:
        transform = layer_transform(layer, channels=3)
    return from_transform(transform)


def _compare_input(step: Step, who: str, given: Normalization | None) -> Step:
    """Note where who runs the weights normalizes images in another way than they need."""
    needed = step.normalization
    if given is None or needed is None:
        return step
    same = given.channels == needed.channels and given.scale == needed.scale
    if same and np.allclose(given.mean, needed.mean, rtol=0, atol=_MEAN_TOLERANCE):
        return step
    return step.noting(f"{who} gives {given}; these weights need {needed}")
