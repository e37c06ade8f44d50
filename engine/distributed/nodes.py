"""The machines of a training: node 0's launcher leads, those of the others follow.

Node 0 listens at the rendezvous, places the ranks, judges their faults, and tells all what follows:
the end, or another attempt on a fresh port. One machine alone is a leader without followers.
"""

from __future__ import annotations

import os
import selectors
import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from ...errors import CrashError, NetError
from ...formats.files import error_reason
from ...text import printable
from ...version import __version__
from .. import glog
from .channel import Channel, interface_of
from .judge import INTERRUPT, LOST, Fault, Judge
from .watch import SECONDS, Report

LOOPBACK = "127.0.0.1"
POLL_SECONDS = 0.2
REMIND_SECONDS = 60.0  # between lines about nodes that are missing
HELLO_SECONDS = 10.0  # that a connection has to say which node it is
LEADER_SECONDS = 30.0  # that node 0 may be silent about a fault
SEED_BITS = 62


@dataclass(frozen=True)
class Nodes:
    """The machines, as the flags have them.

    Attributes:
        count: how many.
        number: of this one.
        host, port: the rendezvous; the loopback address for one machine.
        workers: ranks on this one.
        stall_timeout: seconds to wait for others; 0 for ever.
    """

    count: int = 1
    number: int = 0
    host: str = LOOPBACK
    port: int = 0
    workers: int = 1
    stall_timeout: int = 0

    @property
    def rendezvous(self) -> str:
        """The rendezvous, for messages."""
        return printable(f"{self.host}:{self.port}")


class Place(NamedTuple):
    """Where the ranks of this machine stand in an attempt.

    Attributes:
        first_rank, world_size: the first of them, and the number of all.
        host, port: of torch's store.
        interface: the network interface that leads to the others, or "".
        seed: of a training whose solver has none.
        snapshot: the solver state to go on from; "" for the start.
        store: the listening socket of that port, where rank 0 is here.
    """

    first_rank: int
    world_size: int
    host: str
    port: int
    interface: str
    seed: int
    snapshot: str
    store: socket.socket | None


class Verdict(NamedTuple):
    """How an attempt ended: a fault or none, and whether another follows."""

    fault: Fault | None
    restarts: bool = False


