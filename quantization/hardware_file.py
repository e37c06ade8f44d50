"""Hardware as a roofline: how fast it multiplies numbers of some bits, and reads memory.

    format = 1
    name = "bit-serial, edge"
    batch = 1
    bits = [2, 4, 8]                 # of weights, by row; of activations, by column
    macs_per_second = [[8e11, 4e11, 2e11], [4e11, 2e11, 1e11], [2e11, 1e11, 5e10]]
    bytes_per_second = 6.4e9
    picojoules_per_mac = [[0.1, 0.2, 0.3], [0.2, 0.3, 0.4], [0.3, 0.4, 0.5]]   # may be left out,
    picojoules_per_byte = 160                                                  # both

Numbers of bits between those of the file take as long as the next higher; with packed = false, as
much memory, too.
"""

from __future__ import annotations

import math
import os
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ..errors import FormatError
from ..formats import toml
from ..formats.files import read_bytes
from ..json_form import from_json
from ..text import did_you_mean, printable

FORMAT = 1
FOLDER = Path(__file__).parent / "hardware"
_LIMIT = 1 << 20
_MOST_BITS = 64

Table = tuple[tuple[float, ...], ...]


@dataclass(frozen=True)
class Hardware:
    """What a file of hardware says.

    Attributes:
        name: of the hardware.
        batch: images that it computes at a time: weights are read once for all of them.
        bits: rising.
        macs_per_second: by bits of weights and of activations.
        bytes_per_second: of memory.
        picojoules_per_mac: likewise, and
        picojoules_per_byte: of memory; None where they are not known.
        packed: whether numbers take as many bits of memory as they have; else the next higher.

    Raises:
        ValueError: a table has holes, or a number is not above 0.
    """

    name: str
    batch: int
    bits: tuple[int, ...]
    macs_per_second: Table
    bytes_per_second: float
    picojoules_per_mac: Table | None = None
    picojoules_per_byte: float | None = None
    packed: bool = True

    def __post_init__(self) -> None:
        if not 1 <= self.batch <= 1 << 20:
            raise ValueError(f"batch is {self.batch}; give 1 or more")
        if not self.bits or list(self.bits) != sorted(set(self.bits)):
            raise ValueError("bits are numbers that rise, such as [2, 4, 8]")
        if not 1 <= self.bits[0] <= self.bits[-1] <= _MOST_BITS:
            raise ValueError(f"bits are 1 to {_MOST_BITS}")
        _check_number("bytes_per_second", self.bytes_per_second)
        self._check_table("macs_per_second", self.macs_per_second)
        if (self.picojoules_per_mac is None) != (self.picojoules_per_byte is None):
            raise ValueError("give picojoules_per_mac and picojoules_per_byte, or neither")
        if self.picojoules_per_mac is not None and self.picojoules_per_byte is not None:
            self._check_table("picojoules_per_mac", self.picojoules_per_mac)
            _check_number("picojoules_per_byte", self.picojoules_per_byte)

    def _check_table(self, name: str, table: Table) -> None:
        size = len(self.bits)
        if len(table) != size:
            raise ValueError(f"{name} has {len(table)} rows for {size} bits of weights")
        for bits, row in zip(self.bits, table, strict=True):
            if len(row) != size:
                raise ValueError(
                    f"{name}: the row of {bits} bits has {len(row)} numbers for {size} bits of"
                    " activations"
                )
            for number in row:
                _check_number(f"{name}: the row of {bits} bits", number)

    def mac_rate(self, weights: float, activations: float) -> float:
        """Return the MACs a second of numbers of so many bits."""
        return self._at(self.macs_per_second, weights, activations)

    def mac_energy(self, weights: float, activations: float) -> float:
        """Return the picojoules of a MAC of numbers of so many bits."""
        assert self.picojoules_per_mac is not None
        return self._at(self.picojoules_per_mac, weights, activations)

    def memory_bits(self, bits: float) -> float:
        """Return how many bits of memory a number of so many takes."""
        return bits if self.packed else self.bits[bisect_left(self.bits, bits)]

    def _at(self, table: Table, weights: float, activations: float) -> float:
        row, column = (bisect_left(self.bits, each) for each in (weights, activations))
        return table[row][column]


def _check_number(name: str, number: float) -> None:
    if not (math.isfinite(number) and number > 0):
        raise ValueError(f"{name} has {number}; give a number above 0")


def known_hardware() -> list[str]:
    """Return the names of the files that come with sqgen."""
    return sorted(path.stem for path in FOLDER.glob("*.toml"))


def read_hardware(given: str) -> Hardware:
    """Read hardware that comes with sqgen, by name, or a file.

    Raises:
        FormatError: there is none, or it can't be read, has holes or anything else.
    """
    known = known_hardware()
    if given in known:
        return read_hardware_file(FOLDER / f"{given}.toml")
    if not given.endswith(".toml") and not os.path.lexists(given):
        hint = did_you_mean(given, known) or f"; there are {', '.join(known)}, or give a file"
        raise FormatError(f"--hardware {printable(given)}: is unknown{hint}")
    return read_hardware_file(given)


def read_hardware_file(path: str | os.PathLike[str]) -> Hardware:
    """Read a file of hardware.

    Raises:
        FormatError: it can't be read, has holes or anything else.
    """
    shown = printable(os.fspath(path))
    table: dict[str, Any] = toml.parse(read_bytes(path, _LIMIT, "hardware"), os.fspath(path))
    version = table.pop("format", None)
    if version != FORMAT:
        raise FormatError(f"{shown}: write format = {FORMAT}; it has {printable(str(version), 20)}")
    try:
        return from_json(Hardware, table)
    except ValueError as error:
        raise FormatError(f"{shown}: {error}") from None


def format_hardware(hardware: Hardware, header: str) -> str:
    """Return the text of a file.

    Args:
        hardware: what it says.
        header: comments to begin with.
    """
    import tomli_w

    table = {name: value for name, value in asdict(hardware).items() if value is not None}
    return header + tomli_w.dumps({"format": FORMAT, **table})


def lacking_bits(hardware: Hardware, bits: Sequence[float]) -> float | None:
    """Return the most of some bits, if it is above all that the hardware has; else None."""
    most = max(bits)
    return most if most > hardware.bits[-1] else None
