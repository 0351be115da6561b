"""What the tests of the access log share: exchanges, harmless and not, and a stream that fails."""

from __future__ import annotations

import base64
import datetime
import errno
import io

from daphne_clone.access import make_renderer

NOW = datetime.datetime(2026, 11, 21, 10, 0, 0, 123_456, tzinfo=datetime.UTC).timestamp()

# As Daphne tells of an exchange; in full; and from a client that means harm
DETAILS = {
    "path": "/path?a=1",
    "status": 200,
    "method": "GET",
    "client": "127.0.0.1:52814",
    "time_taken": 0.0123456,
    "size": 12,
}
FULL = {
    **DETAILS,
    "http_version": "1.1",
    "scheme": "http",
    "headers": [
        (b"host", b"example.org"),
        (b"user-agent", b"curl/8"),
        (b"referer", b"http://example.org/"),
        (b"authorization", b"Basic " + base64.b64encode(b"ann:secret")),
    ],
    "response_headers": [(b"content-type", b"text/plain")],
}
HOSTILE = 'x"\r\n127.0.0.1 - - "GET /fake" 200 1\x1b[2J\\\u2028\ud800'
HOSTILE_BYTES = HOSTILE.encode("utf-8", "surrogatepass")
HOSTILE_DETAILS = {
    "path": HOSTILE,
    "method": HOSTILE,
    "client": HOSTILE,
    "status": 200,
    "http_version": HOSTILE,
    "scheme": HOSTILE,
    "query_string": HOSTILE_BYTES,
    "headers": [
        (b"user-agent", HOSTILE_BYTES),
        (b"referer", HOSTILE_BYTES),
        (b"authorization", b"Basic " + base64.b64encode(HOSTILE.encode("utf-8", "replace") + b":x")),
    ],
    "response_headers": [(b"x-echo", HOSTILE_BYTES)],
}


def line(form, details=DETAILS, protocol="http", action="complete"):
    """What a format makes of an exchange."""
    return make_renderer(form)(protocol, action, details)


class Failing(io.StringIO):
    """A stream on a full disk, while ``error`` is set."""

    error: Exception | None = OSError(errno.ENOSPC, "No space left on device")

    def write(self, text):
        if self.error is not None:
            raise self.error
        return super().write(text)
