"""Autobahn's state machine as sessions use it: what is relied on is still there, and does what it did.

The first part compares Autobahn with what was found when the bridge was written. Where it fails, a new Autobahn has
moved something: look at what it does now, then change the bridge or, where nothing is to be done, the record.
"""

from __future__ import annotations

import ast
import inspect
import os
import random
import subprocess
import sys
import zlib
from pathlib import Path
from typing import Any

import pytest
from autobahn.exception import PayloadCorruptError, PayloadExceededError
from autobahn.util import encode_truncate
from autobahn.websocket import USES_NVX, compress_deflate, protocol
from autobahn.websocket.compress_deflate import PerMessageDeflate, PerMessageDeflateOffer
from autobahn.websocket.protocol import WebSocketServerProtocol
from autobahn.websocket.utf8validator import Utf8Validator

from daphne_clone.connection import autobahn_bridge
from daphne_clone.connection.autobahn_bridge import (
    LONG_FROM,
    MIN_COMPRESSED,
    Deflate,
    FrameEngine,
    negotiate_deflate,
    unmask_long,
)
from daphne_clone.wire import ws_frames
from tests.support.ws_client import BINARY, COMPRESSED, PING, TEXT, close_frame, frame
from tests.support.ws_sequences import CONTINUE_END, SEQUENCES, TEXT_BEGIN, Sequence
from tests.support.ws_sessions import TAIL, Engine, Listener, close_payload, compressed, deflate

ROOT = Path(__file__).resolve().parent.parent.parent

# What Autobahn has: read from its source, so that branches count that no test goes through


class Methods:
    """The methods of Autobahn's server protocol.

    Attributes:
        nodes: Each by its name, and by that of its class and its own.
        reached: Names of those that `FrameEngine` runs: from where it enters, and not through what it overrides.
    """

    def __init__(self) -> None:
        self.nodes: dict[str, ast.FunctionDef] = {}
        for node in ast.parse(inspect.getsource(protocol)).body:
            if isinstance(node, ast.ClassDef) and node.name in ("WebSocketProtocol", "WebSocketServerProtocol"):
                for function in node.body:
                    if isinstance(function, ast.FunctionDef):
                        self.nodes[function.name] = self.nodes[f"{node.name}.{function.name}"] = function
        self.reached: set[str] = set()
        entries = ["processData", "sendCloseFrame"]
        while entries:
            name = entries.pop()
            if name in self.nodes and name not in self.reached and name not in vars(FrameEngine):
                self.reached.add(name)
                entries += self.read(name)

    def attributes(self, name: str) -> list[ast.Attribute]:
        return [
            node
            for node in ast.walk(self.nodes[name])
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "self"
        ]

    def read(self, name: str) -> set[str]:
        return {node.attr for node in self.attributes(name) if not isinstance(node.ctx, ast.Store)}

    def stored(self, name: str) -> set[str]:
        return {node.attr for node in self.attributes(name) if isinstance(node.ctx, ast.Store)}

    def used_of(self, attribute: str) -> set[str]:
        """What is asked of ``self.attribute`` in the methods reached."""
        return {
            node.attr
            for name in self.reached
            for node in ast.walk(self.nodes[name])
            if isinstance(node, ast.Attribute) and ast.unparse(node.value) == f"self.{attribute}"
        }

    def calls(self, target: str) -> list[tuple[str, ast.Call]]:
        """The calls of ``target.anything`` in the methods reached, with the name called."""
        return [
            (node.func.attr, node)
            for name in self.reached
            for node in ast.walk(self.nodes[name])
            if isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute)
            and ast.unparse(node.func.value) == target
        ]


METHODS = Methods()


def accepts(function: Any, call: ast.Call) -> bool:
    """Whether a call with these arguments, and a self before them, fits."""
    keywords = {keyword.arg: None for keyword in call.keywords if keyword.arg is not None}
    try:
        inspect.signature(function).bind(None, *call.args, **keywords)
    except TypeError:
        return False
    return True


# The record

REACHED = {
    "_cancelAutoPingTimeoutCall", "_invalid_payload", "_max_message_size_exceeded", "_protocol_violation",
    "_sendAutoPing", "logRxFrame", "logTxFrame", "onAutoPingTimeout", "onAutoPong", "onCloseFrame",
    "onCloseHandshakeTimeout", "onFrameBegin", "onFrameData", "onFrameEnd",
    "onServerConnectionDropTimeout", "processControlFrame", "processData", "sendCloseFrame", "sendFrame", "sendPing",
}  # fmt: skip

# Hooks and methods of Autobahn's that the bridge has in its own way.
OVERRIDDEN = {
    "_fail_connection", "_onMessageBegin", "_onMessageEnd", "_onMessageFrameBegin", "_onMessageFrameData",
    "_onMessageFrameEnd", "_onPing", "_onPong", "dropConnection", "sendData", "utf8validator",
}  # fmt: skip

OWN = {"close", "fail", "forget", "is_idle", "receive"}

# What Autobahn sets before it reads it: with a frame, or a message.
SET_ON_THE_WAY = {
    "_isMessageCompressed", "control_frame_data", "current_frame_masker", "frame_data", "message_data_total_length",
    "utf8validateIncomingCurrentMessage", "utf8validateLast",
}  # fmt: skip