class Leader:
    """Node 0, or the only one.

    Args:
        nodes: the machines.
        selector: watches the connections during an attempt.

    Raises:
        NetError: the rendezvous can't be listened at, a node is not wanted, or none came in time.
    """

    def __init__(self, nodes: Nodes, selector: selectors.BaseSelector) -> None:
        self._nodes, self._selector = nodes, selector
        self._seed = int.from_bytes(os.urandom(8), "little") >> (64 - SEED_BITS)
        self._peers: dict[int, _Peer] = {}
        self._judge = Judge({}, 0, 0.0)
        self._ticked = 0.0
        if nodes.count > 1:
            with _listen(nodes.host, nodes.port, nodes.rendezvous) as listener:
                _Gathering(nodes, listener, self._peers).run()
            for peer in self._peers.values():
                selector.register(peer.channel, selectors.EVENT_READ)

    def begin(self, snapshot: str) -> Place:
        """Place the ranks of all machines in a new attempt."""
        nodes = self._nodes
        size = nodes.workers + sum(peer.workers for peer in self._peers.values())
        store = _listen(nodes.host, 0, nodes.host)
        port = int(store.getsockname()[1])
        first = nodes.workers
        for _, peer in sorted(self._peers.items()):
            peer.first_rank = first
            peer.channel.send(
                start=[first, size, port, self._seed, snapshot],
            )
            first += peer.workers
        interface = interface_of(str(store.getsockname()[0]))
        return Place(0, size, nodes.host, port, interface, self._seed, snapshot, store)

    def watch(self, names: Mapping[int, str]) -> None:
        """Watch ranks: these of this machine, and those of the others."""
        now = time.monotonic()
        every = dict(names)
        for number, peer in self._peers.items():
            for rank in range(peer.first_rank, peer.first_rank + peer.workers):
                every[rank] = f"rank {rank} (on node {number})"
        self._judge = Judge(every, self._nodes.stall_timeout, now)

    def hear(self, rank: int, report: Report) -> None:
        """Receive what a rank of this machine does."""
        self._judge.hear(rank, report, time.monotonic())

    def end(self, rank: int, fault: Fault | None) -> None:
        """Receive the end of a rank of this machine."""
        self._judge.end(rank, fault, time.monotonic())

    def accuse(self, fault: Fault) -> None:
        """Receive a fault of this launcher."""
        self._judge.accuse(fault, time.monotonic())

    def verdict(self) -> Verdict | None:
        """Return how the attempt ended; None while it goes on."""
        now = time.monotonic()
        for number, peer in self._peers.items():
            self._receive(number, peer, now)
        self.stay_in_touch()
        fault = self._judge.verdict(now)
        if fault is None and not self._judge.all_ended:
            return None
        return Verdict(fault)

    def stay_in_touch(self) -> None:
        """Tell the others now and then that this launcher lives."""
        now = time.monotonic()
        if now - self._ticked >= SECONDS:
            self._ticked = now
            for peer in self._peers.values():
                peer.channel.send(alive=True)

    def _receive(self, number: int, peer: _Peer, now: float) -> None:
        was_open = peer.channel.is_open
        for message in peer.channel.receive():
            for rank, report in message.get("reports", ()):
                self._judge.hear(rank, Report(*report), now)
            if "ended" in message:
                rank, fault = message["ended"]
                self._judge.end(rank, Fault(**fault) if fault is not None else None, now)
            if "fault" in message:
                self._judge.accuse(Fault(**message["fault"]), now)
        if was_open and not peer.channel.is_open:
            self._selector.unregister(peer.channel)
            text = f"node {number} ({peer.address}) is lost: its launcher ended, or the network"
            self._judge.accuse(Fault(LOST, None, text, CrashError.exit_code), now)

    def describe_ranks(self) -> list[str]:
        """Say of each rank what it did last, and when."""
        return self._judge.describe_ranks(time.monotonic())

    def conclude(self, fault: Fault | None) -> None:
        """Tell the others how the training ended."""
        for peer in self._peers.values():
            peer.channel.send(end=fault.as_dict() if fault is not None else None)

    def close(self) -> None:
        """Close the connections."""
        for peer in self._peers.values():
            peer.channel.close()


class _Peer:
    """A node that follows."""

    def __init__(self, channel: Channel, workers: int) -> None:
        self.channel, self.workers = channel, workers
        self.address = channel.peer_address
        self.first_rank = 0


