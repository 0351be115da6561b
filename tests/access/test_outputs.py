"""Streams and files take whole lines; a failure is reported once, and a file that was moved away is opened anew."""

from __future__ import annotations

import errno
import io
import os
import time

import pytest

from daphne_clone.access.outputs import FileOutput, Output
from tests.support.access_details import Failing


class TestStream:
    def test_line_is_ended_and_flushed(self):
        raw = io.BytesIO()
        stream = io.TextIOWrapper(raw)
        Output(stream).write_line("one")
        assert raw.getvalue() == b"one\n"

    def test_failure_is_reported_once_until_it_works_again(self, caplog):
        stream = Failing()
        output = Output(stream)
        for error in (stream.error, stream.error, None, ValueError("I/O operation on closed file"), stream.error):
            stream.error = error
            output.write_line("line")
        assert [record.name for record in caplog.records] == ["daphne_clone", "daphne_clone"]
        assert stream.getvalue() == "line\n"

    def test_closed_pipe_is_survived(self, caplog):
        reading, writing = os.pipe()
        os.close(reading)
        with open(writing, "wb", buffering=0) as raw:
            stream = io.TextIOWrapper(raw, write_through=True)
            output = Output(stream)
            output.write_line("line")
            output.write_line("line")
            assert len(caplog.records) == 1
            stream.detach()

    def test_stream_that_cannot_encode_gets_escapes(self):
        raw = io.BytesIO()
        stream = io.TextIOWrapper(raw, encoding="ascii")
        Output(stream).write_line("/ä")
        assert raw.getvalue() == b"/\\xe4\n"

    def test_stream_stays_open(self):
        stream = io.StringIO()
        Output(stream).close()
        assert not stream.closed


@pytest.fixture
def file_output():
    """Makes file outputs, and closes them."""
    made = []

    def make(path):
        made.append(FileOutput(str(path)))
        return made[-1]

    yield make
    for output in made:
        output.close()


@pytest.fixture
def now(monkeypatch):
    """A monotonic clock that stands, and can be set."""
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    return now


class TestFile:
    def test_is_appended_to(self, tmp_path, file_output):
        path = tmp_path / "access.log"
        path.write_text("earlier\n")
        file_output(path).write_line("later")
        assert path.read_text() == "earlier\nlater\n"

    def test_that_cannot_be_opened_raises(self, tmp_path, file_output):
        with pytest.raises(FileNotFoundError):
            file_output(tmp_path / "none" / "access.log")

    def test_is_opened_again_after_it_was_closed(self, tmp_path, file_output):
        output = file_output(tmp_path / "access.log")
        output.close()
        output.close()
        output.write_line("line")
        assert (tmp_path / "access.log").read_text() == "line\n"

    def test_relative_path_survives_a_change_of_directory(self, tmp_path, monkeypatch, file_output):
        monkeypatch.chdir(tmp_path)
        output = file_output("access.log")
        (tmp_path / "elsewhere").mkdir()
        monkeypatch.chdir(tmp_path / "elsewhere")
        output.close()
        output.write_line("line")
        assert (tmp_path / "access.log").read_text() == "line\n"

    def test_moved_away_is_noticed_within_a_second(self, tmp_path, now, file_output):
        path = tmp_path / "access.log"
        output = file_output(path)
        output.write_line("one")
        path.rename(tmp_path / "access.log.1")
        output.write_line("two")
        assert not path.exists()
        now[0] += 1
        output.write_line("three")
        assert path.read_text() == "three\n"
        assert (tmp_path / "access.log.1").read_text() == "one\ntwo\n"

    def test_replaced_by_another_is_noticed(self, tmp_path, now, file_output):
        path = tmp_path / "access.log"
        output = file_output(path)
        path.rename(tmp_path / "access.log.1")
        path.write_text("new\n")
        for _ in range(2):  # the second look finds nothing to do
            now[0] += 1
            output.write_line("line")
        assert path.read_text() == "new\nline\nline\n"
        assert (tmp_path / "access.log.1").read_text() == ""


class TestFailureOfAFile:
    @pytest.mark.skipif(not os.path.exists("/dev/full"), reason="the system has no /dev/full")
    def test_full_disk_is_reported_once_closing_included(self, caplog, file_output):
        output = file_output("/dev/full")
        output.write_line("line")
        output.write_line("line")
        output.close()
        assert len(caplog.records) == 1

    def test_file_that_cannot_be_closed_is_reported(self, tmp_path, caplog, file_output):
        class Unclosable(io.StringIO):
            """A file whose last block does not fit; like any file, it is closed all the same."""

            def close(self):
                if not self.closed:
                    super().close()
                    raise OSError(errno.EDQUOT, "Quota exceeded")

        output = file_output(tmp_path / "access.log")
        output.close()
        output._stream = Unclosable()
        output.close()
        output.write_line("line")
        assert "could not be closed" in caplog.text
        assert (tmp_path / "access.log").read_text() == "line\n"

    def test_file_that_vanished_with_its_directory_is_reported(self, tmp_path, now, caplog, file_output):
        path = tmp_path / "logs" / "access.log"
        path.parent.mkdir()
        output = file_output(path)
        path.unlink()
        path.parent.rmdir()
        now[0] += 1
        output.write_line("one")
        output.write_line("two")
        assert len(caplog.records) == 1
        path.parent.mkdir()
        output.write_line("three")
        assert path.read_text() == "three\n"