# What it reads as a client, or for pings of its own, which are off: `autoPingPending` is None.
NEVER_READ = {
    "acceptMaskedServerFrames", "autoPingInterval", "autoPingPendingCall", "autoPingPendingSent", "autoPingPendingSeq",
    "autoPingSize", "autoPingTimeout", "maskClientFrames", "serverConnectionDropTimeout",
}  # fmt: skip

CONFIGURATION = {
    "allowNullOrigin", "allowedOrigins", "allowedOriginsPatterns", "applyMask", "autoFragmentSize", "autoPingInterval",
    "autoPingRestartOnAnyTraffic", "autoPingSize", "autoPingTimeout", "closeHandshakeTimeout", "echoCloseCodeReason",
    "failByDrop", "flashSocketPolicy", "logFrames", "logOctets", "maskServerFrames", "maxConnections",
    "maxFramePayloadSize", "maxMessagePayloadSize", "openHandshakeTimeout", "perMessageCompressionAccept",
    "requireMaskedClientFrames", "serveFlashSocketPolicy", "tcpNoDelay", "trackTimings", "trustXForwardedFor",
    "utf8validateIncoming", "versions", "webStatus",
}  # fmt: skip

SET_ON_CONNECTION = {
    "_perMessageCompress", "autoPingPending", "autoPingPendingCall", "autoPingPendingSent", "autoPingPendingSeq",
    "autoPingTimeoutCall", "closeHandshakeTimeoutCall", "closedByMe", "data", "droppedByMe", "failedByMe",
    "localCloseCode", "localCloseReason", "openHandshakeTimeoutCall", "remoteCloseCode", "remoteCloseReason",
    "send_queue", "send_state", "serverConnectionDropTimeoutCall", "state", "trackedTimings", "trafficStats",
    "triggered", "utf8validator", "wasClean", "wasCloseHandshakeTimeout", "wasMaxFramePayloadSizeExceeded",
    "wasMaxMessagePayloadSizeExceeded", "wasNotCleanReason", "wasOpenHandshakeTimeout",
    "wasServerConnectionDropTimeout", "wasServingFlashSocketPolicyFile",
}  # fmt: skip

SET_ON_HANDSHAKE = {
    "_perMessageCompress", "autoPingPendingCall", "current_frame", "http_response_data", "inside_message",
    "openHandshakeTimeoutCall", "state", "websocket_extensions_in_use", "websocket_protocol_in_use",
}  # fmt: skip


