"""What an application may say about a response, message by message."""

from __future__ import annotations

import io
from http import HTTPStatus
from pathlib import Path
from typing import Any

import pytest

from daphne_clone.asgi import http_rules
from daphne_clone.errors import ApplicationProtocolError


class Index:
    def __index__(self) -> int:
        return 201


def test_a_start_has_a_status_and_headers_and_may_announce_trailers() -> None:
    headers = [(b"a", b"b")]
    assert http_rules.response_start({"type": "t", "status": 200, "headers": headers}) == (200, headers, False)
    assert http_rules.response_start({"type": "t", "status": 299, "trailers": True, "more": 1}) == (299, (), True)


@pytest.mark.parametrize(("status", "number"), [(200, 200), (999, 999), (HTTPStatus.NOT_FOUND, 404), (Index(), 201)])
def test_a_status_is_an_integer_however_it_is_called(status: Any, number: int) -> None:
    found, _, _ = http_rules.response_start({"type": "t", "status": status})
    assert found == number


@pytest.mark.parametrize("status", [199, 100, 0, -200, 1000, True, "200", b"200", 200.0, None, [200]])
def test_what_is_no_status(status: Any) -> None:
    with pytest.raises(ApplicationProtocolError, match="status"):
        http_rules.response_start({"type": "t", "status": status})


def test_a_missing_key_is_called_missing() -> None:
    with pytest.raises(ApplicationProtocolError, match=r"'status' is missing"):
        http_rules.response_start({"type": "t"})
    with pytest.raises(ApplicationProtocolError, match=r"'path' is missing"):
        http_rules.response_path({"type": "t"})
    with pytest.raises(ApplicationProtocolError, match=r"'file' is missing"):
        http_rules.response_file({"type": "t"})
    with pytest.raises(ApplicationProtocolError, match=r"'links' is missing"):
        http_rules.early_hint_links({"type": "t"})


FLAGS = [
    (http_rules.response_start, {"status": 200}, "trailers"),
    (http_rules.response_body, {}, "more_body"),
    (http_rules.response_trailers, {}, "more_trailers"),
    (http_rules.response_file, {"file": io.FileIO(0, closefd=False)}, "more_body"),
]


@pytest.mark.parametrize(("rule", "message", "key"), FLAGS)
@pytest.mark.parametrize("value", [1, 0, None, "", "yes", [], b""])
def test_a_flag_is_a_boolean(rule: Any, message: dict[str, Any], key: str, value: Any) -> None:
    with pytest.raises(ApplicationProtocolError, match=f"'{key}' is .*expected a boolean"):
        rule({"type": "t", **message, key: value})


@pytest.mark.parametrize(("rule", "message", "key"), FLAGS)
def test_a_flag_is_false_unless_given(rule: Any, message: dict[str, Any], key: str) -> None:
    assert rule({"type": "t", **message})[-1] is False
    assert rule({"type": "t", **message, key: True})[-1] is True
    assert rule({"type": "t", **message, key: False})[-1] is False


@pytest.mark.parametrize("body", [b"abc", bytearray(b"abc"), memoryview(b"abc"), memoryview(bytearray(b"a-b-c"))[::2]])
def test_a_body_is_bytes_in_any_form(body: Any) -> None:
    found, more = http_rules.response_body({"type": "t", "body": body, "other": 1})
    assert type(found) is bytes
    assert found == b"abc"
    assert more is False


def test_a_buffer_is_copied_for_the_application_may_reuse_it() -> None:
    buffer = bytearray(b"abc")
    found, _ = http_rules.response_body({"type": "t", "body": buffer})
    buffer[:] = b"xyz"
    assert found == b"abc"


def test_a_body_may_be_left_out() -> None:
    assert http_rules.response_body({"type": "t", "more_body": True}) == (b"", True)


@pytest.mark.parametrize("body", ["abc", None, 1, [b"a"], 0, ("a",)])
def test_what_is_no_body(body: Any) -> None:
    with pytest.raises(ApplicationProtocolError, match="body"):
        http_rules.response_body({"type": "t", "body": body})


def test_trailers_are_handed_on() -> None:
    assert http_rules.response_trailers({"type": "t"}) == ((), False)
    headers = [(b"a", b"b")]
    assert http_rules.response_trailers({"type": "t", "headers": headers, "more_trailers": True}) == (headers, True)


def test_a_path_is_absolute() -> None:
    assert http_rules.response_path({"type": "t", "path": "/a"}) == "/a"
    for path in ("a", "", "./a", b"/a", None, Path("/a")):
        with pytest.raises(ApplicationProtocolError, match="path"):
            http_rules.response_path({"type": "t", "path": path})


def test_a_file_has_a_descriptor_and_may_have_offset_and_count() -> None:
    with open(__file__, "rb") as file:
        assert http_rules.response_file({"type": "t", "file": file}) == (file, None, None, False)
        message = {"type": "t", "file": file, "offset": 0, "count": 0, "more_body": True}
        assert http_rules.response_file(message) == (file, 0, 0, True)
        assert http_rules.response_file({"type": "t", "file": file, "offset": None, "count": None})[1:3] == (None, None)
        for key in ("offset", "count"):
            for value in (-1, 1.0, "1", True, b""):
                with pytest.raises(ApplicationProtocolError, match=key):
                    http_rules.response_file({"type": "t", "file": file, key: value})
    for other in (None, 3, "file", b"file", object()):
        with pytest.raises(ApplicationProtocolError, match="file"):
            http_rules.response_file({"type": "t", "file": other})


@pytest.mark.parametrize("links", [[b"</a>"], (b"</a>",), iter([b"</a>"])])
def test_links_are_an_iterable_of_bytes(links: Any) -> None:
    assert http_rules.early_hint_links({"type": "t", "links": links}) == [b"</a>"]


@pytest.mark.parametrize("links", [b"</a>", "</a>", "", None, 1, ["</a>"], [b"</a>", None], [[b"</a>"]]])
def test_what_are_no_links(links: Any) -> None:
    with pytest.raises(ApplicationProtocolError, match="links"):
        http_rules.early_hint_links({"type": "t", "links": links})