class _Gathering:
    """Waits at the rendezvous for the other nodes."""

    def __init__(self, nodes: Nodes, listener: socket.socket, peers: dict[int, _Peer]) -> None:
        self._nodes, self._listener, self._peers = nodes, listener, peers
        self._strangers: dict[Channel, float] = {}  # -> when they came

    def run(self) -> None:
        """Wait until all are there, at most as long as a stall."""
        start, reminded = time.monotonic(), float("-inf")
        with selectors.DefaultSelector() as selector:
            selector.register(self._listener, selectors.EVENT_READ)
            try:
                while len(self._peers) < self._nodes.count - 1:
                    now = time.monotonic()
                    if now - reminded >= REMIND_SECONDS:
                        glog.info(self._waiting())
                        reminded = now
                    if 0 < self._nodes.stall_timeout <= now - start:
                        raise NetError(
                            f"--rendezvous {self._nodes.rendezvous}: {self._waiting()} for"
                            f" {self._nodes.stall_timeout} s; start them, or give a longer"
                            " --stall_timeout"
                        )
                    for key, _ in selector.select(POLL_SECONDS):
                        if key.fileobj is self._listener:
                            self._accept(selector)
                    self._greet(selector)
            except BaseException:
                for peer in self._peers.values():
                    peer.channel.close()
                raise
            finally:
                for channel in self._strangers:
                    channel.close()

    def _waiting(self) -> str:
        count = self._nodes.count
        missing = [str(n) for n in range(1, count) if n not in self._peers]
        return f"waiting for {len(missing)} of {count} nodes ({', '.join(missing[:8])})"

    def _accept(self, selector: selectors.BaseSelector) -> None:
        channel = Channel(self._listener.accept()[0])
        self._strangers[channel] = time.monotonic()
        selector.register(channel, selectors.EVENT_READ)

    def _greet(self, selector: selectors.BaseSelector) -> None:
        """Take in the nodes that said which they are; drop whoever did not, and those that left."""
        for number, peer in list(self._peers.items()):
            peer.channel.receive()
            if not peer.channel.is_open:
                glog.warning(f"node {number} left before the start")
                selector.unregister(peer.channel)
                self._peers.pop(number).channel.close()
        for channel, came in list(self._strangers.items()):
            hello = next((x["hello"] for x in channel.receive() if "hello" in x), None)
            is_late = time.monotonic() - came > HELLO_SECONDS
            if hello is None and channel.is_open and not is_late:
                continue
            del self._strangers[channel]
            if isinstance(hello, dict) and self._welcome(hello, channel):
                continue
            selector.unregister(channel)
            channel.close()

    def _welcome(self, hello: Mapping[str, Any], channel: Channel) -> bool:
        """Take a node in; return whether it is wanted."""
        number, version, count = (hello.get(name) for name in ("node", "version", "nodes"))
        who = f"node {printable(str(number))} ({channel.peer_address})"
        if version != __version__:
            text = f"{who} has sqgen {printable(str(version))}, node 0 has {__version__}"
            channel.send(refused=f"{text}; install the same on all")
            raise NetError(f"{text}; install the same on all")
        if count != self._nodes.count:
            text = f"{who} was started with --nodes {printable(str(count))}, node 0 with"
            channel.send(refused=f"{text} {self._nodes.count}")
            raise NetError(f"{text} {self._nodes.count}")
        if not isinstance(number, int) or not 0 < number < self._nodes.count:
            return False
        if number in self._peers:
            channel.send(refused=f"another node has --node_rank {number} already")
            glog.warning(f"{who} was refused: another is node {number} already")
            return False
        self._peers[number] = _Peer(channel, int(hello.get("workers", 1)))
        return True


