"""Styles of writing the same net: the generator's own, `clean`, and those of the published files.

Each value is a habit of one group of authors, seen in `models/`; a preset names its style.
"""

from __future__ import annotations

from typing import NamedTuple

ANY_PHASE = "any"  # `include { }`: a rule that matches every state


class Style(NamedTuple):
    """Habits that differ between published files of the same net.

    Attributes:
        name: the net's name, or empty for none.
        naming: of the layers.
        loss_phase, accuracy_phase: the include rule, `ANY_PHASE`, or None for no rule.
        top1: the name of the top-1 accuracy.
        top1_k: whether top-1 sets `top_k: 1`, the default.
        mirror_off: whether the TEST data layer sets `mirror: false`.
        explicit: whether defaults are written out (pad 0, stride 1, zero bias, SUM).
        multipliers: whether convolutions set lr_mult 1 and 2, decay_mult 1 and 0.
        bypass_first: whether an Eltwise lists the bypass before the concat.
        bare_batch_norm: BatchNorm not in place, without Scale, with its multipliers,
            and again after every Eltwise.
        deploy_input: how a deploy net defines its input: `layer`, `input_shape` or `input_dim`.
        deploy_batch: its batch size.
        deploy_dropout, deploy_fillers: whether it keeps Dropout and fillers.
        deploy_softmax: whether it ends in probabilities.
    """

    name: str = ""
    naming: str = "squeezenet"
    loss_phase: str | None = None
    accuracy_phase: str | None = "TEST"
    top1: str = "accuracy_top1"
    top1_k: bool = False
    mirror_off: bool = False
    explicit: bool = False
    multipliers: bool = False
    bypass_first: bool = True
    bare_batch_norm: bool = False
    deploy_input: str = "layer"
    deploy_batch: int = 1
    deploy_dropout: bool = False
    deploy_fillers: bool = False
    deploy_softmax: bool = True


STYLES = {
    "clean": Style(),
    "v1.0": Style(
        loss_phase="TRAIN",
        top1="accuracy",
        deploy_input="input_shape",
        deploy_batch=10,
        deploy_dropout=True,
    ),
    "v1.1": Style(accuracy_phase=None, top1="accuracy", deploy_batch=10, deploy_dropout=True),
    "residual": Style(
        naming="residual",
        loss_phase=ANY_PHASE,
        accuracy_phase=ANY_PHASE,
        mirror_off=True,
        top1_k=True,
    ),
    "firenet": Style(
        name="FireNet",
        naming="firenet",
        mirror_off=True,
        top1_k=True,
        deploy_input="input_dim",
        deploy_dropout=True,
        deploy_fillers=True,
        deploy_softmax=False,
        loss_phase=ANY_PHASE,
        accuracy_phase=ANY_PHASE,
    ),
    "generator": Style(
        name="large_SqueezeNet",
        naming="generator",
        accuracy_phase=ANY_PHASE,
        mirror_off=True,
        explicit=True,
        multipliers=True,
        bypass_first=False,
        bare_batch_norm=True,
    ),
}
