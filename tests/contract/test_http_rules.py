"""Contract, section 1, "HTTP": what an application may send, and what the client sees of it."""

from __future__ import annotations

import pytest

from tests.support.apps import SECRET
from tests.support.http1 import Truncated, head

START = {"type": "http.response.start", "status": 200, "headers": []}
END = {"type": "http.response.body", "body": b"end"}
MORE = {"type": "http.response.body", "body": b"part", "more_body": True}


def start(*headers, status=200, **more):
    return {"type": "http.response.start", "status": status, "headers": list(headers), **more}


def is_protocol_error(note):
    return isinstance(note, list) and "ValueError" in note


# The request


def test_application_is_called_at_the_end_of_the_head_before_the_body_is_there(client, app):
    with client.open(app.path("events"), method=b"POST", body=4) as exchange:
        assert app.noted(1) == ["called"]
        exchange.send_body(b"body")
        assert exchange.read_response().status == 200


def test_body_is_delivered_as_it_arrives(client, app):
    with client.open(app.path("events"), method=b"POST", body=8) as exchange:
        exchange.send_body(b"one.")
        assert app.noted(2)[1:] == [{"type": "http.request", "body": b"one.", "more_body": True}]
        exchange.send_body(b"two.")
        assert exchange.read_response().status == 200
    events = app.noted(3)[1:]
    assert b"".join(event["body"] for event in events) == b"one.two."
    assert [event["more_body"] for event in events][-1] is False


def test_request_without_a_body_is_one_empty_event(client, app):
    assert client.request(app.path("events")).status == 200
    assert app.noted(2)[1:] == [{"type": "http.request", "body": b"", "more_body": False}]


def test_chunked_body_is_delivered_as_it_arrives(connect, app):
    connection = connect()
    connection.send(head(app.path("events"), [(b"Transfer-Encoding", b"chunked")], method=b"POST"))
    connection.send(b"3\r\none\r\n")
    assert app.noted(2)[1] == {"type": "http.request", "body": b"one", "more_body": True}
    connection.send(b"3\r\ntwo\r\n0\r\n\r\n")
    assert connection.read_response().status == 200
    assert b"".join(event["body"] for event in app.noted(3)[1:]) == b"onetwo"


def test_large_body_arrives_whole(client, app):
    body = bytes(range(256)) * 8192
    assert client.request(app.path("echo"), method=b"POST", body=body).body == body


# What may be sent


@pytest.mark.parametrize(
    "message",
    [
        {"type": "http.response.unknown"},
        {"type": "websocket.accept"},
        {"type": None},
        {},
        [],
        None,
        "http.response.start",
        {"type": "http.response.start"},
        {"type": "http.response.start", "status": "200"},
        {"type": "http.response.start", "status": 200.0},
        {"type": "http.response.start", "status": True},
        {"type": "http.response.start", "status": None},
        {"type": "http.response.start", "status": 99},
        {"type": "http.response.start", "status": 1000},
        {"type": "http.response.start", "status": 200, "headers": None},
        {"type": "http.response.start", "status": 200, "headers": [(b"name",)]},
        {"type": "http.response.start", "status": 200, "headers": [("name", "value")]},
        {"type": "http.response.start", "status": 200, "headers": [(b"name", 1)]},
        {"type": "http.response.start", "status": 200, "headers": [(b"name", None)]},
        {"type": "http.response.start", "status": 200, "headers": b"bytes"},
        {"type": "http.response.start", "status": 200, "trailers": "no"},
        {"type": "http.response.body", "body": b"before the start"},
        {"type": "http.response.trailers", "headers": []},
    ],
    ids=repr,
)
def test_wrong_message_before_the_start_raises_from_send_and_sends_nothing(client, app, message):
    response = client.request(app.script(message, start(status=201), END))
    notes = app.noted(3)
    assert is_protocol_error(notes[0]), notes
    assert notes[1:] == ["sent", "sent"]
    assert (response.status, response.body) == (201, b"end")


@pytest.mark.parametrize(
    "message",
    [
        START,
        {"type": "http.response.body", "body": "text"},
        {"type": "http.response.body", "body": None},
        {"type": "http.response.body", "body": 3},
        {"type": "http.response.body", "body": b"", "more_body": 1},
        {"type": "http.response.body", "body": b"", "more_body": None},
        {"type": "http.response.trailers", "headers": []},
        {"type": "http.response.push", "path": "/", "headers": []},
        {"type": "http.disconnect"},
    ],
    ids=repr,
)
def test_wrong_message_after_the_start_raises_from_send_and_sends_nothing(client, app, message):
    response = client.request(app.script(START, MORE, message, END))
    notes = app.noted(4)
    assert is_protocol_error(notes[2]), notes
    assert notes[3] == "sent"
    assert response.body == b"partend"


