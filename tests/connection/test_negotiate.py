"""Which version of HTTP is spoken: by ALPN, or by the first bytes."""

from __future__ import annotations

from typing import Any

import pytest

from daphne_clone.connection.h1 import H1Connection
from daphne_clone.connection.h2 import H2Connection
from daphne_clone.connection.negotiate import is_http2
from daphne_clone.connection.shared import Timeouts
from tests.support.connections import Factory, Transport
from tests.support.h2_frames import PREFACE, SETTINGS_ACK, UNKNOWN, frame, ping_frame, settings_frame
from tests.support.peer_in_memory import (
    Data,
    FrameReader,
    Goaway,
    Headers,
    Ping,
    SettingsAck,
    request_frame,
)
from tests.support.requests import splits

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
START = PREFACE + settings_frame()


class Negotiated(Transport):
    """One whose handshake has chosen a protocol."""

    def __init__(self, protocol: bytes | None) -> None:
        super().__init__()
        self.negotiatedProtocol = protocol


@pytest.fixture
def factory() -> Factory:
    factory = Factory(timeouts=Timeouts(request_head=10, request_body=20, keep_alive=40, write=30))
    factory.on_request = lambda exchange: exchange.answer()
    return factory


def told(factory: Factory, transport: Transport, pieces: list[bytes]) -> bytes:
    """What is written in answer to the pieces."""
    for piece in pieces:
        transport.protocol.dataReceived(piece)
        factory.turn()
    return transport.take()


def frames_in(data: bytes) -> list[Any]:
    return FrameReader().read(data)


def test_without_alpn_the_first_bytes_tell() -> None:
    for transport in (Transport(), Negotiated(None)):
        assert is_http2(transport, PREFACE) is True
        assert is_http2(transport, PREFACE + b"more") is True
        for end in range(len(PREFACE)):
            assert is_http2(transport, PREFACE[:end]) is None
            assert is_http2(transport, PREFACE[:end] + b"\xff") is False
        for first in (GET, b"G", b"PUT / HTTP/1.1", b"PRI * HTTP/1.1\r\n", b"\r\n", b"pri"):
            assert is_http2(transport, first) is False


@pytest.mark.parametrize(("protocol", "expected"), [(b"h2", True), (b"http/1.1", False), (b"spdy", False)])
def test_what_alpn_has_chosen_is_spoken_whatever_comes(protocol: bytes, expected: bool) -> None:
    for first in (b"", b"P", GET, PREFACE, PREFACE + b"more"):
        assert is_http2(Negotiated(protocol), first) is expected


def test_http2_is_spoken_to_who_begins_with_its_preface(factory: Factory) -> None:
    for pieces in splits(START + request_frame(1)):
        transport = factory.connect()
        frames = frames_in(told(factory, transport, pieces))
        assert [type(frame) for frame in frames][-3:] == [SettingsAck, Headers, Data]
        assert isinstance(transport.protocol, H2Connection)
        assert factory.connections == {transport.protocol}
        transport.lose()
        assert not factory.connections


def test_http1_is_spoken_to_everybody_else(factory: Factory) -> None:
    for pieces in splits(GET):
        transport = factory.connect()
        assert told(factory, transport, pieces) == OK
        assert isinstance(transport.protocol, H1Connection)
        transport.lose()


def test_it_is_asked_of_the_first_request_only(factory: Factory) -> None:
    transport = factory.connect()
    assert told(factory, transport, [GET, GET]) == OK + OK
    assert told(factory, transport, [START]).startswith(b"HTTP/1.1 505 ") or not transport.is_open
    assert isinstance(transport.protocol, H1Connection)


def test_a_method_that_begins_as_the_preface_does(factory: Factory) -> None:
    for method in (b"P", b"PR", b"PRI", b"PUT"):
        for pieces in splits(GET.replace(b"GET", method), 3):
            assert told(factory, factory.connect(), pieces) == OK


def test_without_http2_its_preface_is_a_request_like_another(factory: Factory) -> None:
    factory.http2 = None
    transport = factory.connect()
    assert told(factory, transport, [START]).startswith(b"HTTP/1.1 ")
    assert isinstance(transport.protocol, H1Connection)


def test_a_preface_that_never_comes_whole_has_the_time_of_a_head(factory: Factory) -> None:
    transport = factory.connect()
    told(factory, transport, [PREFACE[:10]])
    factory.pass_time(9)
    assert transport.is_open
    factory.pass_time(2)
    assert not transport.is_open


def test_a_peer_that_goes_within_the_preface_leaves_nothing(factory: Factory) -> None:
    transport = factory.connect()
    told(factory, transport, [PREFACE[:10]])
    transport.protocol.readConnectionLost()
    factory.turn()
    assert transport.is_closed
    transport.lose()
    assert not factory.connections


def test_a_first_read_of_any_size_goes_over_whole(factory: Factory) -> None:
    """HTTP/1.1 takes so much of a read in a turn, and pauses reading until the next."""
    pings = b"".join(ping_frame(b"%08d" % number) for number in range(200))
    for size in (32_768 - len(START), 32_769 - len(START), 100_000):
        transport = factory.connect()
        filler = b"".join(frame(UNKNOWN, 0, 0, bytes(12_000)) for _ in range(size // 12_009))
        written = frames_in(told(factory, transport, [START + filler + pings + SETTINGS_ACK]))
        assert [frame.payload for frame in written if isinstance(frame, Ping)] == [
            b"%08d" % number for number in range(200)
        ]
        assert transport.is_reading
        assert told(factory, transport, [request_frame(1)])


def test_a_server_that_is_stopping_does_not_wait_for_the_preface(factory: Factory) -> None:
    transport = factory.connect()
    told(factory, transport, [PREFACE[:5]])
    transport.protocol.shutdown_started()
    assert transport.is_closed


def test_h2_by_alpn_without_the_preface_is_a_fault(factory: Factory) -> None:
    transport = factory.connect(Negotiated(b"h2"))
    frames = frames_in(told(factory, transport, [GET]))
    assert frames[-1] == Goaway(0, 1)
    assert not transport.is_open
    assert factory.exchanges == []
