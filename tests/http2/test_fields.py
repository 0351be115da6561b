"""RFC 9113 section 8.2: the fields of messages, their names and values; what a connection has no more, and cookies."""

from __future__ import annotations

import ast

import pytest

from tests.support.h2_frames import request_fields


def scope_of(h2, fields):
    """The scope of a request with exactly these fields."""
    response = h2.expect_response(h2.request_with(fields))
    assert response.status == 200
    return ast.literal_eval(response.body.decode())


def replaced(name, value):
    return [(key, value if key == name else old) for key, old in request_fields("/hello/x")]


# Section 8.2: names


@pytest.mark.parametrize("name", [b"Accept", b"x-Custom", b"X"])
def test_field_name_in_upper_case(h2, name):
    h2.expect_malformed(h2.request(fields=[(name, b"x")]))


@pytest.mark.parametrize("name", [b"a\x00b", b"a\nb", b"a\rb", b"a b", b"a\tb", b" ab", b"ab ", b"a\x7fb", b"a\xe5"])
def test_field_name_with_an_octet_that_is_not_allowed(h2, name):
    h2.expect_malformed(h2.request(fields=[(name, b"x")]))


@pytest.mark.parametrize("name", [b"a:b", b"ab:"])
def test_field_name_with_a_colon(h2, name):
    h2.expect_malformed(h2.request(fields=[(name, b"x")]))


@pytest.mark.parametrize("name", [b"", b'a"b', b"a(b", b"a/b", b"a@b", b"{a}"])
def test_field_name_that_is_no_token(h2, name):
    h2.expect_refused(h2.request(fields=[(name, b"x")]))


def test_field_name_with_an_underscore_is_dropped(h2):
    """Contract, section 2: CVE-2015-0219."""
    scope = scope_of(h2, request_fields("/scope_of/x", [(b"x_a", b"1"), (b"x-b", b"2")]))
    assert [name for name, _ in scope["headers"]] == [b"host", b"x-b"]


# Section 8.2.1: values


@pytest.mark.parametrize("octet", [b"\x00", b"\n", b"\r"])
@pytest.mark.parametrize("form", [b"%b", b"a%b", b"%ba", b"a%bb"])
def test_field_value_with_an_octet_that_is_not_allowed(h2, form, octet):
    h2.expect_malformed(h2.request(fields=[(b"x", form % octet)]))


@pytest.mark.parametrize("value", [b" a", b"a ", b"\ta", b"a\t", b" ", b"\t"])
def test_field_value_with_blanks_around_it(h2, value):
    h2.expect_malformed(h2.request(fields=[(b"x", value)]))


@pytest.mark.parametrize("value", [b"", b"a b", b"a\tb", b"\xc3\x85", b"\xff", b"\x85", b"x" * 10_000])
def test_field_value_that_is_passed_on_as_it_is(h2, value):
    scope = scope_of(h2, request_fields("/scope_of/x", [(b"x", value), (b"y", b"z")]))
    assert scope["headers"] == [(b"host", b"testserver"), (b"x", value), (b"y", b"z")]


@pytest.mark.parametrize("name", [b":path", b":authority", b":method", b":scheme"])
@pytest.mark.parametrize("octet", [b"\x00", b"\n", b"\r", b" "])
def test_pseudo_field_with_an_octet_that_is_not_allowed(h2, name, octet):
    value = {b":path": b"/hello/x", b":authority": b"testserver", b":method": b"GET", b":scheme": b"http"}[name]
    h2.expect_refused(h2.request_with(replaced(name, value + octet + b"y")))


def test_duplicates_are_kept_in_their_order(h2):
    fields = [(b"x", b"1"), (b"y", b"2"), (b"x", b"3"), (b"x", b"1")]
    assert scope_of(h2, request_fields("/scope_of/x", fields))["headers"][1:] == fields


# Section 8.2.2: fields of a connection


@pytest.mark.parametrize(
    ("name", "value"),
    [
        (b"connection", b"keep-alive"),
        (b"connection", b"x-other"),
        (b"proxy-connection", b"keep-alive"),
        (b"keep-alive", b"timeout=5"),
        (b"transfer-encoding", b"chunked"),
        (b"transfer-encoding", b"identity"),
        (b"upgrade", b"websocket"),
        (b"te", b"gzip"),
        (b"te", b"trailers, deflate"),
        (b"te", b"trailers;q=0.5"),
    ],
    ids=lambda value: value.decode(),
)
def test_field_of_a_connection(h2, name, value):
    h2.expect_malformed(h2.request(fields=[(name, value)]))


def test_te_may_say_trailers(h2):
    assert h2.expect_response(h2.request(fields=[(b"te", b"trailers")])).body == b"hello"


# Section 8.2.3: Cookie


def test_cookies_are_joined(h2):
    fields = [(b"cookie", b"a=1"), (b"x", b"y"), (b"cookie", b"b=2; c=3"), (b"cookie", b"d=4")]
    headers = scope_of(h2, request_fields("/scope_of/x", fields))["headers"]
    assert [value for name, value in headers if name == b"cookie"] == [b"a=1; b=2; c=3; d=4"]
    assert (b"x", b"y") in headers


def test_cookies_count_as_one_field(h2):
    """Browsers keep 180 of them for a site, and send each as a crumb: no more than one line of HTTP/1.1."""
    crumbs = [(b"cookie", b"name-%d=%d" % (number, number)) for number in range(180)]
    headers = scope_of(h2, request_fields("/scope_of/x", crumbs))["headers"]
    assert [value for name, value in headers if name == b"cookie"] == [b"; ".join(value for _, value in crumbs)]
