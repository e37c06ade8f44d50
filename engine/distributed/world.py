"""The processes of a training, and what they tell each other through torch.distributed.

A process that finds another gone raises a `PeerLostError`: the symptom of a fault that the other
reports. Collectives have no time limit of their own, since ranks wait while rank 0 tests:
`watch.py` tells a hang from a wait.
"""

from __future__ import annotations

import os
import socket
import sys
import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import timedelta
from ipaddress import ip_address
from typing import Any

import torch
import torch.distributed as dist
from torch.distributed.distributed_c10d import PrefixStore
from torch.distributed.rendezvous import rendezvous

from ...errors import NetError, PeerLostError
from ...text import printable
from . import environment
from .environment import Placement

Tensor = torch.Tensor

MEETING_TIME = timedelta(minutes=10)  # in which all ranks have to start
_NO_LIMIT = timedelta(days=365)
_LOOK_SECONDS = 1e-4  # between two looks at NCCL's work
_SLURM_PORTS = (20000, 20000)  # the first, and how many: one a job
_SOCKET = "GLOO_SOCKET_IFNAME"
# A wait for NCCL ends with an error when a rank is lost, and nothing else ends the process: else a
# wait returns before the GPU is there, and a thread of NCCL's aborts the process.
_NCCL_SETTINGS = {
    "TORCH_NCCL_BLOCKING_WAIT": "1",
    "TORCH_NCCL_ASYNC_ERROR_HANDLING": "0",
    # Results of a test go to rank 0 one by one.
    "TORCH_NCCL_SHOW_EAGER_INIT_P2P_SERIALIZATION_WARNING": "false",
}


class World:
    """The processes that train together; without a placement, this one alone.

    Args:
        placement: of this process.
        device: PyTorch's name of its device.

    Attributes:
        rank, size: of this process, and of all.

    Raises:
        NetError: the ranks don't meet.
    """

    def __init__(self, placement: Placement | None = None, device: str = "cpu") -> None:
        self.rank, self.size = (placement.rank, placement.world_size) if placement else (0, 1)
        self.device = torch.device(device)
        self._store: Any = None
        self._told = 0  # texts that rank 0 told all
        if placement is not None and placement.world_size > 1:
            self._meet(placement)

    @property
    def leads(self) -> bool:
        """Whether this is rank 0, which tests, writes the log, and saves."""
        return self.rank == 0

    def _meet(self, placement: Placement) -> None:
        backend, bound = "gloo", None
        if self.device.type == "cuda":
            # Bound to its device, all of NCCL's messages go through the communicator of all ranks.
            backend, bound = "nccl", self.device
            torch.cuda.set_device(self.device)  # else NCCL may take another rank's
            for name, value in _NCCL_SETTINGS.items():
                os.environ.setdefault(name, value)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                store = _open_store(placement)
                store.set_timeout(MEETING_TIME)
                _use_loopback(os.environ.get(environment.MASTER_ADDR, ""))
                dist.init_process_group(
                    backend,
                    store=PrefixStore("group", store),
                    rank=self.rank,
                    world_size=self.size,
                    timeout=_NO_LIMIT,
                    device_id=bound,
                )
        except (RuntimeError, ValueError, OSError) as error:
            raise NetError(
                f"rank {self.rank} of {self.size} does not reach the others at"
                f" {printable(os.environ.get(environment.MASTER_ADDR, '(no MASTER_ADDR)'))}:"
                f" {printable(str(error).partition(chr(10))[0], 300)}"
            ) from None
        self._store = PrefixStore("told", store)

    def tell(self, text: str = "") -> str:
        """Return what rank 0 gives, on all ranks."""
        if self.size == 1:
            return text
        self._told += 1
        key = f"{self._told}"
        with losing_peers():
            if self.leads:
                self._store.set(key, text)
                return text
            return str(self._store.get(key).decode())

    def collect(self, text: str) -> list[str]:
        """Return what all ranks give, in their order; on rank 0, elsewhere an empty list."""
        if self.size == 1:
            return [text]
        self._told += 1
        with losing_peers():
            self._store.set(f"{self._told}/{self.rank}", text)
            if not self.leads:
                return []
            keys = [f"{self._told}/{rank}" for rank in range(self.size)]
            return [str(self._store.get(key).decode()) for key in keys]

    def wait_for_lead(self) -> None:
        """Wait until rank 0 gets here, too, however long that takes: `tell` has a limit."""
        self.broadcast([torch.zeros(1, device=self.device)])

    def broadcast(self, tensors: Sequence[Tensor]) -> None:
        """Copy rank 0's tensors into all others' (P2PSync's start, src/caffe/parallel.cpp)."""
        if self.size == 1:
            return
        with losing_peers(), torch.no_grad():
            for tensor in tensors:
                dense = tensor.contiguous()
                dist.broadcast(dense, 0)
                if dense is not tensor:
                    tensor.copy_(dense)

    def close(self) -> None:
        """Leave the others; they may go on."""
        if self._store is not None:
            self._store = None
            if dist.is_initialized():  # else NCCL was aborted, as a rank was lost
                with suppress(RuntimeError, ValueError):
                    dist.destroy_process_group()


