"""RFC 9113 sections 8.1, 8.3 and 8.5: which messages are malformed, and what is made of those that are not."""

from __future__ import annotations

import ast

import pytest

from tests.support.h2_connection import ConnectionEnded
from tests.support.h2_frames import (
    CONTINUATION,
    END_HEADERS,
    END_STREAM,
    HEADERS,
    RST_STREAM,
    Code,
    data_frame,
    field_block,
    frame,
    headers_frame,
    request_block,
    request_fields,
    rst_frame,
)


def scope_of(h2, fields):
    """The scope of a request with exactly these fields."""
    response = h2.expect_response(h2.request_with(fields))
    assert response.status == 200
    return ast.literal_eval(response.body.decode())


def without(name, fields):
    return [field for field in fields if field[0] != name]


# Section 8.1: the order of a message


def test_second_head_that_does_not_end_the_stream(h2):
    stream = h2.request("/echo/x", method=b"POST", end=False)
    h2.send(data_frame(stream, b"x"), headers_frame(stream, field_block([(b"x", b"y")]), end=False))
    h2.expect_malformed(stream)


def test_data_behind_trailers(h2, app):
    stream = h2.request(app.path("slow_answer"), method=b"POST", end=False)
    h2.send(headers_frame(stream, field_block([(b"x", b"y")])), data_frame(stream, b"x"))
    h2.expect_rst(stream, Code.STREAM_CLOSED, or_goaway=[Code.STREAM_CLOSED])


@pytest.mark.parametrize("body", [b"", b"body"])
def test_trailers_end_the_body_and_are_not_headers(h2, app, body):
    stream = h2.request(app.path("scope_of"), method=b"POST", end=False)
    h2.expect_response(stream)
    stream = h2.request(app.path("echo"), method=b"POST", end=False)
    if body:
        h2.send_body(stream, body, end=False)
    h2.send(headers_frame(stream, field_block([(b"x-checksum", b"1"), (b"x-other", b"2")])))
    assert h2.expect_response(stream).body == body


@pytest.mark.parametrize(
    "trailers",
    [
        [(b":path", b"/")],
        [(b"x", b"y"), (b":status", b"200")],
        [(b":unknown", b"")],
        [(b"X-Upper", b"y")],
        [(b"connection", b"close")],
        [(b"x", b"a\nb")],
        [(b"a b", b"c")],
    ],
    ids=["path", "status", "unknown", "upper case", "connection", "LF", "blank"],
)
def test_malformed_trailers(h2, app, trailers):
    stream = h2.request(app.path("events"), method=b"POST", end=False)
    h2.send(data_frame(stream, b"x"), headers_frame(stream, field_block(trailers)))
    h2.expect_malformed(stream)
    assert app.noted(2)[-1] == {"type": "http.disconnect"}


def test_application_is_not_called_for_what_is_malformed(h2, app):
    h2.expect_malformed(h2.request(app.path("hello"), [(b"Upper", b"case")]))
    h2.expect_served()
    assert app.noted() == []


# Section 8.1.1: a Content-Length that disagrees with DATA


@pytest.mark.parametrize(
    ("length", "parts"),
    [(5, [b"body"]), (3, [b"body"]), (5, [b"bo", b"dy"]), (3, [b"bo", b"dy"]), (4, [b""])],
    ids=["short", "long", "short in two", "long in two", "nothing sent"],
)
def test_content_length_that_disagrees_with_data(h2, length, parts):
    fields = [(b"content-length", b"%d" % length)]
    stream = h2.request("/echo/x", fields, method=b"POST", end=False)
    h2.send(*(data_frame(stream, part, end=part is parts[-1]) for part in parts))
    h2.expect_malformed(stream)


def test_content_length_of_nothing_with_data(h2):
    """The application is called with an empty body; whether it has answered by then is a matter of time."""
    stream = h2.request("/slow_answer/x", [(b"content-length", b"0")], method=b"POST", end=False)
    h2.send(data_frame(stream, b"body", end=True))
    h2.expect_malformed(stream)


def test_content_length_that_is_passed_before_the_end(h2, app):
    fields = [(b"content-length", b"3")]
    stream = h2.request(app.path("events"), fields, method=b"POST", end=False)
    h2.send(data_frame(stream, b"body"))
    h2.expect_malformed(stream)


def test_content_length_of_a_request_without_data(h2):
    h2.expect_malformed(h2.request("/echo/x", [(b"content-length", b"4")], method=b"POST"))


