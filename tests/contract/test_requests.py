"""Contract, section 2: HTTP/1.1 from strangers. What is no request is refused; what follows it is never one either."""

from __future__ import annotations

import ast

import pytest

from tests.support.http1 import Connection, head

# A whole request that must never be answered: whoever reads it as one has been made to by what stands before it.
SMUGGLED = b"GET /hello/smuggled HTTP/1.1\r\nHost: h\r\n\r\n"
POST = b"POST /echo/%KEY HTTP/1.1\r\nHost: h\r\n"
GET = b"GET /hello/%KEY HTTP/1.1\r\n"
HOST = b"Host: h\r\n"
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"
UNKNOWN_CODINGS = [b"gzip, chunked", b"deflate,chunked", b"identity, chunked", b"xchunked, chunked"]

BAD_HEADS = {
    "no Host": GET + b"\r\n",
    "two Hosts": GET + HOST + b"Host: h\r\n\r\n",
    "two different Hosts": GET + HOST + b"Host: i\r\n\r\n",
    "Host with a path": GET + b"Host: h/x\r\n\r\n",
    "Host with user information": GET + b"Host: a@h\r\n\r\n",
    "Host with blanks": GET + b"Host: h i\r\n\r\n",
    "Host with a port that is none": GET + b"Host: h:port\r\n\r\n",
    "Host with an open bracket": GET + b"Host: [::1\r\n\r\n",
    "Host with a backslash": GET + b"Host: h\\i\r\n\r\n",
    "two Hosts in 1.0": b"GET /hello/%KEY HTTP/1.0\r\nHost: h\r\nHost: h\r\n\r\n",
    "field name with a blank": GET + HOST + b"X Y: 1\r\n\r\n",
    "field name with a control byte": GET + HOST + b"X\x01Y: 1\r\n\r\n",
    "field name with a byte over 127": GET + HOST + b"X\xc3\x85: 1\r\n\r\n",
    "field name with a delimiter": GET + HOST + b"X(Y): 1\r\n\r\n",
    "empty field name": GET + HOST + b": 1\r\n\r\n",
    "field without a colon": GET + HOST + b"X\r\n\r\n",
    "blank before the colon": GET + HOST + b"X : 1\r\n\r\n",
    "tab before the colon": GET + HOST + b"X\t: 1\r\n\r\n",
    "folded field": GET + HOST + b"X: 1\r\n 2\r\n\r\n",
    "folded field by a tab": GET + HOST + b"X: 1\r\n\tY: 2\r\n\r\n",
    "blank before the first field": GET + b" " + HOST + b"\r\n",
    "bare CR in a value": GET + HOST + b"X: 1\rY: 2\r\n\r\n",
    "bare CR at the end of a value": GET + HOST + b"X: 1\r\r\n\r\n",
    "bare LF behind a field": GET + b"Host: h\n\r\n",
    "bare LF behind the request line": b"GET /hello/%KEY HTTP/1.1\nHost: h\r\n\r\n",
    "bare LF at the end of the head": GET + HOST + b"\n",
    "NUL in a value": GET + HOST + b"X: a\0b\r\n\r\n",
    "NUL in a name": GET + HOST + b"X\0: a\r\n\r\n",
    "NUL in the target": b"GET /hello/%KEY\0 HTTP/1.1\r\nHost: h\r\n\r\n",
    "DEL in a value": GET + HOST + b"X: a\x7fb\r\n\r\n",
    "length and coding": POST + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "coding and length": POST + b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
    "lengths that differ": POST + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
    "list of lengths that differ": POST + b"Content-Length: 5, 6\r\n\r\nhello",
    "length with a plus": POST + b"Content-Length: +5\r\n\r\nhello",
    "length with a minus": POST + b"Content-Length: -5\r\n\r\nhello",
    "length with a blank": POST + b"Content-Length: 5 0\r\n\r\nhello",
    "length with an underscore": POST + b"Content-Length: 1_0\r\n\r\nhello",
    "length in hex": POST + b"Content-Length: 0x5\r\n\r\nhello",
    "length in hex digits": POST + b"Content-Length: a\r\n\r\nhello",
    "length with a fraction": POST + b"Content-Length: 5.0\r\n\r\nhello",
    "empty length": POST + b"Content-Length:\r\n\r\nhello",
    "length in other digits": POST + "Content-Length: \u0665\r\n\r\nhello".encode(),
    "length of 2^63": POST + b"Content-Length: 9223372036854775808\r\n\r\nhello",
    "length far over 2^63": POST + b"Content-Length: 99999999999999999999999\r\n\r\nhello",
    "coding that is not chunked": POST + b"Transfer-Encoding: gzip\r\n\r\n",
    "chunked that is not last": POST + b"Transfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n",
    "chunked twice": POST + b"Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
    "chunked twice in two fields": POST + b"Transfer-Encoding: chunked\r\n" * 2 + b"\r\n0\r\n\r\n",
    "identity": POST + b"Transfer-Encoding: identity\r\n\r\n",
    "empty coding": POST + b"Transfer-Encoding:\r\n\r\n",
    "coding behind VT": POST + b"Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n",
    "quoted coding": POST + b'Transfer-Encoding: "chunked"\r\n\r\n0\r\n\r\n',
    "coding in 1.0": b"POST /echo/%KEY HTTP/1.0\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "no version": b"GET /hello/%KEY\r\nHost: h\r\n\r\n",
    "two blanks in the line": b"GET  /hello/%KEY HTTP/1.1\r\nHost: h\r\n\r\n",
    "blank behind the version": b"GET /hello/%KEY HTTP/1.1 \r\nHost: h\r\n\r\n",
    "version in lower case": b"GET /hello/%KEY http/1.1\r\nHost: h\r\n\r\n",
    "version of two digits": b"GET /hello/%KEY HTTP/1.10\r\nHost: h\r\n\r\n",
    "method that is no token": b"G@T /hello/%KEY HTTP/1.1\r\nHost: h\r\n\r\n",
    "target without a slash": b"GET hello/%KEY HTTP/1.1\r\nHost: h\r\n\r\n",
    "target with a fragment": b"GET /hello/%KEY#x HTTP/1.1\r\nHost: h\r\n\r\n",
    "target over 127": b"GET /hello/%KEY/\xc3\xa5 HTTP/1.1\r\nHost: h\r\n\r\n",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
}

