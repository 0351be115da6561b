"""A stream of HTTP/2 as a WebSocket session's transport (RFC 8441)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IConsumer, IPushProducer, ITransport
from zope.interface.verify import verifyObject

from daphne_clone.connection.h2_stream import MAX_WAITING
from daphne_clone.connection.h2_tunnel import H2Tunnel
from daphne_clone.connection.shared import LINGER_S, Timeouts
from daphne_clone.errors import ApplicationProtocolError
from daphne_clone.interfaces import Limits
from tests.support.connections import HOST, PEER, Exchange, Factory
from tests.support.h2_frames import Code, Setting, data_frame, field_block, headers_frame, rst_frame, window_frame
from tests.support.peer_in_memory import Data, Headers, Peer, Reset, Window, websocket_frame

if TYPE_CHECKING:
    from twisted.python.failure import Failure

TIMEOUTS = Timeouts(request_head=10, request_body=20, keep_alive=40, write=30)
ACCEPTED = Headers(1, [(b":status", b"200")])


class Session:
    """Keeps what it is told, and writes what the test has it write.

    Attributes:
        transport: Its tunnel.
        received: All octets.
        lost: What it was told of the end; None before.
        pauses_after: Pauses reading with this many octets.
    """

    def __init__(self) -> None:
        self.transport: Any = None
        self.received = b""
        self.lost: type[Exception] | None = None
        self.calls: list[str] = []
        self.pauses_after: int | None = None

    def makeConnection(self, transport: Any) -> None:
        assert self.transport is None, "once"
        self.transport = transport
        transport.registerProducer(self, True)

    def dataReceived(self, data: bytes) -> None:
        assert data
        assert self.lost is None
        self.received += data
        if self.pauses_after is not None and len(self.received) >= self.pauses_after:
            self.transport.pauseProducing()

    def connectionLost(self, reason: Failure) -> None:
        assert self.lost is None, "once"
        self.lost = reason.type

    def shutdown_started(self) -> None:
        self.calls.append("shutdown")

    # IPushProducer

    def pauseProducing(self) -> None:
        self.calls.append("pause")

    def resumeProducing(self) -> None:
        self.calls.append("resume")

    def stopProducing(self) -> None:
        self.calls.append("stop")


@pytest.fixture
def factory() -> Factory:
    return Factory(timeouts=TIMEOUTS)


@pytest.fixture
def peer(factory: Factory) -> Peer:
    return Peer(factory)


@pytest.fixture
def session(peer: Peer) -> Session:
    """A session that has been accepted."""
    session = accept(ask(peer))
    assert peer.take() == [ACCEPTED]
    return session


def ask(peer: Peer) -> Exchange:
    peer.send(websocket_frame(1))
    return peer.factory.exchanges[-1]


def accept(exchange: Exchange, *headers: tuple[bytes, bytes]) -> Session:
    session = Session()
    exchange.channel.switch_to_websocket(session, None, headers)
    return session


def has_stream(peer: Peer) -> bool:
    return 1 in peer.connection._streams


def test_it_is_what_it_says(session: Session) -> None:
    assert type(session.transport) is H2Tunnel
    for interface in (ITransport, IConsumer, IPushProducer):
        assert verifyObject(interface, session.transport)


# The handshake (RFC 8441 section 5)


def test_it_is_accepted_with_200_and_the_stream_stays_open(peer: Peer) -> None:
    exchange = ask(peer)
    assert exchange.head is not None and exchange.head.upgrade == (b"websocket",)
    assert peer.take() == []
    accept(exchange, (b"Sec-WebSocket-Protocol", b"chat"))
    assert peer.take() == [Headers(1, [(b":status", b"200"), (b"sec-websocket-protocol", b"chat")])]
    assert exchange.events == [("request",)]


def test_fields_that_cannot_be_sent_leave_the_handshake_unanswered(peer: Peer) -> None:
    exchange = ask(peer)
    with pytest.raises(ApplicationProtocolError):
        accept(exchange, (b"a", b"\n"))
    assert peer.take() == []
    exchange.answer(status=403)
    assert peer.take()[0].fields[0] == (b":status", b"403")


def test_what_comes_before_it_is_accepted_is_for_the_session(peer: Peer, factory: Factory) -> None:
    """Whatever the limits say about a body: it is none."""
    factory.limits = Limits(body=3)
    exchange = ask(peer)
    peer.send(data_frame(1, b"early"), data_frame(1, b" bird", padding=3))
    factory.pass_time(1000)
    assert exchange.events == [("request",)]
    session = accept(exchange)
    assert session.received == b"early bird"
    peer.send(data_frame(1, b"!"))
    assert session.received == b"early bird!"


def test_a_denial_is_an_answer(peer: Peer, factory: Factory) -> None:
    exchange = ask(peer)
    peer.send(data_frame(1, b"early"))
    exchange.answer(status=403)
    assert peer.take()[-1] == Data(1, b"ok", True)
    assert exchange.events == [("request",)]
    peer.send(data_frame(1, b"late", end=True))
    assert not has_stream(peer)


def test_a_denial_is_let_end_for_a_while(peer: Peer, factory: Factory) -> None:
    ask(peer).answer(status=403)
    peer.take()
    factory.pass_time(LINGER_S + 1)
    assert peer.take() == [Reset(1, Code.NO_ERROR)]


@pytest.mark.parametrize("end", ["reset", "loss", "half close"])
def test_a_client_that_goes_before_it_is_accepted(peer: Peer, end: str) -> None:
    exchange = ask(peer)
    if end == "reset":
        peer.send(rst_frame(1))
    elif end == "loss":
        peer.transport.lose()
    else:
        peer.connection.readConnectionLost()
    assert exchange.events == [("request",), ("lost",)]


def test_a_session_that_begins_while_the_server_stops_is_told(peer: Peer) -> None:
    exchange = ask(peer)
    peer.connection.shutdown_started()
    assert accept(exchange).calls == ["shutdown"]


# Octets both ways


def test_octets_go_both_ways(peer: Peer, session: Session) -> None:
    peer.send(data_frame(1, b"ping"), data_frame(1, padding=3))
    assert session.received == b"ping"
    session.transport.write(b"po")
    session.transport.writeSequence([b"n", b"g"])
    session.transport.write(b"")
    assert peer.take() == [Data(1, b"po"), Data(1, b"ng")]


def test_it_knows_the_ends_of_the_connection(session: Session) -> None:
    assert session.transport.getPeer() is PEER
    assert session.transport.getHost() is HOST


def test_the_windows_are_given_back_as_it_reads(peer: Peer, session: Session) -> None:
    frames: list[Any] = []
    for _ in range(200):
        peer.send(data_frame(1, bytes(16_000)))
        frames += peer.take()
    for stream in (0, 1):
        given = sum(each.increment for each in frames if isinstance(each, Window) and each.stream == stream)
        assert given > 200 * 16_000 - 1_048_576


def test_a_session_that_does_not_read_makes_the_peer_wait(peer: Peer, session: Session) -> None:
    session.transport.pauseProducing()
    for _ in range(16):
        peer.send(data_frame(1, bytes(16_384)))
    assert peer.take() == []
    assert session.received == b""
    session.transport.resumeProducing()
    assert session.received == bytes(262_144)
    assert Window(1, 262_144) in peer.take()


def test_writing_is_paused_by_what_waits(factory: Factory) -> None:
    peer = Peer(factory, settings=[(Setting.INITIAL_WINDOW_SIZE, 0)])
    session = accept(ask(peer))
    session.transport.write(b"x" * MAX_WAITING)
    assert session.calls == []
    assert session.transport.getWriteBufferSize() == MAX_WAITING
    session.transport.write(b"x")
    session.transport.write(b"x")
    assert session.calls == ["pause"]
    peer.send(window_frame(1, 2))
    assert session.calls == ["pause", "resume"]
    peer.send(window_frame(1, MAX_WAITING))
    assert session.calls == ["pause", "resume"]
    assert session.transport.getWriteBufferSize() == 0


def test_who_is_no_producer_any_more_is_not_paused(factory: Factory) -> None:
    peer = Peer(factory, settings=[(Setting.INITIAL_WINDOW_SIZE, 0)])
    session = accept(ask(peer))
    session.transport.unregisterProducer()
    session.transport.write(b"x" * 100_000)
    peer.send(window_frame(1, 100_000), window_frame(0, 100_000))
    assert session.calls == []


def test_its_deadlines_are_the_sessions(factory: Factory) -> None:
    peer = Peer(factory, settings=[(Setting.INITIAL_WINDOW_SIZE, 0)])
    session = accept(ask(peer))
    session.transport.write(b"x" * 100)
    for _ in range(10):
        factory.pass_time(1000)
    assert session.lost is None
    peer.send(window_frame(1, 100))
    assert peer.take() == [ACCEPTED, Data(1, b"x" * 100)]


# The end


def test_closing_waits_for_what_is_written(factory: Factory) -> None:
    peer = Peer(factory, settings=[(Setting.INITIAL_WINDOW_SIZE, 2)])
    session = accept(ask(peer))
    session.transport.write(b"goodbye")
    session.transport.loseConnection()
    session.transport.write(b"not any more")
    assert peer.take() == [ACCEPTED, Data(1, b"go")]
    assert session.lost is None
    peer.send(window_frame(1, 100))
    assert peer.take() == [Data(1, b"odbye", True)]
    assert session.lost is ConnectionDone
    peer.send(data_frame(1, b"unheard"), data_frame(1, end=True))
    assert session.received == b""
    assert not has_stream(peer)
    assert peer.take() == []


def test_closing_with_nothing_to_write(peer: Peer, session: Session) -> None:
    session.transport.stopProducing()
    assert peer.take() == [Data(1, b"", True)]
    assert session.lost is ConnectionDone
    session.transport.loseConnection()
    assert peer.take() == []


def test_a_peer_that_does_not_close_its_side_is_reset(peer: Peer, session: Session, factory: Factory) -> None:
    session.transport.loseConnection()
    peer.take()
    for _ in range(int(LINGER_S) - 1):
        peer.send(data_frame(1, b"still here"))
        factory.pass_time(1)
    assert peer.take() == []
    factory.pass_time(1)
    factory.pass_time(1)
    assert peer.take() == [Reset(1, Code.NO_ERROR)]


def test_a_session_that_closes_while_it_does_not_read(peer: Peer, session: Session) -> None:
    session.transport.pauseProducing()
    peer.send(data_frame(1, b"unread", end=True))
    session.transport.loseConnection()
    assert session.received == b""
    assert session.lost is ConnectionDone
    assert peer.take() == [Data(1, b"", True)]
    assert not has_stream(peer)


@pytest.mark.parametrize("with_data", [False, True])
def test_half_closing_reads_on(peer: Peer, session: Session, with_data: bool) -> None:
    session.transport.write(b"last")
    session.transport.loseWriteConnection()
    assert peer.take()[-1].ends
    peer.send(data_frame(1, b"answer", end=with_data))
    assert session.received == b"answer"
    if not with_data:
        assert session.lost is None
        peer.send(data_frame(1, end=True))
    assert session.lost is ConnectionDone
    assert not has_stream(peer)
    assert peer.take() == []


def test_the_peer_closes(peer: Peer, session: Session) -> None:
    peer.send(data_frame(1, b"last", end=True))
    assert session.received == b"last"
    assert session.lost is ConnectionDone
    assert peer.take() == [Data(1, b"", True)]
    assert not has_stream(peer)


def test_the_peer_closes_with_trailers(peer: Peer, session: Session) -> None:
    peer.send(headers_frame(1, field_block([(b"a", b"b")])))
    assert session.lost is ConnectionDone
    assert peer.take() == [Data(1, b"", True)]


def test_what_waits_when_the_peer_closes_is_still_written(factory: Factory) -> None:
    peer = Peer(factory, settings=[(Setting.INITIAL_WINDOW_SIZE, 0)])
    session = accept(ask(peer))
    session.transport.write(b"answer")
    peer.send(data_frame(1, end=True))
    assert session.lost is ConnectionDone
    peer.send(window_frame(1, 6))
    assert peer.take() == [ACCEPTED, Data(1, b"answer", True)]
    assert not has_stream(peer)


def test_what_nobody_takes_when_the_peer_has_closed_is_given_up(factory: Factory) -> None:
    """The session is gone by then, and its deadlines with it."""
    peer = Peer(factory, settings=[(Setting.INITIAL_WINDOW_SIZE, 0)])
    session = accept(ask(peer))
    session.transport.write(b"answer")
    peer.send(data_frame(1, end=True))
    factory.pass_time(1)
    factory.pass_time(29)
    assert peer.take() == [ACCEPTED]
    factory.pass_time(2)
    assert peer.take() == [Reset(1, Code.CANCEL)]
    assert not has_stream(peer)


def test_the_end_is_behind_what_the_session_has_not_read(peer: Peer, session: Session) -> None:
    """A session takes what it is given, and holds it; the end would take it away."""
    session.pauses_after = 4
    peer.send(data_frame(1, b"last", end=True))
    assert session.received == b"last"
    assert session.lost is None
    session.pauses_after = None
    session.transport.resumeProducing()
    assert session.lost is ConnectionDone


@pytest.mark.parametrize("end", ["reset", "loss", "fault", "fault of the connection"])
def test_a_stream_that_is_cut(peer: Peer, session: Session, end: str) -> None:
    if end == "loss":
        peer.transport.lose()
    else:
        data = {"reset": rst_frame(1), "fault": window_frame(1, 0), "fault of the connection": window_frame(0, 0)}
        peer.send(data[end])
    assert session.lost is ConnectionLost
    peer.take()
    session.transport.write(b"x")
    session.transport.loseWriteConnection()
    session.transport.loseConnection()
    session.transport.abortConnection()
    session.transport.pauseProducing()
    session.transport.resumeProducing()
    assert peer.take() == []
    assert peer.transport.lost_writes == []


def test_a_session_that_cuts(peer: Peer, session: Session) -> None:
    session.transport.write(b"never" * 100_000)
    session.transport.abortConnection()
    assert session.lost is ConnectionLost
    assert peer.take()[-1] == Reset(1, Code.CANCEL)
    assert not has_stream(peer)
    session.transport.abortConnection()
    assert peer.take() == []


def test_a_client_that_half_closes_the_connection_ends_the_session(peer: Peer, session: Session) -> None:
    peer.connection.readConnectionLost()
    assert session.lost is ConnectionDone
    assert peer.take()[0] == Data(1, b"", True)
    peer.factory.pass_time(LINGER_S + 1)
    assert peer.transport.is_closed


def test_other_streams_do_not_notice(peer: Peer, session: Session) -> None:
    exchange = peer.request(3)
    session.transport.abortConnection()
    exchange.answer()
    assert Data(3, b"ok", True) in peer.take()


def test_a_stop_closes_the_connection_behind_the_session(peer: Peer, session: Session) -> None:
    peer.connection.shutdown_started()
    peer.factory.pass_time(3)
    peer.take()
    assert session.calls == []  # sessions are among the server's connections: it tells them itself
    session.transport.loseConnection()
    peer.send(data_frame(1, end=True))
    assert peer.transport.is_write_closed
