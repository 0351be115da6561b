"""The content of one request on a stream of HTTP/2: its windows, its length, its time, and what of it has to wait.

It is made for requests that have content; where that goes is the stream's business.
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING

from daphne_clone.connection.shared import MIN_RATE
from daphne_clone.errors import H2StreamFault
from daphne_clone.wire import h2_frames
from daphne_clone.wire.h2_frames import ErrorCode

if TYPE_CHECKING:
    from daphne_clone.connection.h2 import H2Connection
    from daphne_clone.connection.h2_stream import H2Stream


class H2Body:
    """What comes on a stream behind its head.

    An octet takes room in two windows when it comes, the stream's and the connection's. Both are given back when it has
    been passed on; while reading is paused it is held here, and the peer can send no more than the windows.

    Args:
        connection: Gives octets of its own window back.
        stream: Takes the content, and its end.
        declared: The Content-Length, or None.

    Attributes:
        has_ended: The peer has said all, though some of it may be held.
        received: Octets of content so far.
        discarded: How many of them came when nobody wanted them any more.
        is_late: Content has come too slowly, or has stalled; as in HTTP/1.1.
    """

    __slots__ = (
        "_connection",
        "_declared",
        "_held",
        "_is_closed",
        "_is_discarded",
        "_is_paused",
        "_read_deadline",
        "_stream",
        "_uncredited",
        "_window",
        "has_ended",
        "discarded",
        "received",
    )

    def __init__(self, connection: H2Connection, stream: H2Stream, declared: int | None) -> None:
        self._connection = connection
        self._stream = stream
        self._declared = declared
        self._window = connection.options.stream_window
        self._uncredited = 0
        self._held = bytearray()
        self._is_paused = False
        self.has_ended = False
        self._is_closed = False
        self._is_discarded = False
        self._read_deadline = inf
        self.received = 0
        self.discarded = 0

    def data_received(self, data: bytes, flow_size: int, end_stream: bool) -> None:
        """Take content.

        Args:
            flow_size: What it takes of the windows: with its padding.

        Raises:
            H2StreamFault: It is more than was allowed or announced, or less, or comes behind the end. The connection's
                window has not been given back then.
        """
        if self.has_ended:
            raise H2StreamFault(self._stream.id, ErrorCode.STREAM_CLOSED, "DATA behind the end of the stream")
        self._window -= flow_size
        if self._window < 0:
            raise H2StreamFault(self._stream.id, ErrorCode.FLOW_CONTROL_ERROR, "DATA over the stream's window")
        size = len(data)
        self.received += size
        if self._is_discarded:
            self.discarded += size
        declared = self._declared
        if declared is not None and (self.received > declared or (end_stream and self.received < declared)):
            # RFC 9113 section 8.1.1.
            raise H2StreamFault(self._stream.id, ErrorCode.PROTOCOL_ERROR, "DATA that disagrees with Content-Length")
        self.has_ended = end_stream
        if self._read_deadline is not inf and not self._is_discarded:
            # Stall and trickle in one: time is earned by octets, and never more than the stall allows.
            factory = self._connection.factory
            self._read_deadline = min(
                self._read_deadline + size / MIN_RATE, factory.clock.now + factory.timeouts.request_body
            )
        if self._is_paused:
            self._held += data
            self._credit(flow_size - size)  # padding is not kept
            return
        self._credit(flow_size)
        if data:
            self._stream.content_received(data)
        if end_stream and not self._is_paused:
            self._stream.request_ended()

    def trailers_received(self) -> None:
        """The content is followed by trailers, which end the stream.

        Raises:
            H2StreamFault: There was less of it than announced.
        """
        if self._declared is not None and self.received < self._declared:
            raise H2StreamFault(self._stream.id, ErrorCode.PROTOCOL_ERROR, "less DATA than Content-Length says")
        self.has_ended = True
        if not self._is_paused:
            self._stream.request_ended()

    def pause(self) -> None:
        """Pass nothing on for now, and let the peer wait when the windows are full."""
        self._is_paused = True
        self._read_deadline = inf

    def resume(self) -> None:
        """Pass on what was held, and what comes."""
        if not self._is_paused or self._is_closed:
            return
        self._is_paused = False
        if self._held:
            held, self._held = bytes(self._held), bytearray()
            self._credit(len(held))
            self._stream.content_received(held)
        if self.has_ended and not self._is_paused:  # it may have been enough again
            self._stream.request_ended()

    def discard(self, seconds: float) -> None:
        """Nobody wants what comes any more: let it come for so many seconds, 0 for as long as the response takes."""
        self._is_discarded = True
        self.discarded = 0
        self.expect_within(seconds)
        self.resume()

    def expect_within(self, seconds: float) -> None:
        """Expect more content within this time; 0 is for ever."""
        self._read_deadline = self._connection.factory.clock.now + seconds if seconds else inf

    @property
    def is_late(self) -> bool:
        return self._connection.factory.clock.previous >= self._read_deadline

    def close(self) -> None:
        """Nobody wants any more of it: what is held gives its room back to other streams."""
        self._is_closed = True
        self._read_deadline = inf
        if self._held:
            self._connection.credit(len(self._held))
            self._held = bytearray()

    def _credit(self, size: int) -> None:
        """Give octets of the windows back; of the stream's own in lots, and no more when it has ended."""
        self._connection.credit(size)
        if self.has_ended or self._is_closed:
            return
        self._uncredited += size
        if self._uncredited >= self._connection.options.stream_window // 2:
            self._connection.writer.write(h2_frames.window_update(self._stream.id, self._uncredited))
            self._window += self._uncredited
            self._uncredited = 0