BAD_CHUNKS = {
    "plus": b"+5\r\nhello\r\n0\r\n\r\n",
    "minus": b"-5\r\nhello\r\n0\r\n\r\n",
    "0x": b"0x5\r\nhello\r\n0\r\n\r\n",
    "blank before": b" 5\r\nhello\r\n0\r\n\r\n",
    "blank behind": b"5 \r\nhello\r\n0\r\n\r\n",
    "tab behind": b"5\t\r\nhello\r\n0\r\n\r\n",
    "underscore": b"0_5\r\nhello\r\n0\r\n\r\n",
    "empty": b"\r\nhello\r\n0\r\n\r\n",
    "no hex": b"g\r\nhello\r\n0\r\n\r\n",
    "overflow of 64 bits": b"10000000000000005\r\nhello\r\n0\r\n\r\n",
    "overflow of 63 bits": b"8000000000000000\r\nhello\r\n0\r\n\r\n",
    "leading zeros beyond any size": b"00000000000000005\r\nhello\r\n0\r\n\r\n",
    "bare LF behind the size": b"5\nhello\r\n0\r\n\r\n",
    "data too long": b"4\r\nhello\r\n0\r\n\r\n",
    "data too short": b"6\r\nhello\r\n0\r\n\r\n",
    "bare LF behind the data": b"5\r\nhello\n0\r\n\r\n",
    "bare CR behind the data": b"5\r\nhello\r0\r\n\r\n",
    "bare CR in an extension": b"5;a\rb\r\nhello\r\n0\r\n\r\n",
    "trailer that is folded": b"5\r\nhello\r\n0\r\nX: 1\r\n 2\r\n\r\n",
    "trailer without a colon": b"5\r\nhello\r\n0\r\nX\r\n\r\n",
}


def assert_refused(connection: Connection, status: int) -> None:
    """One answer, which announces the close; then the close, and nothing in between."""
    response = connection.read_response()
    assert response.status == status
    assert response.get(b"connection") == b"close"
    assert response.get(b"date") is not None
    assert response.body == b"%d %b\n" % (status, response.body.split(b" ", 1)[1][:-1])  # the status and no details
    connection.send_fin()
    assert connection.read_to_end() == b""


