"""Autobahn's WebSocket state machine, without the transport, timers and futures of its framework side.

The only module that knows Autobahn's internals: the names below that are written in camelCase or begin with an
underscore are Autobahn's, called or overridden. `tests/connection/test_autobahn_bridge.py` fails when a new Autobahn
has moved one of them.

What is used of Autobahn (docs/decisions/0010): the parsing of frames in pieces, fragmentation, control frames, the
validation of UTF-8 across fragments, the checks of the closing handshake and the extension permessage-deflate. What is
not: its opening handshake, its timers and its way of writing. None of its own per-connection set-up is run: that makes
some 60 attributes, two Deferreds and several objects, 9 KB for a connection that may only wait.
"""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from autobahn.exception import PayloadCorruptError, PayloadExceededError
from autobahn.util import encode_truncate
from autobahn.websocket import USES_NVX
from autobahn.websocket.compress_deflate import PerMessageDeflate, PerMessageDeflateOffer
from autobahn.websocket.protocol import WebSocketServerProtocol
from autobahn.websocket.utf8validator import Utf8Validator

from daphne_clone.wire import ws_frames

if USES_NVX:
    import _nvx_xormasker as _nvx  # type: ignore[import-not-found]  # Autobahn's own name for it, a compiled module

if TYPE_CHECKING:
    from collections.abc import Callable

# The window and the memory level of what we compress, and the window we ask of clients that can choose it: about 45 KiB
# a connection that compresses both ways, where zlib's own defaults take 300 KiB. As `websockets` has it.
_WINDOW_BITS = 12
_MEMORY_LEVEL = 5

# What zlib can do: its raw streams begin at 9.
_WINDOWS = frozenset(map(str, range(9, 16)))

# RFC 6455 section 7.4.1: a message too big to be processed.
TOO_BIG = 1009

# RFC 7692 section 7.2.1: the end that every compressed message has, and that is left out.
_TAIL = b"\x00\x00\xff\xff"

# Below this a message is not compressed: the shortest compressed ones take nine octets.
MIN_COMPRESSED = 10

# From this many octets on, `unmask_long` beats the XOR of big integers.
LONG_FROM = 128


class FrameListener(Protocol):
    """What `FrameEngine` calls."""

    def close_made(self, frame: bytes) -> None:
        """A Close frame is to be sent: ours, the answer to the peer's, or that of a failure."""

    def message_received(self, payload: bytes, is_binary: bool) -> None:
        """A whole message, reassembled, inflated and, if it is text, valid UTF-8."""

    def ping_received(self, payload: bytes) -> None: ...

    def peer_closed(self, code: int | None, reason: str | None) -> None:
        """The peer's Close has come; if it was the first, ours has been sent."""

    def failed(self, code: int, reason: str) -> None:
        """The peer broke the protocol or a limit: the session is to be ended with this code."""


class _Silent:
    """A logger for Autobahn's own remarks: what matters is told to the listener."""

    def debug(self, *_args: object, **_fields: object) -> None: ...

    info = warn = error = debug


class _NoStatistics:
    """Takes the place of Autobahn's TrafficStats, which counts octets in every step; nobody reads it."""

    def __getattr__(self, _name: str) -> int:
        return 0

    def __setattr__(self, _name: str, _value: object) -> None: ...


class _Factory:
    """As much as Autobahn's protocol asks of its factory."""

    isServer = True


