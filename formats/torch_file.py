"""Read and write PyTorch's files of a state dict (`.pth`), without running what they hold.

Such a file is a pickle, and a pickle calls what it names. So the names are read first, which runs
nothing, and anything but what a state dict of plain tensors needs is refused; torch.load then
reads it with `weights_only`, its own guard.
"""

from __future__ import annotations

import io
import pickletools
import re
import warnings
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from ..errors import FormatError
from ..extras import required
from ..text import printable
from .files import unpacked_limit

_ALLOWED = re.compile(
    r"collections OrderedDict|torch(\.storage|\.cuda)? [A-Z][A-Za-z0-9]*Storage"
    r"|torch\._utils _rebuild_(tensor(_v[23])?|parameter)"
)
# The form before PyTorch 1.6: five pickles, the first a number (torch.serialization.MAGIC_NUMBER).
_MAGIC = bytes.fromhex("80028a0a6cfc9c46f9206aa850192e")
_PICKLES = 5
_DAMAGE = (ValueError, OverflowError, NotImplementedError, RuntimeError, EOFError)
_WRAPPERS = ("state_dict", "model_state_dict", "model", "net")  # keys of common checkpoints
_PARALLEL = "module."  # what torch.nn.DataParallel puts before each name
_SAVE = "save its weights alone: torch.save(model.state_dict(), ...)"


def read_state_dict(data: bytes, shown: str) -> dict[str, np.ndarray]:
    """Return the tensors of a state dict, half precision as float32, in the file's order.

    Args:
        data: the file: a zip as torch.save writes it since 1.6, or the pickles before.
        shown: its name in messages.

    Raises:
        FormatError: it is damaged, no state dict, or names what a state dict does not need.
        MissingExtraError: PyTorch is not installed.
    """
    for name in _named_globals(data, shown):
        if not _ALLOWED.fullmatch(name):
            called = printable(name.replace(" ", "."), 60)
            raise FormatError(
                f"{shown}: loading it may call {called}: refused, and nothing was run; {_SAVE}"
            )
    if not (_is_zip(data) or data.startswith(_MAGIC)):
        raise FormatError(f"{shown}: is a pickle, but none of PyTorch; {_SAVE}")
    state = _load(data, shown)
    for key in _WRAPPERS:
        if isinstance(state, dict) and isinstance(state.get(key), dict):
            state = state[key]
    if not (isinstance(state, dict) and state and all(isinstance(key, str) for key in state)):
        raise FormatError(f"{shown}: holds no state dict of tensors; {_SAVE}")
    _check_sizes(state.values(), len(data), shown)
    arrays = {name: _array(value, f"{shown}: '{printable(name)}'") for name, value in state.items()}
    if all(name.startswith(_PARALLEL) for name in arrays):
        arrays = {name.removeprefix(_PARALLEL): array for name, array in arrays.items()}
    return {name: array for name, array in arrays.items() if array is not None}


def _named_globals(data: bytes, shown: str) -> list[str]:
    """Return `module name` of all that the pickles name, without running them.

    Raises:
        FormatError: they are damaged.
    """
    found: list[str] = []
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Python's, of escapes in damaged strings
            is_zip = _is_zip(data)
            for pickled in _zipped_pickle(data, shown) if is_zip else _bare_pickles(data, shown):
                found += _globals_of(pickled)
    except (*_DAMAGE, zipfile.BadZipFile) as error:
        raise _unreadable(shown, error) from None
    return found


def _globals_of(pickled: bytes | io.BytesIO) -> Iterator[str]:
    strings = ["", ""]  # the last two, which STACK_GLOBAL takes from the stack
    for opcode, argument, _ in pickletools.genops(pickled):
        if opcode.name in ("GLOBAL", "INST"):
            yield str(argument)
        elif opcode.name == "STACK_GLOBAL":
            yield " ".join(strings)
        elif opcode.name.startswith("EXT"):
            yield f"copyreg extension {argument}"
        elif isinstance(argument, str):
            strings = [strings[1], argument]


