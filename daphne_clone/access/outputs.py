"""Where lines go: a stream that somebody else owns, or a file that is kept open; what they tell is not known here."""

from __future__ import annotations

import os
import time
from typing import TextIO

from daphne_clone.loggers import get_logger

# The package's own name is that of the access log, where an error message would be taken for a request.
_log = get_logger("daphne_clone")


class Output:
    """A text stream that takes whole lines, and whose failures are reported once."""

    def __init__(self, stream: TextIO | None) -> None:
        self._stream = stream
        self._is_failing = False

    def write_line(self, line: str) -> None:
        """Write a line, given without its end, and flush; a failure is logged, not raised."""
        try:
            self._put(f"{line}\n")
        except (OSError, ValueError) as error:  # ValueError: the stream is closed
            if not self._is_failing:
                self._is_failing = True
                _log.error("The access log cannot be written: %s; requests are served without it", error)
        else:
            self._is_failing = False

    def _put(self, text: str) -> None:
        stream = self._open()
        try:
            stream.write(text)
        except UnicodeEncodeError:  # standard output in the C locale
            stream.write(text.encode("ascii", "backslashreplace").decode("ascii"))
        stream.flush()

    def _open(self) -> TextIO:
        assert self._stream is not None, "a stream that was handed in stays"
        return self._stream

    def close(self) -> None:
        """Close a file; a stream stays open, for it is somebody else's."""


class FileOutput(Output):
    """A file that is opened anew when it has been moved away, looked for once a second, or when it is closed.

    Raises:
        OSError: The file cannot be opened for appending.
    """

    def __init__(self, path: str) -> None:
        super().__init__(None)
        self._path = os.path.abspath(path)  # the application may change the working directory
        self._checked_at = 0
        self._open()

    def _open(self) -> TextIO:
        second = int(time.monotonic())
        if self._stream is not None and second != self._checked_at and self._was_moved(self._stream):
            self.close()
        self._checked_at = second
        if self._stream is None:
            self._stream = open(self._path, "a", encoding="utf-8", errors="backslashreplace")  # noqa: SIM115  # kept open
        return self._stream

    def _was_moved(self, stream: TextIO) -> bool:
        try:
            there = os.stat(self._path)
        except FileNotFoundError:
            return True
        return not os.path.samestat(there, os.fstat(stream.fileno()))

    def close(self) -> None:
        stream, self._stream = self._stream, None
        if stream is None:
            return
        try:
            stream.close()
        except OSError as error:
            if not self._is_failing:  # closing writes what a failed write left behind, and fails as that did
                _log.error("The access log could not be closed: %s", error)
