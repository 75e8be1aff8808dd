"""A communicator over TCP: a connection between each two workers.

Dask starts the workers and tells them of each other; data of a batch then goes directly from worker
to worker, in a fraction of the time that scheduling a task takes. A worker that dies closes its
connections, and a machine that is gone stops answering within half a minute: either way all others
end with :class:`ConnectionLostError`.
"""

from __future__ import annotations

import hmac
import socket
import struct
from contextlib import suppress
from threading import Thread

from sparserec_np.utils.communicator import Communicator, Messages

_SMALL = 1 << 14  # bytes that the system buffers whatever the other side does
_NOTHING = (1 << 64) - 1  # in place of a length: no message
_LENGTH = struct.Struct("<Q")
_RANK = struct.Struct("<I")
_PATIENCE = 60.0  # seconds to wait for all others to connect


class ConnectionLostError(Exception):
    """Another worker is gone."""


class Listener:
    """A listening socket under which the other workers reach this one.

    Args:
        host: Address of this machine, as the other workers know it.
    """

    def __init__(self, host: str) -> None:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self.socket = socket.create_server((host, 0), family=family)
        self.address: tuple[str, int] = self.socket.getsockname()[:2]


class TcpCommunicator(Communicator):
    """A worker's connections to all others; see :class:`Communicator`.

    Args:
        rank: Number of this worker.
        listener: Of this worker.
        addresses: Of all listeners, by rank.
        token: Secret that the workers of a training share.

    Raises:
        ConnectionLostError: Not all others connected.
    """

    def __init__(
        self, rank: int, listener: Listener, addresses: list[tuple[str, int]], token: bytes
    ) -> None:
        self.rank = rank
        self.world_size = len(addresses)
        self._to: dict[int, socket.socket] = {}
        try:
            for other in range(rank):
                connection = socket.create_connection(addresses[other], _PATIENCE)
                connection.sendall(token + _RANK.pack(rank))
                self._to[other] = connection
            listener.socket.settimeout(_PATIENCE)
            while len(self._to) < self.world_size - 1:
                connection, _ = listener.socket.accept()
                connection.settimeout(_PATIENCE)
                hello = _receive(connection, len(token) + _RANK.size)
                if hmac.compare_digest(hello[: len(token)], token):
                    self._to[_RANK.unpack(hello[len(token) :])[0]] = connection
                else:
                    connection.close()
        except OSError as error:
            self.close()
            raise ConnectionLostError(f"not all workers connected: {error}") from error
        finally:
            listener.socket.close()
        for connection in self._to.values():
            connection.settimeout(None)
            _watch(connection)

    def close(self) -> None:
        """Close all connections; the other workers notice."""
        for connection in self._to.values():
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)  # wakes up a thread that waits for it
            connection.close()

    def all_to_all(self, messages: Messages) -> dict[int, bytes]:
        """Send and receive bytes; see :meth:`Communicator.all_to_all`."""
        try:
            if all(len(message) <= _SMALL for message in messages.values()):
                self._send(messages)
                came = self._receive_all()
            else:  # both sides might wait for the other one to read
                failed: list[OSError] = []
                sender = Thread(target=self._send_aside, args=(messages, failed), daemon=True)
                sender.start()
                came = self._receive_all()
                sender.join()
                if failed:
                    raise failed[0]
        except OSError as error:
            self.close()
            raise ConnectionLostError(
                f"one of {self.world_size} workers is gone: {error}"
            ) from error
        if self.rank in messages:
            came[self.rank] = bytes(messages[self.rank])
        return came

    def _send(self, messages: Messages) -> None:
        for other, connection in self._to.items():
            message = messages.get(other)
            if message is None:
                connection.sendall(_LENGTH.pack(_NOTHING))
            elif len(message) <= _SMALL:
                connection.sendall(_LENGTH.pack(len(message)) + bytes(message))
            else:
                connection.sendall(_LENGTH.pack(len(message)))
                connection.sendall(message)

    def _send_aside(self, messages: Messages, failed: list[OSError]) -> None:
        try:
            self._send(messages)
        except OSError as error:
            failed.append(error)
            self.close()

    def _receive_all(self) -> dict[int, bytes]:
        came: dict[int, bytes] = {}
        for other, connection in self._to.items():
            (length,) = _LENGTH.unpack(_receive(connection, _LENGTH.size))
            if length != _NOTHING:
                came[other] = _receive(connection, length)
        return came


def _receive(connection: socket.socket, length: int) -> bytes:
    data = bytearray(length)
    rest = memoryview(data)
    while rest:
        n = connection.recv_into(rest)
        if n == 0:
            raise ConnectionResetError("it closed the connection")
        rest = rest[n:]
    return data  # type: ignore[return-value]


def _watch(connection: socket.socket) -> None:
    """Send small messages at once, and notice within half a minute when the other side is gone."""
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    options = {"TCP_KEEPIDLE": 10, "TCP_KEEPINTVL": 5, "TCP_KEEPCNT": 4, "TCP_USER_TIMEOUT": 30_000}
    for name, value in options.items():
        if hasattr(socket, name):  # Linux has all of them
            connection.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
