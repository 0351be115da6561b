"""What an application may say on a WebSocket, message by message."""

from __future__ import annotations

import enum
from typing import Any

import pytest

from daphne_clone.asgi import websocket_rules
from daphne_clone.errors import ApplicationProtocolError


class Code(enum.IntEnum):
    POLICY = 1008


def accept(offered: list[str] | None = None, **message: Any) -> Any:
    return websocket_rules.accept({"type": "websocket.accept", **message}, offered or [])


def send(**message: Any) -> Any:
    return websocket_rules.send({"type": "websocket.send", **message})


def close(**message: Any) -> Any:
    return websocket_rules.close({"type": "websocket.close", **message})


# accept


def test_an_accept_may_say_nothing() -> None:
    assert accept() == (None, [])
    assert accept(["chat"]) == (None, [])
    assert accept(subprotocol=None, headers=[]) == (None, [])


def test_an_accept_may_choose_one_of_the_subprotocols_offered() -> None:
    assert accept(["chat", "superchat"], subprotocol="superchat") == ("superchat", [])


@pytest.mark.parametrize("subprotocol", ["Chat", "other", ""])
def test_a_subprotocol_that_is_not_offered_is_refused(subprotocol: str) -> None:
    with pytest.raises(ApplicationProtocolError, match="one that the client offers"):
        accept(["chat"], subprotocol=subprotocol)


def test_without_an_offer_there_is_no_subprotocol_to_choose() -> None:
    with pytest.raises(ApplicationProtocolError, match="'chat'; expected None, for the client offers none"):
        accept(subprotocol="chat")


@pytest.mark.parametrize("subprotocol", [b"chat", 1, ["chat"], True])
def test_a_subprotocol_is_a_string(subprotocol: Any) -> None:
    with pytest.raises(ApplicationProtocolError, match=r"websocket\.accept: 'subprotocol' is .*a string or None"):
        accept(["chat"], subprotocol=subprotocol)


def test_headers_keep_their_order_and_their_duplicates() -> None:
    headers = [(b"X-B", b"1"), (b"set-cookie", b"a"), (b"set-cookie", b"b"), [b"x-a", b"2"]]
    assert accept(headers=headers)[1] == [(b"X-B", b"1"), (b"set-cookie", b"a"), (b"set-cookie", b"b"), (b"x-a", b"2")]


def test_headers_may_be_any_iterable() -> None:
    assert accept(headers=iter([(b"a", b"b")]))[1] == [(b"a", b"b")]


@pytest.mark.parametrize(
    "name",
    [
        b"Connection",
        b"content-length",
        b"Sec-WebSocket-Accept",
        b"sec-websocket-extensions",
        b"SEC-WEBSOCKET-VERSION",
        b"Transfer-Encoding",
        b"upgrade",
    ],
)
def test_what_belongs_to_the_handshake_itself_is_left_out(name: bytes) -> None:
    assert accept(headers=[(b"a", b"1"), (name, b"x"), (b"b", b"2")])[1] == [(b"a", b"1"), (b"b", b"2")]


@pytest.mark.parametrize("name", [b"sec-websocket-protocol", b"Sec-WebSocket-Protocol"])
def test_a_subprotocol_among_the_headers_is_one_that_is_chosen(name: bytes) -> None:
    assert accept(["chat"], headers=[(name, b"chat"), (b"a", b"b")]) == ("chat", [(b"a", b"b")])
    with pytest.raises(ApplicationProtocolError, match="'other'; expected one that the client offers"):
        accept(["chat"], headers=[(name, b"other")])


def test_a_subprotocol_is_chosen_once() -> None:
    protocol = (b"sec-websocket-protocol", b"chat")
    with pytest.raises(ApplicationProtocolError, match="twice"):
        accept(["chat"], subprotocol="chat", headers=[protocol])
    with pytest.raises(ApplicationProtocolError, match="twice"):
        accept(["chat"], headers=[protocol, protocol])


@pytest.mark.parametrize("headers", [None, 5, b"a", "ab", [1], [b"ab"], [(b"a",)], [(b"a", b"b", b"c")], [("a", "b")]])
def test_headers_are_pairs_of_bytes(headers: Any) -> None:
    with pytest.raises(ApplicationProtocolError, match="headers: "):
        accept(headers=headers)