@pytest.mark.parametrize("request_bytes", BAD_HEADS.values(), ids=BAD_HEADS)
def test_head_that_breaks_a_rule_is_a_400_and_the_end(connect, app, request_bytes):
    connection = connect()
    connection.send(request_bytes.replace(b"%KEY", app.key.encode()) + SMUGGLED)
    assert_refused(connection, 400)
    assert app.noted() == []  # no application saw it


@pytest.mark.parametrize("chunks", BAD_CHUNKS.values(), ids=BAD_CHUNKS)
def test_chunk_that_breaks_a_rule_is_a_400_and_the_end(connect, app, chunks):
    connection = connect()
    connection.send(CHUNKED.replace(b"%KEY", app.key.encode()) + chunks + SMUGGLED)
    assert_refused(connection, 400)
    assert app.noted(1) == ["called"]  # and never had the whole body


def test_refusals_hold_no_part_of_the_request(connect):
    connection = connect()
    connection.send(b"GET /secret-path HTTP/1.1\r\nX-Secret: value\r\n\r\n")
    answer = connection.read_to_end()
    assert b"400 Bad Request" in answer and b"ecret" not in answer and b"Host" not in answer


@pytest.mark.parametrize("coding", UNKNOWN_CODINGS, ids=repr)
def test_transfer_coding_that_is_not_known_is_a_501(connect, app, coding):
    connection = connect()
    connection.send(head(app.path("echo"), [(b"Transfer-Encoding", coding)], method=b"POST") + SMUGGLED)
    assert_refused(connection, 501)
    assert app.noted() == []


@pytest.mark.parametrize("version", [b"0.9", b"2.0", b"3.0", b"9.9"])
def test_unknown_major_version_is_a_505(connect, app, version):
    connection = connect()
    connection.send(head(app.path("hello"), version=version) + SMUGGLED)
    assert_refused(connection, 505)
    assert app.noted() == []


def test_higher_minor_version_is_served(connect, app):
    connection = connect()
    connection.send(head(app.path("hello"), version=b"1.2"))
    assert connection.read_response().version == b"HTTP/1.1"


def test_smuggled_request_was_never_seen(client):
    """Behind all the tests above, in this module's one server."""
    assert client.request("/noted/smuggled").body == b"[]"


@pytest.mark.parametrize("host", [b"h", b"h:80", b"h:", b"", b"[::1]:8000", b"127.0.0.1", b"a_b.example", b"h.:1"])
def test_valid_hosts_are_served(connect, app, host):
    connection = connect()
    connection.send(head(app.path("hello"), host=host))
    assert connection.read_response().status == 200


def test_http_1_0_needs_no_host(connect, app):
    connection = connect()
    connection.send(head(app.path("hello"), host=None, version=b"1.0"))
    assert connection.read_response().status == 200


@pytest.mark.parametrize("byte", [b"\x0b", b"\x0c", b"\x1c", b"\x1d", b"\x1e", b"\x85", b"\xc2\x85", "\u2028".encode()])
def test_line_breaks_of_other_kinds_never_make_another_header(connect, app, byte):
    connection = connect()
    connection.send(head(app.path("scope_of"), [(b"X-First", b"a" + byte + b"X-Second: b")]))
    response = connection.read_response()
    if response.status == 200:
        headers = dict(ast.literal_eval(response.body.decode())["headers"])
        assert headers[b"x-first"] == b"a" + byte + b"X-Second: b"
        assert b"x-second" not in headers
    else:
        assert response.status == 400


def test_header_with_an_underscore_is_dropped(connect, app):
    connection = connect()
    connection.send(head(app.path("scope_of"), [(b"X_User", b"root"), (b"X-User", b"nobody"), (b"_", b"1")]))
    scope = ast.literal_eval(connection.read_response().body.decode())
    assert [tuple(pair) for pair in scope["headers"]] == [(b"host", b"testserver"), (b"x-user", b"nobody")]


def test_length_with_an_underscore_in_its_name_frames_nothing(connect, app):
    connection = connect()
    connection.send(head(app.path("hello"), [(b"Content_Length", b"1000")]) + head(app.path("hello")))
    assert [connection.read_response().body for _ in range(2)] == [b"hello"] * 2


def test_equal_lengths_are_one(connect, app):
    connection = connect()
    connection.send(head(app.path("echo"), [(b"Content-Length", b"2")] * 2, method=b"POST") + b"ok")
    assert connection.read_response().body == b"ok"


