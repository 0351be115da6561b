"""Streams of frames and what they mean, however they are cut: for Autobahn's state machine alone and for sessions."""

from __future__ import annotations

import random
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field

from tests.support.ws_client import BINARY, CLOSE, COMPRESSED, PING, PONG, TEXT, close_frame, frame
from tests.support.ws_sessions import compressed

# Opcodes without FIN, and the continuations.
TEXT_BEGIN, BINARY_BEGIN, CONTINUE, CONTINUE_END = 0x01, 0x02, 0x00, 0x80

PROTOCOL_ERROR, INVALID_PAYLOAD, TOO_BIG = 1002, 1007, 1009


@dataclass(frozen=True)
class Sequence:
    """A stream of a client's and what becomes of it.

    Attributes:
        data: The octets.
        messages: What the application gets.
        pongs: What is answered to pings, in order.
        closed: Code and reason of the peer's Close; the code is None where it had none.
        failed: The code of a fault, which ends everything.
        deflate: It is for a session with permessage-deflate.
    """

    name: str
    data: bytes
    messages: list[str | bytes] = field(default_factory=list)
    pongs: list[bytes] = field(default_factory=list)
    closed: tuple[int | None, str] | None = None
    failed: int | None = None
    deflate: bool = False

    def cuts(self) -> Iterator[list[bytes]]:
        """The stream whole, octet by octet and in two pieces cut at each place; where it is long, at some places."""
        data = self.data
        yield [data]
        if len(data) <= 300:
            yield [data[at : at + 1] for at in range(len(data))]
            places = list(range(1, len(data)))
        else:
            chance = random.Random(len(data))
            places = [*range(1, 20), *range(len(data) - 20, len(data)), *chance.sample(range(20, len(data) - 20), 10)]
        for at in places:
            yield [data[:at], data[at:]]


def bare(first: int, length: bytes, rest: bytes = b"") -> bytes:
    """A frame with a length field of its own making; the mask is all zeroes."""
    return bytes((first,)) + length + bytes(4) + rest


def close_code(code: int) -> bytes:
    return frame(CLOSE, struct.pack("!H", code))


HELLO = "Hello €𝄞".encode()

