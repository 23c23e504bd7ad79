"""The load: clients that keep a number of operations under way and check each one's outcome.

The same code drives every server. A client sends its next operation when one has ended, so that
a server is always busy and never flooded; an operation that does not end well stops the run.
"""

from __future__ import annotations

import select
import socket
import time
from collections.abc import Callable
from hashlib import md5

DOMAIN = "north.example"
BODY = "Hello, this is a message of the length that people usually write to each other. " * 2
PATIENCE = 10.0  # seconds without any progress
BUFFER = 4 * 1024 * 1024
END = b"\r\n\r\n"


class Failed(Exception):
    """An operation did not end as it should."""


class Datagrams:
    """A client's UDP socket."""

    transport = "UDP"
    suffix = ""

    def __init__(self, server: tuple[str, int]) -> None:
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", 0))
        for option in (socket.SO_RCVBUF, socket.SO_SNDBUF):
            self.socket.setsockopt(socket.SOL_SOCKET, option, BUFFER)
        self.socket.connect(server)
        self.port: int = self.socket.getsockname()[1]

    def send(self, data: bytes) -> None:
        """Send one message."""
        self.socket.send(data)

    def receive(self) -> list[bytes]:
        """Return the messages that have come."""
        return [self.socket.recv(65535)]


class Stream:
    """A client's TCP connection."""

    transport = "TCP"
    suffix = ";transport=tcp"

    def __init__(self, server: tuple[str, int]) -> None:
        self.socket = socket.create_connection(server)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.port: int = self.socket.getsockname()[1]
        self._buffer = b""

    def send(self, data: bytes) -> None:
        """Send one message."""
        self.socket.sendall(data)

    def receive(self) -> list[bytes]:
        """Return the messages that have become whole."""
        piece = self.socket.recv(262144)
        if not piece:
            raise Failed("the server closed a connection")
        data = self._buffer + piece
        found, start = [], 0
        while True:
            head = data.find(END, start)
            if head < 0:
                break
            stop = head + 4 + int(value(data[start : head + 2], b"Content-Length"))
            if stop > len(data):
                break
            found.append(data[start:stop])
            start = stop
        self._buffer = data[start:]
        return found


Path = Datagrams | Stream


def value(message: bytes, name: bytes) -> bytes:
    """Return the first value of a header, spelled in full; empty when there is none."""
    start = message.find(b"\r\n" + name + b":")
    if start < 0:
        return b""
    start += len(name) + 3
    return message[start : message.find(b"\r\n", start)].strip()


def quoted(text: bytes, name: bytes) -> str:
    """Return a quoted parameter of a challenge."""
    start = text.find(name + b'="')
    if start < 0:
        raise Failed(f"no {name.decode()} in {text!r}")
    start += len(name) + 2
    return text[start : text.index(b'"', start)].decode()


def answer(request: bytes) -> bytes:
    """Return a 200 to a request."""
    lines = [b"SIP/2.0 200 OK"]
    for line in request[: request.index(END)].split(b"\r\n")[1:]:
        name = line.partition(b":")[0]
        if name in (b"Via", b"From", b"Call-ID", b"CSeq", b"Record-Route"):
            lines.append(line)
        elif name == b"To":
            lines.append(line + b";tag=b")
    lines.append(b"Content-Length: 0\r\n\r\n")
    return b"\r\n".join(lines)