def test_coding_in_upper_case_and_extensions_of_chunks_are_understood(connect, app):
    connection = connect()
    connection.send(head(app.path("echo"), [(b"Transfer-Encoding", b"CHUNKED")], method=b"POST"))
    connection.send(b'00A;name="value;\t\xff"\r\n0123456789\r\n0\r\n\r\n' + head(app.path("hello")))
    assert connection.read_response().body == b"0123456789"
    assert connection.read_response().body == b"hello"


def test_empty_lines_before_a_request_are_ignored(connect, app):
    connection = connect()
    connection.send(b"\r\n\r\n" + head(app.path("hello")))
    assert connection.read_response().body == b"hello"


def test_request_may_come_byte_by_byte(connect, app):
    connection = connect()
    request = head(app.path("echo"), [(b"Transfer-Encoding", b"chunked")], method=b"POST") + b"2\r\nok\r\n0\r\n\r\n"
    for byte in request:
        connection.send(bytes([byte]))
    assert connection.read_response().body == b"ok"


# Pipelines


def test_pipelined_requests_are_answered_in_order_one_application_at_a_time(connect, app):
    connection = connect()
    connection.send(b"".join(head(app.path("slow_answer", number)) for number in range(5)))
    assert app.noted(1) == ["called"]  # nothing began beside the first
    app.release()
    assert [connection.read_response().body for _ in range(5)] == [b"%d" % number for number in range(5)]
    assert app.noted(10) == ["called", "answering"] * 5


def test_bodies_in_a_pipeline_stay_apart(connect, app):
    connection = connect()
    connection.send(
        head(app.path("echo"), [(b"Content-Length", b"3")], method=b"POST")
        + b"one"
        + head(app.path("echo"), [(b"Transfer-Encoding", b"chunked")], method=b"POST")
        + b"3\r\ntwo\r\n0\r\n\r\n"
        + head(app.path("hello"))
    )
    assert [connection.read_response().body for _ in range(3)] == [b"one", b"two", b"hello"]


def test_body_that_nobody_reads_is_not_the_next_request(connect, app):
    connection = connect()
    connection.send(head(app.path("hello"), [(b"Content-Length", b"%d" % len(SMUGGLED))], method=b"POST"))
    assert connection.read_response().body == b"hello"
    connection.send(SMUGGLED + head(app.path("scope_of")))
    assert app.path("scope_of").encode() in connection.read_response().body


def test_broken_request_never_takes_the_answer_of_the_one_before(connect, app):
    connection = connect()
    connection.send(head(app.path("slow_answer", "good")) + b"BROKEN\r\n\r\n")
    assert app.noted(1) == ["called"]
    app.release()
    assert connection.read_response().body == b"good"
    assert_refused(connection, 400)


# Expect


def expecting(app, name, length=2, version=b"1.1"):
    fields = [(b"Content-Length", b"%d" % length), (b"Expect", b"100-Continue")]
    return head(app.path(name), fields, method=b"POST", version=version)


def test_expectation_gets_its_100_when_the_application_receives(connect, app):
    connection = connect()
    connection.send(head(app.script("wait", "receive"), [(b"Content-Length", b"2"), (b"Expect", b"100-continue")]))
    app.noted(1)
    assert connection.pending == b""
    connection.socket.settimeout(0.2)
    with pytest.raises(TimeoutError):
        connection.read_head()  # not before the application receives
    connection.socket.settimeout(5)
    app.release()
    assert connection.read_head().status == 100


def test_body_behind_a_100_arrives(connect, app):
    connection = connect()
    connection.send(expecting(app, "echo"))
    assert connection.read_head().status == 100
    connection.send(b"ok" + head(app.path("hello")))
    assert connection.read_response().body == b"ok"
    assert connection.read_response().body == b"hello"


def test_application_that_never_receives_answers_an_expectation_alone(connect, app):
    connection = connect()
    connection.send(expecting(app, "hello"))
    response = connection.read_response()
    assert (response.interim, response.body) == ([], b"hello")
    # Whether a body follows cannot be known: the connection cannot go on.
    assert response.get(b"connection") == b"close"


def test_body_that_came_without_waiting_gets_no_100(connect, app):
    connection = connect()
    connection.send(expecting(app, "echo") + b"ok")
    assert connection.read_response().body == b"ok"


# HTTP/1.0