VALID = [
    Sequence("nothing", b""),
    Sequence("text", frame(TEXT, HELLO), [HELLO.decode()]),
    Sequence("the RFC's text", bytes.fromhex("818537fa213d7f9f4d5158"), ["Hello"]),
    Sequence("binary", frame(BINARY, b"\xff\x00"), [b"\xff\x00"]),
    Sequence("empty messages", frame(TEXT) + frame(BINARY), ["", b""]),
    Sequence("many", b"".join(frame(BINARY, b"%d" % n) for n in range(20)), [b"%d" % n for n in range(20)]),
    *(
        Sequence(f"{size} octets", frame(BINARY, bytes(size)) + frame(TEXT, b"a" * size), [bytes(size), "a" * size])
        for size in (125, 126, 127, 128, 2047, 2048, 65_535, 65_536)
    ),
    Sequence("masks of all kinds", frame(TEXT, b"a", bytes(4)) + frame(TEXT, b"b", b"\xff" * 4), ["a", "b"]),
    Sequence("fragments", frame(TEXT_BEGIN, b"Hel") + frame(CONTINUE_END, b"lo"), ["Hello"]),
    Sequence(
        "empty fragments",
        frame(BINARY_BEGIN) + frame(CONTINUE) + frame(CONTINUE, b"a") + frame(CONTINUE) + frame(CONTINUE_END),
        [b"a"],
    ),
    Sequence("nothing in fragments", frame(TEXT_BEGIN) + frame(CONTINUE_END), [""]),
    Sequence(
        "characters cut by fragments",
        b"".join(frame(CONTINUE if at else TEXT_BEGIN, HELLO[at : at + 1]) for at in range(len(HELLO)))
        + frame(CONTINUE_END),
        [HELLO.decode()],
    ),
    Sequence(
        "long fragments",
        frame(BINARY_BEGIN, b"a" * 300) + frame(CONTINUE, b"b" * 70_000) + frame(CONTINUE_END, b"c"),
        [b"a" * 300 + b"b" * 70_000 + b"c"],
    ),
    Sequence("ping", frame(PING), pongs=[b""]),
    Sequence("ping of the longest kind", frame(PING, b"p" * 125), pongs=[b"p" * 125]),
    Sequence("pongs nobody asked for", frame(PONG) + frame(PONG, b"x" * 125) + frame(TEXT, b"a"), ["a"]),
    Sequence(
        "control frames between fragments",
        frame(TEXT_BEGIN, b"\xe2")
        + frame(PING, b"1")
        + frame(CONTINUE, b"\x82")
        + frame(PONG, b"2")
        + frame(PING, b"3")
        + frame(CONTINUE_END, b"\xac")
        + frame(BINARY, b"x"),
        ["€", b"x"],
        [b"1", b"3"],
    ),
    Sequence(
        "messages of both ways", frame(TEXT, b"a") + frame(TEXT_BEGIN, b"b") + frame(CONTINUE_END, b"c"), ["a", "bc"]
    ),
    Sequence("close", close_frame(), closed=(None, "")),
    Sequence("close with a code", close_frame(1000), closed=(1000, "")),
    Sequence("close with a reason", close_frame(4001, "go €"), closed=(4001, "go €")),
    Sequence("close with the longest reason", close_frame(1000, "r" * 123), closed=(1000, "r" * 123)),
    *(
        Sequence(f"close {code}", close_code(code), closed=(code, ""))
        for code in (1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 3000, 3999, 4000, 4999)
    ),
    Sequence(
        "close behind messages", frame(TEXT, b"a") + frame(PING, b"p") + close_frame(1001), ["a"], [b"p"], (1001, "")
    ),
    Sequence("close in a message", frame(TEXT_BEGIN, b"a") + close_frame(1000), closed=(1000, "")),
    Sequence(
        "nothing counts behind a close",
        close_frame(1000) + frame(TEXT, b"a") + frame(PING) + close_frame(1001) + b"\xff\xff",
        closed=(1000, ""),
    ),
]


def _fault(name: str, data: bytes, failed: int = PROTOCOL_ERROR) -> Sequence:
    """A fault behind a good message, and with a good one and a ping behind it, which nobody hears of."""
    return Sequence(name, frame(TEXT, b"good") + data + frame(PING) + frame(TEXT, b"late"), ["good"], failed=failed)


