"""One stream of HTTP/2: a request, and the channel for its response (RFC 9113 section 5).

It has the response, as far as that is not written; the request's content is `H2Body`'s, and what streams share in
writing `H2Writer`'s. It does not know ASGI.

Content goes out in three steps: the exchange hands it over, it waits here as long as a window or the transport has no
room, and the writer asks each stream in turn for one frame of it (`write_next`).
"""

from __future__ import annotations

import asyncio
import os
from collections import deque
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from daphne_clone.connection.h2_body import H2Body
from daphne_clone.connection.h2_tunnel import H2Tunnel
from daphne_clone.connection.shared import LINGER_S, WriteDeadline
from daphne_clone.errors import ClientDisconnected, H2StreamFault, RequestRefused
from daphne_clone.wire import h2_frames
from daphne_clone.wire.h2_fields import H2HeadEncoder
from daphne_clone.wire.h2_frames import DATA, END_STREAM, ErrorCode, frame_header
from daphne_clone.wire.response_head import checked_fields, refusal

if TYPE_CHECKING:
    from collections.abc import Iterable

    from daphne_clone.connection.h2 import H2Connection
    from daphne_clone.interfaces import Exchange, Field, RequestHead

# Content that waits before the application has to: less than HTTP/1.1's 64 KiB, for a connection has many streams.
MAX_WAITING = 16_384

# What is read of a body that no application wants before the client is told to stop, as in HTTP/1.1.
MAX_DISCARDED = 65_536

# Parts of content below this are joined while they wait.
_JOIN_BELOW = 1_024

# A file is read in pieces of this many octets.
_FILE_PIECE = 65_536

# A field block that fits into one frame with whatever the connection adds to it.
_SMALL_BLOCK = h2_frames.MIN_MAX_FRAME_SIZE - 64

_HEADERS_END = h2_frames.END_HEADERS
_HEADERS_END_STREAM = h2_frames.END_HEADERS | END_STREAM


def _content_length(size: int) -> bytes:
    """The field that a head has when the application has not given it, and the length is known; as in HTTP/1.1."""
    return H2HeadEncoder.write_field(b"content-length", b"%d" % size)


