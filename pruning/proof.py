"""Prove that a pruned net computes what the whole one does without the channels that went."""

from __future__ import annotations

from ..engine.equivalence import Proof, load_engine, prove_rewritten
from ..nets.shapes import require_shapes
from .prune import Pruning


def prove(done: Pruning) -> Proof | None:
    """Run both nets on random inputs; compare the blobs that have all channels in both.

    Returns None of a net without inputs.

    Raises:
        NetError: a blob differs.
        MissingExtraError: PyTorch is not installed.
    """
    nets = done.deploy_nets()
    if nets is None:
        return None
    shapes = [require_shapes(net, "TEST").blobs for net in nets]
    whole = [name for name, shape in shapes[1].items() if shapes[0].get(name) == shape]
    return prove_rewritten(
        load_engine(),
        nets[0],
        done.equal,
        nets[1],
        done.plain,
        blobs=whole,
        tolerance=done.tolerance,
    )