class TestWhatIsReliedOn:
    def test_the_methods_that_run_are_those_that_were_looked_at(self) -> None:
        assert METHODS.reached == REACHED

    def test_the_set_up_that_is_left_out_sets_what_was_looked_at(self) -> None:
        assert set(WebSocketServerProtocol.CONFIG_ATTRS) == CONFIGURATION
        assert METHODS.stored("WebSocketProtocol._connectionMade") == SET_ON_CONNECTION
        assert METHODS.stored("WebSocketServerProtocol._connectionMade") == set()
        assert METHODS.stored("succeedHandshake") == SET_ON_HANDSHAKE

    def test_all_that_is_read_is_there(self) -> None:
        engine = FrameEngine(Listener(), None, 0, 0)
        read = {attribute for name in METHODS.reached for attribute in METHODS.read(name)}
        assert {name for name in read if not hasattr(engine, name)} == SET_ON_THE_WAY | NEVER_READ

    def test_what_is_set_on_the_way_is_set_by_autobahn_or_the_bridge(self) -> None:
        stored = {attribute for name in METHODS.reached for attribute in METHODS.stored(name)}
        # The rest is set by hooks of the bridge, which stand for these.
        assert SET_ON_THE_WAY - stored == {"frame_data"}
        assert METHODS.stored("onMessageBegin") == {"message_is_binary", "message_data", "message_data_total_length"}
        assert "frame_data" in METHODS.stored("onMessageFrameEnd")

    def test_each_name_of_the_bridge_is_a_name_of_autobahn(self) -> None:
        names = {name for name in vars(FrameEngine) if not name.startswith("__")}
        hooks = {name for name, _ in METHODS.calls("self")}
        attributes = names - OWN - OVERRIDDEN
        assert names >= OWN | OVERRIDDEN
        assert hooks >= OVERRIDDEN - {"utf8validator"}
        assert attributes <= CONFIGURATION | SET_ON_CONNECTION | SET_ON_HANDSHAKE | {
            "factory", "log", "peer", "websocket_version",
        }  # fmt: skip
        assert all(not hasattr(WebSocketServerProtocol, name) for name in OWN), "Autobahn has such a name now"

    def test_nothing_that_autobahn_calls_is_missing(self) -> None:
        called = {name for name, _ in METHODS.calls("self")}
        assert {name for name in called if not hasattr(FrameEngine, name)} == set()

    def test_hooks_take_what_autobahn_calls_them_with(self) -> None:
        calls = [(name, call) for name, call in METHODS.calls("self") if name in OVERRIDDEN]
        assert len(calls) > 10
        assert [ast.unparse(call) for name, call in calls if not accepts(getattr(FrameEngine, name), call)] == []

    @pytest.mark.parametrize("name", sorted(OVERRIDDEN & METHODS.nodes.keys()))
    def test_a_method_that_is_overridden_has_the_parameters_it_had(self, name: str) -> None:
        theirs = inspect.signature(getattr(WebSocketServerProtocol, name)).parameters
        ours = inspect.signature(getattr(FrameEngine, name)).parameters
        assert list(ours) == list(theirs)

    @pytest.mark.parametrize(
        ("attribute", "names"),
        [
            ("factory", {"isServer", "_batched_timer"}),  # the timer for pings of its own, and for closing: both off
            ("log", {"debug", "warn"}),
            ("current_frame", {"fin", "length", "opcode", "rsv"}),
            ("current_frame_masker", {"pointer", "process"}),
            ("utf8validator", {"reset", "validate"}),
            ("_perMessageCompress", {
                "EXTENSION_NAME", "decompress_message_data", "end_decompress_message", "start_decompress_message",
            }),
        ],
    )  # fmt: skip
    def test_the_parts_are_asked_for_what_they_were_asked_for(self, attribute: str, names: set[str]) -> None:
        assert METHODS.used_of(attribute) == names

    def test_the_extension_takes_what_autobahn_calls_it_with(self) -> None:
        calls = METHODS.calls("self._perMessageCompress")
        assert len(calls) == 3
        assert all(accepts(getattr(Deflate, name), call) for name, call in calls)

    def test_the_extension_is_what_it_was(self) -> None:
        assert list(inspect.signature(PerMessageDeflate).parameters) == [
            "is_server", "server_no_context_takeover", "client_no_context_takeover", "server_max_window_bits",
            "client_max_window_bits", "mem_level", "max_message_size",
        ]  # fmt: skip
        assert list(inspect.signature(PerMessageDeflate.decompress_message_data).parameters) == [
            "self", "data", "max_output_len",
        ]  # fmt: skip
        assert vars(PerMessageDeflate(True, False, False, 12, 15, 5)).keys() == {
            "_compressor", "_decompress_message_size", "_decompressor", "_is_server", "client_max_window_bits",
            "client_no_context_takeover", "max_message_size", "mem_level", "server_max_window_bits",
            "server_no_context_takeover",
        }  # fmt: skip
        assert vars(PerMessageDeflateOffer.parse({})).keys() == {
            "accept_max_window_bits", "accept_no_context_takeover", "request_max_window_bits",
            "request_no_context_takeover",
        }  # fmt: skip
        assert compress_deflate.PerMessageDeflateMixin.WINDOW_SIZE_PERMISSIBLE_VALUES == [9, 10, 11, 12, 13, 14, 15]

    def test_offers_are_parsed_without_a_protocol(self) -> None:
        parsed = WebSocketServerProtocol._parseExtensionsHeader(None, 'A; b; c=1; c="2", d')
        assert parsed == [("a", {"b": [True], "c": ["1", "2"]}), ("d", {})]

    def test_functions_are_what_they_were(self) -> None:
        assert encode_truncate("a€", 3) == b"a"
        assert encode_truncate("a€", 4) == "a€".encode()
        validator = Utf8Validator()
        assert validator.validate(b"\xe2\x82")[:2] == (True, False)
        assert validator.validate(b"\xac")[:2] == (True, True)
        validator.reset()
        assert validator.validate(b"\xac")[0] is False


@pytest.mark.parametrize("sequence", SEQUENCES, ids=lambda sequence: sequence.name)
class TestSequences:
    def test_a_stream_means_the_same_however_it_is_cut(self, sequence: Sequence) -> None:
        for pieces in sequence.cuts():
            case = Engine(deflate() if sequence.deflate else None)
            case.receive(*pieces)
            heard = case.listener
            assert heard.messages == sequence.messages
            assert heard.pongs == sequence.pongs
            assert heard.failed_with == sequence.failed
            assert heard.closed == sequence.closed
            sent = [(first, close_payload(payload)) for first, payload in heard.sent]
            if sequence.failed is not None:
                assert sent == [(0x88, (sequence.failed, heard.reason))]
            else:
                assert sent == ([] if sequence.closed is None else [(0x88, sequence.closed)])

    def test_one_octet_more_is_kept_for_the_next_frame(self, sequence: Sequence) -> None:
        case = Engine(deflate() if sequence.deflate else None)
        case.receive(sequence.data + b"\x82")
        case.receive(frame(BINARY, b"next")[1:])
        is_over = sequence.failed is not None or sequence.closed is not None
        assert case.listener.messages == sequence.messages + ([] if is_over else [b"next"])


