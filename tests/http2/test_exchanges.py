"""What a server of HTTP/2 has to do right, beside refusing what is wrong: exchanges whole, and many of them at once."""

from __future__ import annotations

import pytest

from tests.support.h2_frames import (
    DATA,
    HEADERS,
    MAX_WINDOW,
    PING,
    RST_STREAM,
    Code,
    Setting,
    continuation_frame,
    data_frame,
    field_block,
    frame,
    headers_frame,
    ping_frame,
    request_block,
    rst_frame,
)

START = {"type": "http.response.start", "status": 200, "headers": []}
MORE = {"type": "http.response.body", "body": b"part", "more_body": True}
END = {"type": "http.response.body", "body": b"end"}


def start(status=200, *headers):
    return {"type": "http.response.start", "status": status, "headers": list(headers)}


# Streams side by side


def test_answers_come_when_they_are_ready_and_not_in_order(h2, app):
    late = h2.request(app.path("slow_answer", "late"))
    for _ in range(3):
        assert h2.expect_response(h2.request()).body == b"hello"
    h2.expect_ignored(late)
    app.release()
    assert h2.expect_response(late).body == b"late"


def test_hundred_requests_in_one_write(h2):
    streams = [h2.new_stream() for _ in range(100)]
    h2.send(*(headers_frame(stream, request_block(f"/scope_of/{stream}")) for stream in streams))
    for stream in streams:
        assert f"/scope_of/{stream}'" in h2.expect_response(stream).body.decode()


def test_uploads_side_by_side(h2):
    streams = {h2.request("/echo/x", method=b"POST", end=False): b"" for _ in range(20)}
    for turn in range(50):
        for stream in streams:
            part = b"%d-%d " % (stream, turn)
            streams[stream] += part
            h2.send_data(stream, part)
    for stream, body in streams.items():
        h2.send_data(stream, b"", end=True)
        assert h2.expect_response(stream).body == body


def test_many_requests_one_after_another(h2):
    for _ in range(1000):
        assert h2.expect_response(h2.request()).body == b"hello"


def test_requests_with_bodies_one_after_another(h2):
    """The connection's window is given back across streams."""
    for _ in range(100):
        stream = h2.request("/echo/x", method=b"POST", end=False)
        h2.send_body(stream, b"x" * 20_000)
        assert h2.expect_response(stream).body == b"x" * 20_000


# Responses


@pytest.mark.parametrize("size", [0, 1, 16_383, 16_384, 16_385, 65_535, 65_536, 1_000_000])
def test_body_of_a_response(h2, size):
    response = h2.expect_response(h2.request(f"/large/x?{size}"))
    assert response.get(b"content-length") == b"%d" % size
    assert response.body == b"x" * size


def test_small_response_is_two_frames_at_most(h2):
    stream = h2.request()
    frames = [h2.next_on(stream)]
    while not frames[-1].ends_stream:
        frames.append(h2.next_on(stream))
    assert [seen.kind for seen in frames] == [HEADERS, DATA]


@pytest.mark.parametrize(
    ("method", "status", "headers"),
    [(b"HEAD", 200, [(b"content-length", b"3")]), (b"GET", 204, []), (b"GET", 304, [(b"etag", b'"x"')])],
    ids=["HEAD", "204", "304"],
)
def test_response_without_a_body_ends_with_its_head(h2, app, method, status, headers):
    stream = h2.request(app.script(start(status, *headers), END), method=method)
    head = h2.next_on(stream)
    assert head.kind == HEADERS and head.ends_stream
    assert (b":status", b"%d" % status) in head.fields
    assert set(headers) <= set(head.fields)
    h2.expect_ignored(stream)


def test_each_part_is_sent_at_once(h2, app):
    stream = h2.request(app.path("stream"))
    assert h2.read_head(stream).status == 200
    assert h2.read_part(stream) == b"first"
    app.release()
    assert h2.read_part(stream) == b"second"
    assert h2.read_part(stream) == b""


@pytest.mark.parametrize(
    "field",
    [
        (b"connection", b"close"),
        (b"connection", b"keep-alive"),
        (b"transfer-encoding", b"chunked"),
        (b"keep-alive", b"timeout=5"),
        (b"upgrade", b"h2c"),
        (b"proxy-connection", b"close"),
    ],
    ids=lambda field: field[0].decode(),
)
def test_fields_of_a_connection_never_leave_the_server(h2, app, field):
    """The client looks at that; what an application wrote for HTTP/1.1 is no reason to fail."""
    stream = h2.request(app.script(start(200, field, (b"x", b"y")), END))
    response = h2.expect_response(stream)
    assert (response.get(b"x"), response.body) == (b"y", b"end")


