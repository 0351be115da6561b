"""What goes out on a connection of HTTP/2: in which order, when, and how much of it; it knows no requests.

What is written in a turn of the loop leaves in one piece at its end: a hundred small answers cost one system call and
one TLS record. A stream whose content has to wait gets its turn frame by frame, so that a large download leaves room
for small answers beside it.
"""

from __future__ import annotations

from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from daphne_clone.errors import H2ConnectionFault
from daphne_clone.wire import h2_frames
from daphne_clone.wire.h2_frames import DEFAULT_WINDOW, MAX_WINDOW, MIN_MAX_FRAME_SIZE, ErrorCode

if TYPE_CHECKING:
    from collections.abc import Callable

    from daphne_clone.connection.h2_allowance import Allowance
    from daphne_clone.connection.h2_stream import H2Stream

# What is written in a turn before it is passed on to the transport, which then tells whether the peer keeps up.
_MAX_GATHERED = 65_536

# Frames of content written in a turn of the loop: 512 KiB, mostly. A reader as fast as we write never pauses the
# transport, and would have other connections wait until its whole response is written.
_MAX_FRAMES = 32

# Content of less is not worth an acknowledgement, unless it is all there is.
_SMALL_CONTENT = 256


class H2Writer:
    """Writes the frames of a connection, and lets its streams write in turn.

    Args:
        call_soon: Runs a callable in the next turn of the loop.
        allowance: Content that has gone out earns the peer frames to acknowledge it.

    Attributes:
        transport: Set when the connection is made.
        window: Octets of content that the peer takes on all streams together (RFC 9113 section 5.2).
        max_frame_size: What the peer takes in a frame.
        block_prefix: What the next field block has to begin with; mostly nothing.
        is_paused: The peer does not read.
    """

    __slots__ = (
        "_allowance",
        "_call_soon",
        "_is_in_turns",
        "_is_rest_due",
        "_out",
        "_out_size",
        "_ready",
        "_waiting_for_window",
        "block_prefix",
        "is_paused",
        "max_frame_size",
        "transport",
        "window",
    )

    def __init__(self, call_soon: Callable[[Callable[[], None]], object], allowance: Allowance) -> None:
        self._call_soon = call_soon
        self._allowance = allowance
        self.transport: Any = None  # as H1Connection's
        self.window = DEFAULT_WINDOW
        self.max_frame_size = MIN_MAX_FRAME_SIZE
        self.block_prefix = b""
        self.is_paused = False
        self._out: list[bytes] = []
        self._out_size = 0
        self._ready: deque[H2Stream] = deque()
        self._waiting_for_window: list[H2Stream] = []
        self._is_in_turns = False
        self._is_rest_due = False

    def write(self, data: bytes) -> None:
        """Write frames; they leave at the end of this turn of the loop, or when they are many."""
        out = self._out
        if not out:
            self._call_soon(self.flush)
        out.append(data)
        self._out_size += len(data)
        if self._out_size >= _MAX_GATHERED:
            self.flush()

    def write_block(self, stream_id: int, block: bytes, *, end_stream: bool) -> None:
        """Write a field block, as the peer's settings have it by now."""
        if self.block_prefix:
            block = self.take_block_prefix() + block
        self.write(h2_frames.headers(stream_id, block, end_stream, self.max_frame_size))

    def take_block_prefix(self) -> bytes:
        """What a field block begins with; once."""
        prefix, self.block_prefix = self.block_prefix, b""
        return prefix

    def flush(self) -> None:
        """Pass on to the transport what has been gathered."""
        if self._out:
            out, self._out = self._out, []
            self._out_size = 0
            self.transport.write(out[0] if len(out) == 1 else b"".join(out))

    def content_written(self, size: int, has_more: bool) -> None:
        """A frame of content has gone out; ``has_more`` if its stream has more that waits."""
        self.window -= size
        if size >= _SMALL_CONTENT or not has_more:
            self._allowance.earn()
        # Otherwise the window has cut it: a peer that opens windows octet by octet earns nothing (CVE-2019-9511).

    def schedule(self, stream: H2Stream) -> None:
        """Let a stream write what it has, behind those that wait already."""
        self.add(stream)
        self.write_in_turns()

    def add(self, stream: H2Stream) -> None:
        """As `schedule`, but not yet."""
        if not stream.is_scheduled:
            stream.is_scheduled = True
            self._ready.append(stream)

    def wait_for_window(self, stream: H2Stream) -> None:
        """Schedule a stream as soon as the connection's window allows for content."""
        stream.is_scheduled = True
        self._waiting_for_window.append(stream)

    def write_in_turns(self) -> None:
        """Let the streams write in turn, a frame of content each, until there is no room or nothing left."""
        if self._is_in_turns or self._is_rest_due:
            return
        self._is_in_turns = True
        ready = self._ready
        left = _MAX_FRAMES
        try:
            while ready and not self.is_paused:
                if not left:
                    self._is_rest_due = True
                    self._call_soon(self._write_rest)
                    return
                left -= 1
                stream = ready.popleft()
                stream.is_scheduled = False
                if stream.write_next():
                    self.add(stream)
        finally:
            self._is_in_turns = False

    def _write_rest(self) -> None:
        self._is_rest_due = False
        self.write_in_turns()

    def window_updated(self, increment: int) -> None:
        """The peer takes more content.

        Raises:
            H2ConnectionFault: It is more than a window can be.
        """
        self.window += increment
        if self.window > MAX_WINDOW:
            raise H2ConnectionFault(ErrorCode.FLOW_CONTROL_ERROR, "a window of the connection over 2^31-1")
        if self._waiting_for_window and self.window > 0:
            self._ready.extend(self._waiting_for_window)
            self._waiting_for_window.clear()
            self.write_in_turns()

    def remove(self, stream: H2Stream) -> None:
        """A stream is gone."""
        if stream.is_scheduled:
            with suppress(ValueError):
                self._ready.remove(stream)
            with suppress(ValueError):
                self._waiting_for_window.remove(stream)

    def close(self) -> None:
        """Nothing goes out any more."""
        self._ready.clear()
        self._waiting_for_window.clear()
        self._out.clear()
        self._out_size = 0