class TestReceiving:
    def test_one_frame_is_taken_at_a_time(self) -> None:
        case = Engine()
        one, two = frame(BINARY, b"one"), frame(TEXT_BEGIN, b"two")
        assert case.engine.receive(b"??" + one + two, 2) == 2 + len(one)
        assert case.listener.messages == [b"one"]
        assert case.engine.receive(b"??" + one + two, 2 + len(one)) == 2 + len(one) + len(two)

    def test_many_small_frames_are_not_copied_over_and_over(self) -> None:
        case, data = Engine(), Counted(frame(PING, b"p") * 5000)
        case.receive(data)
        assert len(case.listener.pongs) == 5000
        assert data.copied < 40 * 5000

    def test_a_frame_of_many_pieces_is_not_copied_over_and_over(self) -> None:
        case, whole = Engine(), frame(BINARY, bytes(100_000))
        case.receive(*(whole[at : at + 10] for at in range(0, len(whole), 10)))
        assert case.listener.messages == [bytes(100_000)]

    def test_a_header_of_many_pieces_is_told_by_its_length(self) -> None:
        whole = frame(BINARY, bytes(70_000))
        for cut in range(1, 14):
            case = Engine()
            assert case.engine.receive(whole[:cut], 0) == cut
            assert not case.engine.is_idle
            assert case.engine.receive(whole, cut) == len(whole)
            assert case.listener.messages == [bytes(70_000)]

    def test_an_engine_is_idle_between_messages_only(self) -> None:
        case = Engine()
        assert case.engine.is_idle
        for piece in (frame(TEXT_BEGIN, b"a"), frame(PING), frame(CONTINUE_END, b"bc")[:-1]):
            case.receive(piece)
            assert not case.engine.is_idle
        case.receive(frame(CONTINUE_END, b"bc")[-1:])
        assert case.engine.is_idle
        case.receive(frame(PING, b"p")[:-1])
        assert not case.engine.is_idle

    def test_an_engine_that_closes_is_not_idle(self) -> None:
        """Messages are its own from then on."""
        case = Engine()
        case.engine.close(1000, "")
        assert not case.engine.is_idle
        case.engine.forget()
        assert not case.engine.is_idle

    def test_what_is_malformed_is_told_from_two_octets(self) -> None:
        """A peer that sends no more could otherwise keep it from being told."""
        for start in (b"\x83\x80", b"\x81\x00", b"\xc1\x80", b"\x89\xfe", b"\x80\x80"):
            case = Engine()
            case.receive(start)
            assert case.listener.failed_with == 1002

    def test_text_that_is_no_utf8_is_told_with_the_octet(self) -> None:
        """Not with the end of the frame, or of the message (RFC 6455 section 8.1)."""
        case = Engine()
        case.receive(frame(TEXT_BEGIN, b"caf\xe9!" + b"x" * 100)[:11])
        assert case.listener.failed_with == 1007

    def test_nothing_is_kept_of_a_message_that_has_been_refused(self) -> None:
        case = Engine(max_message=1000)
        data = frame(BINARY, bytes(1001)) + frame(PING)
        case.receive(data[:8])
        for octet in data[8:500]:
            case.engine.receive(bytes((octet,)), 0)
        assert len(case.engine.message_data) == 0
        for octet in data[500:]:
            case.engine.receive(bytes((octet,)), 0)
        assert case.listener.messages == []
        assert len(case.listener.sent) == 1

    def test_a_new_engine_has_only_what_is_its_own(self) -> None:
        """It takes 9 KB with what Autobahn would set up."""
        engine = Engine().engine
        assert len(vars(engine)) == 5
        assert type(engine.data) is bytes


class Counted(bytes):
    """Counts the octets copied out of it."""

    copied = 0

    def __getitem__(self, key: Any) -> Any:
        found = super().__getitem__(key)
        if isinstance(key, slice):
            self.copied += len(found)
        return found


class TestLimits:
    @pytest.mark.parametrize("size", [100, 1000, 70_000])
    def test_a_message_of_the_limit_passes_and_one_octet_more_does_not(self, size: int) -> None:
        for extra, is_ok in ((0, True), (1, False)):
            for pieces in Sequence("", frame(BINARY, bytes(size + extra))).cuts():
                case = Engine(max_message=size)
                case.receive(*pieces)
                assert case.listener.messages == ([bytes(size)] if is_ok else [])
                assert case.listener.failed_with == (None if is_ok else 1009)

    def test_a_message_that_is_too_long_is_refused_by_its_header(self) -> None:
        case = Engine(max_message=1000)
        case.receive(frame(BINARY, bytes(1001))[:8])
        assert case.listener.failed_with == 1009
        assert case.listener.sent[0][1][:2] == b"\x03\xf1"

    def test_fragments_count_together(self) -> None:
        begin, more, end = frame(0x02, bytes(400)), frame(0x00, bytes(400)), frame(0x80, bytes(200))
        case = Engine(max_message=1000)
        case.receive(begin + more + end)
        assert case.listener.messages == [bytes(1000)]
        case.receive(begin + more + frame(0x80, bytes(201))[:8])
        assert case.listener.failed_with == 1009

    def test_a_frame_has_a_limit_of_its_own(self) -> None:
        case = Engine(max_frame=400)
        case.receive(frame(0x02, bytes(400)) + frame(0x80, bytes(400)))
        assert case.listener.messages == [bytes(800)]
        case.receive(frame(0x02, bytes(401)))
        assert case.listener.failed_with == 1009

    def test_control_frames_have_no_limit_but_the_protocols(self) -> None:
        case = Engine(max_message=1, max_frame=1)
        case.receive(frame(PING, b"p" * 125))
        assert case.listener.pongs == [b"p" * 125]

    def test_without_limits_all_passes(self) -> None:
        case = Engine()
        case.receive(frame(BINARY, bytes(3_000_000)))
        assert case.listener.messages == [bytes(3_000_000)]


