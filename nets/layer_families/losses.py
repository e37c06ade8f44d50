"""Losses: one value for a batch."""

from __future__ import annotations

from math import prod

from ...formats.schema import LayerParameter
from ..windows import ShapeError
from .base import Shape, ShapeRule, Shapes, four_axes, register, shape_list
from .classification import check_labels


def _check_batch(bottoms: Shapes) -> None:
    """Check that the first two bottoms have as many records (LossLayer::Reshape)."""
    if not bottoms[0] or bottoms[0][:1] != bottoms[1][:1]:
        raise ShapeError(f"its bottoms are of other batches: {shape_list(bottoms[:2])}")


def _softmax_loss(layer: LayerParameter, bottoms: Shapes, image: Shape | None) -> list[Shape]:
    """One top: Caffe allows a second, the probabilities, but then fails on its loss_weight."""
    check_labels(bottoms, layer.softmax_param.axis)
    _check_batch(bottoms)
    return [()]


def _infogain_loss(layer: LayerParameter, bottoms: Shapes, image: Shape | None) -> list[Shape]:
    """A second top has the probabilities; the matrix is a third bottom or a file."""
    param = layer.infogain_loss_param
    classes = bottoms[0][check_labels(bottoms, param.axis)]
    _check_batch(bottoms)
    if layer.loss_param.HasField("normalize"):
        raise ShapeError("normalize is deprecated here; give normalization")
    if len(bottoms) == 2 and not param.source:
        raise ShapeError("give the infogain matrix as source, or as a third bottom")
    if len(bottoms) == 3 and prod(bottoms[2]) != classes**2:
        raise ShapeError(f"the infogain matrix has shape {bottoms[2]}, not {(classes, classes)}")
    if len(layer.top) == 2 and not layer.loss_weight:
        raise ShapeError("with two tops, give a loss_weight to each: 1 for the loss, then 0")
    return [(), bottoms[0]][: max(1, len(layer.top))]


def _elementwise_loss(layer: LayerParameter, bottoms: Shapes, image: Shape | None) -> list[Shape]:
    if bottoms[0][:1] != bottoms[1][:1] or prod(bottoms[0]) != prod(bottoms[1]):
        raise ShapeError(f"its bottoms differ in shape: {shape_list(bottoms)}")
    _check_batch(bottoms)
    return [()]


def _hinge_loss(layer: LayerParameter, bottoms: Shapes, image: Shape | None) -> list[Shape]:
    """All elements of a record but its label's are scores of wrong classes."""
    _check_batch(bottoms)
    four_axes(bottoms[0])
    return [()]


def _multinomial_loss(layer: LayerParameter, bottoms: Shapes, image: Shape | None) -> list[Shape]:
    _check_batch(bottoms)
    four_axes(bottoms[0])
    if four_axes(bottoms[1])[1:] != (1, 1, 1):
        raise ShapeError(f"takes one label per record, not {bottoms[1]}")
    return [()]


def _contrastive_loss(layer: LayerParameter, bottoms: Shapes, image: Shape | None) -> list[Shape]:
    _check_batch(bottoms)
    a, b, labels = map(four_axes, bottoms)
    if a[1:] != (a[1], 1, 1) or b != a:
        raise ShapeError(f"takes two blobs of feature vectors, not {shape_list(bottoms[:2])}")
    # Of fewer labels than pairs, Caffe reads what lies behind them in memory.
    if labels[1:] != (1, 1, 1) or labels[0] < a[0]:
        raise ShapeError(f"takes one label for each of {a[0]} pairs, not {bottoms[2]}")
    return [()]


def _register_loss(
    name: str,
    top_shapes: ShapeRule,
    bottom_count: tuple[int, int] = (2, 2),
    maximum_tops: int = 1,
    undifferentiable: tuple[int, ...] = (1,),
) -> None:
    register(
        name,
        top_shapes=top_shapes,
        bottom_count=bottom_count,
        top_count=(0, maximum_tops),
        undifferentiable=undifferentiable,
        ends_net=True,
        automatic_tops=1,
    )


_register_loss("SoftmaxWithLoss", _softmax_loss)
_register_loss("InfogainLoss", _infogain_loss, (2, 3), maximum_tops=2, undifferentiable=(1, 2))
_register_loss("MultinomialLogisticLoss", _multinomial_loss)
_register_loss("HingeLoss", _hinge_loss)
_register_loss("SigmoidCrossEntropyLoss", _elementwise_loss)
_register_loss("EuclideanLoss", _elementwise_loss, undifferentiable=())
_register_loss("ContrastiveLoss", _contrastive_loss, (3, 3), undifferentiable=())
