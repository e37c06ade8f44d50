"""Caffe's messages, in a descriptor pool of their own.

    from .schema import LayerParameter, NetParameter

Each message of `caffe.proto` is a name of this module; `schema.pyi` has their types. A process may
hold pycaffe, another converter's `caffe_pb2` or an older copy of the schema: the default pool takes
only one `caffe.proto`, so ours never goes there (BVLC/caffe#6970). `make schema` compiles
`caffe.proto` into the descriptor and the types.
"""

from __future__ import annotations

from pathlib import Path

from google.protobuf import descriptor_pool, message_factory
from google.protobuf.message import Message

PROTO = Path(__file__).with_name("caffe.proto")
DESCRIPTOR = Path(__file__).with_name("caffe.desc")

_pool = descriptor_pool.DescriptorPool()
_pool.AddSerializedFile(DESCRIPTOR.read_bytes())

TRAIN = 0
TEST = 1
PHASES = {"TRAIN": TRAIN, "TEST": TEST}


def message_class(name: str) -> type[Message]:
    """Return the class of a message whose name is known at run time only.

    Raises:
        KeyError: `caffe.proto` has no such message.
    """
    return message_factory.GetMessageClass(_pool.FindMessageTypeByName(f"caffe.{name}"))


def __getattr__(name: str) -> type[Message]:
    """Return the class of a message, made when it is first needed."""
    try:
        return message_class(name)
    except KeyError:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}") from None
