"""What a person sees of sandbox and demo: lines that stay, and one that changes on a terminal."""

from __future__ import annotations

import math
import shutil
import sys
import time
from typing import TextIO

from rich.console import Console, RenderableType

_PLAIN_WIDTH = 120


class Show:
    """Writes to a stream. Elsewhere than on a terminal a line of progress is printed now and then."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self.stream = stream or sys.stdout
        self.terminal = self.stream.isatty()
        self._began = time.monotonic()
        self._shown_at = -math.inf
        self._topic = self._text = ""

    @property
    def elapsed(self) -> float:
        """Seconds since the beginning."""
        return time.monotonic() - self._began

    def heading(self, text: str) -> None:
        """Begin a chapter."""
        self._clear()
        line = f"\n== {text}"
        self._write(f"\x1b[1m{line}\x1b[0m\n" if self.terminal else f"{line}\n")

    def say(self, text: str) -> None:
        """A line that stays, with the time since the beginning."""
        self._clear()
        self._write(f"{self.elapsed:6.1f} s  {text}\n")

    def plain(self, text: str) -> None:
        """Text as it is."""
        self._clear()
        self._write(f"{text}\n")

    def progress(self, text: str, every: float = 10.0) -> None:
        """What goes on now. Off a terminal it is printed when the words before the first colon change, else seldom."""
        now = time.monotonic()
        topic = text.partition(":")[0]
        if self.terminal:
            width = shutil.get_terminal_size().columns - 1
            self._write(f"\r\x1b[K{f'{self.elapsed:6.1f} s  {text}'[:width]}")
        elif topic != self._topic or (text != self._text and now - self._shown_at >= every):
            self.say(text)
        else:
            return
        self._topic, self._text, self._shown_at = topic, text, now

    def draw(self, table: RenderableType) -> None:
        """A table."""
        self._clear()
        console = Console(file=self.stream) if self.terminal else Console(file=self.stream, width=_PLAIN_WIDTH)
        console.print(table)

    def _clear(self) -> None:
        if self.terminal:
            self._write("\r\x1b[K")

    def _write(self, text: str) -> None:
        self.stream.write(text)
        self.stream.flush()