class FrameEngine(WebSocketServerProtocol):  # type: ignore[misc]  # Autobahn's classes are not annotated throughout
    """The state of one session as Autobahn keeps it; made when a session first needs more than whole messages.

    Args:
        listener: The session.
        deflate: The negotiated extension, or None.
        max_message: Octets of a message, inflated; 0 is no limit.
        max_frame: Octets of a frame as sent; 0 is no limit.
    """

    # What `_connectionMade` would copy from the factory or set on each instance. Class attributes: a session carries
    # only what it changes.
    factory: ClassVar[Any] = _Factory()
    log: ClassVar[Any] = _Silent()
    trafficStats: ClassVar[Any] = _NoStatistics()
    peer = "peer"
    websocket_version = 13
    requireMaskedClientFrames = True
    maskServerFrames = False
    applyMask = True
    utf8validateIncoming = True
    failByDrop = True  # ends all processing at a violation; how the session ends is for `_fail_connection`
    echoCloseCodeReason = True
    logOctets = False
    logFrames = False
    trackedTimings = None
    autoPingPending = None
    autoPingTimeoutCall = None
    autoPingRestartOnAnyTraffic = False
    closeHandshakeTimeout = 0
    closeHandshakeTimeoutCall = None
    state = WebSocketServerProtocol.STATE_OPEN
    data = b""
    current_frame = None
    inside_message = False
    closedByMe = False
    failedByMe = False
    wasClean = False
    wasNotCleanReason = None
    wasMaxFramePayloadSizeExceeded = False
    wasMaxMessagePayloadSizeExceeded = False
    localCloseCode = None
    localCloseReason = None
    remoteCloseCode = None
    remoteCloseReason = None

    def __init__(self, listener: FrameListener, deflate: Deflate | None, max_message: int, max_frame: int) -> None:
        # Not super().__init__(): see the module's docstring.
        self._listener: FrameListener | None = listener
        self._perMessageCompress = deflate
        self.maxMessagePayloadSize = max_message
        self.maxFramePayloadSize = max_frame
        self._validator: Utf8Validator | None = None

    # Ours

    @property
    def is_idle(self) -> bool:
        """Between two messages, with nothing kept, and open: a whole message in one frame needs no state."""
        return (
            not self.inside_message and self.current_frame is None and not self.data and self.state == self.STATE_OPEN
        )

    def receive(self, data: bytes, position: int) -> int:
        """Go on to the end of one frame, or of the data.

        One frame at a time: Autobahn cuts each from the front of all it was given, which takes quadratic time for
        many small ones.

        Returns:
            The position behind what was taken.
        """
        if self.current_frame is not None:
            stop = position + self.current_frame.length - self.current_frame_masker.pointer()
            self.data = data[position:stop]
        else:
            kept = len(self.data)  # a part of a header
            start = self.data + data[position : position + _MAX_HEADER - kept]
            size = _frame_size(start)
            stop = position + size - kept if size is not None else position + len(start) - kept
            self.data += data[position:stop]
        while self.processData() and self.state != self.STATE_CLOSED:
            pass
        return min(stop, len(data))

    def close(self, code: int, reason: str) -> None:
        """Send a Close frame (RFC 6455 section 7.1.2); the peer's is awaited.

        Args:
            code: One that may be sent.
            reason: Cut to 123 octets of UTF-8.
        """
        self.sendCloseFrame(code, encode_truncate(reason, 123) if reason else None)

    def fail(self, code: int, reason: str) -> None:
        """End the session for a fault of the peer's: send a Close frame, and process nothing more."""
        self._fail_connection(code, reason)

    def forget(self) -> None:
        """Let go of the session, so that neither keeps the other alive."""
        self.state = self.STATE_CLOSED
        self._listener = None

    # What Autobahn calls: its own hooks, with what its adapters for Twisted and asyncio add

    @property
    def utf8validator(self) -> Utf8Validator:
        if self._validator is None:
            self._validator = Utf8Validator()
        return self._validator

    def _onMessageBegin(self, isBinary: bool) -> None:
        self.message_is_binary = isBinary
        self.message_data = bytearray()  # not a list: a peer may send a message octet by octet
        self.message_data_total_length = 0

    def _onMessageFrameBegin(self, length: int) -> None:
        # Autobahn's own counts the octets of a compressed frame as if they were the message's. Those are counted where
        # they are inflated.
        if 0 < self.maxFramePayloadSize < length:
            self.fail(TOO_BIG, f"a frame of {length} octets, over the limit of {self.maxFramePayloadSize}")
        elif not self._isMessageCompressed:
            self.message_data_total_length += length
            if 0 < self.maxMessagePayloadSize < self.message_data_total_length:
                self.fail(TOO_BIG, f"a message over the limit of {self.maxMessagePayloadSize} octets")

    def _onMessageFrameData(self, payload: bytes) -> None:
        if not self.failedByMe:
            self.message_data += payload

    def _onMessageFrameEnd(self) -> None:
        self.frame_data = None

    def _onMessageEnd(self) -> None:
        payload, self.message_data = bytes(self.message_data), bytearray()
        if not self.failedByMe and self._listener is not None:
            self._listener.message_received(payload, self.message_is_binary)

    def _onPing(self, payload: bytes) -> None:
        if self._listener is not None:
            self._listener.ping_received(payload)

    def _onPong(self, payload: bytes) -> None:
        """A pong is a sign of life, as all that comes; its payload does not matter."""

    def sendData(self, data: bytes, sync: bool = False, chopsize: int | None = None) -> None:
        # Nothing else is sent by the engine: messages and pongs go the short way.
        if self._listener is not None:
            self._listener.close_made(data)

    def dropConnection(self, abort: bool = False) -> None:
        """Autobahn is through with the closing handshake."""
        self.state = self.STATE_CLOSED
        if self._listener is not None:
            self._listener.peer_closed(self.remoteCloseCode, self.remoteCloseReason)

    def _fail_connection(self, code: int = 1002, reason: str = "") -> None:
        if self.state != self.STATE_CLOSED:
            self.failedByMe = True
            self.close(code, reason)  # nothing, if ours has been sent before
            self.state = self.STATE_CLOSED
            if self._listener is not None:
                self._listener.failed(code, reason)


