"""Weights of torchvision's SqueezeNets for Caffe, and back: names, inputs, and the proof of both.

Both directions end in a comparison of what torchvision's net computes on PyTorch with what the
Caffe net does on the engine, for the same images.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ..errors import NetError
from ..extras import required
from ..formats.caffemodel import blob_array, fill_blob
from ..formats.schema import NetParameter
from ..nets.definition import NetDefinition
from ..weights.net_arrays import Arrays
from .known_nets import TORCHVISION, KnownNet, likely_torchvision_net, torchvision_names
from .map_stored import MappingOptions, map_stored
from .normalization import BGR, Normalization, fold

if TYPE_CHECKING:
    from .torchvision_module import TorchProof

FOLD = "--fold-preprocessing"
_STEM = "conv1"  # reads the image, without padding


class Step(NamedTuple):
    """Weights on their way from one format to another.

    Attributes:
        model: the weights, under Caffe's names.
        known: the net of another framework that they are of.
        normalization: of the images that they take; None where unknown.
        proof: that both nets compute the same; None where not run.
        notes: what a user should know, a line each.
    """

    model: NetParameter
    known: KnownNet | None
    normalization: Normalization | None
    proof: TorchProof | None = None
    notes: tuple[str, ...] = ()

    def noting(self, *notes: str) -> Step:
        """Return the step with more notes."""
        return self._replace(notes=(*self.notes, *notes))


def take_caffes_input(step: Step, folding: bool, proving: bool, shown: str) -> Step:
    """Prove weights of torchvision, and let them take BGR without its mean, if asked.

    Args:
        step: weights of any net.
        folding: whether conv1 is to absorb order and scale of the channels. The mean stays the
            data's, which is exact in any net.
        proving: whether to run both nets.
        shown: the weights' file.

    Raises:
        NetError: there is nothing to fold, or the nets differ.
    """
    known, source = step.known, step.normalization
    if known is None or source is None:
        if folding:
            raise NetError(f"{shown}: is of none of torchvision's nets, whose input {FOLD} folds")
        return step
    if source.is_caffes:
        if folding:
            step = step.noting("nothing is to fold: it takes what Caffe's nets do")
        return step.noting(
            f"{known.name} is not run: names and shapes alone show that it is this net"
        )
    arrays = _arrays(step.model)
    state = torchvision_tensors(known, step.model)
    target = source
    if folding:
        target = Normalization(BGR, source.reordered(BGR).mean, (1.0, 1.0, 1.0))
        arrays[_STEM] = _fold_stem(step.model, source, target)
    else:
        step = step.noting(f"takes {source}, as no data layer of Caffe gives; {FOLD} changes that")
    step = step._replace(normalization=target)
    return _prove(step, state, arrays, (source, target)) if proving else step


def as_torchvision(
    step: Step, net: NetDefinition | None, folding: bool, proving: bool, shown: str
) -> Step:
    """Bring weights into the layers of torchvision's net, where it computes the same; prove it.

    Args:
        step: weights of any net.
        net: that net; None takes what the weights say.
        folding: whether conv1 is to take torchvision's input, means included.
        proving: whether to run the nets.
        shown: the weights' file.

    Returns:
        The step, whose `known` is torchvision's net; None where it is another net.

    Raises:
        NetError: what is to be folded is not known, or the nets differ.
    """
    known = likely_torchvision_net(step.model)
    if known is None:
        return _as_caffe(step, folding, "no SqueezeNet of torchvision has such layers")
    try:
        options = MappingOptions(proof=proving)
        model, mapping, _ = map_stored(step.model, shown, known.net(), net, options, by_names=True)
    except NetError as error:
        return _as_caffe(step, folding, str(error))
    if mapping.unused:
        return _as_caffe(step, folding, f"it has no layer for {mapping.unused[0]}")
    source = step.normalization
    arrays = _arrays(model)
    if folding and source is None:
        raise NetError(
            f"{shown}: its input is not known: give the net with its data layer, or the comment of"
            " its preprocessing: --from NET"
        )
    if folding and source is not None and source != TORCHVISION:
        _fold_stem(model, source, TORCHVISION)
    elif source != TORCHVISION:
        takes = "an input that is not known" if source is None else str(source)
        step = step.noting(f"takes {takes}, not torchvision's; {FOLD} changes that")
    target = TORCHVISION if folding else source
    step = step._replace(model=model, known=known, normalization=target)
    inputs = (target or TORCHVISION, source or TORCHVISION)
    return _prove(step, torchvision_tensors(known, model), arrays, inputs) if proving else step


def _as_caffe(step: Step, folding: bool, reason: str) -> Step:
    """Keep Caffe's names, and say why.

    Raises:
        NetError: torchvision's input was asked for.
    """
    if folding:
        raise NetError(f"{FOLD}: not torchvision's net: {reason}")
    return step._replace(known=None).noting(f"has Caffe's names, not torchvision's: {reason}")


def torchvision_tensors(known: KnownNet, model: NetParameter) -> dict[str, np.ndarray]:
    """Return the state dict of torchvision's net from weights under Caffe's names."""
    names = torchvision_names(known.design.version)
    parts = ("weight", "bias")
    return {
        f"{names[layer]}.{part}": array
        for layer, arrays in _arrays(model).items()
        for part, array in zip(parts, arrays, strict=True)
    }


def _arrays(model: NetParameter) -> dict[str, list[np.ndarray]]:
    return {layer.name: list(map(blob_array, layer.blobs)) for layer in model.layer if layer.blobs}


def _fold_stem(
    model: NetParameter, source: Normalization, target: Normalization
) -> list[np.ndarray]:
    """Fold the difference of two inputs into the first convolution; return its new blobs."""
    stem = next(layer for layer in model.layer if layer.name == _STEM)
    blobs = fold(list(map(blob_array, stem.blobs)), source, target)
    del stem.blobs[:]
    for array in blobs:
        fill_blob(stem.blobs.add(), array)
    return blobs


def _prove(
    step: Step,
    state: Mapping[str, np.ndarray],
    arrays: Arrays,
    inputs: tuple[Normalization, Normalization],
) -> Step:
    """Compare torchvision's net of `state` with the Caffe net of `arrays`."""
    assert step.known is not None
    purpose = "the proof that both nets compute the same"
    with required("torch", purpose, ", and --no-proof goes without"):
        from .torchvision_module import EXACT, ROUNDED, prove_torchvision
    if len(arrays) < len(torchvision_names(step.known.design.version)):
        return step.noting("not run, since the classifier has no weights")
    tolerance = EXACT if inputs[0] == inputs[1] else ROUNDED
    proof = prove_torchvision(step.known, state, arrays, inputs, tolerance)
    return step._replace(proof=proof)
