"""The opening handshake of a WebSocket: what a request asks for, and what is wrong with one (RFC 6455 section 4.2)."""

from __future__ import annotations

import base64
from http import HTTPStatus
from typing import TYPE_CHECKING

import pytest

from daphne_clone.errors import RequestRefused
from daphne_clone.interfaces import RequestHead
from daphne_clone.wire import ws_handshake

if TYPE_CHECKING:
    from daphne_clone.interfaces import Field

# RFC 6455 section 1.3: a key and what answers it.
KEY = b"dGhlIHNhbXBsZSBub25jZQ=="
ACCEPT = b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="

REQUIRED: list[Field] = [(b"sec-websocket-version", b"13"), (b"sec-websocket-key", KEY)]


def head(fields: list[Field], method: str = "GET") -> RequestHead:
    return RequestHead(method, b"/", "/", b"", "1.1", [(b"host", b"a"), (b"upgrade", b"websocket"), *fields])


def check(*fields: Field) -> ws_handshake.Handshake:
    return ws_handshake.check(head([*REQUIRED, *fields]))


def refused(request: RequestHead) -> RequestRefused:
    with pytest.raises(RequestRefused) as caught:
        ws_handshake.check(request)
    return caught.value


def test_the_answer_to_a_key_is_that_of_the_rfc() -> None:
    assert ws_handshake.accept_token(KEY) == ACCEPT


def test_a_plain_handshake_has_a_key_and_offers_nothing() -> None:
    assert check() == ws_handshake.Handshake(KEY, [], "")


def test_a_handshake_is_a_get() -> None:
    refusal = refused(head(REQUIRED, "POST"))
    assert refusal.status == HTTPStatus.BAD_REQUEST
    assert "method" in refusal.reason


@pytest.mark.parametrize("length", [1, None])
def test_a_handshake_has_no_body(length: int | None) -> None:
    request = head(REQUIRED)
    request.content_length = length
    refusal = refused(request)
    assert refusal.status == HTTPStatus.BAD_REQUEST
    assert "body" in refusal.reason


# Section 4.2.1 item 6 and section 4.4


@pytest.mark.parametrize("versions", [[], [b"12"], [b"8"], [b"13, 8"], [b"13", b"13"], [b"13", b"8"], [b""], [b"013"]])
def test_another_version_is_told_which_one_is_served(versions: list[bytes]) -> None:
    refusal = refused(head([(b"sec-websocket-key", KEY), *((b"sec-websocket-version", one) for one in versions)]))
    assert refusal.status == HTTPStatus.UPGRADE_REQUIRED
    assert ws_handshake.refusal_fields(refusal.status) == [
        (b"sec-websocket-version", b"13"),
        (b"upgrade", b"websocket"),
    ]


def test_the_version_is_looked_at_before_what_another_version_may_do_otherwise() -> None:
    assert refused(head([(b"sec-websocket-version", b"8")])).status == HTTPStatus.UPGRADE_REQUIRED


def test_other_refusals_have_no_fields_of_their_own() -> None:
    assert ws_handshake.refusal_fields(HTTPStatus.BAD_REQUEST) == []


# Section 4.2.1 item 5


@pytest.mark.parametrize("octets", [bytes(16), bytes(range(240, 256)), b"\xff" * 16])
def test_a_key_is_16_octets(octets: bytes) -> None:
    key = base64.b64encode(octets)
    assert ws_handshake.check(head([REQUIRED[0], (b"sec-websocket-key", key)])).key == key


@pytest.mark.parametrize(
    "keys",
    [
        [],
        [KEY, KEY],
        [b""],
        [base64.b64encode(bytes(15))],
        [base64.b64encode(bytes(17))],
        [KEY.rstrip(b"=")],
        [KEY + b"="],
        [KEY[:-1] + b" ="],
        [b" " + KEY],
        [KEY + b"\n"],
        [KEY + b"AAAA"],
        [b"*" * 24],
        [b"\xff" * 24],
        [KEY.replace(b"d", b"-")],
        [b"=" + KEY],
    ],
)
def test_what_is_no_key(keys: list[bytes]) -> None:
    refusal = refused(head([REQUIRED[0], *((b"sec-websocket-key", key) for key in keys)]))
    assert refusal.status == HTTPStatus.BAD_REQUEST
    assert "Sec-WebSocket-Key" in refusal.reason


# Section 11.3.4


@pytest.mark.parametrize(
    ("values", "subprotocols"),
    [
        ([b"chat"], ["chat"]),
        ([b"chat, superchat"], ["chat", "superchat"]),
        ([b"b,a"], ["b", "a"]),
        ([b"chat", b"superchat , graphql-ws"], ["chat", "superchat", "graphql-ws"]),
        ([b"\tchat\t"], ["chat"]),
        ([b""], []),
        ([b" , ,,"], []),
        ([b"", b"chat,"], ["chat"]),
        ([b"Chat"], ["Chat"]),
        ([b"soap.v1!#$%&'*+-.^_`|~"], ["soap.v1!#$%&'*+-.^_`|~"]),
    ],
)
def test_subprotocols_keep_the_order_of_the_client_over_all_fields(
    values: list[bytes], subprotocols: list[str]
) -> None:
    assert check(*((b"sec-websocket-protocol", value) for value in values)).subprotocols == subprotocols


@pytest.mark.parametrize("value", [b"two words", b'"quoted"', b"a/b", b"a\x00b", "é".encode(), b"ok, b{d}", b"a;b"])
def test_a_subprotocol_that_is_no_token_is_refused(value: bytes) -> None:
    refusal = refused(head([*REQUIRED, (b"sec-websocket-protocol", value)]))
    assert refusal.status == HTTPStatus.BAD_REQUEST
    assert "token" in refusal.reason


# Section 9.1


@pytest.mark.parametrize(
    ("values", "extensions"),
    [
        ([b"permessage-deflate"], "permessage-deflate"),
        ([b"a; b=1", b"c"], "a; b=1,c"),
        ([b"\xe9"], "\xe9"),  # whatever it is: what is malformed there is declined, not refused
    ],
)
def test_offers_of_extensions_are_handed_on_as_they_are(values: list[bytes], extensions: str) -> None:
    assert check(*((b"sec-websocket-extensions", value) for value in values)).extensions == extensions


def test_fields_mix_with_others_in_any_order() -> None:
    fields = [
        (b"sec-websocket-protocol", b"a"),
        REQUIRED[1],
        (b"sec-websocket-extensions", b"x"),
        (b"cookie", b"c"),
        (b"sec-websocket-accept", b"no business of a client's"),
        (b"sec-websocket-protocol", b"b"),
        REQUIRED[0],
        (b"sec-websocket-extensions", b"y"),
    ]
    assert ws_handshake.check(head(fields)) == ws_handshake.Handshake(KEY, ["a", "b"], "x,y")


def test_a_refusal_holds_nothing_of_what_the_peer_sent() -> None:
    secret = b"c2VjcmV0"
    for fields in ([REQUIRED[0], (b"sec-websocket-key", secret)], [*REQUIRED, (b"sec-websocket-protocol", b"@secret")]):
        assert "c2VjcmV0" not in str(refused(head(fields)))
        assert "@secret" not in str(refused(head(fields)))