class Deflate(PerMessageDeflate):  # type: ignore[misc]  # see FrameEngine
    """permessage-deflate of one session (RFC 7692), for whole messages and, by Autobahn's interface, for fragments.

    The compressor and the decompressor are made with the first message that needs them.
    """

    _compressor: Any  # of zlib, whose types have no public names; None until needed
    _decompressor: Any

    def __init__(self, no_context_takeover: tuple[bool, bool], window_bits: tuple[int, int], max_message: int) -> None:
        super().__init__(True, *no_context_takeover, *window_bits, _MEMORY_LEVEL, max_message or None)

    def compress(self, payload: bytes) -> bytes | None:
        """Compress a message; None where that does not make it shorter."""
        if len(payload) < MIN_COMPRESSED:
            return None
        self.start_compress_message()
        compressed: bytes = self._compressor.compress(payload) + self._compressor.flush(zlib.Z_SYNC_FLUSH)
        if len(compressed) - len(_TAIL) < len(payload):
            return compressed[: -len(_TAIL)]
        # The peer will not see what this one has put into our window: begin with an empty one.
        self._compressor = None
        return None

    def decompress(self, payload: bytes | bytearray) -> bytes:
        """Inflate a message that came in one frame, without its tail.

        Raises:
            PayloadExceededError: It is longer than allowed.
            PayloadCorruptError: It cannot be inflated.
        """
        self.start_decompress_message()
        data = self.decompress_message_data(payload)
        self.end_decompress_message()
        return data

    def decompress_message_data(self, data: bytes | bytearray, max_output_len: int | None = None) -> bytes:
        # `max_output_len` is Autobahn's own account, which depends on how the frames were cut.
        decompressor = self._decompressor
        # One octet more than is allowed tells what is too long, before the rest of it takes memory. Autobahn's own
        # method asks for as many as are allowed, and takes a message that is cut there for a whole one.
        limit = 0 if self.max_message_size is None else self.max_message_size - self._decompress_message_size + 1
        try:
            inflated: bytes = decompressor.decompress(data, limit)
        except zlib.error as error:
            raise PayloadCorruptError("the compressed data is invalid") from error
        self._decompress_message_size += len(inflated)
        if limit and (len(inflated) >= limit or decompressor.unconsumed_tail):
            raise PayloadExceededError("the message is longer than allowed")
        return inflated

    def end_decompress_message(self) -> None:
        if self.decompress_message_data(_TAIL):
            raise PayloadCorruptError("the compressed data ends within a block")
        self._end_of_stream()

    def _end_of_stream(self) -> None:
        decompressor = self._decompressor
        if decompressor.eof:
            # A block with BFINAL set ended it (RFC 7692 section 7.2.3.4): the next message begins another stream. What
            # stands behind it in this one can only be padding.
            if decompressor.unused_data.removesuffix(_TAIL) not in (b"", b"\0"):
                raise PayloadCorruptError("there is data behind the end of the compressed data")
            self._decompressor = None