class TestClosing:
    def test_our_close_is_sent_once_and_answered(self) -> None:
        case = Engine()
        case.engine.close(4000, "why")
        case.engine.close(4001, "again")
        assert case.listener.sent == [(0x88, b"\x0f\xa0why")]
        case.receive(close_frame(4000, "why"))
        assert case.listener.closed == (4000, "why")
        case.engine.fail(1002, "")
        assert case.listener.failed_with is None
        assert len(case.listener.sent) == 1

    @pytest.mark.parametrize(
        ("reason", "sent"),
        [
            ("", ""),
            ("r" * 123, "r" * 123),
            ("r" * 124, "r" * 123),
            ("€" * 50, "€" * 41),
            ("r" + "€" * 41, "r" + "€" * 40),
        ],
    )
    def test_a_reason_is_cut_to_what_a_frame_holds(self, reason: str, sent: str) -> None:
        case = Engine()
        case.engine.close(1000, reason)
        assert case.listener.sent == [(0x88, b"\x03\xe8" + sent.encode())]

    def test_messages_are_taken_until_the_peer_closes_too(self) -> None:
        case = Engine()
        case.engine.close(1000, "")
        case.receive(frame(TEXT, b"a") + frame(PING, b"p") + close_frame(1000) + frame(TEXT, b"b"))
        assert case.listener.messages == ["a"]
        assert case.listener.closed == (1000, "")

    def test_a_fault_behind_our_close_is_told_and_sends_no_other(self) -> None:
        case = Engine()
        case.engine.close(1000, "")
        case.receive(frame(0x83))
        assert case.listener.failed_with == 1002
        assert case.listener.sent == [(0x88, b"\x03\xe8")]

    def test_a_fault_found_by_the_session_ends_it(self) -> None:
        case = Engine()
        case.engine.fail(1007, "no UTF-8")
        case.engine.fail(1009, "and too long")
        assert case.listener.failed_with == 1007
        assert case.listener.sent == [(0x88, b"\x03\xefno UTF-8")]
        case.engine.receive(frame(TEXT, b"a"), 0)
        assert case.listener.messages == []

    def test_a_forgotten_engine_tells_nobody(self) -> None:
        data = frame(TEXT, b"a") + frame(PING) + frame(TEXT_BEGIN, b"a") + frame(CONTINUE_END, b"b") + close_frame(1000)
        case = Engine()
        case.engine.forget()
        for octet in data + frame(0x83):
            case.engine.receive(bytes((octet,)), 0)
        case.engine.fail(1002, "")
        case.engine.close(1000, "")
        case.engine.sendData(b"")
        heard = case.listener
        assert (heard.messages, heard.pongs, heard.sent, heard.closed, heard.failed_with) == ([], [], [], None, None)

    @pytest.mark.parametrize("data", [close_frame(1000), frame(0x83)])
    def test_a_session_lost_while_its_close_is_sent_hears_no_more(self, data: bytes) -> None:
        case = Engine()
        case.listener.close_made = lambda _frame: case.engine.forget()  # type: ignore[method-assign]
        case.engine.receive(data, 0)
        assert (case.listener.closed, case.listener.failed_with) == (None, None)


class Peer:
    """A client's end of the extension, with zlib alone.

    Args:
        window_bits: Of what it inflates.
    """

    def __init__(self, window_bits: int = 15) -> None:
        self.inflater = zlib.decompressobj(-window_bits)

    def inflate(self, data: bytes) -> bytes:
        return self.inflater.decompress(data + TAIL)


NOISE = random.Random(2).randbytes(2000)
WORDS = b"".join(b"%d " % n for n in range(2000))


class TestCompressing:
    def test_messages_refer_to_those_before(self) -> None:
        extension, peer = deflate(), Peer(12)
        first, second = extension.compress(WORDS[:500]), extension.compress(WORDS[:500])
        assert len(second) < len(first) / 10
        assert [peer.inflate(first), peer.inflate(second)] == [WORDS[:500], WORDS[:500]]

    def test_without_context_takeover_each_stands_alone(self) -> None:
        extension = deflate(ours=True)
        for _ in range(2):
            assert Peer(12).inflate(extension.compress(WORDS)) == WORDS

    @pytest.mark.parametrize("bits", [9, 12])
    def test_the_window_is_no_larger_than_agreed(self, bits: int) -> None:
        far = random.Random(bits).randbytes(2**bits)
        data = deflate(window_bits=(bits, 15)).compress(far[:300] + bytes(5000) + far[:300])
        assert len(data) > 600, "referred to what is further away"
        assert Peer(bits).inflate(data) == far[:300] + bytes(5000) + far[:300]

    def test_what_is_short_is_sent_as_it_is(self) -> None:
        assert deflate().compress(b"a" * (MIN_COMPRESSED - 1)) is None
        assert Peer().inflate(deflate().compress(b"a" * MIN_COMPRESSED)) == b"a" * MIN_COMPRESSED

    @pytest.mark.parametrize("takeover", [True, False])
    def test_what_does_not_shrink_is_sent_as_it_is_and_the_stream_goes_on(self, takeover: bool) -> None:
        extension, peer = deflate(ours=not takeover), Peer(12)
        inflated = []
        for message in (WORDS[:300], NOISE, WORDS[:300], NOISE, NOISE + bytes(2000), WORDS[:300]):
            data = extension.compress(message)
            if not takeover:
                peer = Peer(12)
            inflated.append(message if data is None else peer.inflate(data))
            assert (data is None) == (message == NOISE)
        assert inflated == [WORDS[:300], NOISE, WORDS[:300], NOISE, NOISE + bytes(2000), WORDS[:300]]

    def test_nothing_is_made_before_it_is_needed(self) -> None:
        """A compressor takes 30 KiB, a decompressor 10 to 40."""
        extension = deflate()
        assert extension._compressor is extension._decompressor is None
        extension.compress(b"short")
        assert extension._compressor is None