def test_extra_keys_do_not_raise(client, app):
    response = client.request(app.script({**START, "extra": 1}, {**END, "future": None}))
    assert app.noted(2) == ["sent", "sent"]
    assert response.body == b"end"


def test_headers_and_body_are_optional(client, app):
    response = client.request(
        app.script({"type": "http.response.start", "status": 404}, {"type": "http.response.body"})
    )
    assert (response.status, response.body) == (404, b"")


def test_messages_after_a_complete_response_are_ignored(client, app):
    response = client.request(app.script(START, END, END, START, MORE, END))
    assert response.body == b"end"
    assert app.noted(6) == ["sent"] * 6


def test_headers_reach_the_client_in_order_with_duplicates(client, app):
    fields = [(b"set-cookie", b"a=1"), (b"x-other", "Å".encode()), (b"Set-Cookie", b"b=2")]
    response = client.request(app.script(start(*fields), END))
    assert response.all(b"set-cookie") == [b"a=1", b"b=2"]
    assert response.get(b"x-other") == "Å".encode()


@pytest.mark.parametrize(
    "field",
    [
        *((b"x-name", b"a" + byte + b"set-cookie: b") for byte in (b"\r\n", b"\r", b"\n", b"\0")),
        *((b"x" + byte + b"name", b"value") for byte in (b"\r\n", b"\r", b"\n", b"\0", b" ", b":", b"\xc3\xa5")),
        (b"", b"value"),
    ],
    ids=repr,
)
def test_field_that_would_break_the_head_raises(client, app, field):
    response = client.request(app.script(start(field), start(status=202), END))
    assert is_protocol_error(app.noted(3)[0])
    assert response.status == 202
    assert response.get(b"set-cookie") is None


def test_error_of_send_is_no_disconnect_to_the_application(client, app):
    client.request(app.script({"type": "nonsense"}, START, END))
    assert "OSError" not in app.noted(3)[0]


# How an application ends


def test_returning_without_a_response_is_a_500_and_a_log_line(client, app, server):
    response = client.request(app.script())
    assert response.status == 500
    server.wait_for_log(rf"ERROR.*/script/{app.key}.*without a response")


def test_returning_in_the_middle_of_a_response_shows_as_truncated(client, app, server):
    with client.open(app.script(START, MORE)) as exchange:
        assert exchange.ends_without_response()
    server.wait_for_log(rf"ERROR.*/script/{app.key}.*in the middle")


def test_exception_before_the_start_is_a_500_at_once_and_a_traceback_in_the_log(client, app, server):
    with client.open(app.script("wait", "fail")) as exchange:
        app.noted(1)
        app.release()
        response = exchange.read_response()
    assert response.status == 500
    server.wait_for_log(rf"ERROR.*/script/{app.key}")
    server.wait_for_log(rf"RuntimeError: {SECRET}")


def test_exception_text_is_never_sent(client, app):
    response = client.request(app.script("fail"))
    assert SECRET.encode() not in response.body
    assert not any(SECRET.encode() in value for _, value in response.headers)


def test_connection_serves_on_after_a_500(connect, app):
    connection = connect()
    for _ in range(2):
        connection.send(head(app.script("fail")))
        assert connection.read_response().status == 500
    connection.send(head(app.path("hello")))
    assert connection.read_response().body == b"hello"


@pytest.mark.parametrize(
    "begin",
    [[START, MORE], [START], [start((b"content-length", b"100")), MORE]],
    ids=["chunked", "head only", "length"],
)
def test_exception_after_the_start_shows_as_truncated(client, app, begin):
    with client.open(app.script(*begin, "fail")) as exchange:
        assert exchange.ends_without_response()


def test_truncated_response_to_http_1_0_is_reset_and_not_closed(connect, app):
    """Its end is told by the close alone: a clean one would make it look whole."""
    connection = connect()
    connection.send(head(app.script(START, MORE, "wait", "fail"), version=b"1.0"))
    assert connection.read_head().get(b"content-length") is None
    assert connection.read_exactly(4) == b"part"
    app.release()
    with pytest.raises(Truncated) as caught:
        connection.read_to_end()
    assert not caught.value.clean