def negotiate_deflate(extensions: str, max_message: int) -> tuple[Deflate | None, bytes]:
    """Take the first offer of permessage-deflate that can be met (RFC 7692 section 5.1).

    Args:
        extensions: ``Sec-WebSocket-Extensions``; offers that are malformed or not known are declined.
        max_message: Octets that a message may be inflated to; 0 is no limit.

    Returns:
        The extension and the value to answer with; None and ``b""`` when there is no such offer.
    """
    if "permessage-deflate" not in extensions:
        return None, b""
    for name, parameters in WebSocketServerProtocol._parseExtensionsHeader(None, extensions):
        if name != "permessage-deflate":
            continue
        try:
            offer = PerMessageDeflateOffer.parse(parameters)
        except Exception:  # noqa: BLE001  # Autobahn raises no narrower one; such an offer is declined
            continue
        if all(_is_window(parameters.get(f"{side}_max_window_bits", [True])[0]) for side in ("client", "server")):
            return _accept(offer, parameters, max_message)
    return None, b""


def _is_window(bits: str | bool) -> bool:
    """Tell whether a window is told as it has to be (RFC 7692 section 7.1.2.1): Autobahn takes what `int` takes."""
    return bits is True or bits in _WINDOWS


def _accept(offer: Any, parameters: dict[str, list[Any]], max_message: int) -> tuple[Deflate, bytes]:  # noqa: ANN401
    response = "permessage-deflate"
    if offer.request_no_context_takeover:
        response += "; server_no_context_takeover"
    ours = min(offer.request_max_window_bits or _WINDOW_BITS, _WINDOW_BITS)
    if offer.request_max_window_bits:
        response += f"; server_max_window_bits={ours}"
    theirs = zlib.MAX_WBITS
    if offer.accept_max_window_bits:
        hint = parameters["client_max_window_bits"][0]
        theirs = min(_WINDOW_BITS, zlib.MAX_WBITS if hint is True else int(hint))
        response += f"; client_max_window_bits={theirs}"
    # A client that says so need not be told to; that it does not keep its context lets us drop ours.
    client_forgets = "client_no_context_takeover" in parameters
    if client_forgets:
        response += "; client_no_context_takeover"
    return Deflate((offer.request_no_context_takeover, client_forgets), (ours, theirs), max_message), response.encode(
        "ascii"
    )


def _xor_natively(data: bytes, start: int, stop: int, mask: bytes) -> bytearray:
    payload = bytearray(memoryview(data)[start:stop])
    masker = _nvx.lib.nvx_xormask_new(mask)
    _nvx.lib.nvx_xormask_process(masker, _nvx.ffi.from_buffer(payload), len(payload))
    _nvx.lib.nvx_xormask_free(masker)
    return payload


def _xor_integers(data: bytes, start: int, stop: int, mask: bytes) -> bytes:
    return ws_frames.unmask(data[start:stop], mask)


# Undoes the masking of data[start:stop]. Autobahn's native XOR without the objects it makes around it: 0.9 us for up to
# 1 KiB, and then 0.3 us for each. Where Autobahn is without its native part, big integers still are 20 times as fast as
# its loop over the octets.
unmask_long: Callable[[bytes, int, int, bytes], bytes | bytearray] = _xor_natively if USES_NVX else _xor_integers

_MAX_HEADER = 14


def _frame_size(start: bytes) -> int | None:
    """Octets of the frame that begins here, its header included; None while the header is not whole.

    Whether the frame is valid is for Autobahn to say, which may find that out from its first two octets.
    """
    if len(start) < 2:
        return None
    length = start[1] & 0x7F
    size = 2 + (4 if start[1] & 0x80 else 0)
    if length == 126:
        size += 2
        length = int.from_bytes(start[2:4], "big")
    elif length == 127:
        size += 8
        length = int.from_bytes(start[2:10], "big")
    return size + length if len(start) >= size else None
