"""Caffe's messages, in a descriptor pool of their own.

A process may hold pycaffe, another converter's `caffe_pb2` or an older copy of the schema: the
default pool takes only one `caffe.proto`, so ours never goes there (BVLC/caffe#6970).
The descriptor is compiled ahead from `caffe.proto` by `make schema`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from google.protobuf import descriptor_pool, message_factory

PROTO = Path(__file__).with_name("caffe.proto")
DESCRIPTOR = Path(__file__).with_name("caffe.desc")

_pool = descriptor_pool.DescriptorPool()
_pool.AddSerializedFile(DESCRIPTOR.read_bytes())


def message_class(name: str) -> Any:
    """The class of a message of the schema, such as `NetParameter`.

    Its fields are known only at run time, hence `Any`.
    """
    return message_factory.GetMessageClass(_pool.FindMessageTypeByName(f"caffe.{name}"))


NetParameter = message_class("NetParameter")
SolverParameter = message_class("SolverParameter")

TRAIN = 0
TEST = 1
PHASES = {"TRAIN": TRAIN, "TEST": TEST}

__all__ = [
    "PHASES",
    "TEST",
    "TRAIN",
    "NetParameter",
    "SolverParameter",
    "message_class",
]
