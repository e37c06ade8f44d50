"""Messages between launchers: a line of JSON each, over TCP."""

from __future__ import annotations

import json
import socket
import sys
import time
from contextlib import suppress
from typing import Any

LINE_LIMIT = 1 << 16  # bytes of a message
SEND_SECONDS = 5.0  # until a peer that reads nothing counts as gone
CLOSE_SECONDS = 2.0  # until a peer has to close, too
_SIOCGIFADDR = 0x8915  # netdevice(7)


class Channel:
    """A connection to another launcher.

    Attributes:
        is_open: whether the other end may still send.
    """

    def __init__(self, connection: socket.socket) -> None:
        self._socket = connection
        self._rest = b""
        self.is_open = True
        connection.setblocking(False)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)

    def fileno(self) -> int:
        """Return its descriptor, for a selector."""
        return self._socket.fileno()

    @property
    def local_address(self) -> str:
        """This machine's address in the connection."""
        return str(self._socket.getsockname()[0])

    @property
    def peer_address(self) -> str:
        """The other machine's address."""
        with suppress(OSError):
            return str(self._socket.getpeername()[0])
        return "unknown"

    def send(self, **message: Any) -> None:
        """Send a message; a peer that does not take it is gone."""
        if not self.is_open:
            return
        try:
            self._socket.settimeout(SEND_SECONDS)
            self._socket.sendall(json.dumps(message).encode() + b"\n")
            self._socket.setblocking(False)
        except OSError:
            self.is_open = False

    def receive(self) -> list[dict[str, Any]]:
        """Return the messages that came; whoever sends anything else is no launcher."""
        messages: list[dict[str, Any]] = []
        while self.is_open:
            try:
                data = self._socket.recv(LINE_LIMIT)
            except BlockingIOError:
                break
            except OSError:
                data = b""
            *lines, self._rest = (self._rest + data).split(b"\n")
            for line in lines:
                try:
                    message = json.loads(line)
                except ValueError:
                    message = None
                if not isinstance(message, dict):
                    self.is_open = False
                    return messages
                messages.append(message)
            self.is_open = bool(data) and len(self._rest) < LINE_LIMIT
        return messages

    def close(self) -> None:
        """Close it, once the other end has what was sent: a reset would discard it."""
        end = time.monotonic() + CLOSE_SECONDS
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_WR)
            while (left := end - time.monotonic()) > 0:
                self._socket.settimeout(left)
                if not self._socket.recv(LINE_LIMIT):
                    break
        self.is_open = False
        self._socket.close()


def interface_of(address: str) -> str:
    """Return the network interface that has an IPv4 address; "" where nothing tells."""
    if not sys.platform.startswith("linux"):
        return ""
    import fcntl
    import struct

    with suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        for _, name in socket.if_nameindex():
            with suppress(OSError):
                request = struct.pack("256s", name.encode()[:15])
                reply = fcntl.ioctl(probe.fileno(), _SIOCGIFADDR, request)
                if socket.inet_ntoa(reply[20:24]) == address:
                    return name
    return ""