def test_content_length_that_disagrees_at_the_trailers(h2):
    stream = h2.request("/echo/x", [(b"content-length", b"5")], method=b"POST", end=False)
    h2.send(data_frame(stream, b"body"), headers_frame(stream, field_block([(b"x", b"y")])))
    h2.expect_malformed(stream)


@pytest.mark.parametrize("value", [b"+4", b"-4", b"4 4", b"0x4", b"4_0", b"", b"4, 5", b"1" * 30])
def test_content_length_that_is_no_number(h2, value):
    stream = h2.request("/echo/x", [(b"content-length", value)], method=b"POST", end=False)
    h2.send(data_frame(stream, b"body", end=True))
    h2.expect_refused(stream)


def test_two_content_lengths_that_differ(h2):
    fields = [(b"content-length", b"4"), (b"content-length", b"5")]
    stream = h2.request("/echo/x", fields, method=b"POST", end=False)
    h2.send(data_frame(stream, b"body", end=True))
    h2.expect_refused(stream)


@pytest.mark.parametrize("padding", [None, 10])
def test_content_length_that_agrees_with_data(h2, padding):
    """Padding is no part of the content."""
    stream = h2.request("/echo/x", [(b"content-length", b"4")], method=b"POST", end=False)
    h2.send_data(stream, b"bo", padding=padding)
    h2.send_data(stream, b"dy", padding=padding, end=True)
    assert h2.expect_response(stream).body == b"body"


# Section 8.3: pseudo-fields


@pytest.mark.parametrize("name", [b":unknown", b":status", b":", b":Path", b"::path"])
def test_pseudo_field_that_requests_do_not_have(h2, name):
    own = request_fields()
    h2.expect_malformed(h2.request_with([*own, (name, b"200")]))


@pytest.mark.parametrize("name", [b":method", b":scheme", b":path", b":authority"])
def test_pseudo_field_behind_a_field(h2, name):
    own = request_fields()
    moved = [field for field in own if field[0] == name]
    h2.expect_malformed(h2.request_with([*without(name, own), (b"x", b"y"), *moved]))


@pytest.mark.parametrize("name", [b":method", b":scheme", b":path", b":authority"])
@pytest.mark.parametrize("differs", [False, True], ids=["alike", "different"])
def test_pseudo_field_twice(h2, name, differs):
    own = request_fields()
    (value,) = [field[1] for field in own if field[0] == name]
    h2.expect_malformed(h2.request_with([(name, value + b"x" * differs), *own]))


@pytest.mark.parametrize("name", [b":method", b":scheme", b":path"])
def test_pseudo_field_that_is_missing(h2, name):
    h2.expect_malformed(h2.request_with(without(name, request_fields())))


def test_request_without_any_field(h2):
    stream = h2.new_stream()
    h2.send(frame(HEADERS, END_HEADERS | END_STREAM, stream))
    h2.expect_malformed(stream)


def test_pseudo_fields_in_any_order(h2):
    assert h2.expect_response(h2.request_with(reversed(request_fields()))).body == b"hello"


# Section 8.3.1: of requests


@pytest.mark.parametrize("path", [b"", b"hello", b"http://testserver/hello/x"], ids=["empty", "relative", "absolute"])
def test_path_that_is_no_path(h2, path):
    h2.expect_refused(h2.request(path))


@pytest.mark.parametrize("method", [b"GET", b"POST"])
def test_asterisk_is_for_options_only(h2, method):
    h2.expect_refused(h2.request(b"*", method=method))


def test_options_of_the_server(h2):
    assert h2.expect_response(h2.request(b"*", method=b"OPTIONS")).status == 404  # by the application


@pytest.mark.parametrize("method", [b"", b"G T", b"GET\t", b"G(T"])
def test_method_that_is_no_token(h2, method):
    h2.expect_refused(h2.request(method=method))


def test_authority_is_the_first_host(h2):
    scope = scope_of(h2, request_fields("/scope_of/x", [(b"x", b"y")], authority=b"example.org:81"))
    assert scope["headers"] == [(b"host", b"example.org:81"), (b"x", b"y")]


def test_host_without_an_authority(h2):
    scope = scope_of(h2, request_fields("/scope_of/x", [(b"x", b"y"), (b"host", b"a.example")], authority=None))
    assert [value for name, value in scope["headers"] if name == b"host"] == [b"a.example"]