def test_field_names_are_sent_in_lower_case(h2, app):
    stream = h2.request(app.script(start(200, (b"X-Upper", b"Value")), END))
    assert h2.expect_response(stream).get(b"x-upper") == b"Value"


@pytest.mark.parametrize("header", [(b"x", b"a\nb"), (b"x", b"a\r\nb: c"), (b"a\nb", b"c"), (b"x\0", b"y")], ids=str)
def test_field_of_a_response_that_is_none_is_the_applications_fault(h2, app, header):
    assert h2.expect_response(h2.request(app.script(start(200, header)))).status == 500
    assert app.noted(1)[0] != "sent"


def test_large_head_of_a_response_is_continued(h2):
    stream = h2.request("/large_head/x?50,1000")
    head = h2.next_on(stream)
    assert head.frames > 1
    assert [value for name, value in head.fields if name.startswith(b"x-")] == [b"v" * 1000] * 50
    assert h2.read_part(stream) == b"end"
    h2.expect_served()


def test_server_and_date_are_as_in_http_1(h2):
    response = h2.expect_response(h2.request())
    assert response.get(b"server") == b"daphne"
    assert response.get(b"date").endswith(b" GMT")


# Interim responses


def test_early_hints(h2, app):
    hint = {"type": "http.response.early_hint", "links": [b"</a.css>; rel=preload", b"</b.js>; rel=preload"]}
    response = h2.expect_response(h2.request(app.script(hint, START, END)))
    assert [early.status for early in response.interim] == [103]
    assert response.interim[0].all(b"link") == hint["links"]
    assert (response.status, response.body) == (200, b"end")


def test_continue_is_sent_when_the_application_receives(h2, app):
    fields = [(b"expect", b"100-continue"), (b"content-length", b"4")]
    stream = h2.request(app.script("wait", "receive", START, END), fields, method=b"POST", end=False)
    app.noted(1)
    h2.expect_ignored(stream)
    app.release()
    assert h2.read_head(stream).status == 100
    h2.send_body(stream, b"body")
    assert h2.expect_response(stream).body == b"end"


def test_continue_is_not_sent_when_the_application_answers_first(h2):
    fields = [(b"expect", b"100-continue"), (b"content-length", b"4")]
    stream = h2.request("/hello/x", fields, method=b"POST", end=False)
    assert h2.read_head(stream).status == 200


# Trailers


@pytest.mark.parametrize("size", [0, 10, 100_000])
@pytest.mark.parametrize("count", [1, 30])
def test_trailers_of_a_response(h2, size, count):
    response = h2.expect_response(h2.request(f"/trailers/x?{size},{count}"))
    assert len(response.body) == size
    assert response.trailers == [(b"x-%d" % number, b"v" * 1000) for number in range(count)]


def test_trailers_wait_for_the_body(h2):
    """They need no window themselves, and never overtake what does."""
    h2.grants = False
    stream = h2.request("/trailers/x?100000,1")
    assert h2.read_head(stream).status == 200
    received = 0
    while received < 65_535:
        received += len(h2.read_part(stream))
    h2.expect_alive()
    h2.grant(0, 100_000)
    h2.grant(stream, 100_000)
    while received < 100_000:
        received += len(h2.read_part(stream))
    trailers = h2.next_on(stream)
    assert trailers.ends_stream and len(trailers.fields) == 1


def test_continued_trailers_of_a_request(h2):
    stream = h2.request("/echo/x", method=b"POST", end=False)
    block = field_block([(b"x-%d" % number, b"v" * 100) for number in range(20)])
    h2.send(data_frame(stream, b"body"), headers_frame(stream, block[:100], whole=False))
    h2.send(continuation_frame(stream, block[100:500], whole=False), continuation_frame(stream, block[500:]))
    assert h2.expect_response(stream).body == b"body"


# Bodies of requests


def test_body_arrives_as_it_is_sent(h2, app):
    stream = h2.request(app.path("events"), method=b"POST", end=False)
    h2.send_data(stream, b"one")
    assert app.noted(2)[1] == {"type": "http.request", "body": b"one", "more_body": True}
    h2.send_data(stream, b"two", end=True)
    assert app.noted(3)[2] == {"type": "http.request", "body": b"two", "more_body": False}
    assert h2.expect_response(stream).status == 200