class Follower:
    """A node that follows node 0.

    Args:
        nodes: the machines.
        selector: watches the connection during an attempt.

    Raises:
        NetError: node 0 is not there in time, or does not want this one.
    """

    def __init__(self, nodes: Nodes, selector: selectors.BaseSelector) -> None:
        self._nodes = nodes
        self._channel = _connect(nodes)
        self._start: list[Any] | None = None
        self._unsent: dict[int, Report] = {}
        self._heard = self._sent = time.monotonic()
        self._fault: tuple[float, Fault] | None = None  # what node 0 is to judge, and since when
        hello = {"version": __version__, "node": nodes.number, "nodes": nodes.count}
        self._channel.send(hello={**hello, "workers": nodes.workers})
        selector.register(self._channel, selectors.EVENT_READ)

    def begin(self, snapshot: str) -> Place:
        """Return the place of this machine's ranks, as node 0 has it; wait until it tells."""
        del snapshot  # node 0 finds it
        with selectors.DefaultSelector() as selector:
            selector.register(self._channel, selectors.EVENT_READ)
            since = time.monotonic()
            while self._start is None:
                selector.select(POLL_SECONDS)
                for message in self._channel.receive():
                    if "refused" in message:
                        raise NetError(printable(str(message["refused"]), 400))
                    self._start = message.get("start", self._start)
                waited = time.monotonic() - since
                if self._start is None and (
                    not self._channel.is_open or 0 < self._nodes.stall_timeout <= waited
                ):
                    raise NetError(
                        f"--rendezvous {self._nodes.rendezvous}: node 0 ended before the start, or"
                        " is no sqgen-caffe; its own log says why"
                    )
        first, size, port, seed, found = self._start
        self._start, self._fault, self._heard = None, None, time.monotonic()
        interface = interface_of(self._channel.local_address)
        return Place(first, size, self._nodes.host, port, interface, seed, found, None)

    def watch(self, names: Mapping[int, str]) -> None:
        """Node 0 watches; it knows the ranks."""

    def hear(self, rank: int, report: Report) -> None:
        """Receive what a rank of this machine does."""
        self._unsent[rank] = report

    def end(self, rank: int, fault: Fault | None) -> None:
        """Receive the end of a rank of this machine."""
        self._channel.send(ended=[rank, fault.as_dict() if fault is not None else None])
        if fault is not None and self._fault is None:
            self._fault = time.monotonic(), fault

    def accuse(self, fault: Fault) -> None:
        """Receive a fault of this launcher."""
        self._channel.send(fault=fault.as_dict())

    def verdict(self) -> Verdict | None:
        """Return how the attempt ended, as node 0 says; None while it goes on."""
        now = time.monotonic()
        if self._unsent and now - self._sent >= SECONDS:
            self._channel.send(reports=list(self._unsent.items()))
            self._unsent, self._sent = {}, now
        for message in self._channel.receive():
            self._heard = now
            if "start" in message:
                self._start = message["start"]
                return Verdict(None, restarts=True)
            if "end" in message:
                fault = message["end"]
                return Verdict(Fault(**fault) if fault is not None else None)
        timeout, where = self._nodes.stall_timeout, f"node 0 ({self._nodes.rendezvous})"
        if not self._channel.is_open:
            text = f"{where} is lost: its launcher ended, or the network"
        elif timeout and now - self._heard > timeout:
            text = f"{where} is silent for {now - self._heard:.0f} s"
        elif self._fault is not None and now - max(self._heard, self._fault[0]) > LEADER_SECONDS:
            return Verdict(self._fault[1])
        else:
            return None
        return Verdict(Fault(LOST, None, text, CrashError.exit_code))

    def stay_in_touch(self) -> None:
        """Node 0 knows by the reports that this launcher lives."""

    def describe_ranks(self) -> list[str]:
        """Node 0 describes them."""
        return []

    def conclude(self, fault: Fault | None) -> None:
        """Node 0 tells the others; but of what ended this one alone."""
        if fault is not None and fault.kind == INTERRUPT:
            self.accuse(fault)

    def close(self) -> None:
        """Close the connection."""
        self._channel.close()


def _listen(host: str, port: int, shown: str) -> socket.socket:
    """Return a socket that listens.

    Raises:
        NetError: it can't.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        # gloo finds the interface of an IPv4 address.
        family, _, _, _, address = min(found, key=lambda one: one[0] != socket.AF_INET)
        listener = socket.socket(family, socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise NetError(f"--rendezvous {shown}: {error_reason(error)}") from None
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(128)
    except (OSError, OverflowError) as error:
        listener.close()
        raise NetError(
            f"--rendezvous {shown}: node 0 can't listen there: {error_reason(error)}; give an"
            " address of node 0 with a free port"
        ) from None
    return listener


def _connect(nodes: Nodes) -> Channel:
    """Connect to node 0, which may start later.

    Raises:
        NetError: it is not there in time.
    """
    start, has_said = time.monotonic(), False
    while True:
        try:
            return Channel(socket.create_connection((nodes.host, nodes.port), timeout=10))
        except (OSError, UnicodeError) as error:
            if not has_said:
                glog.info(f"waiting for node 0 at {nodes.rendezvous}")
                has_said = True
            if isinstance(error, UnicodeError) or (
                0 < nodes.stall_timeout <= time.monotonic() - start
            ):
                raise NetError(
                    f"--rendezvous {nodes.rendezvous}: node 0 can't be reached:"
                    f" {error_reason(error)}"
                ) from None
        time.sleep(POLL_SECONDS)


def join_nodes(nodes: Nodes, selector: selectors.BaseSelector) -> Leader | Follower:
    """Return this machine's part, once it is in touch with the others."""
    return Leader(nodes, selector) if nodes.number == 0 else Follower(nodes, selector)
