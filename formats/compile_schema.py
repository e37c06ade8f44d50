"""`make schema`: compile `caffe.proto` into `caffe.desc` (needs grpcio-tools, a dev extra).

The descriptor, not generated Python, is committed: one file loads on every protobuf from 4.25.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from google.protobuf import descriptor_pb2

from .files import write_files
from .schema import DESCRIPTOR, PROTO


def compile_schema() -> bytes:
    """The serialized FileDescriptorProto of `caffe.proto`."""
    from grpc_tools import protoc

    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "set"
        arguments = ["protoc", f"-I{PROTO.parent}", f"--descriptor_set_out={out}", PROTO.name]
        if protoc.main(arguments) != 0:
            raise SystemExit(f"{PROTO} does not compile")
        files = descriptor_pb2.FileDescriptorSet.FromString(out.read_bytes()).file
    return bytes(files[0].SerializeToString(deterministic=True))


if __name__ == "__main__":
    write_files({DESCRIPTOR: compile_schema()}, force=True)