@pytest.mark.parametrize("pair", [("a", b"b"), (b"a", "b"), (b"a", None), (1, 2), {b"a": 1, "b": 2}])
def test_a_pair_of_another_type_is_shown(pair: Any) -> None:
    with pytest.raises(ApplicationProtocolError, match="a name and a value of bytes, got"):
        accept(headers=[pair])


def test_keys_of_a_newer_specification_are_no_error() -> None:
    assert accept(novelty=1) == (None, [])
    assert send(text="a", novelty=1) == "a"
    assert close(novelty=1) == (1000, "")


# send


@pytest.mark.parametrize(
    ("message", "payload"),
    [
        ({"text": "é"}, "é"),
        ({"text": ""}, ""),
        ({"text": "a", "bytes": None}, "a"),
        ({"bytes": b"\xff"}, b"\xff"),
        ({"bytes": b""}, b""),
        ({"bytes": b"a", "text": None}, b"a"),
        ({"bytes": bytearray(b"a")}, b"a"),
        ({"bytes": memoryview(b"a")}, b"a"),
    ],
)
def test_a_message_is_text_or_bytes(message: dict[str, Any], payload: str | bytes) -> None:
    sent = send(**message)
    assert sent == payload
    assert type(sent) is type(payload)


def test_a_buffer_may_be_changed_once_it_has_been_sent() -> None:
    buffer = bytearray(b"a")
    sent = send(bytes=buffer)
    buffer[:] = b"b"
    assert sent == b"a"


@pytest.mark.parametrize("message", [{}, {"text": None}, {"bytes": None}, {"text": None, "bytes": None}])
def test_a_message_of_nothing_is_refused(message: dict[str, Any]) -> None:
    with pytest.raises(ApplicationProtocolError, match="neither 'text' nor 'bytes'"):
        send(**message)


@pytest.mark.parametrize("message", [{"text": "a", "bytes": b"a"}, {"text": "", "bytes": b""}])
def test_a_message_of_both_is_refused(message: dict[str, Any]) -> None:
    with pytest.raises(ApplicationProtocolError, match="both 'text' and 'bytes'"):
        send(**message)


@pytest.mark.parametrize("text", [b"a", 1, ["a"], False])
def test_text_is_a_string(text: Any) -> None:
    with pytest.raises(ApplicationProtocolError, match="'text' is .*expected a string"):
        send(text=text)


@pytest.mark.parametrize("data", ["a", 1, [1], False])
def test_bytes_are_bytes(data: Any) -> None:
    with pytest.raises(ApplicationProtocolError, match="'bytes' is .*expected bytes"):
        send(bytes=data)


# close


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ({}, (1000, "")),
        ({"code": None, "reason": None}, (1000, "")),
        ({"code": 4000, "reason": "why"}, (4000, "why")),
        ({"reason": "why"}, (1000, "why")),
        ({"code": Code.POLICY}, (1008, "")),
    ],
)
def test_a_close_has_a_code_and_a_reason(message: dict[str, Any], expected: tuple[int, str]) -> None:
    code, reason = close(**message)
    assert (code, reason) == expected
    assert type(code) is int


# RFC 6455 section 7.4, and the registry it makes: 1012 to 1014.
SENDABLE = {*range(1000, 1004), *range(1007, 1015), *range(3000, 5000)}


def is_sendable(code: int) -> bool:
    try:
        return close(code=code) == (code, "")
    except ApplicationProtocolError:
        return False


def test_codes_that_may_be_in_a_frame_are_those_of_the_rfc() -> None:
    assert {code for code in (*range(-1, 1100), *range(2990, 5010), 65_535, 65_536) if is_sendable(code)} == SENDABLE


def test_a_code_that_may_not_be_sent_is_told_which_may() -> None:
    with pytest.raises(
        ApplicationProtocolError, match="'code' is 1005; expected 1000 to 1003, 1007 to 1014 or 3000 to"
    ):
        close(code=1005)


@pytest.mark.parametrize("code", ["1000", 1000.0, True, False, b"1000", [1000]])
def test_a_code_is_an_integer(code: Any) -> None:
    with pytest.raises(ApplicationProtocolError, match="'code' is "):
        close(code=code)


@pytest.mark.parametrize("reason", [b"why", 1, ["why"], True])
def test_a_reason_is_a_string(reason: Any) -> None:
    with pytest.raises(ApplicationProtocolError, match="'reason' is .*expected a string"):
        close(reason=reason)


def test_a_reason_is_text_that_can_be_sent() -> None:
    with pytest.raises(ApplicationProtocolError, match="text without lone surrogates"):
        close(reason="\ud800")