def _is_zip(data: bytes) -> bool:
    return data.startswith(b"PK")


def _zipped_pickle(data: bytes, shown: str) -> list[bytes]:
    """Return the pickle of a zip in a list, after a look at what else is in it."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = archive.infolist()
        names = [member.filename for member in members]
        pickles = [name for name in names if name.endswith("/data.pkl")]
        if len(pickles) != 1 or len({*names}) < len(names):
            raise FormatError(f"{shown}: is a zip file, but neither an npz nor PyTorch's")
        if pickles[0].replace("data.pkl", "constants.pkl") in names:
            raise FormatError(f"{shown}: is a program of TorchScript, which is not run; {_SAVE}")
        # PyTorch packs nothing; what is packed could have any size.
        packed = any(member.compress_type != zipfile.ZIP_STORED for member in members)
        if packed or sum(member.file_size for member in members) > len(data):
            raise FormatError(f"{shown}: is packed, which PyTorch's files never are; refused")
        return [archive.read(pickles[0])]


def _bare_pickles(data: bytes, shown: str) -> list[io.BytesIO]:
    """Return a reader of the pickles, as often as there are; reading one moves it to the next."""
    if data.startswith(_MAGIC):
        return [io.BytesIO(data)] * _PICKLES
    if not data.startswith(b"\x80"):
        raise FormatError(
            f"{shown}: is PyTorch's tar of before 2017, which can't be read without running it;"
            " load and save it with PyTorch"
        )
    return [io.BytesIO(data)]


def _unreadable(shown: str, error: Exception) -> FormatError:
    reason = printable(str(error).partition("\n")[0], 120) or "truncated"
    if "allocate memory" in str(error):
        reason = "its tensors do not fit into memory"
    return FormatError(f"{shown}: damaged, or no file of PyTorch: {reason}; fetch it again")


def _load(data: bytes, shown: str) -> Any:
    with required("torch", "reading PyTorch's files"):
        import torch
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # PyTorch's, of its own older files
            return torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except Exception as error:  # nearly any, of damage
        raise _unreadable(shown, error) from None


def _check_sizes(values: Iterable[Any], size: int, shown: str) -> None:
    """Refuse tensors that repeat what the file stores more often than weights do."""
    import torch

    tensors = [value for value in values if isinstance(value, torch.Tensor)]
    if sum(each.numel() * each.element_size() for each in tensors) > unpacked_limit(size):
        raise FormatError(f"{shown}: its tensors unpack to far more than weights do; refused")


def _array(tensor: Any, where: str) -> np.ndarray | None:
    """Return a tensor as an array; None for a count of integers, such as BatchNorm's.

    Raises:
        FormatError: it is no tensor of floats.
    """
    import torch

    if not isinstance(tensor, torch.Tensor):
        raise FormatError(f"{where} is no tensor but a {type(tensor).__name__}; {_SAVE}")
    if not tensor.shape and not tensor.is_floating_point():
        return None
    if tensor.dtype not in (torch.float16, torch.bfloat16, torch.float32, torch.float64):
        kind = str(tensor.dtype).removeprefix("torch.")
        raise FormatError(f"{where} is of {kind}; weights are floats")
    if tensor.dtype in (torch.float16, torch.bfloat16):
        tensor = tensor.float()
    array: np.ndarray = tensor.detach().numpy()
    return array


def write_state_dict(tensors: Mapping[str, np.ndarray]) -> bytes:
    """Return the bytes of a state dict as torch.save writes it.

    Raises:
        MissingExtraError: PyTorch is not installed.
    """
    with required("torch", "writing PyTorch's files"):
        import torch
    state = {name: torch.from_numpy(np.array(array)) for name, array in tensors.items()}
    buffer = io.BytesIO()
    torch.save(state, buffer)
    return buffer.getvalue()