class H2Stream:
    """A stream from its request on; also the `ResponseChannel` of its exchange.

    Args:
        connection: Whose stream it is.
        stream_id: Its number.
        head: The request; None where it has been refused before there was one.

    Attributes:
        window: Octets of content that the peer takes (RFC 9113 section 5.2); below 0 when it has shrunk its windows.
        exchange: Who answers; None before, and when that is done.
        is_request_whole: The peer has ended its side.
        is_scheduled: The connection is going to ask for a frame.
        waiting: Octets of content that are not written yet.
    """

    __slots__ = (
        "_awaits_trailers",
        "_block",
        "_body",
        "_connection",
        "_content",
        "_blocks",
        "_has_body",
        "_has_length",
        "_has_response_ended",
        "_head",
        "_is_client_finished",
        "_is_continue_due",
        "_is_end_written",
        "_is_ending",
        "_is_gone",
        "_resumed",
        "_trailers",
        "_tunnel",
        "_write_deadline",
        "_writer",
        "_written",
        "client",
        "exchange",
        "extensions",
        "factory",
        "id",
        "is_head_sent",
        "is_peer_trusted",
        "is_request_whole",
        "is_scheduled",
        "is_writing_paused",
        "scheme",
        "server",
        "waiting",
        "window",
    )

    def __init__(self, connection: H2Connection, stream_id: int, head: RequestHead | None, whole: bool) -> None:
        self._connection = connection
        self._writer = connection.writer
        self.id = stream_id
        self.factory = connection.factory
        self.extensions = connection.extensions
        self.scheme = connection.scheme
        self.client = connection.client
        self.server = connection.server
        self.is_peer_trusted = connection.is_peer_trusted
        self.window = connection.initial_window
        self.exchange: Exchange | None = None
        self.is_request_whole = whole
        self.is_head_sent = False
        self.is_writing_paused = False
        self.is_scheduled = False
        self._head = head
        # The response, as far as it has not been written.
        self._block: bytes | None = None  # its field block, until it leaves with the first content
        self._blocks: list[bytes] = []  # field blocks that go out before all content
        self._content: deque[bytes | memoryview] | None = None
        self.waiting = 0
        self._written = 0  # octets of content that had to wait
        self._is_ending = False  # with it, the response ends
        self._is_end_written = False
        self._has_body = True
        self._has_length = False
        self._awaits_trailers = False
        self._trailers: bytes | None = None
        self._has_response_ended = False
        self._is_gone = False
        self._is_client_finished = False
        self._write_deadline: WriteDeadline | None = None
        self._resumed: asyncio.Future[None] | None = None
        self._tunnel: H2Tunnel | None = None
        self._is_continue_due = False
        self._body: H2Body | None = None
        if not whole:
            self._body = H2Body(connection, self, None if head is None else head.content_length)
            if head is not None:
                self._is_continue_due = head.expects_continue
                if head.upgrade:
                    self._body.pause()  # until there is a session to have it
                else:
                    self._body.expect_within(self.factory.timeouts.request_body)

    # What the connection tells

    def data_received(self, data: bytes, flow_size: int, end_stream: bool) -> None:
        """Take content of the request.

        Raises:
            H2StreamFault: See `H2Body.data_received`.
        """
        if self._body is None:
            raise H2StreamFault(self.id, ErrorCode.STREAM_CLOSED, "DATA behind the end of the stream")
        self._is_continue_due = False
        self._body.data_received(data, flow_size, end_stream)

    def trailers_received(self) -> None:
        """The request ends with trailers, which nobody reads.

        Raises:
            H2StreamFault: See `H2Body.trailers_received`.
        """
        assert self._body is not None, "the connection has looked whether the peer has ended its side"
        self._is_continue_due = False
        self._body.trailers_received()

    def window_changed(self, increment: int) -> bool:
        """The peer takes more, or, as it has changed its settings, less.

        Returns:
            Whether something has waited for it.

        Raises:
            H2StreamFault: It is more than a window can be.
        """
        self.window += increment
        if self.window > h2_frames.MAX_WINDOW:
            raise H2StreamFault(self.id, ErrorCode.FLOW_CONTROL_ERROR, "a window over 2^31-1")
        return self.waiting > 0 and self.window > 0

    def closed(self) -> None:
        """The stream is over before its exchange is, which has to know: it was reset, or its connection is lost."""
        self.let_go()
        exchange, self.exchange = self.exchange, None
        if self._tunnel is not None:
            self._tunnel.lost()
        elif exchange is not None:
            exchange.connection_lost()

    def let_go(self) -> None:
        """The stream is closed: nothing is written any more, and who waits for that must not wait for ever."""
        self._is_gone = True
        self._write_deadline = None
        self._blocks = []
        self._block = None
        if self._body is not None:
            self._body.close()
        self._content = None
        self.waiting = 0
        self.is_writing_paused = False
        if self._resumed is not None:
            self._resume_writing()

    def client_closed_writing(self) -> None:
        """The client has closed its side of the whole connection, and may still read."""
        if self._tunnel is not None:
            self._tunnel.peer_ended()
        elif self.exchange is None:
            if not self._has_response_ended:
                return
            self._connection.remove(self)
        elif self.is_request_whole:
            self.exchange.client_closed_writing()
        elif self.has_peer_ended:
            self._is_client_finished = True  # the exchange hears of it behind what is held of the body
        else:
            self._connection.reset(self, ErrorCode.CANCEL)
            self.closed()

    @property
    def has_peer_ended(self) -> bool:
        """The peer has ended its side, though the application may not have had all of it."""
        return self._body is None or self._body.has_ended

    @property
    def is_unanswered(self) -> bool:
        """Its response has not been written to the end."""
        return not self._has_response_ended

    def write_next(self) -> bool:
        """Write what can be written now, one frame of content at most.

        Returns:
            Whether there is more that can be written.
        """
        writer = self._writer
        content = self._content
        if self._blocks:
            blocks, self._blocks = self._blocks, []
            for block in blocks[:-1]:
                writer.write_block(self.id, block, end_stream=False)
            writer.write_block(self.id, blocks[-1], end_stream=self._is_end_written)
        if content:
            room = min(self.window, writer.window, writer.max_frame_size)
            if room <= 0:
                if self.window > 0:
                    writer.wait_for_window(self)
                return False
            size = self._write_content(content, room)
            self.window -= size
            writer.content_written(size, bool(content))
            self.waiting -= size
            self._written += size
            if self.is_writing_paused and self.waiting <= MAX_WAITING:
                self._resume_writing()
            if content:
                return True
            if self._has_response_ended:
                return False  # the application, resumed, has ended it
        if self._is_ending and not self._has_response_ended:
            if self._trailers is not None:
                writer.write_block(self.id, self._trailers, end_stream=True)
            elif not self._is_end_written:
                writer.write(frame_header(0, DATA, END_STREAM, self.id))
            self._response_ended()
        return False

    # ResponseChannel

    def start_response(self, status: int, headers: Iterable[Field], has_body: bool, trailers: bool) -> int | None:
        # RFC 9110 section 8.6: no Content-Length in a 204.
        block, length, _ = self._connection.encode(status, headers, status == 204)
        self._awaits_trailers = trailers
        self._has_body = has_body
        self._has_length = length is not None or not has_body
        if not self._is_gone:
            self._block = block
        return length

    def send_body(self, data: bytes, more: bool) -> None:
        writer = self._writer
        block = self._block
        size = len(data)
        if (
            block is not None
            and not (more or self._awaits_trailers or self._blocks or writer.is_paused)
            and size <= self.window
            and size <= writer.window
            and size <= writer.max_frame_size
            and len(block) < _SMALL_BLOCK
        ):
            # Most responses: whole, and small. As below, without its questions.
            self._block = None
            self.is_head_sent = True
            if not self._has_length:
                block += _content_length(size)
            if writer.block_prefix:
                block = writer.take_block_prefix() + block
            length = len(block)
            if size:
                self.window -= size
                writer.window -= size
                writer.write(
                    b"%b%b%b%b"
                    % (
                        frame_header(length, h2_frames.HEADERS, _HEADERS_END, self.id),
                        block,
                        frame_header(size, DATA, END_STREAM, self.id),
                        data,
                    )
                )
            else:
                writer.write(frame_header(length, h2_frames.HEADERS, _HEADERS_END_STREAM, self.id) + block)
            self._is_ending = True
            self._response_ended()
            return
        if self._is_gone:
            return
        if block is not None:
            self._queue_head(block, None if more else size)
        if data:
            self._queue(data)
        if not more and not self._awaits_trailers:
            self._end_response()
        self._write_on()

    def send_trailers(self, trailers: Iterable[Field], more: bool) -> None:
        block = b"".join(H2HeadEncoder.write_field(*field) for field in checked_fields(trailers, "headers"))
        if block and self._has_body:
            self._trailers = (self._trailers or b"") + block
        if not more:
            self._end_response()
            self._write_on()

    async def send_file(self, fileno: int, offset: int, count: int, more: bool) -> None:
        loop = asyncio.get_running_loop()
        end = offset + count
        if self._block is not None:
            self._queue_head(self._block, None if more else count)
        for start in range(offset, end, _FILE_PIECE):
            # In a thread: a disk, or a network behind it, may have to be waited for.
            data = await loop.run_in_executor(None, os.pread, fileno, min(_FILE_PIECE, end - start), start)
            if len(data) < min(_FILE_PIECE, end - start):
                raise OSError("the file ended before all of it was sent")
            if self._is_gone:
                raise ClientDisconnected("the client went away while a file was sent")
            self.send_body(data, more=True)
            if self.is_writing_paused:
                self._resumed = loop.create_future()
                await self._resumed
        if self._is_gone:
            raise ClientDisconnected("the client went away while a file was sent")
        if not more:
            self.send_body(b"", more=False)

    def send_early_hint(self, links: Iterable[bytes]) -> None:
        self._write_interim(103, checked_fields([(b"link", link) for link in links], "links"))

    def send_continue(self) -> None:
        if self._is_continue_due and not self.is_head_sent:
            self._is_continue_due = False
            self._write_interim(100, [])

    def refuse(self, status: HTTPStatus) -> None:
        self.exchange = None
        fields, body = refusal(status)
        if self._head is None:
            fields, body = [], b""  # it may have been HEAD
        elif self._head.method == "HEAD":
            body = b""
        self.start_response(status.value, fields, bool(body), False)
        self.send_body(body, more=False)

    def switch_to_websocket(self, session: Any, key: bytes | None, headers: Iterable[Field]) -> None:  # noqa: ANN401
        # RFC 8441 section 5: 200 rather than 101, and the stream is the transport.
        block, _, _ = self._connection.encode(HTTPStatus.OK.value, headers, True)
        self._has_length = True
        self._queue_head(block, None)
        self._write_on()
        self.exchange = None
        self._tunnel = tunnel = H2Tunnel(self, session, self._connection.transport)
        session.makeConnection(tunnel)
        self.resume_reading()
        if self._connection.is_draining:
            session.shutdown_started()

    def pause_reading(self) -> None:
        if self._body is not None:
            self._body.pause()

    def resume_reading(self) -> None:
        body = self._body
        if body is None:
            return
        if self._tunnel is None:
            body.expect_within(self.factory.timeouts.request_body)
        body.resume()

    def abort(self) -> None:
        exchange, self.exchange = self.exchange, None
        if not self._is_gone:
            self._connection.reset(self, ErrorCode.INTERNAL_ERROR)
        if exchange is not None:
            self.factory.call_soon(exchange.connection_lost)  # as after abortConnection, in another turn

    # For the tunnel

    def send_data(self, data: bytes) -> None:
        """Send octets of the protocol that has taken the stream over."""
        if data and not self._is_ending:
            self._queue(data)
            self._write_on()

    def end_sending(self) -> None:
        """Close our side when all has been written."""
        if not self._is_ending and not self._is_gone:
            self._is_ending = True
            self._write_on()

    def linger(self) -> None:
        """Wait for the peer to close its side as well, but not long, nor for what it says."""
        self._tunnel = None
        if self._body is not None:
            self._body.discard(LINGER_S)

    def cancel(self) -> None:
        """Reset the stream, as a connection is reset."""
        if not self._is_gone:
            self._connection.reset(self, ErrorCode.CANCEL)

    def getWriteBufferSize(self) -> int:  # the name that WriteDeadline asks a transport by
        """What falls as the peer takes content: that is looked at, and the application may add to what waits."""
        return -self._written

    # The server's periodic work

    def check_deadlines(self) -> None:
        """Act on what has waited too long; called about once a second."""
        clock = self.factory.clock
        if self._tunnel is None or self._tunnel.is_over:  # a session has a write deadline of its own
            if not self.waiting:
                self._write_deadline = None
            elif self._write_deadline is None:
                seconds = self.factory.timeouts.write
                self._write_deadline = WriteDeadline(clock, seconds, self) if seconds else None
            elif self._write_deadline.is_missed():
                self._connection.reset(self, ErrorCode.CANCEL)
                self.closed()
                return
        if self._body is not None and self._body.is_late:
            if self.exchange is None:
                self._connection.reset(self, ErrorCode.NO_ERROR)
                self.closed()
            else:
                self._body.expect_within(0)
                self._refuse_rest(RequestRefused(HTTPStatus.REQUEST_TIMEOUT, "the body came too slowly"))

    # What the body tells

    def content_received(self, data: bytes) -> None:
        """A piece of content, in its turn."""
        assert self._body is not None, "who has content has a body"
        if self._tunnel is not None:
            self._tunnel.data_received(data)
        elif self.exchange is None:
            if self._has_response_ended and self._body.discarded > MAX_DISCARDED and not self._is_gone:
                self._connection.reset(self, ErrorCode.NO_ERROR)  # RFC 9113 section 8.1: the response is whole already
        elif 0 < self.factory.limits.body < self._body.received:
            self._refuse_rest(RequestRefused(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "a body over the limit"))
        else:
            self.exchange.body_received(data)

    def request_ended(self) -> None:
        """The peer has ended its side, and all that came before has been passed on."""
        if self._is_gone:
            return
        self._body = None
        self.is_request_whole = True
        self._is_continue_due = False
        if self._tunnel is not None:
            self._tunnel.peer_ended()
        elif self.exchange is not None:
            if self._head is not None and self._head.content_length != 0:
                self.exchange.request_ended()
            if self._is_client_finished:
                self.exchange.client_closed_writing()
        if self._has_response_ended:
            self._connection.remove(self)

    # Inside

    def _refuse_rest(self, refusal: RequestRefused) -> None:
        assert self.exchange is not None, "who wants no body is told nothing of it"
        self.factory.request_refused(self, refusal)
        self.exchange.request_refused(refusal)

    def _queue_head(self, block: bytes, length: int | None) -> None:
        """Queue the head of the response, whose content is ``length`` octets; None where that is not known yet."""
        self._block = None
        self.is_head_sent = True
        if length is not None and not self._has_length:
            block += _content_length(length)
        self._blocks.append(block)
        if not length and length is not None and not self._awaits_trailers:
            self._is_end_written = True  # END_STREAM goes with it

    def _end_response(self) -> None:
        """The exchange has said all; what of it waits goes out without it."""
        self._is_ending = True
        self.exchange = None
        if self._body is not None:
            self._body.discard(0)

    def _write_interim(self, status: int, fields: list[Field]) -> None:
        if not self._is_gone:
            block = H2HeadEncoder.write_status(status)
            self._blocks.append(block + b"".join(H2HeadEncoder.write_field(*field) for field in fields))
            self._write_on()

    def _queue(self, data: bytes) -> None:
        content = self._content
        if content is None:
            self._content = content = deque()
        self.waiting += len(data)
        if content and len(content[-1]) + len(data) <= _JOIN_BELOW:
            data = b"".join((content.pop(), data))  # many small ones would take more memory than they hold
        content.append(data)

    def _write_content(self, content: deque[bytes | memoryview], room: int) -> int:
        """Write one frame of what waits; returns its size."""
        parts: list[bytes | memoryview] = []
        size = 0
        while content and size < room:
            part = content.popleft()
            if len(part) > room - size:
                part = memoryview(part)
                content.appendleft(part[room - size :])
                part = part[: room - size]
            parts.append(part)
            size += len(part)
        ends = not content and self._is_ending and self._trailers is None
        self._is_end_written = ends
        header = frame_header(size, DATA, END_STREAM if ends else 0, self.id)
        self._writer.write(b"".join((header, *parts)))
        return size

    def _write_on(self) -> None:
        """Write as much as can be; what is left waits, and so does the application if it is much."""
        if self._is_gone:
            return
        self._writer.schedule(self)
        if self.waiting > MAX_WAITING and not self.is_writing_paused:
            self.is_writing_paused = True
            if self._tunnel is not None:
                self._tunnel.pause_writing()

    def _resume_writing(self) -> None:
        self.is_writing_paused = False
        self._write_deadline = None
        if self._tunnel is not None:
            self._tunnel.resume_writing()
        elif self._resumed is not None:
            resumed, self._resumed = self._resumed, None
            if not resumed.done():
                resumed.set_result(None)
        elif self.exchange is not None:
            self.exchange.writing_resumed()

    def _response_ended(self) -> None:
        """All of the response is written."""
        self._has_response_ended = True
        self.exchange = None
        if self._tunnel is not None:
            self._tunnel.sending_ended()
        if self._body is None:
            self._connection.remove(self)
        elif self._tunnel is None:
            # As in HTTP/1.1: a body that is on its way may end, rather than have the client told to stop, for which
            # some throw the response away. Not a long one, and not for ever.
            self._body.discard(LINGER_S)
