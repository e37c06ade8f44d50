"""Whether all ranks are of one run: what they compare before the first step."""

from __future__ import annotations

import json
from collections.abc import Sequence
from hashlib import sha256

import torch

from ...compress.bits_file import BitsFile, format_bits_file
from ...errors import NetError
from ...formats import prototxt
from ...formats.schema import NetParameter, SolverParameter
from ...nets.data_layers import data_param, has_countable_records
from ...nets.dataset import inspect_dataset
from ...text import printable
from ...version import __version__
from ..executor import Executor
from .world import World

# Fields of a solver that may differ: files, the device, and what rank 0 alone acts on.
_OF_A_RANK = """net net_param train_net train_net_param test_net test_net_param weights
    snapshot_prefix solver_mode device_id test_iter test_interval test_initialization display
    snapshot snapshot_after_train debug_info random_seed test_state train_state""".split()
_DIGITS = 16


def versions() -> dict[str, str]:
    """Return name -> version of what ranks compute and talk with."""
    return {"sqgen": __version__, "PyTorch": torch.__version__.partition("+")[0]}


def facts(
    net: Executor,
    solver: SolverParameter,
    precision: str,
    constraints: str,
    bits: BitsFile | None,
) -> dict[str, str]:
    """Return name -> what the ranks of a training have to have in common.

    Args:
        net: the trained net.
        solver: its solver.
        precision: of the computation.
        constraints: the digest of the weights' constraints; empty without any.
        bits: those of the flags; None without any.

    Raises:
        FormatError: the data can't be read.
    """
    return {
        **net_facts(net, precision),
        "solver": _digest(_of_all_ranks(solver)),
        "constraints": constraints or "none",
        "quantization": "none" if bits is None else _text_digest(format_bits_file(bits)),
    }


def net_facts(net: Executor, precision: str) -> dict[str, str]:
    """Return name -> what ranks that run a net have to have in common.

    Raises:
        FormatError: the data can't be read.
    """
    found = {
        "net": _digest(_without_sources(net)),
        "precision": precision,
        "kind of device": net.device.type,
    }
    for layer in net.definition.layers(net.phase):
        if has_countable_records(layer):
            where = f"{net.definition.place(layer)}: layer '{printable(layer.name)}'"
            digest = inspect_dataset(layer, where, all_labels=False).digest
            found[f"data of layer '{printable(layer.name)}'"] = digest or "unknown"
    return found


def require_same(world: World, own: dict[str, str]) -> None:
    """Compare facts over all ranks.

    Raises:
        NetError: a rank's differ from rank 0's; on all ranks, with its number and the fact's name.
    """
    told = [json.loads(text) for text in world.collect(json.dumps(own))]
    problem = world.tell(_difference(told))
    if problem:
        world.collect("read")  # before rank 0 ends, and its store
        raise NetError(problem)


def _difference(told: Sequence[dict[str, str]]) -> str:
    for rank, theirs in enumerate(told):
        for name in {**told[0], **theirs}:
            mine, other = told[0].get(name, "none"), theirs.get(name, "none")
            if mine != other:
                return (
                    f"rank {rank} has another {name} than rank 0: {printable(other)}, not"
                    f" {printable(mine)}; start all ranks with the same one"
                )
    return ""


def _digest(message: NetParameter | SolverParameter) -> str:
    return _text_digest(prototxt.debug_text(message))


def _text_digest(text: str) -> str:
    return sha256(text.encode()).hexdigest()[:_DIGITS]


def _without_sources(net: Executor) -> NetParameter:
    """Return the net's layers without the paths of their data, which differ between machines."""
    plain = NetParameter()
    for layer in net.definition.layers(net.phase):
        copied = plain.layer.add()
        copied.CopyFrom(layer)
        if has_countable_records(layer):
            data_param(copied).ClearField("source")
    return plain


def _of_all_ranks(solver: SolverParameter) -> SolverParameter:
    shared = SolverParameter()
    shared.CopyFrom(solver)
    for name in _OF_A_RANK:
        shared.ClearField(name)  # type: ignore[arg-type]
    return shared