class TestInflating:
    def test_messages_refer_to_those_before(self) -> None:
        compressor = zlib.compressobj(wbits=-15)
        extension = deflate()
        for message in (WORDS, WORDS, b"", WORDS):
            assert extension.decompress(compressed(message, compressor)) == message

    def test_a_client_without_context_takeover_has_its_own_forgotten(self) -> None:
        extension = deflate(theirs=True)
        for _ in range(2):
            assert extension.decompress(compressed(WORDS)) == WORDS
        compressor = zlib.compressobj(wbits=-15)
        extension.decompress(compressed(WORDS, compressor))
        with pytest.raises(PayloadCorruptError):
            extension.decompress(compressed(WORDS, compressor))

    @pytest.mark.parametrize("size", [0, 1, 2, 100, 1000])
    @pytest.mark.parametrize("message", [bytes(1001), NOISE[:1001], WORDS[:1001]], ids=["zeroes", "noise", "words"])
    def test_the_limit_is_of_what_is_inflated(self, size: int, message: bytes) -> None:
        if size:
            assert deflate(size).decompress(compressed(message[:size])) == message[:size]
            with pytest.raises(PayloadExceededError):
                deflate(size).decompress(compressed(message[: size + 1]))
        else:
            assert deflate().decompress(compressed(message)) == message

    @pytest.mark.parametrize("size", [1, 999, 1000])
    def test_a_limit_holds_for_the_message_not_for_the_stream(self, size: int) -> None:
        compressor = zlib.compressobj(wbits=-15)
        extension = deflate(1000)
        for _ in range(3):
            assert extension.decompress(compressed(bytes(size), compressor)) == bytes(size)

    def test_no_more_is_inflated_than_the_limit_and_one_octet(self) -> None:
        """10 KiB that hold 10 MiB."""
        extension = deflate(1000)
        extension.start_decompress_message()
        inflater = extension._decompressor
        made: list[int] = []

        class Watched:
            eof, unconsumed_tail = False, b""

            def decompress(self, data: bytes, limit: int) -> bytes:
                found = inflater.decompress(data, limit)
                self.unconsumed_tail = inflater.unconsumed_tail
                made.append(len(found))
                return found

        extension._decompressor = Watched()
        with pytest.raises(PayloadExceededError):
            extension.decompress(compressed(bytes(10_485_760)))
        assert made == [1001]

    @pytest.mark.parametrize("data", [b"\xff", b"\xff\xff\xff", b"\x07", b"\x01\x01\x00\x00\x00a", b"\x03\x80\xff\xff"])
    def test_what_cannot_be_inflated(self, data: bytes) -> None:
        with pytest.raises(PayloadCorruptError):
            deflate().decompress(data)

    @pytest.mark.parametrize(
        ("behind", "is_ok"), [(b"", True), (b"\0", True), (b"\0\0", False), (b"x", False), (TAIL, False)]
    )
    def test_nothing_but_padding_stands_behind_the_end_of_a_stream(self, behind: bytes, is_ok: bool) -> None:
        compressor = zlib.compressobj(wbits=-15)
        whole = compressor.compress(b"Hello") + compressor.flush(zlib.Z_FINISH)
        extension = deflate()
        if not is_ok:
            with pytest.raises(PayloadCorruptError, match="behind the end"):
                extension.decompress(whole + behind)
            return
        assert extension.decompress(whole + behind) == b"Hello"
        assert extension.decompress(compressed(b"and then a new one")) == b"and then a new one"


