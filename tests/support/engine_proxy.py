"""A link between the two sites that changes or cuts what goes over it, byte for byte as told."""

import contextlib
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Self


class Cut(Exception):  # an event, not an error
    """Raised by an edit: pass on `last`, then end the connection both ways."""

    def __init__(self, last: bytes = b"") -> None:
        super().__init__()
        self.last = last


@dataclass
class Conversation:
    """One connection: what came from the dialler so far, and what went back to it."""

    number: int
    asked: bytearray = field(default_factory=bytearray)
    answered: bytearray = field(default_factory=bytearray)

    @property
    def streams(self) -> bool:
        """Whether it carries frames."""
        return self.asked.startswith(b"PUT")


Edit = Callable[[Conversation, int, bytes], bytes]
"""Which connection, at which offset of its direction, which bytes: those to pass on. May raise Cut."""


def unchanged(_: Conversation, _offset: int, part: bytes) -> bytes:
    return part


class Proxy:
    """Listens on `port` and passes on to `target`; the edits may be replaced at any time."""

    def __init__(self, target: int, *, requests: Edit = unchanged, answers: Edit = unchanged) -> None:
        self.requests = requests
        self.answers = answers
        self.conversations: list[Conversation] = []
        self._target = target
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._sockets: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self._accepting = threading.Thread(target=self._accept)
        self._accepting.start()

    @property
    def port(self) -> int:
        return int(self._listener.getsockname()[1])

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._accepting.join()
        for sock in self._sockets:
            _end(sock)
        for thread in self._threads:
            thread.join()
        for sock in self._sockets:
            sock.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near = self._listener.accept()[0]
                far = socket.create_connection(("127.0.0.1", self._target))
                self._sockets += [near, far]
                talk = Conversation(len(self.conversations))
                self.conversations.append(talk)
                for arguments in ((near, far, talk, talk.asked, True), (far, near, talk, talk.answered, False)):
                    thread = threading.Thread(target=self._pass_on, args=arguments)
                    self._threads.append(thread)
                    thread.start()

    def _pass_on(
        self, source: socket.socket, target: socket.socket, talk: Conversation, seen: bytearray, asks: bool
    ) -> None:
        try:
            with contextlib.suppress(OSError):
                while part := source.recv(65536):
                    offset = len(seen)
                    seen += part
                    edit = self.requests if asks else self.answers
                    target.sendall(edit(talk, offset, part))
                target.shutdown(socket.SHUT_WR)
        except Cut as cut:
            with contextlib.suppress(OSError):
                target.sendall(cut.last)
            for sock in (target, source):
                _end(sock)
                # With what is still unread in it: the sender's next byte is answered by a reset.
                sock.close()


def _end(sock: socket.socket) -> None:
    with contextlib.suppress(OSError):
        sock.shutdown(socket.SHUT_RDWR)


def cut_at(position: int, *, streams: bool) -> Edit:
    """Cut where the direction has carried so many bytes, on connections that do, or do not, carry frames; once."""
    done = threading.Event()

    def edit(talk: Conversation, offset: int, part: bytes) -> bytes:
        if done.is_set() or talk.streams is not streams or offset + len(part) <= position:
            return part
        done.set()
        raise Cut(part[: position - offset])

    return edit