@contextmanager
def losing_peers() -> Iterator[None]:
    """Turn the errors of torch.distributed into a `PeerLostError`."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            yield
    except (RuntimeError, ValueError) as error:
        _abort_nccl()
        reason = printable(str(error).strip().partition("\n")[0], 300)
        raise PeerLostError(f"lost the other ranks: {reason}") from None


def wait_for(work: Any) -> None:
    """Wait for a collective that was started, with `losing_peers` around."""
    if dist.is_nccl_available() and dist.get_backend() == dist.Backend.NCCL:
        while not work.is_completed():  # NCCL's own wait looks once a millisecond
            time.sleep(_LOOK_SECONDS)
    work.wait()


def _abort_nccl() -> None:
    """End what NCCL computes with a rank that is gone: a snapshot would wait behind it."""
    if dist.is_initialized() and dist.get_backend() == dist.Backend.NCCL:
        with suppress(RuntimeError, ValueError, AttributeError):  # PyTorch 2.6 and newer have it
            dist.distributed_c10d._abort_process_group()


def _open_store(placement: Placement) -> Any:
    """Return the store where ranks meet; sqgen's launcher gives rank 0 its socket."""
    socket_of_launcher = os.environ.get(environment.STORE_FD, "")
    if placement.rank == 0 and socket_of_launcher.isdecimal():
        descriptor = int(socket_of_launcher)
        with socket.socket(fileno=os.dup(descriptor)) as listening:
            port = listening.getsockname()[1]
        return dist.TCPStore(  # type: ignore[attr-defined]
            os.environ[environment.MASTER_ADDR],
            port,
            placement.world_size,
            is_master=True,
            timeout=MEETING_TIME,
            master_listen_fd=descriptor,
            wait_for_workers=False,
        )
    _complete_environment(placement)
    return next(rendezvous("env://", timeout=MEETING_TIME))[0]


def _complete_environment(placement: Placement) -> None:
    """Set torch's variables where Slurm's alone are there.

    Raises:
        NetError: no address of rank 0.
    """
    os.environ.setdefault(environment.RANK, str(placement.rank))
    os.environ.setdefault(environment.WORLD_SIZE, str(placement.world_size))
    address = os.environ.get("SLURM_LAUNCH_NODE_IPADDR", "")
    if environment.MASTER_ADDR not in os.environ and address:
        os.environ[environment.MASTER_ADDR] = address
        first, count = _SLURM_PORTS
        job = int(os.environ.get("SLURM_JOB_ID", "0") or 0)
        os.environ.setdefault(environment.MASTER_PORT, str(first + job % count))
    for name in (environment.MASTER_ADDR, environment.MASTER_PORT):
        if name not in os.environ:
            raise NetError(f"RANK and WORLD_SIZE are set, but not {name}, where the ranks meet")


def _use_loopback(address: str) -> None:
    """Let gloo use the loopback device for ranks that meet there; names may not resolve."""
    with suppress(ValueError):
        if ip_address(address).is_loopback and sys.platform.startswith("linux"):
            os.environ.setdefault(_SOCKET, "lo")
