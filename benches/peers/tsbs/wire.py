"""HTTP over one kept connection, with as little of Python as can be between the question and the clock."""

from __future__ import annotations

import socket
import time


class Connection:
    """A request is bytes made beforehand; an answer is complete when its last byte is here. Nothing is parsed but what
    tells the end."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=600)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def ask(self, request: bytes) -> tuple[float, bytes, bytes]:
        """Seconds, head, body as it came (see `body`)."""
        started = time.perf_counter()
        self.socket.sendall(request)
        received = bytearray()
        end = -1
        while end < 0:
            self.receive(received)
            end = received.find(b"\r\n\r\n")
        head = bytes(received[:end]).lower()
        at = head.find(b"content-length:")
        if at >= 0:
            whole = end + 4 + int(head[at + 15 :].split(b"\r\n", 1)[0])
            while len(received) < whole:
                self.receive(received)
        else:
            while not received.endswith(b"0\r\n\r\n"):
                self.receive(received)
        return time.perf_counter() - started, head, bytes(received[end + 4 :])

    def receive(self, into: bytearray) -> None:
        part = self.socket.recv(1 << 20)
        if not part:
            raise OSError(f"the server closed the connection after {len(into)} bytes of an answer")
        into += part

    def close(self) -> None:
        self.socket.close()


def request(method: str, path: str, body: bytes = b"", **headers: str) -> bytes:
    lines = [f"{method} {path} HTTP/1.1", "host: localhost", f"content-length: {len(body)}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def body(head: bytes, raw: bytes) -> bytes:
    """The body of an answer that must be a success, without its chunks."""
    content = unchunk(raw) if b"transfer-encoding: chunked" in head else raw
    status = head.split(b" ", 2)[1]
    if status not in (b"200", b"201", b"202", b"204"):
        raise OSError(f"status {status.decode()}: {content[:2000].decode(errors='replace')}")
    return content


def unchunk(raw: bytes) -> bytes:
    parts, at = [], 0
    while True:
        line = raw.index(b"\r\n", at)
        size = int(raw[at:line].split(b";")[0], 16)
        if size == 0:
            return b"".join(parts)
        parts.append(raw[line + 2 : line + 2 + size])
        at = line + 2 + size + 2