class Clients:
    """Everybody who talks to one server.

    Args:
        server: its address.
        stream: use TCP; else UDP.
        paths: sockets of each side.
        users: how many there are, ``u0`` and so on, each its name for a password.

    Attributes:
        pace: operations begun per second; 0: as fast as the server takes them.
    """

    def __init__(self, server: tuple[str, int], stream: bool, paths: int, users: int) -> None:
        self.pace = 0.0
        kind = Stream if stream else Datagrams
        self.callers: list[Path] = [kind(server) for _ in range(paths)]
        self.callees: list[Path] = [kind(server) for _ in range(paths)]
        self.users = users
        self._epoll = select.epoll()
        self._path: dict[int, tuple[Path, bool]] = {}
        for side, called in ((self.callers, False), (self.callees, True)):
            for path in side:
                self._path[path.socket.fileno()] = (path, called)
                self._epoll.register(path.socket.fileno(), select.EPOLLIN)
        self._serial = 0
        self._nonce: dict[int, tuple[str, int]] = {}
        self._run = f"{time.time_ns():x}"
        self._wanted: tuple[bytes, ...] = ()
        self._open: set[bytes] = set()  # Call-IDs of messages that have no answer yet

    def close(self) -> None:
        """Close all sockets."""
        for path, _ in self._path.values():
            path.socket.close()
        self._epoll.close()

    def register(self, count: int, window: int, first: int = 0) -> float:
        """Register users one after the other, without credentials; return the seconds taken."""
        return self._drive(count, window, lambda i: self._register(first + i), self._registered)

    def register_digest(self, count: int, window: int) -> float:
        """Register users, each challenged first: two requests."""
        self._nonce.clear()
        return self._drive(count, window, self._register, self._challenged)

    def refresh(self, count: int, window: int) -> float:
        """Register users again with the nonce that they have, counted on: one request."""
        return self._drive(count, window, self._refresh, self._registered)

    def message(self, count: int, window: int, wanted: tuple[bytes, ...] = ()) -> float:
        """Send messages from user to user; ``wanted``: headers that the callee must see."""
        self._wanted = wanted
        return self._drive(count, window, self._message, self._answered)

    def _drive(
        self,
        count: int,
        window: int,
        begin: Callable[[int], None],
        heard: Callable[[Path, bytes], bool],
    ) -> float:
        begun = ended = 0
        started = progress = time.monotonic()
        pace, now = self.pace, started
        while ended < count:
            due = min(count, int((now - started) * pace) + 1) if pace else count
            while begun < due and begun - ended < window:
                begin(begun)
                begun += 1
            ready = self._epoll.poll(0.001 if begun < count and pace else 1.0)
            now = time.monotonic()
            if now - progress > PATIENCE:
                raise Failed(f"{begun - ended} of {count} operations have no answer")
            for descriptor, _ in ready:
                path, called = self._path[descriptor]
                for message in path.receive():
                    if message.startswith(b"SIP/2.0 1"):
                        continue
                    if message.startswith(b"SIP/2.0 "):
                        ended += heard(path, message)
                        progress = now
                    elif called and message.startswith(b"MESSAGE "):
                        self._take(path, message)
        return time.monotonic() - started

    # Registering

    def _register(self, number: int, authorization: str = "") -> None:
        number %= self.users
        name = f"u{number}"
        path = self.callees[number % len(self.callees)]
        self._serial += 1
        path.send(
            f"REGISTER sip:{DOMAIN} SIP/2.0\r\n"
            f"Via: SIP/2.0/{path.transport} 127.0.0.1:{path.port}"
            f";branch=z9hG4bK{self._run}{self._serial}\r\nMax-Forwards: 70\r\n"
            f"From: <sip:{name}@{DOMAIN}>;tag=t{self._serial}\r\n"
            f"To: <sip:{name}@{DOMAIN}>\r\nCall-ID: {self._run}r{number}\r\n"
            f"CSeq: {self._serial} REGISTER\r\n"
            f"Contact: <sip:{name}@127.0.0.1:{path.port}{path.suffix}>\r\n"
            f"{authorization}Expires: 3600\r\nContent-Length: 0\r\n\r\n".encode()
        )

    def _registered(self, path: Path, response: bytes) -> bool:
        if not response.startswith(b"SIP/2.0 200"):
            raise Failed(f"not registered: {response!r}")
        if b"\r\nContact: <sip:" not in response:
            raise Failed(f"no binding: {response!r}")
        return True

    def _challenged(self, path: Path, response: bytes) -> bool:
        if not response.startswith(b"SIP/2.0 401"):
            return self._registered(path, response)
        number = int(value(response, b"Call-ID").rpartition(b"r")[2])
        if number in self._nonce:
            raise Failed(f"challenged twice: {response!r}")
        self._nonce[number] = (quoted(value(response, b"WWW-Authenticate"), b"nonce"), 0)
        self._refresh(number)
        return False

    def _refresh(self, number: int) -> None:
        number %= self.users
        name = f"u{number}"
        nonce, used = self._nonce[number]
        used += 1
        self._nonce[number] = (nonce, used)
        ha1 = md5(f"{name}:{DOMAIN}:{name}".encode()).hexdigest()
        ha2 = md5(f"REGISTER:sip:{DOMAIN}".encode()).hexdigest()
        proof = md5(f"{ha1}:{nonce}:{used:08x}:c:auth:{ha2}".encode()).hexdigest()
        self._register(
            number,
            f'Authorization: Digest username="{name}", realm="{DOMAIN}", nonce="{nonce}", '
            f'uri="sip:{DOMAIN}", response="{proof}", algorithm=MD5, qop=auth, nc={used:08x}, '
            f'cnonce="c"\r\n',
        )

    # Messages

    def _message(self, number: int) -> None:
        caller, callee = number % self.users, (number * 7 + 1) % self.users
        path = self.callers[number % len(self.callers)]
        self._serial += 1
        call_id = f"{self._run}m{self._serial}"
        self._open.add(call_id.encode())
        path.send(
            f"MESSAGE sip:u{callee}@{DOMAIN} SIP/2.0\r\n"
            f"Via: SIP/2.0/{path.transport} 127.0.0.1:{path.port}"
            f";branch=z9hG4bK{self._run}{self._serial}\r\nMax-Forwards: 70\r\n"
            f"From: <sip:u{caller}@{DOMAIN}>;tag=t{self._serial}\r\n"
            f"To: <sip:u{callee}@{DOMAIN}>\r\nCall-ID: {call_id}\r\n"
            f"CSeq: 1 MESSAGE\r\nContent-Type: text/plain\r\n"
            f"Content-Length: {len(BODY)}\r\n\r\n{BODY}".encode()
        )

    def _take(self, path: Path, request: bytes) -> None:
        if not request.endswith(BODY.encode()):
            raise Failed(f"not what was sent: {request!r}")
        for name in self._wanted:
            if not value(request, name):
                raise Failed(f"no {name.decode()} in {request!r}")
        path.send(answer(request))

    def _answered(self, path: Path, response: bytes) -> bool:
        if not response.startswith(b"SIP/2.0 200"):
            raise Failed(f"not delivered: {response!r}")
        call_id = value(response, b"Call-ID")
        if call_id not in self._open:
            return False  # a repeat
        self._open.remove(call_id)
        return True