INVALID = [
    *(_fault(f"RSV {bit:#x} on data", frame(TEXT | bit, b"a")) for bit in (0x40, 0x20, 0x10, 0x70)),
    *(_fault(f"RSV {bit:#x} on a ping", frame(PING | bit, b"a")) for bit in (0x40, 0x20, 0x10)),
    *(_fault(f"opcode {opcode:#x}", frame(0x80 | opcode, b"a")) for opcode in (*range(3, 8), *range(11, 16))),
    _fault("an opcode without FIN", frame(0x03, b"a")),
    *(_fault(f"{first:#x} without a mask", frame(first, b"", None)) for first in (TEXT, BINARY, PING, PONG, CLOSE)),
    _fault("a longer one without a mask", frame(TEXT, b"a" * 200, None)),
    *(_fault(f"control {first:#x} in fragments", frame(first & 0x7F, b"a")) for first in (PING, PONG, CLOSE)),
    *(_fault(f"control {first:#x} of 126 octets", frame(first, b"a" * 126)) for first in (PING, PONG, CLOSE)),
    *(_fault(f"control {first:#x} of length 127", bare(first, b"\xff" + bytes(8))) for first in (PING, PONG)),
    _fault("a continuation of nothing", frame(CONTINUE_END, b"a")),
    _fault("a beginning of a continuation of nothing", frame(CONTINUE, b"a")),
    _fault("a message in a message", frame(TEXT_BEGIN, b"a") + frame(TEXT, b"b")),
    _fault("a beginning in a message", frame(TEXT_BEGIN, b"a") + frame(BINARY_BEGIN, b"b")),
    Sequence(
        "a continuation behind an end",
        frame(TEXT_BEGIN) + frame(CONTINUE_END, b"a") + frame(CONTINUE_END, b"b"),
        ["a"],
        failed=PROTOCOL_ERROR,
    ),
    _fault("16 bits for 125 octets", bare(BINARY, b"\xfe\x00\x7d", bytes(125))),
    _fault("16 bits for nothing", bare(BINARY, b"\xfe\x00\x00")),
    _fault("64 bits for 65,535 octets", bare(BINARY, b"\xff" + struct.pack("!Q", 65_535), bytes(65_535))),
    _fault("64 bits for nothing", bare(TEXT, b"\xff" + bytes(8))),
    _fault("64 bits with the first one set", bare(BINARY, b"\xff\x80" + bytes(7))),
    _fault("close of one octet", frame(CLOSE, b"\x03")),
    *(_fault(f"close {code}", close_code(code)) for code in (0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 65_535)),
    _fault("a reason that is not UTF-8", frame(CLOSE, b"\x03\xe8\xff"), INVALID_PAYLOAD),
    _fault("a reason that ends in a character", frame(CLOSE, b"\x03\xe8\xe2\x82"), INVALID_PAYLOAD),
    *(
        _fault(f"text {text.hex()}", frame(TEXT, text), INVALID_PAYLOAD)
        # A stray octet, a character cut short, an overlong one, a surrogate, one beyond Unicode, one Latin-1.
        for text in (b"\x80", b"ab\xe2\x82", b"\xc0\xaf", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"caf\xe9")
    ),
    _fault("a fragment that is not UTF-8", frame(TEXT_BEGIN, b"a\xff"), INVALID_PAYLOAD),
    _fault(
        "a message that ends in a character", frame(TEXT_BEGIN, b"\xe2") + frame(CONTINUE_END, b"\x82"), INVALID_PAYLOAD
    ),
    _fault("a character of two messages", frame(TEXT, b"\xe2") + frame(TEXT, b"\x82\xac"), INVALID_PAYLOAD),
]

# RFC 7692 section 7.2.3: "Hello" in a fixed block; the same again, by reference; stored; in two blocks; with BFINAL.
RFC_FIXED = bytes.fromhex("f248cdc9c90700")
RFC_AGAIN = bytes.fromhex("f200110000")
RFC_STORED = bytes.fromhex("000500faff48656c6c6f00")
RFC_TWO_BLOCKS = bytes.fromhex("f24805000000ffffcac9c90700")
RFC_FINAL = bytes.fromhex("f348cdc9c9070000")

_LONG = b"".join(b"%d " % n for n in range(1000))
_NOISE = random.Random(1).randbytes(300)


def _too_far_back() -> bytes:
    """What refers to octets that are only in a dictionary of the sender's."""
    return compressed(b"abcdefgh" * 4, zlib.compressobj(wbits=-15, zdict=b"x" * 100 + b"abcdefgh"))


_TOO_FAR_BACK = _too_far_back()


def _squeezed(payload: bytes, first: int = TEXT) -> bytes:
    return frame(first | COMPRESSED, payload)


def _in_two(payload: bytes, at: int = 3) -> bytes:
    """A compressed message in two fragments."""
    return frame(TEXT_BEGIN | COMPRESSED, payload[:at]) + frame(CONTINUE_END, payload[at:])


def _deflated(name: str, data: bytes, *messages: str | bytes, pongs: tuple[bytes, ...] = ()) -> Sequence:
    return Sequence(f"compressed: {name}", data, list(messages), list(pongs), deflate=True)


def _deflated_fault(name: str, data: bytes, failed: int = INVALID_PAYLOAD) -> Sequence:
    data = _squeezed(RFC_FIXED) + data + frame(TEXT, b"late")
    return Sequence(f"compressed: {name}", data, ["Hello"], failed=failed, deflate=True)