def test_host_that_is_the_authority(h2):
    scope = scope_of(h2, request_fields("/scope_of/x", [(b"host", b"testserver")]))
    assert [value for name, value in scope["headers"] if name == b"host"] == [b"testserver"]


def test_host_that_is_not_the_authority(h2):
    h2.expect_refused(h2.request("/hello/x", [(b"host", b"other.example")]))


def test_neither_host_nor_authority(h2):
    """HTTP/2 alone would allow it; HTTP (RFC 9110 section 7.2) does not, and neither does the server's HTTP/1.1."""
    h2.expect_refused(h2.request_with(request_fields(authority=None)))


def test_two_hosts(h2):
    h2.expect_refused(h2.request_with(request_fields(fields=[(b"host", b"a"), (b"host", b"b")], authority=None)))


@pytest.mark.parametrize("authority", [b"user@testserver", b"user:secret@testserver", b"a/b", b"a?b", b"a, b", b"[::1"])
def test_authority_that_is_none(h2, authority):
    """Section 8.3.1: no user information either."""
    h2.expect_refused(h2.request_with(request_fields(authority=authority)))


def test_scope_of_a_request(h2, app):
    scope = scope_of(h2, request_fields("/scope_of/x/caf%C3%A9%20?q=%20&r", method=b"PURGE"))
    assert scope["http_version"] == "2"
    assert scope["method"] == "PURGE"
    assert scope["scheme"] == "http"
    assert scope["path"] == "/scope_of/x/café "
    assert scope["raw_path"] == b"/scope_of/x/caf%C3%A9%20"
    assert scope["query_string"] == b"q=%20&r"
    assert scope["client"] == list(h2.socket.getsockname())
    assert scope["server"] == list(h2.socket.getpeername())
    assert {"http.response.trailers", "http.response.early_hint"} <= set(scope["extensions"])
    assert "tls" not in scope["extensions"]


# Section 8.4 is in test_frame_kinds.py; section 8.5: CONNECT


def test_connect_is_no_service_of_this_server(h2, app):
    """It is valid, and refused by an answer or by a reset: never an ordinary request."""
    own = [(b":method", b"CONNECT"), (b":authority", b"example.org:443")]
    stream = h2.request_with(own, end=False)
    seen = h2.next_on(stream)
    assert seen.kind == RST_STREAM or dict(seen.fields)[b":status"] >= b"400"
    h2.send(rst_frame(stream))
    h2.expect_served()


@pytest.mark.parametrize(
    "more",
    [[(b":scheme", b"http")], [(b":path", b"/")], [(b":scheme", b"http"), (b":path", b"/")]],
    ids=["scheme", "path", "both"],
)
def test_connect_with_scheme_or_path(h2, more):
    h2.expect_refused(h2.request_with([(b":method", b"CONNECT"), (b":authority", b"a.example:1"), *more], end=False))


def test_connect_without_an_authority(h2):
    h2.expect_refused(h2.request_with([(b":method", b"CONNECT")], end=False))


# Limits: RFC 9113 section 10.5.1


def test_head_with_more_fields_than_allowed_is_431(h2):
    assert h2.expect_response(h2.request(fields=[(b"x%d" % number, b"y") for number in range(200)])).status == 431
    h2.expect_served()


def test_head_that_is_larger_than_allowed(h2):
    """431; or, where not all of its octets are read, the end of a connection whose tables no longer agree."""
    block = request_block(fields=[(b"x", b"y" * 70_000)])
    stream = h2.new_stream()
    parts = [block[at : at + 16_000] for at in range(0, len(block), 16_000)]
    h2.send(headers_frame(stream, parts[0], whole=False))
    h2.send(*(frame(CONTINUATION, END_HEADERS if part is parts[-1] else 0, stream, part) for part in parts[1:]))
    try:
        response = h2.expect_response(stream)
    except ConnectionEnded:
        response = None
    if response is None:
        assert h2.goaway == Code.ENHANCE_YOUR_CALM
    else:
        assert response.status == 431
        h2.expect_served()


def test_target_that_is_longer_than_allowed_is_414(h2):
    block = request_block("/hello/" + "x" * 20_000)
    stream = h2.new_stream()
    h2.send(
        headers_frame(stream, block[:16_000], whole=False), frame(CONTINUATION, END_HEADERS, stream, block[16_000:])
    )
    assert h2.expect_response(stream).status == 414
    h2.expect_served()