# Framing


def test_transfer_encoding_of_the_application_is_ignored(connect, app):
    connection = connect()
    connection.send(head(app.script(start((b"transfer-encoding", b"gzip, chunked")), MORE, END)))
    response = connection.read_response()
    assert response.all(b"transfer-encoding") == [b"chunked"]
    assert response.body == b"partend"


def test_transfer_encoding_beside_a_length_is_ignored(connect, app):
    connection = connect()
    fields = [(b"Transfer-Encoding", b"chunked"), (b"content-length", b"3")]
    connection.send(head(app.script(start(*fields), END)))
    response = connection.read_response()
    assert (response.framing, response.body) == ("length", b"end")


def test_response_in_one_part_gets_a_length(connect, app):
    connection = connect()
    connection.send(head(app.script(START, END)))
    response = connection.read_response()
    assert response.all(b"content-length") == [b"3"]


def test_declared_length_is_sent_as_it_is(client, app):
    response = client.request(app.script(start((b"Content-Length", b"7")), MORE, END))
    assert (response.all(b"content-length"), response.body) == ([b"7"], b"partend")


def test_more_body_than_its_length_raises_and_is_not_sent(client, app):
    response = client.request(app.script(start((b"content-length", b"3")), {**END, "body": b"toolong"}, END))
    notes = app.noted(3)
    assert notes[0] == notes[2] == "sent" and is_protocol_error(notes[1])
    assert response.body == b"end"


def test_more_parts_than_the_length_raise_and_are_not_sent(connect, app):
    connection = connect()
    connection.send(head(app.script(start((b"content-length", b"7")), MORE, {**END, "body": b"toolong"}, END)))
    response = connection.read_response()
    assert is_protocol_error(app.noted(4)[2])
    assert response.body == b"partend"
    connection.send(head(app.path("hello")))
    assert connection.read_response().body == b"hello"


@pytest.mark.parametrize("parts", [[END], [MORE, {"type": "http.response.body"}]], ids=["at once", "in parts"])
def test_less_body_than_its_length_raises_and_shows_as_truncated(client, app, parts):
    with client.open(app.script(start((b"content-length", b"100")), *parts)) as exchange:
        assert exchange.ends_without_response()
    assert is_protocol_error(app.noted(1 + len(parts))[-1])


@pytest.mark.parametrize("value", [b"x", b"-1", b"1, 1", b""], ids=repr)
def test_length_that_is_no_number_raises(client, app, value):
    assert client.request(app.script(start((b"content-length", value)), start(status=202), END)).status == 202
    assert is_protocol_error(app.noted(3)[0])


def test_head_has_the_length_and_no_body(connect, app):
    connection = connect()
    connection.send(head(app.script(start((b"content-length", b"3")), END), method=b"HEAD"))
    response = connection.read_response(b"HEAD")
    assert (response.status, response.all(b"content-length")) == (200, [b"3"])
    connection.send(head(app.path("hello")))  # what comes next is not what remains of a body
    assert connection.read_response().body == b"hello"


@pytest.mark.parametrize("status", [204, 304])
def test_answers_without_a_body_have_none(connect, app, status):
    connection = connect()
    connection.send(head(app.script(start(status=status), MORE, END)))
    assert connection.read_response().status == status
    assert app.noted(3) == ["sent"] * 3
    connection.send(head(app.path("hello")))
    assert connection.read_response().body == b"hello"


def test_204_carries_no_length(connect, app):
    connection = connect()
    connection.send(head(app.script(start((b"content-length", b"0"), status=204), {"type": "http.response.body"})))
    response = connection.read_response()
    assert (response.status, response.all(b"content-length")) == (204, [])


# Flow


def test_each_flush_reaches_the_client_at_once(client, app):
    with client.open(app.path("stream")) as exchange:
        assert exchange.read_head().status == 200
        assert exchange.read_part() == b"first"
        app.release()
        assert exchange.read_part() == b"second"
        assert exchange.read_part() == b""


def test_send_waits_while_the_peer_does_not_read(connect, app):
    connection = connect(receive_buffer=65536)
    total = 12 * 1024 * 1024
    connection.send(head(app.path("torrent", total)))
    [[what, sent]] = app.noted(1)
    assert what == "blocked" and sent < total / 2
    assert len(connection.read_response().body) == total
    assert app.noted(2)[1] == ["done"]
