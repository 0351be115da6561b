"""Contract, section 1, "Extensions": what goes beyond status, headers and body."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.http1 import head

START = {"type": "http.response.start", "status": 200, "headers": []}
END = {"type": "http.response.body", "body": b"end"}
MORE = {"type": "http.response.body", "body": b"part", "more_body": True}
TRAILERS = {"type": "http.response.trailers", "headers": [(b"X-Sum", b"1")]}
HINT = {"type": "http.response.early_hint", "links": [b"</a.css>; rel=preload", b"</b.js>; rel=preload"]}
WANTS_TRAILERS = [(b"TE", b"trailers")]


# http.response.trailers


def test_trailers_are_sent_to_whom_asked_for_them(client, app):
    response = client.request(app.script({**START, "trailers": True}, MORE, END, TRAILERS), fields=WANTS_TRAILERS)
    assert (response.body, response.trailers) == (b"partend", [(b"x-sum", b"1")])


def test_trailers_may_come_in_parts(client, app):
    more = {**TRAILERS, "headers": [(b"x-first", b"0")], "more_trailers": True}
    response = client.request(app.script({**START, "trailers": True}, END, more, TRAILERS), fields=WANTS_TRAILERS)
    assert response.trailers == [(b"x-first", b"0"), (b"x-sum", b"1")]


def test_trailers_are_consumed_where_nobody_asked(connect, app):
    connection = connect()
    connection.send(head(app.script({**START, "trailers": True}, MORE, END, TRAILERS)))
    response = connection.read_response()
    assert (response.body, response.trailers) == (b"partend", [])
    assert app.noted(4) == ["sent"] * 4
    connection.send(head(app.path("hello")))
    assert connection.read_response().body == b"hello"


def test_trailers_beside_a_declared_length_are_still_sent(client, app):
    start = {**START, "headers": [(b"content-length", b"3")], "trailers": True}
    response = client.request(app.script(start, END, TRAILERS), fields=WANTS_TRAILERS)
    assert (response.body, response.trailers) == (b"end", [(b"x-sum", b"1")])


def test_trailers_not_announced_raise(client, app):
    response = client.request(app.script(START, MORE, TRAILERS, END), fields=WANTS_TRAILERS)
    assert "ValueError" in app.noted(4)[2]
    assert response.trailers == []


@pytest.mark.parametrize("field", [(b"x", b"a\r\nb: c"), (b"x\n", b"a")], ids=repr)
def test_trailer_that_would_break_the_section_raises(client, app, field):
    response = client.request(
        app.script({**START, "trailers": True}, END, {**TRAILERS, "headers": [field]}, TRAILERS), fields=WANTS_TRAILERS
    )
    assert "ValueError" in app.noted(4)[2]
    assert response.trailers == [(b"x-sum", b"1")]


# http.response.pathsend


def path_send(path):
    return {"type": "http.response.pathsend", "path": str(path)}


@pytest.mark.parametrize("size", [0, 11, 3_000_000])
def test_pathsend_sends_the_file(client, app, tmp_path: Path, size):
    content = (bytes(range(251)) * (size // 251 + 1))[:size]
    file = tmp_path / "file"
    file.write_bytes(content)
    response = client.request(app.script(START, path_send(file)))
    assert response.body == content
    assert response.all(b"content-length") == [b"%d" % size]
    assert app.noted(2) == ["sent", "sent"]


def test_pathsend_to_head_sends_the_length_alone(connect, app, tmp_path: Path):
    (tmp_path / "file").write_bytes(b"content")
    connection = connect()
    start = {**START, "headers": [(b"content-length", b"7")]}
    connection.send(head(app.script(start, path_send(tmp_path / "file")), method=b"HEAD"))
    assert connection.read_response(b"HEAD").all(b"content-length") == [b"7"]
    connection.send(head(app.path("hello")))
    assert connection.read_response().body == b"hello"


def test_pathsend_of_a_missing_file_raises_and_leaves_the_choice_to_the_application(client, app, tmp_path: Path):
    response = client.request(app.script(START, path_send(tmp_path / "missing"), END))
    assert "FileNotFoundError" in app.noted(3)[1]
    assert response.body == b"end"


@pytest.mark.parametrize("path", ["relative/path", "", b"/bytes", None], ids=repr)
def test_pathsend_of_what_is_no_absolute_path_raises(client, app, path):
    response = client.request(app.script(START, {"type": "http.response.pathsend", "path": path}, END))
    assert "ValueError" in app.noted(3)[1]
    assert response.body == b"end"


# http.response.zerocopysend


def test_zerocopysend_sends_parts_of_files_among_bodies(client, app, tmp_path: Path):
    file = tmp_path / "file"
    file.write_bytes(b"0123456789")
    response = client.request(app.path("zero_copy", str(file)))
    # A body, offset and count, count alone from the position, the same again, the rest from the position, a body
    assert response.body == b"<" + b"345" + b"01" + b"23" + b"456789" + b">"
    assert app.noted(1) == ["open"]


# http.response.early_hint


def test_early_hint_before_the_start_is_a_103(client, app):
    with client.open(app.script(HINT, "wait", START, END)) as exchange:
        hint = exchange.read_head()
        assert (hint.status, hint.all(b"link")) == (103, HINT["links"])
        app.release()
        assert exchange.read_response().body == b"end"


def test_early_hint_after_the_start_comes_before_the_head(client, app):
    response = client.request(app.script(START, HINT, END))
    assert [interim.status for interim in response.interim] == [103]
    assert (response.status, response.body) == (200, b"end")


def test_early_hint_behind_the_head_raises(client, app):
    response = client.request(app.script(START, MORE, HINT, END))
    assert "ValueError" in app.noted(4)[2]
    assert response.body == b"partend"


@pytest.mark.parametrize("links", [[b"a\r\nset-cookie: b"], ["text"], b"bytes", None], ids=repr)
def test_early_hint_with_wrong_links_raises(client, app, links):
    response = client.request(app.script({**HINT, "links": links}, START, END))
    assert "ValueError" in app.noted(3)[0]
    assert response.interim == []


def test_http_1_0_gets_no_interim_response(connect, app):
    connection = connect()
    connection.send(head(app.script(HINT, START, END), version=b"1.0"))
    assert connection.read_response().interim == []


# http.response.push, tls: listed only where they can be used, see test_scope
