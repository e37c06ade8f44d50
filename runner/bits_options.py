"""Which layers of a run are quantized, and how: a file of bits, or bits for all layers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..compress.bits_file import BitsFile, read_bits_file
from ..errors import SqgenError
from ..formats.snapshot_files import has_written_bits
from ..nets.definition import NetDefinition
from .engines import TORCH, Engine


@dataclass(frozen=True)
class BitsOptions:
    """The options that quantize a net, in simulation.

    Attributes:
        file: of bits, or None.
        bits, activation_bits: of weights, and of what layers read, where the file has none.
    """

    file: str | None = None
    bits: int | None = None
    activation_bits: int | None = None

    def __bool__(self) -> bool:
        return any(value is not None for value in self.as_dict().values())

    def as_dict(self) -> dict[str, Any]:
        """Return plain data for JSON: the options by their names."""
        return {"quantize": self.file, "bits": self.bits, "activation-bits": self.activation_bits}

    @property
    def flags(self) -> list[str]:
        """The engine's flags."""
        return [f"--{name}={value}" for name, value in self.as_dict().items() if value is not None]

    def quantizes(self, snapshot: str | None = None) -> bool:
        """Return whether a run quantizes, or the one that it resumes did."""
        return bool(self) or (snapshot is not None and has_written_bits(snapshot))

    def read(self) -> BitsFile:
        """Return the bits of layers.

        Raises:
            FormatError: the file can't be read.
            DesignError: bits that there are not.
        """
        file = read_bits_file(self.file) if self.file is not None else BitsFile()
        return file.with_default_bits(self.bits, self.activation_bits)

    def check_layers(self, net: NetDefinition) -> None:
        """Check that a net has the layers.

        Raises:
            SqgenError: it has not, or the bits can't be read.
        """
        if self:
            self.read().check_layers(net.param.layer)

    def check(self, net: NetDefinition, engine: Engine, snapshot: str | None = None) -> None:
        """Check that a net has the layers, and that the engine quantizes.

        Args:
            net: the one that runs.
            engine: that runs it.
            snapshot: the solver state that a training resumes from, or None.

        Raises:
            SqgenError: it has not, or does not.
        """
        self.check_layers(net)
        if self.quantizes(snapshot) and engine.kind != TORCH:
            raise SqgenError(
                f"{engine.name} is a real caffe, which quantizes no layers; give --engine torch"
            )
