"""Parse fields that only forks of Caffe have: NVCaffe 0.17, Intel Caffe 1.1, SSD's `ceil_mode`.

A file with such fields parses in an extended copy of the schema. A hint (engine, precision, number
of threads) is dropped with a warning. A field that changes what the net computes is dropped if it
is set to what Caffe does anyway, and is an error otherwise.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Any, NamedTuple

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, text_format
from google.protobuf.message import Message

from ..errors import FormatError
from ..text import printable
from .schema import DESCRIPTOR

_FIRST_NUMBER = 100_000  # of the added fields and enum values: above all real ones


class ForkField(NamedTuple):
    """A field that a fork added.

    Attributes:
        fork: the fork's name.
        message, name: the field `name` of `message`.
        type: of the .proto file, or `word`: one of `WORDS`.
        neutral: the value with which Caffe computes the same; None for a hint, which any value is.
    """

    fork: str
    message: str
    name: str
    type: str
    neutral: float | None = None

    @property
    def path(self) -> str:
        """The name in messages."""
        return f"{self.message}.{self.name}"


def _fields() -> Iterator[ForkField]:
    def hints(fork: str, message: str, **types: str) -> Iterator[ForkField]:
        for name, kind in types.items():
            yield ForkField(fork, message, name, kind)

    def neutral(fork: str, message: str, **values: float) -> Iterator[ForkField]:
        for name, value in values.items():
            kind = {bool: "bool", int: "int32", float: "float"}[type(value)]
            yield ForkField(fork, message, name, kind, value)

    nv, intel = "NVCaffe", "Intel Caffe"
    precision = dict.fromkeys(("forward_type", "backward_type"), "word")
    precision |= dict.fromkeys(("forward_math", "backward_math"), "word")
    yield from hints(nv, "LayerParameter", **precision, debug="bool", cudnn_math_override="int32")
    yield from hints(nv, "NetParameter", **{f"default_{name}": "word" for name in precision})
    yield from hints(nv, "NetParameter", global_grad_scale="float", reduce_buckets="int32")
    yield from hints(nv, "NetParameter", global_grad_scale_adaptive="bool")
    yield from hints(nv, "NetParameter", default_conv_algos_override="string")
    yield from hints(nv, "NetParameter", default_cudnn_math_override="int32")
    yield from hints(nv, "NetParameter", eltwise_mem_sharing="bool")
    yield from hints(nv, "TransformationParameter", use_gpu_transform="bool", random_seed="int64")
    yield from hints(nv, "TransformationParameter", forward_packing="word", display="bool")
    yield from hints(nv, "ConvolutionParameter", cudnn_convolution_algo_seeker="word")
    yield from hints(nv, "ConvolutionParameter", conv_algos_override="string")
    yield from hints(nv, "DataParameter", threads="int32", parser_threads="int32", cache="bool")
    yield from hints(nv, "DataParameter", precache="bool")
    yield from hints(nv, "ImageDataParameter", threads="int32", cache="bool", precache="bool")
    yield from hints(nv, "DropoutParameter", engine="word", random_seed="int64")
    yield from hints(nv, "SolverParameter", store_blobs_in_old_format="bool")
    yield from hints(nv, "SolverParameter", solver_data_type="word", eval_type="string")
    yield from hints(nv, "SolverParameter", ap_version="string", show_per_class_result="bool")
    yield from hints(nv, "SolverParameter", test_and_snapshot_last_epochs="int32")
    yield from neutral(nv, "SolverParameter", rampup_interval=0, larc=False, min_lr=0.0)
    yield from neutral(nv, "BatchNormParameter", scale_bias=False)
    yield from neutral(nv, "PoolingParameter", torch_pooling=False)
    yield from neutral(nv, "LossParameter", label_smoothing=0.0)
    yield from neutral(nv, "ImageDataParameter", short_side=0)
    yield from neutral(nv, "DataParameter", shuffle=False)
    yield from neutral(nv, "TransformationParameter", img_rand_resize_lower=0)
    yield from neutral(nv, "TransformationParameter", img_rand_resize_upper=0)
    yield ForkField(nv, "ELUParameter", "lambda", "float", 1.0)

    yield from hints(intel, "NetParameter", engine="string")
    yield from hints(intel, "LayerParameter", engine="string")
    yield from hints(intel, "SolverParameter", engine="string")
    for message in ("BatchNorm", "Concat", "Eltwise", "InnerProduct"):
        yield from hints(intel, f"{message}Parameter", engine="word")
    yield from hints(intel, "ConvolutionParameter", conv_algorithm="string")
    yield from hints(intel, "ReLUParameter", fuse="bool")
    yield from hints(intel, "ConcatParameter", per_fla_fuse="bool")
    yield from neutral(intel, "NetParameter", bn_stats_batch_size=0)
    yield from neutral(intel, "ConvolutionParameter", relu=False, negative_slope=0.0)
    yield from neutral(intel, "InnerProductParameter", relu=False, negative_slope=0.0)
    yield from neutral(intel, "BatchNormParameter", relu=False, stats_batch_size=0)
    yield from neutral(intel, "PoolingParameter", avg_include_pad=True, axis=1)
    yield from neutral(intel, "TransformationParameter", bgr2rgb=False, flow=False, pad=0)
    yield from neutral(intel, "FillerParameter", scale=1.0)
    yield from neutral(intel, "ReshapeParameter", pixelshuffler=1)

    yield from hints("SSD and others", "PoolingParameter", ceil_mode="bool")


FORK_FIELDS = tuple(_fields())
# Values that forks added to Caffe's own Engine enums, and the values of a "word".
ENGINES = ("MKL2017", "MKLDNN")
_PRECISIONS = ("FLOAT", "FLOAT16", "DOUBLE", "INT", "UINT", "INT8")
_LAYOUTS = ("NCHW", "NHWC", "GET", "FINDEX")
WORDS = ("DEFAULT", "CAFFE", "CUDNN", *ENGINES, *_PRECISIONS, *_LAYOUTS)


@lru_cache(maxsize=1)
def _extended_pool() -> descriptor_pool.DescriptorPool:
    """Return the schema with the fields of the forks added."""
    file = descriptor_pb2.FileDescriptorProto.FromString(DESCRIPTOR.read_bytes())
    messages = {message.name: message for message in file.message_type}
    for message in messages.values():
        for enum in message.enum_type:
            if enum.name == "Engine":
                for number, engine in enumerate(ENGINES, _FIRST_NUMBER):
                    enum.value.add(name=engine, number=number)
    for number, field in enumerate(FORK_FIELDS, _FIRST_NUMBER):
        _add_field(messages[field.message], field, number)
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(file.SerializeToString())
    return pool


def _add_field(message: descriptor_pb2.DescriptorProto, field: ForkField, number: int) -> None:
    descriptor = message.field.add(name=field.name, number=number)
    descriptor.label = descriptor_pb2.FieldDescriptorProto.LABEL_OPTIONAL
    if field.type == "word":
        descriptor.type = descriptor_pb2.FieldDescriptorProto.TYPE_ENUM
        descriptor.type_name = f".caffe.{message.name}.ForkWord"
        _add_words(message)
    else:
        descriptor.type = getattr(descriptor_pb2.FieldDescriptorProto, f"TYPE_{field.type.upper()}")


def _add_words(message: descriptor_pb2.DescriptorProto) -> None:
    """Add the enum ForkWord to `message`, less the names that its other enums use."""
    if any(enum.name == "ForkWord" for enum in message.enum_type):
        return
    taken = {value.name for enum in message.enum_type for value in enum.value}
    words = message.enum_type.add(name="ForkWord")
    for number, word in enumerate(WORDS):
        if word not in taken:
            words.value.add(name=word, number=number)


def parse(text: str, message: Message, source: str) -> list[str]:
    """Fill `message` from text with fork fields; return a warning for each dropped field.

    Raises:
        text_format.ParseError: the text has another error.
        FormatError: a fork field changes what the net computes.
    """
    name = message.DESCRIPTOR.full_name
    extended = message_factory.GetMessageClass(_extended_pool().FindMessageTypeByName(name))()
    text_format.Parse(text, extended)
    warnings = dict.fromkeys(_strip(extended, text, source))
    message.ParseFromString(extended.SerializePartialToString())
    return list(warnings)


def _strip(message: Message, text: str, source: str) -> Iterator[str]:
    """Clear every fork field in `message` and below; yield a warning for each."""
    for descriptor, value in list(message.ListFields()):
        if descriptor.number >= _FIRST_NUMBER:
            field = FORK_FIELDS[descriptor.number - _FIRST_NUMBER]
            yield _drop(message, field, value, f"{printable(source)}:{_line(text, field.name)}")
        elif descriptor.message_type is not None:
            for child in value if hasattr(value, "append") else [value]:
                yield from _strip(child, text, source)
        elif descriptor.name == "engine" and value >= _FIRST_NUMBER:
            message.ClearField("engine")
            word = ENGINES[value - _FIRST_NUMBER]
            place = f"{printable(source)}:{_line(text, word)}"
            yield f"{place}: engine {word} (Intel Caffe) is dropped: a hint that changes no result"


def _drop(message: Any, field: ForkField, value: object, place: str) -> str:
    """Clear a fork field and return its warning; `message` is of the extended schema."""
    message.ClearField(field.name)
    if field.name == "ceil_mode":
        mode = "CEIL" if value else "FLOOR"
        number = message.DESCRIPTOR.enum_types_by_name["RoundMode"].values_by_name[mode].number
        if message.HasField("round_mode") and message.round_mode != number:
            raise FormatError(f"{place}: ceil_mode and round_mode contradict each other; keep one")
        message.round_mode = number
        return f"{place}: {field.path} ({field.fork}) is read as Caffe's round_mode: {mode}"
    if field.neutral is not None and value != field.neutral:
        shown = f"{value:g}" if isinstance(value, float) else str(value).lower()
        raise FormatError(
            f"{place}: {field.path} is a field of {field.fork}, and {shown} changes what the net"
            " computes, which Caffe can't do; write it with Caffe's own layers"
        )
    return f"{place}: {field.path} ({field.fork}) is dropped: Caffe computes the same without it"


def _line(text: str, word: str) -> int:
    """Return the line of the first occurrence of a word."""
    match = re.search(rf"\b{word}\b", text)
    return text.count("\n", 0, match.start()) + 1 if match else 1
