"""Contract, section 1, "Scope": what an application is told of a request."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from tests.support.http1 import Client, head
from tests.support.server_process import ServerProcess

OPTIONS = ["--root-path", "/mounted"]


def scope_of(response):
    assert response.status == 200
    return ast.literal_eval(response.body.decode())


def headers_named(scope, name):
    return [value for key, value in scope["headers"] if key == name]


def test_scope_tells_the_versions_of_asgi(client, app):
    scope = scope_of(client.request(app.path("scope_of")))
    assert scope["type"] == "http"
    assert scope["asgi"] == {"version": "3.0", "spec_version": "2.5"}


def test_scope_has_every_key_of_the_specification(client, app):
    scope = scope_of(client.request(app.path("scope_of")))
    assert set(scope) | {"state"} == {
        *("type", "asgi", "http_version", "method", "scheme", "path", "raw_path", "query_string", "root_path"),
        *("headers", "client", "server", "state", "extensions"),
    }


def test_http_version_is_that_of_the_request(client, app):
    assert scope_of(client.request(app.path("scope_of")))["http_version"] == client.version


@pytest.mark.parametrize("version", [b"1.0", b"1.1"])
def test_http_version_of_http_1(connect, app, version):
    connection = connect()
    connection.send(head(app.path("scope_of"), version=version))
    assert scope_of(connection.read_response())["http_version"] == version.decode()


@pytest.mark.parametrize("method", [b"DELETE", b"PURGE", b"get"])
def test_method_is_as_sent(client, app, method):
    assert scope_of(client.request(app.path("scope_of"), method=method))["method"] == method.decode()


def test_path_is_decoded_and_raw_path_is_not(client, app):
    scope = scope_of(client.request(app.path("scope_of") + "/caf%C3%A9%20%2F+?q=%20&caf%C3%A9"))
    assert scope["path"] == app.path("scope_of") + "/café /+"
    assert scope["raw_path"] == app.path("scope_of").encode() + b"/caf%C3%A9%20%2F+"
    assert scope["query_string"] == b"q=%20&caf%C3%A9"


def test_path_that_is_not_utf_8_is_served(client, app):
    scope = scope_of(client.request(app.path("scope_of") + "/%ff"))
    assert scope["raw_path"].endswith(b"/%ff")
    assert isinstance(scope["path"], str)


def test_query_string_is_empty_bytes_without_a_query(client, app):
    assert scope_of(client.request(app.path("scope_of")))["query_string"] == b""


def test_path_of_an_absolute_target_has_neither_scheme_nor_authority(connect, app):
    connection = connect()
    connection.send(head("http://elsewhere.example:81" + app.path("scope_of", "q"), host=b"testserver"))
    scope = scope_of(connection.read_response())
    assert scope["path"] == app.path("scope_of")
    assert scope["raw_path"] == app.path("scope_of").encode()
    assert scope["query_string"] == b"q"
    assert headers_named(scope, b"host") == [b"elsewhere.example:81"]


def test_headers_are_lower_case_bytes_in_order_with_duplicates(client, app):
    fields = [(b"X-B", b"1"), (b"x-a", b"2"), (b"X-b", b"3"), (b"X-Empty", b""), (b"X-A", b"Two  Words")]
    scope = scope_of(client.request(app.path("scope_of"), fields=fields))
    assert [tuple(pair) for pair in scope["headers"] if pair[0].startswith(b"x-")] == [
        *((b"x-b", b"1"), (b"x-a", b"2"), (b"x-b", b"3"), (b"x-empty", b""), (b"x-a", b"Two  Words"))
    ]
    assert headers_named(scope, b"host") == [b"testserver"]


@pytest.mark.parametrize("value", ["Å".encode(), "Å".encode("latin-1"), b"\x80\xff", b"a\tb"])
def test_header_values_are_passed_on_undecoded(client, app, value):
    scope = scope_of(client.request(app.path("scope_of"), fields=[(b"X-Value", value)]))
    assert headers_named(scope, b"x-value") == [value]


def test_client_and_server_are_lists_of_host_and_port(client, app):
    with client.open(app.path("scope_of")) as exchange:
        scope = scope_of(exchange.read_response())
        assert scope["client"] == list(exchange.client_address)
    assert scope["server"] == list(client.address)


def test_on_a_unix_socket_client_is_none_and_server_is_the_path(tmp_path: Path):
    path = str(tmp_path / "s")
    with ServerProcess(listen=["-u", path]):
        scope = scope_of(Client(path).request("/scope_of/unix"))
    assert scope["client"] is None
    assert scope["server"] == [path, None]


def test_scheme_of_a_plain_connection_is_http(client, app):
    assert scope_of(client.request(app.path("scope_of")))["scheme"] == "http"


def test_state_is_a_shallow_copy_for_each_request(client, app):
    """The scalar is each request's own; the list is one for all of them."""
    first = ast.literal_eval(client.request(app.path("count")).body.decode())
    second = ast.literal_eval(client.request(app.path("count")).body.decode())
    assert (first[0], second) == (1, (1, first[1] + 1))


def test_extensions_are_exactly_those_of_the_connection(client, app):
    assert scope_of(client.request(app.path("scope_of")))["extensions"] == {
        "http.response.trailers": {},
        "http.response.early_hint": {},
        "http.response.pathsend": {},
        "http.response.zerocopysend": {},
    }


def test_extensions_of_http_1_0_have_no_trailers_and_no_hints(connect, app):
    connection = connect()
    connection.send(head(app.path("scope_of"), version=b"1.0"))
    assert scope_of(connection.read_response())["extensions"] == {
        "http.response.pathsend": {},
        "http.response.zerocopysend": {},
    }


def test_root_path_is_never_put_in_front_of_the_path(client, app):
    scope = scope_of(client.request(app.path("scope_of")))
    assert scope["root_path"] == "/mounted"
    assert scope["path"] == app.path("scope_of")
    assert scope["raw_path"] == app.path("scope_of").encode()


def test_trailers_of_a_chunked_request_never_become_headers(connect, app):
    connection = connect()
    connection.send(head(app.path("echo"), [(b"Transfer-Encoding", b"chunked")], method=b"POST"))
    connection.send(b"2\r\nok\r\n0\r\nX-Trailer: 1\r\nHost: evil\r\n\r\n")
    assert connection.read_response().body == b"ok"
    connection.send(head(app.path("scope_of")))
    scope = scope_of(connection.read_response())
    assert [name for name, _ in scope["headers"]] == [b"host"]
    assert headers_named(scope, b"host") == [b"testserver"]


def test_trailers_that_came_with_the_head_never_become_headers(connect, app):
    connection = connect()
    connection.send(
        head(app.path("scope_of"), [(b"Transfer-Encoding", b"chunked")], method=b"POST")
        + b"2\r\nok\r\n0\r\nX-Trailer: 1\r\n\r\n"
    )
    assert headers_named(scope_of(connection.read_response()), b"x-trailer") == []
