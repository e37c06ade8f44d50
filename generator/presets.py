"""Presets: the designs of the published nets."""

from __future__ import annotations

from functools import cache

from ..errors import DesignError
from ..text import did_you_mean, printable
from .bypass import WORDS
from .design import Design

_SSD = {
    "train_source": "/ssd/dataset/ilsvrc12_train_lmdb/",
    "val_source": "/ssd/dataset/ilsvrc12_val_lmdb/",
}
_RESIDUAL = {"style": "residual", "val_batch_size": 50, **_SSD}
_GENERATOR = {
    "style": "generator",
    "bypass": "complex",
    "bypass_relu": True,
    "concat_order": "3x3,1x1",
    "conv10_pad": 0,
    **_SSD,
}
_BATCH_NORM = {"batch_norm": True, "dropout": 0.0}
# SqueezeNet-DSD-Training tells of the dense phase only: 20 epochs at 1e-4. That the sparse one
# before it has ten times the rate is the method's (arXiv:1607.04381); its length is reconstructed.
_DSD = {"base_lr": 1e-3, "lr_policy": "fixed", "max_iter": 50_046}

_OPTIONS: dict[str, dict[str, object]] = {
    "v1.0": {"style": "v1.0", "mirror": False},
    "v1.1": {"style": "v1.1", "version": "1.1", "mirror": False},
    "residual": {**_RESIDUAL, "bypass": "simple"},
    "complex": {**_RESIDUAL, "bypass": "complex"},
    "dsd": {**_RESIDUAL, "style": "firenet", **_DSD},
    "deep-compression": {**_RESIDUAL, "style": "firenet"},
    "generator-small": _GENERATOR,
    "generator-small-bn": {**_GENERATOR, **_BATCH_NORM},
    "generator-large": {**_GENERATOR, "squeeze_ratio": 0.5},
    "generator-large-bn": {**_GENERATOR, "squeeze_ratio": 0.5, **_BATCH_NORM},
}

PRESETS = tuple(_OPTIONS)

SPARSE, DENSE = "sparse", "dense"
PHASES = (SPARSE, DENSE)
_PHASED = ("dsd",)


def phases_of(name: str | None) -> tuple[str, ...]:
    """Return the phases of a preset's training; none of a training in one."""
    return PHASES if str(name).lower() in _PHASED else ()


@cache
def preset(name: str) -> Design:
    """Return the design of a published net.

    Raises:
        DesignError: no such preset.
    """
    known = {other.lower(): other for other in PRESETS}.get(str(name).lower())
    if known is None:
        hint = did_you_mean(str(name), PRESETS) or f"; one of {', '.join(PRESETS)}"
        if name in WORDS:
            hint = f"; --bypass {name} places bypasses, and residual is the published net"
        raise DesignError(f"--preset {printable(str(name))}: not known{hint}")
    return Design(**_OPTIONS[known])  # type: ignore[arg-type]