START = {"type": "http.response.start", "status": 200, "headers": []}
MORE = {"type": "http.response.body", "body": b"part", "more_body": True}
END = {"type": "http.response.body", "body": b"end"}


def test_http_1_0_gets_no_chunks(connect, app):
    connection = connect()
    connection.send(head(app.script(START, MORE, END), [(b"Connection", b"keep-alive")], version=b"1.0"))
    response = connection.read_response()
    assert (response.framing, response.body) == ("close", b"partend")
    assert response.get(b"connection") == b"close"


def test_http_1_0_is_closed_unless_it_asks(connect, app):
    connection = connect()
    connection.send(head(app.path("hello"), version=b"1.0"))
    assert connection.read_response().body == b"hello"
    assert connection.is_closed()


def test_http_1_0_is_kept_alive_when_it_asks(connect, app):
    connection = connect()
    for _ in range(2):
        connection.send(head(app.path("hello"), [(b"Connection", b"Keep-Alive")], version=b"1.0"))
        response = connection.read_response()
        assert (response.body, response.get(b"connection")) == (b"hello", b"keep-alive")


def test_http_1_0_gets_no_100(connect, app):
    connection = connect()
    connection.send(expecting(app, "echo", version=b"1.0"))
    app.noted(1)
    connection.send(b"ok")
    response = connection.read_response()
    assert (response.interim, response.body) == ([], b"ok")


# Connections


@pytest.mark.parametrize("value", [b"close", b"Close", b"keep-alive, close", b"x,close"])
def test_client_that_says_close_is_closed(connect, app, value):
    connection = connect()
    connection.send(head(app.path("hello"), [(b"Connection", value)]) + head(app.path("hello")))
    assert connection.read_response().get(b"connection") == b"close"
    connection.send_fin()
    assert connection.read_to_end() == b""


def test_application_that_says_close_is_honoured(connect, app):
    connection = connect()
    start = {**START, "headers": [(b"Connection", b"close")]}
    connection.send(head(app.script(start, END)))
    assert connection.read_response().all(b"connection") == [b"close"]
    assert connection.is_closed()


@pytest.mark.parametrize(
    ("protocol", "version"),
    # A POST for a WebSocket is 400 in HTTP/1.1 (test_websocket_requests.py); HTTP/1.0 knows no upgrade.
    [(b"h2c", b"1.0"), (b"h2c", b"1.1"), (b"TLS/1.3, foo", b"1.0"), (b"TLS/1.3, foo", b"1.1"), (b"websocket", b"1.0")],
)
def test_upgrade_that_is_not_offered_is_ignored_and_its_body_is_still_the_body(connect, app, protocol, version):
    connection = connect()
    fields = [(b"Connection", b"Upgrade, keep-alive"), (b"Upgrade", protocol), (b"Content-Length", b"4")]
    connection.send(
        head(app.path("echo"), fields, method=b"POST", version=version)
        + b"body"
        + head(app.path("hello"), version=version)
    )
    response = connection.read_response()
    assert (response.status, response.body) == (200, b"body")
    # Nor is what came behind it lost.
    assert connection.read_response().body == b"hello"


def test_host_is_replaced_by_the_authority_of_an_absolute_target(connect, app):
    connection = connect()
    connection.send(head("http://real.example" + app.path("scope_of"), [(b"X", b"1")], host=b"fake.example"))
    scope = ast.literal_eval(connection.read_response().body.decode())
    assert [value for name, value in scope["headers"] if name == b"host"] == [b"real.example"]


@pytest.mark.parametrize("name", ["hello", "missing", "script"])
def test_every_answer_has_a_date(client, app, name):
    response = client.request(app.path(name, "[]"))
    [date] = response.all(b"date")
    assert date.endswith(b" GMT")


def test_date_of_the_application_is_left_alone(client, app):
    start = {**START, "headers": [(b"Date", b"Thu, 01 Jan 1970 00:00:00 GMT")]}
    assert client.request(app.script(start, END)).all(b"date") == [b"Thu, 01 Jan 1970 00:00:00 GMT"]


def test_asterisk_is_served_for_options_alone(connect):
    connection = connect()
    connection.send(head("*", method=b"OPTIONS"))
    assert connection.read_response().status == 404  # the application's own
    connection.send(head("*"))
    assert_refused(connection, 400)


def test_connect_is_refused(connect):
    connection = connect()
    connection.send(head("h:443", method=b"CONNECT"))
    assert_refused(connection, 501)