def test_response_and_request_flow_at_the_same_time(h2):
    stream = h2.request("/answers_while_it_reads/x", method=b"POST", end=False)
    h2.send_data(stream, b"begin")
    assert h2.read_head(stream).status == 200
    assert h2.read_part(stream) == b"begin"
    for turn in range(20):
        h2.send_data(stream, b"%d" % turn)
        assert h2.read_part(stream) == b"%d" % turn
    h2.send_data(stream, b"", end=True)
    assert h2.read_part(stream) == b""


def test_body_that_is_taken_late_is_whole(h2, app):
    stream = h2.request(app.path("reads_when_released"), method=b"POST", end=False)
    app.noted(1)
    h2.send_body(stream, b"x" * 50_000)
    app.release()
    assert h2.expect_response(stream).body == b"50000"


def test_answer_before_the_end_of_the_request(h2):
    """Section 8.1: the rest may be asked to stay away with NO_ERROR, and with nothing else."""
    stream = h2.request("/hello/x", method=b"POST", end=False)
    assert h2.expect_response(stream).body == b"hello"
    h2.send_data(stream, b"late", end=True)
    h2.expect_alive()
    resets = [seen for seen in h2.inbox if seen.kind == RST_STREAM]
    assert [seen.number for seen in resets] in ([], [Code.NO_ERROR])
    h2.expect_served()


# Applications that fail, and clients that leave


def test_crash_before_the_response_is_500(h2, app):
    response = h2.expect_response(h2.request(app.script("fail")))
    assert response.status == 500
    assert b"text of an exception" not in response.body
    h2.expect_served()


@pytest.mark.parametrize("parts", [[START], [START, MORE], [start(200, (b"content-length", b"9")), MORE]], ids=len)
@pytest.mark.parametrize("end", ["fail", "return"])
def test_failure_within_the_response_resets_the_stream_alone(h2, app, parts, end):
    running = h2.request(app.path("slow_answer", "late"))
    stream = h2.request(app.script(*parts, *(["fail"] if end == "fail" else [])))
    h2.expect_rst(stream, Code.INTERNAL_ERROR)
    app.release()
    assert h2.expect_response(running).body == b"late"


def test_body_shorter_than_its_content_length_resets_the_stream(h2, app):
    stream = h2.request(app.script(start(200, (b"content-length", b"9")), MORE, END))
    h2.expect_rst(stream, Code.INTERNAL_ERROR)


def test_reset_is_a_disconnect_for_its_application_alone(h2, app):
    other = h2.request(app.path("slow_answer", "late"))
    stream = h2.request(app.path("until_disconnect"))
    app.noted(2)
    h2.send(rst_frame(stream, Code.CANCEL))
    notes = app.noted(5)
    assert "http.disconnect" in notes
    assert sum("ClientDisconnected" in note for note in notes if isinstance(note, list)) == 2
    app.release()
    assert h2.expect_response(other).body == b"late"


def test_connection_that_is_lost_is_a_disconnect_for_each_application(h2, app):
    for _ in range(5):
        h2.request(app.path("until_disconnect"))
    app.noted(5)
    h2.reset()
    assert app.noted(25).count("http.disconnect") == 5


def test_client_that_closes_its_side_is_a_disconnect(h2, app):
    """HTTP/2 knows no half-closed connection: a FIN is its end."""
    h2.request(app.path("until_disconnect"))
    app.noted(1)
    h2.socket.shutdown(1)
    assert "http.disconnect" in app.noted(4)


def test_after_the_response_comes_a_disconnect(h2, app):
    h2.expect_response(h2.request(app.path("after_response")))
    kind, seconds = app.noted(2)
    assert kind == "http.disconnect" and seconds < 1


# What else goes on meanwhile


def test_pings_and_settings_while_a_body_flows(h2):
    h2.change_settings((Setting.INITIAL_WINDOW_SIZE, MAX_WINDOW))
    h2.grant(0, MAX_WINDOW - 65_535)
    stream = h2.request("/large/x?3000000")
    for number in range(10):
        h2.send(ping_frame(b"ping%4d" % number))
        h2.change_settings((Setting.MAX_FRAME_SIZE, 16_384 + number))
    assert len(h2.expect_response(stream).body) == 3_000_000
    h2.expect_alive()
    assert sum(seen.kind == PING for seen in h2.inbox) == 10


def test_frames_of_unknown_types_while_a_body_flows(h2):
    stream = h2.request("/echo/x", method=b"POST", end=False)
    for number in range(20):
        h2.send(frame(0x20 + number, 0, stream, b"x"))
        h2.send_data(stream, b"%d " % number)
    h2.send_data(stream, b"", end=True)
    assert h2.expect_response(stream).body.split() == [b"%d" % number for number in range(20)]
