"""A client of HTTP/2 that makes requests, and expects: it waits until a deadline, and tells what came instead."""

from __future__ import annotations

import contextlib
import re
import struct
import time
from collections.abc import Iterable

from tests.support.h2_connection import ConnectionEnded, Frame, FrameConnection
from tests.support.h2_frames import (
    DATA,
    END_STREAM,
    GOAWAY,
    HEADERS,
    PING,
    RST_STREAM,
    WINDOW_UPDATE,
    Code,
    field_block,
    headers_frame,
    name_of,
    ping_frame,
    request_fields,
)
from tests.support.http1 import Field, Response


class H2Connection(FrameConnection):
    """One connection, and what a test expects of it."""

    def request(
        self,
        target: bytes | str = b"/hello/x",
        fields: Iterable[Field] = (),
        *,
        method: bytes = b"GET",
        end: bool = True,
    ) -> int:
        """Send the head of a request; return its stream."""
        return self.request_with(request_fields(target, fields, method=method, scheme=self.scheme), end=end)

    def request_with(self, fields: Iterable[Field], *, end: bool = True) -> int:
        """Send exactly these fields as a request's head; return its stream."""
        return self.request_block(field_block(fields), end=end)

    def request_block(self, block: bytes, *, end: bool = True) -> int:
        """Send a field block as a request's head; return its stream."""
        stream = self.new_stream()
        self.send(headers_frame(stream, block, end=end))
        return stream

    def next_on(self, stream: int, timeout_s: float | None = None) -> Frame:
        """The next frame of a stream other than WINDOW_UPDATE."""
        return self.wait_for(
            lambda frame: frame.stream == stream and frame.kind != WINDOW_UPDATE,
            f"a frame on stream {stream}",
            timeout_s,
        )

    def read_head(self, stream: int) -> Response:
        """The next head of a stream, final or interim."""
        frame = self.next_on(stream)
        assert frame.kind == HEADERS, f"not a head: {frame}"
        return self._response(frame)

    def _response(self, frame: Frame) -> Response:
        (name, status), *rest = frame.fields
        assert name == b":status" and re.fullmatch(rb"[1-5][0-9][0-9]", status), frame.fields
        response = Response(b"HTTP/2", int(status), rest)
        # RFC 9113 section 8.1: an interim response ends nothing.
        assert response.status >= 200 or not frame.ends_stream, frame
        return response

    def read_part(self, stream: int) -> bytes:
        """The next DATA of a stream that has any; ``b""`` is the end."""
        while not (frame := self.next_on(stream)).payload or frame.kind != DATA:
            assert frame.kind == DATA, f"not a part of a body: {frame}"
            if frame.ends_stream:
                return b""
        if frame.ends_stream:
            self.inbox.insert(0, Frame(DATA, END_STREAM, stream, b""))
        return frame.payload

    def expect_response(self, stream: int, timeout_s: float | None = None) -> Response:
        """The whole response of a stream; a stream or connection that fails is an AssertionError that tells how."""
        interim = []
        frame = self.next_on(stream, timeout_s)
        while True:
            assert frame.kind == HEADERS, f"no response: {frame}"
            response = self._response(frame)
            if response.status >= 200:
                break
            interim.append(response)
            frame = self.next_on(stream, timeout_s)
        response.interim = interim
        parts = []
        while not frame.ends_stream:
            frame = self.next_on(stream, timeout_s)
            if frame.kind == HEADERS:
                assert frame.ends_stream, "trailers that end nothing"
                assert not any(name.startswith(b":") for name, _ in frame.fields), frame.fields
                response.trailers = list(frame.fields)
            else:
                assert frame.kind == DATA, f"a response cut short by {frame}"
                parts.append(frame.payload)
        response.body = b"".join(parts)
        return response

    def expect_rst(self, stream: int, *codes: int, or_goaway: Iterable[int] = ()) -> None:
        """RST_STREAM with one of these codes, and the connection goes on; or GOAWAY with one of those."""
        try:
            while (frame := self.next_on(stream)).kind != RST_STREAM:
                pass
        except ConnectionEnded as error:
            end = error
        else:
            end = None
        if end is not None:
            assert end.goaway in tuple(or_goaway), f"{end}; of the stream: {self._seen(stream)}"
            self.expect_closed()
            return
        assert frame.number in codes, f"RST_STREAM {name_of(frame.number)}"
        self.expect_alive()

    def expect_malformed(self, stream: int) -> None:
        """RFC 9113 section 8.1.1: PROTOCOL_ERROR on the stream, perhaps behind a 400; others go on."""
        frame = self.next_on(stream)
        if frame.kind == HEADERS:
            assert self._response(frame).status == 400, frame
            while not frame.ends_stream:
                frame = self.next_on(stream)
                assert frame.kind == DATA, frame
            frame = self.next_on(stream)
        assert frame.kind == RST_STREAM, f"not refused: {frame}"
        assert frame.number == Code.PROTOCOL_ERROR, f"RST_STREAM {name_of(frame.number)}"
        self.expect_alive()

    def expect_refused(self, stream: int) -> None:
        """An answer 400, or PROTOCOL_ERROR on the stream; others go on."""
        frame = self.next_on(stream)
        if frame.kind == HEADERS:
            assert self._response(frame).status == 400, frame
        else:
            assert frame.kind == RST_STREAM and frame.number == Code.PROTOCOL_ERROR, frame
        self.expect_alive()

    def expect_goaway(self, *codes: int) -> int:
        """GOAWAY with one of these codes, and the connection closed; return the last stream it names."""
        while True:
            try:
                frame = self.wait_for(lambda frame: frame.kind == GOAWAY, "GOAWAY")
            except ConnectionEnded as end:
                raise AssertionError(f"closed without GOAWAY: {end}") from None
            last, code = struct.unpack("!II", frame.payload[:8])
            if code != Code.NO_ERROR or Code.NO_ERROR in codes:
                break
        assert code in codes, f"GOAWAY {name_of(code)} {frame.payload[8:]!r}"
        self.expect_closed()
        return int(last)

    def expect_closed(self, timeout_s: float | None = None) -> None:
        """The server closes the connection; what comes before is looked at and kept."""
        deadline = self.deadline(timeout_s)
        try:
            while True:
                self.take(self.receive_frame(deadline))
        except ConnectionEnded:
            pass
        except TimeoutError:
            raise AssertionError(f"not closed; came: {self.inbox[-10:]}") from None

    def expect_ended(self, *codes: int) -> None:
        """As `expect_goaway`, where GOAWAY may be left out (section 3.4): then the connection is just closed."""
        self.expect_closed()
        assert self.goaway is None or self.goaway in codes, f"GOAWAY {name_of(self.goaway)}"

    def expect_alive(self) -> None:
        """Everything sent so far has been read, and the connection goes on."""
        payload = struct.pack("!Q", time.monotonic_ns())
        self.send(ping_frame(payload))
        self.wait_for(lambda frame: frame.kind == PING and frame.payload == payload, "PING acknowledged")

    def expect_served(self) -> None:
        """Another request is answered."""
        response = self.expect_response(self.request("/hello/others"))
        assert (response.status, response.body) == (200, b"hello")

    def expect_ignored(self, stream: int) -> None:
        """Everything sent so far has been read, and nothing has come of it on this stream."""
        self.expect_alive()
        assert not (seen := self._seen(stream)), seen

    def expect_tolerated(self, stream: int, *codes: int) -> None:
        """What was sent is ignored, or is an error of the stream or of the connection with one of these codes."""
        with contextlib.suppress(ConnectionEnded):
            self.expect_alive()
        assert self.goaway is None or self.goaway in codes, f"GOAWAY {name_of(self.goaway)}"
        for frame in self._seen(stream) if stream else ():
            assert frame.kind == RST_STREAM and frame.number in codes, frame

    def _seen(self, stream: int) -> list[Frame]:
        return [frame for frame in self.inbox if frame.stream == stream and frame.kind != WINDOW_UPDATE]