class TestInflatingFragments:
    """As in one frame, over fragments: there Autobahn drives the extension."""

    @staticmethod
    def in_fragments(payload: bytes, count: int) -> bytes:
        size = -(-len(payload) // count)
        pieces = [payload[at : at + size] for at in range(0, len(payload), size)]
        frames = [frame(0x00, piece) for piece in pieces[:-1]] + [frame(0x80, pieces[-1])]
        frames[0] = bytes((frames[0][0] | 0x02 | COMPRESSED,)) + frames[0][1:]
        return b"".join(frames)

    @pytest.mark.parametrize("count", [1, 2, 7])
    @pytest.mark.parametrize("message", [bytes(1001), WORDS[:1001]], ids=["zeroes", "words"])
    def test_the_limit_is_of_what_is_inflated(self, message: bytes, count: int) -> None:
        for size, is_ok in ((1000, True), (1001, False)):
            data = self.in_fragments(compressed(message[:size]), count)
            for pieces in Sequence("", data).cuts():
                case = Engine(deflate(1000), max_message=1000)
                case.receive(*pieces)
                assert case.listener.messages == ([message[:size]] if is_ok else [])
                assert case.listener.failed_with == (None if is_ok else 1009)

    @pytest.mark.parametrize("at", [20, 40, 300])
    def test_a_message_of_the_limit_passes_however_it_is_cut(self, at: int) -> None:
        """Where its end is hard to compress: what is still to come may be longer than what it inflates to."""
        message = bytes(500) + NOISE[:500]
        data = frame(BINARY | COMPRESSED, compressed(message))
        case = Engine(deflate(1000), max_message=1000)
        case.receive(data[:at], data[at:])
        assert case.listener.messages == [message]

    def test_a_message_of_the_limit_passes_though_it_is_longer_compressed(self) -> None:
        case = Engine(deflate(1000), max_message=1000)
        case.receive(frame(BINARY | COMPRESSED, compressed(NOISE[:1000])))
        assert case.listener.messages == [NOISE[:1000]]

    def test_22_octets_that_inflate_to_more_than_the_limit(self) -> None:
        bomb = compressed(bytes(10_000))
        assert len(bomb) < 30
        case = Engine(deflate(1000), max_message=1000)
        case.receive(frame(0x02 | COMPRESSED, bomb[:10]) + frame(0x80, bomb[10:]))
        assert case.listener.messages == []
        assert case.listener.failed_with == 1009

    def test_a_message_without_end_is_refused_at_the_limit(self) -> None:
        compressor = zlib.compressobj(wbits=-15)
        case = Engine(deflate(100_000), max_message=100_000)
        case.receive(frame(0x02 | COMPRESSED, compressor.compress(bytes(50_000)) + compressor.flush(zlib.Z_SYNC_FLUSH)))
        assert not case.is_over
        case.receive(frame(0x00, compressor.compress(bytes(50_001)) + compressor.flush(zlib.Z_SYNC_FLUSH)))
        assert case.listener.failed_with == 1009

    @pytest.mark.parametrize(("payload", "message"), [(bytes.fromhex("000400fbff"), TAIL)])
    def test_what_the_omitted_tail_stands_for_is_inflated_too(self, payload: bytes, message: bytes) -> None:
        """RFC 7692 section 7.2.2: a block may end in it; or it is refused, but then in one frame as well."""
        results = set()
        for data in (frame(BINARY | COMPRESSED, payload), self.in_fragments(payload, 2)):
            case = Engine(deflate())
            case.receive(data)
            results.add((tuple(case.listener.messages), case.listener.failed_with))
        try:
            results.add(((deflate().decompress(payload),), None))
        except PayloadCorruptError:
            results.add(((), 1007))
        assert results <= {((message,), None), ((), 1007)}
        assert len(results) == 1


DEFLATE_OFFERS = [
    # offers, answer, (server, client) without context takeover, (server, client) window bits
    ("permessage-deflate", "permessage-deflate", (False, False), (12, 15)),
    # What browsers send.
    (
        "permessage-deflate; client_max_window_bits",
        "permessage-deflate; client_max_window_bits=12", (False, False), (12, 12),
    ),
    # Safari's, before it had the standard's.
    ("x-webkit-deflate-frame, permessage-deflate", "permessage-deflate", (False, False), (12, 15)),
    (
        "permessage-deflate; server_no_context_takeover",
        "permessage-deflate; server_no_context_takeover", (True, False), (12, 15),
    ),
    (
        "permessage-deflate; client_no_context_takeover",
        "permessage-deflate; client_no_context_takeover", (False, True), (12, 15),
    ),
    (
        "permessage-deflate; server_no_context_takeover; client_no_context_takeover",
        "permessage-deflate; server_no_context_takeover; client_no_context_takeover", (True, True), (12, 15),
    ),
    *(
        (
            f"permessage-deflate; server_max_window_bits={bits}",
            f"permessage-deflate; server_max_window_bits={min(bits, 12)}", (False, False), (min(bits, 12), 15),
        )
        for bits in range(9, 16)
    ),
    *(
        (
            f"permessage-deflate; client_max_window_bits={bits}",
            f"permessage-deflate; client_max_window_bits={min(bits, 12)}", (False, False), (12, min(bits, 12)),
        )
        for bits in range(9, 16)
    ),
    (
        'permessage-deflate;client_max_window_bits="10" ;\tserver_max_window_bits=11;server_no_context_takeover',
        "permessage-deflate; server_no_context_takeover; server_max_window_bits=11; client_max_window_bits=10",
        (True, False), (11, 10),
    ),
    # RFC 7692 section 5.1: the first that can be met, in the client's order.
    (
        "permessage-deflate; server_max_window_bits=10, permessage-deflate",
        "permessage-deflate; server_max_window_bits=10", (False, False), (10, 15),
    ),
    (
        "permessage-deflate; unheard_of, permessage-deflate; server_max_window_bits=9",
        "permessage-deflate; server_max_window_bits=9", (False, False), (9, 15),
    ),
    ("permessage-bzip2, permessage-deflate", "permessage-deflate", (False, False), (12, 15)),
]  # fmt: skip

DECLINED = [
    "",
    "permessage-bzip2",
    "x-permessage-deflate",
    "foo; permessage-deflate",
    "permessage-deflate; unheard_of",
    "permessage-deflate; unheard_of=1",
    "permessage-deflate;",
    "permessage-deflate; server_no_context_takeover=1",
    "permessage-deflate; client_no_context_takeover=true",
    "permessage-deflate; server_no_context_takeover; server_no_context_takeover",
    "permessage-deflate; server_max_window_bits",
    "permessage-deflate; server_max_window_bits=",
    "permessage-deflate; server_max_window_bits=7",
    "permessage-deflate; server_max_window_bits=16",
    "permessage-deflate; server_max_window_bits=12.0",
    "permessage-deflate; server_max_window_bits=a",
    "permessage-deflate; client_max_window_bits=7",
    "permessage-deflate; client_max_window_bits=16",
    "permessage-deflate; client_max_window_bits=-12",
    "permessage-deflate; client_max_window_bits; client_max_window_bits=10",
    # zlib has no raw stream with a window of 256 octets.
    "permessage-deflate; server_max_window_bits=8",
    "permessage-deflate; client_max_window_bits=8",
]

# RFC 7692 section 7.1.2: decimal digits without leading zeroes.
MALFORMED_NUMBERS = ["012", "+12", "1_2", "\u0661\u0662"]


class TestNegotiation:
    @pytest.mark.parametrize(("offers", "answer", "no_context_takeover", "window_bits"), DEFLATE_OFFERS)
    def test_an_offer_is_answered_by_what_will_be_done(
        self, offers: str, answer: str, no_context_takeover: tuple[bool, bool], window_bits: tuple[int, int]
    ) -> None:
        extension, value = negotiate_deflate(offers, 0)
        assert value == answer.encode()
        assert extension is not None
        assert (extension.server_no_context_takeover, extension.client_no_context_takeover) == no_context_takeover
        assert (extension.server_max_window_bits, extension.client_max_window_bits) == window_bits

    @pytest.mark.parametrize("offers", DECLINED)
    def test_an_offer_that_cannot_be_met_is_declined(self, offers: str) -> None:
        assert negotiate_deflate(offers, 0) == (None, b"")

    @pytest.mark.parametrize("number", MALFORMED_NUMBERS)
    @pytest.mark.parametrize("parameter", ["server_max_window_bits", "client_max_window_bits"])
    def test_a_malformed_number_is_declined(self, parameter: str, number: str) -> None:
        assert negotiate_deflate(f"permessage-deflate; {parameter}={number}", 0) == (None, b"")

    @pytest.mark.parametrize("offers", [offer[0] for offer in DEFLATE_OFFERS])
    def test_a_client_with_what_was_agreed_understands_and_is_understood(self, offers: str) -> None:
        extension, value = negotiate_deflate(offers, 0)
        assert extension is not None
        agreed = dict(part.partition("=")[::2] for part in value.decode().replace(" ", "").split(";"))
        bits = int(agreed.get("client_max_window_bits", 15))
        peer, compressor = Peer(int(agreed.get("server_max_window_bits", 15))), zlib.compressobj(wbits=-bits)
        for message in (WORDS, WORDS, NOISE, WORDS):
            if "server_no_context_takeover" in agreed:
                peer = Peer(int(agreed.get("server_max_window_bits", 15)))
            if "client_no_context_takeover" in agreed:
                compressor = zlib.compressobj(wbits=-bits)
            sent = extension.compress(message)
            assert (message if sent is None else peer.inflate(sent)) == message
            assert extension.decompress(compressed(message, compressor)) == message


# Unmasking

MASKS = [b"\x00\x00\x00\x00", b"\xff\xff\xff\xff", b"\x01\x02\x03\x04", b"\x80\x00\x00\x00"]


class TestUnmasking:
    @pytest.mark.parametrize("mask", MASKS)
    @pytest.mark.parametrize("size", [0, 1, 3, LONG_FROM - 1, LONG_FROM, LONG_FROM + 1, 2047, 65_537])
    @pytest.mark.parametrize("start", [0, 1, 7])
    def test_a_part_is_unmasked_as_if_it_were_alone(self, size: int, start: int, mask: bytes) -> None:
        payload = random.Random(size).randbytes(size)
        data = b"x" * start + ws_frames.unmask(payload, mask) + b"behind"
        kept = bytes(bytearray(data))
        for function in (unmask_long, autobahn_bridge._xor_integers):
            assert function(data, start, start + size, mask) == payload
        assert data == kept, "what was received has been changed"

    def test_without_autobahns_native_part_all_is_the_same(self) -> None:
        """It is a choice at import, so this takes another interpreter."""
        program = """
        from autobahn.websocket import USES_NVX
        assert not USES_NVX
        from tests.support.ws_sequences import SEQUENCES
        from tests.support.ws_sessions import Engine, deflate
        from daphne_clone.connection import autobahn_bridge
        from daphne_clone.wire.ws_frames import unmask
        assert autobahn_bridge.unmask_long is autobahn_bridge._xor_integers
        data = bytes(range(256)) * 5
        assert autobahn_bridge.unmask_long(data, 3, 1000, b"mask") == unmask(data[3:1000], b"mask")
        for sequence in SEQUENCES:
            if len(sequence.data) < 1000:
                case = Engine(deflate() if sequence.deflate else None)
                case.receive(sequence.data)
                assert case.listener.messages == sequence.messages, sequence.name
                assert case.listener.failed_with == sequence.failed, sequence.name
        """
        environment = {**os.environ, "AUTOBAHN_USE_NVX": "0", "PYTHONPATH": str(ROOT)}
        subprocess.run([sys.executable, "-c", inspect.cleandoc(program)], cwd=ROOT, env=environment, check=True)

    @pytest.mark.skipif(not USES_NVX, reason="Autobahn is without its native part here")
    def test_the_native_part_is_what_it_was(self) -> None:
        assert unmask_long is autobahn_bridge._xor_natively
        library = autobahn_bridge._nvx.lib
        for name in ("nvx_xormask_new", "nvx_xormask_process", "nvx_xormask_free"):
            assert callable(getattr(library, name))
