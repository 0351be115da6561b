"""Answers to plain HTTP: where a redirect leads, and where none may lead."""

from __future__ import annotations

import pytest

from daphne_clone.https_only import redirect_to_https
from daphne_clone.interfaces import RequestHead


def answered(host, path=b"/", query=b"", port=None):
    fields = [(b"host", value) for value in ([host] if isinstance(host, bytes) else host)]
    status, headers, _ = redirect_to_https(RequestHead("GET", path, "", query, "1.1", fields), port)
    return status.value, dict(headers).get(b"location")


@pytest.mark.parametrize(
    ("host", "port", "authority"),
    [
        (b"example.org", None, b"example.org"),
        (b"example.org", 443, b"example.org"),
        (b"example.org", 8443, b"example.org:8443"),
        (b"example.org:80", 8443, b"example.org:8443"),
        (b"example.org:", None, b"example.org"),
        (b"Example.ORG", None, b"Example.ORG"),
        (b"under_score.example", None, b"under_score.example"),
        (b"192.0.2.1:80", None, b"192.0.2.1"),
        (b"[2001:db8::1]:80", 8443, b"[2001:db8::1]:8443"),
    ],
)
def test_host_is_kept_and_the_port_is_that_of_https(host, port, authority):
    assert answered(host, port=port) == (308, b"https://%b/" % authority)


@pytest.mark.parametrize(
    ("path", "query", "rest"),
    [
        (b"/a/b", b"", b"/a/b"),
        (b"/a%20b", b"c=d&e=f%2F", b"/a%20b?c=d&e=f%2F"),
        (b"//evil.example/x", b"", b"//evil.example/x"),
        (b"/\\evil.example", b"", b"/\\evil.example"),
        (b"/@evil.example", b"@evil", b"/@evil.example?@evil"),
        (b"*", b"", b"/"),
    ],
)
def test_target_is_kept_behind_the_host(path, query, rest):
    assert answered(b"good.example", path, query) == (308, b"https://good.example" + rest)


@pytest.mark.parametrize(
    "host",
    [
        [],
        [b"a.example", b"b.example"],
        b"",
        b":80",
        b"good@evil.example",
        b"good.example/evil",
        b"good.example\\evil",
        b"good.example?x",
        b"good.example#x",
        b"good.example:80:90",
        b"good.example:80@evil",
        b"a b",
        b"a,b",
        b"a;b",
        b"%65vil.example",
        b"[::1",
        b"[v1.x]",
        b"[]",
        b"good.example\r\nx: y",
        b"good.example\n",
        b"g\xc3\xb6\xc3\xb6d.example",
    ],
    ids=repr,
)
def test_host_that_is_not_plainly_one_is_400(host):
    assert answered(host) == (400, None)