DEFLATE = [
    _deflated("the RFC's Hello", _squeezed(RFC_FIXED), "Hello"),
    _deflated("again, by reference", _squeezed(RFC_FIXED) + _squeezed(RFC_AGAIN), "Hello", "Hello"),
    _deflated("stored", _squeezed(RFC_STORED, BINARY), b"Hello"),
    _deflated("two blocks", _squeezed(RFC_TWO_BLOCKS), "Hello"),
    _deflated("BFINAL", _squeezed(RFC_FINAL) * 3, "Hello", "Hello", "Hello"),
    _deflated("BFINAL without padding", _squeezed(RFC_FINAL[:-1]) + _squeezed(RFC_FIXED), "Hello", "Hello"),
    _deflated("empty", _squeezed(b"\x00") + _squeezed(b"\x00", BINARY), "", b""),
    _deflated("a long one", _squeezed(compressed(_LONG), BINARY), _LONG),
    _deflated("one that does not shrink", _squeezed(compressed(_NOISE), BINARY), _NOISE),
    _deflated(
        "a plain one between",
        _squeezed(RFC_FIXED) + frame(TEXT, b"plain") + _squeezed(RFC_AGAIN),
        *("Hello", "plain", "Hello"),
    ),
    _deflated("fragments", _in_two(RFC_FIXED), "Hello"),
    _deflated(
        "fragments, and by reference",
        _in_two(RFC_FIXED)
        + frame(TEXT_BEGIN | COMPRESSED, RFC_AGAIN[:1])
        + frame(CONTINUE)
        + frame(CONTINUE, RFC_AGAIN[1:])
        + frame(CONTINUE_END)
        + _squeezed(RFC_AGAIN),
        *("Hello", "Hello", "Hello"),
    ),
    _deflated("fragments with BFINAL", _in_two(RFC_FINAL) + _squeezed(RFC_FINAL), "Hello", "Hello"),
    _deflated("fragments behind BFINAL", _in_two(RFC_FINAL, 7) + _squeezed(RFC_FINAL), "Hello", "Hello"),
    _deflated("characters of four octets", _squeezed(compressed(HELLO * 20)), HELLO.decode() * 20),
    _deflated(
        "a ping between fragments",
        frame(TEXT_BEGIN | COMPRESSED, RFC_FIXED[:3]) + frame(PING, b"p") + frame(CONTINUE_END, RFC_FIXED[3:]),
        "Hello",
        pongs=(b"p",),
    ),
    _deflated_fault("what is not compressed", _squeezed(b"\xff\xff\xff", BINARY)),
    _deflated_fault("what refers to before the beginning", _squeezed(_TOO_FAR_BACK, BINARY)),
    _deflated_fault("data behind its end", _squeezed(RFC_FINAL + b"xyz")),
    _deflated_fault("data behind its end, in fragments", _in_two(RFC_FINAL + b"xyz", len(RFC_FINAL))),
    _deflated_fault("text that is not UTF-8", _squeezed(compressed(b"caf\xe9"))),
    _deflated_fault("text that ends in a character", _squeezed(compressed(b"\xe2\x82"))),
    _deflated_fault("a ping", _squeezed(RFC_FIXED, PING), PROTOCOL_ERROR),
    _deflated_fault("a close", _squeezed(b"", CLOSE), PROTOCOL_ERROR),
    _deflated_fault(
        "a continuation",
        frame(TEXT_BEGIN | COMPRESSED, RFC_FIXED[:3]) + _squeezed(RFC_FIXED[3:], CONTINUE_END),
        PROTOCOL_ERROR,
    ),
    _deflated_fault(
        "a continuation of a plain beginning",
        frame(TEXT_BEGIN, b"a") + _squeezed(RFC_FIXED, CONTINUE_END),
        PROTOCOL_ERROR,
    ),
    _deflated_fault("RSV2 beside it", _squeezed(RFC_FIXED, TEXT | 0x20), PROTOCOL_ERROR),
]

SEQUENCES = [*VALID, *INVALID, *DEFLATE]
