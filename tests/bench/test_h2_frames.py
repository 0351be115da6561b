"""The client's HTTP/2 bytes, against an implementation of header compression that is not ours."""

from __future__ import annotations

import pytest
from hpack import Decoder, Encoder

from bench import h2_frames
from bench.h2_frames import DATA, END_HEADERS, END_STREAM, HEADERS, PADDED, PRIORITY, SETTINGS, Frame, Frames


def test_opening_is_the_preface_and_windows_that_no_answer_fills() -> None:
    preface, frames = h2_frames.opening()[:24], h2_frames.opening()[24:]
    assert preface == b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
    settings, window_update = Frames().receive(frames)
    assert settings == Frame(SETTINGS, 0, 0, b"\x00\x02\x00\x00\x00\x00" + b"\x00\x04\x01\x00\x00\x00")
    assert (window_update.kind, window_update.stream, window_update.payload) == (8, 0, b"\x01\x00\x00\x00")


def test_request_is_one_that_header_compression_reads() -> None:
    (frame,) = Frames().receive(h2_frames.request(5, scheme="https", authority="127.0.0.1:20000", path="/16k"))
    assert (frame.kind, frame.flags, frame.stream) == (HEADERS, END_STREAM | END_HEADERS, 5)
    assert [tuple(field) for field in Decoder().decode(frame.payload)] == [
        (":method", "GET"),
        (":scheme", "https"),
        (":authority", "127.0.0.1:20000"),
        (":path", "/16k"),
        ("user-agent", "h2load"),
    ]


@pytest.mark.parametrize("huffman", [False, True], ids=["plain", "huffman"])
@pytest.mark.parametrize("status", [200, 204, 206, 304, 400, 404, 500, 101, 201, 302, 418, 429, 503, 599, 678, 999])
def test_status_is_read_however_it_is_encoded(status: int, huffman: bool) -> None:
    fields = [(":status", str(status)), ("content-type", "text/plain")]
    assert h2_frames.status(Encoder().encode(fields, huffman=huffman)) == status


@pytest.mark.parametrize("first", [0x08, 0x18, 0x48], ids=["without indexing", "never indexed", "with indexing"])
def test_status_is_read_in_every_form_of_a_literal(first: int) -> None:
    assert h2_frames.status(bytes([first, 3]) + b"201") == 201


def test_status_behind_new_sizes_of_the_table_is_read() -> None:
    encoder = Encoder()
    encoder.header_table_size = 100
    encoder.header_table_size = 5000
    block = encoder.encode([(":status", "200")])
    assert block[0] & 0xE0 == 0x20
    assert h2_frames.status(block) == 200


@pytest.mark.parametrize(
    "block",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"\x3f\xe1", id="cut short"),
        pytest.param(b"\x82", id="another field"),
        pytest.param(b"\xbe", id="dynamic table"),
        pytest.param(b"\x00\x07:status\x03200", id="another name"),
        pytest.param(b"\x48\x03abc", id="no number"),
        pytest.param(b"\x48\x81\xff", id="huffman and no number"),
    ],
)
def test_what_is_no_status_is_told(block: bytes) -> None:
    with pytest.raises(ValueError, match=r"status|invalid literal"):
        h2_frames.status(block)


@pytest.mark.parametrize("piece", [1, 7, 1 << 20])
def test_frames_are_put_together_from_any_pieces(piece: int) -> None:
    sent = [Frame(SETTINGS, 0, 0, b""), Frame(DATA, 1, 3, b"abc"), Frame(DATA, 0, 2**31 - 1, bytes(300))]
    data = b"".join(h2_frames.frame(one.kind, one.payload, flags=one.flags, stream=one.stream) for one in sent)
    frames = Frames()
    assert [one for i in range(0, len(data), piece) for one in frames.receive(data[i : i + piece])] == sent


def test_reserved_bit_of_a_stream_is_passed_over() -> None:
    (frame,) = Frames().receive(b"\0\0\0\0\0\x80\0\0\x01")
    assert frame.stream == 1


@pytest.mark.parametrize(
    ("frame", "content"),
    [
        (Frame(DATA, 0, 1, b"abc"), b"abc"),
        (Frame(DATA, PADDED, 1, b"\x02abc\0\0"), b"abc"),
        (Frame(DATA, PRIORITY, 1, b"abcdefg"), b"abcdefg"),
        (Frame(HEADERS, PRIORITY, 1, b"\0\0\0\0\x10abc"), b"abc"),
        (Frame(HEADERS, PADDED | PRIORITY, 1, b"\x01\0\0\0\0\x10abc\0"), b"abc"),
    ],
    ids=["plain", "padded", "flag without meaning", "priority", "both"],
)
def test_content_is_without_padding_and_priority(frame: Frame, content: bytes) -> None:
    assert frame.content() == content


@pytest.mark.parametrize("payload", [b"\x03abc", b"\xff"], ids=["as long", "longer"])
def test_padding_that_is_longer_than_its_frame_is_told(payload: bytes) -> None:
    frame = Frame(DATA, PADDED, 1, payload[:3])
    with pytest.raises(ValueError, match="all padding"):
        frame.content()
