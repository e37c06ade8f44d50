"""What a loss is divided by: the `normalization` of its loss_param, whose default its type sets."""

from __future__ import annotations

from ..formats.schema import LayerParameter, LossParameter

VALID, BATCH_SIZE = LossParameter.VALID, LossParameter.BATCH_SIZE
# Types of losses with a normalization -> the one where loss_param says none.
NORMALIZED_LOSSES = {
    "SoftmaxWithLoss": VALID,
    "InfogainLoss": VALID,
    "SigmoidCrossEntropyLoss": BATCH_SIZE,
}


def loss_normalization(layer: LayerParameter) -> int:
    """Return a LossParameter.NormalizationMode; `normalize` is the older field."""
    loss = layer.loss_param
    if loss.HasField("normalization"):
        return loss.normalization
    if loss.HasField("normalize"):
        return VALID if loss.normalize else BATCH_SIZE
    return NORMALIZED_LOSSES[layer.type]
