"""How lines look: each value at its place, whatever is missing, and nothing a client can break out with."""

from __future__ import annotations

import json
import os

import pytest

from daphne_clone.access import make_renderer
from daphne_clone.errors import ConfigurationError
from tests.support.access_details import DETAILS, FULL, HOSTILE, HOSTILE_DETAILS, line

COMBINED = '%(h)s %(l)s %(u)s %(t)s "%(r)s" %(s)s %(b)s "%(f)s" "%(a)s"'


class TestJSON:
    def test_every_key_is_there(self):
        assert json.loads(line("json", FULL)) == {
            "time": "2026-11-21T10:00:00.123Z",
            "protocol": "http",
            "event": "complete",
            "client": "127.0.0.1:52814",
            "method": "GET",
            "path": "/path",
            "query": "a=1",
            "status": 200,
            "size": 12,
            "duration_ms": 12.346,
            "http_version": "1.1",
            "scheme": "http",
            "user_agent": "curl/8",
            "referer": "http://example.org/",
        }

    @pytest.mark.parametrize("details", [{}, DETAILS])
    def test_what_is_missing_is_null(self, details):
        parsed = json.loads(line("json", details))
        assert parsed["user_agent"] is parsed["http_version"] is None
        assert len(parsed) == 14

    def test_websocket(self):
        parsed = json.loads(line("json", {"path": "/chat", "client": "c:1"}, "websocket", "rejected"))
        assert (parsed["protocol"], parsed["event"], parsed["status"]) == ("websocket", "rejected", None)

    def test_size_zero_is_zero(self):
        assert json.loads(line("json", {**DETAILS, "size": 0}))["size"] == 0


ATOMS = [
    ("h", "127.0.0.1"),
    ("l", "-"),
    ("u", "ann"),
    ("t", "[21/Nov/2026:10:00:00 +0000]"),
    ("r", "GET /path?a=1 HTTP/1.1"),
    ("m", "GET"),
    ("U", "/path"),
    ("q", "a=1"),
    ("H", "HTTP/1.1"),
    ("s", "200"),
    ("B", "12"),
    ("b", "12"),
    ("f", "http://example.org/"),
    ("a", "curl/8"),
    ("T", "0"),
    ("M", "12"),
    ("D", "12345"),
    ("L", "0.012346"),
    ("p", f"<{os.getpid()}>"),
    ("{Host}i", "example.org"),
    ("{x-none}i", "-"),
    ("{Content-Type}o", "text/plain"),
    ("{x-none}o", "-"),
    ("{HOME}e", "-"),
]


class TestAtoms:
    # Ids without the values: the processes of one test run must have the same, and one is the process id.
    @pytest.mark.parametrize(("atom", "value"), ATOMS, ids=[atom for atom, _ in ATOMS])
    def test_atom(self, atom, value):
        assert line(f"%({atom})s", FULL) == value

    @pytest.mark.parametrize("atom", [atom for atom, _ in ATOMS])
    def test_atom_with_nothing_known(self, atom):
        assert line(f"<%({atom})s>", {}).startswith("<")
        assert line(f"<%({atom})s>", {}, "websocket", "rejected").startswith("<")

    def test_combined_format(self):
        assert line(COMBINED, FULL) == (
            '127.0.0.1 - ann [21/Nov/2026:10:00:00 +0000] "GET /path?a=1 HTTP/1.1" 200 12 '
            '"http://example.org/" "curl/8"'
        )

    def test_combined_format_with_daphnes_details(self):
        assert line(COMBINED) == ('127.0.0.1 - - [21/Nov/2026:10:00:00 +0000] "GET /path?a=1" 200 12 "-" "-"')

    def test_websocket(self):
        assert (
            line('"%(r)s" %(m)s %(s)s', {"path": "/chat"}, "websocket", "connected") == '"WSCONNECT /chat" WSCONNECT -'
        )

    def test_size_zero_is_a_dash_in_b_alone(self):
        assert line("%(b)s %(B)s", {**DETAILS, "size": 0}) == "- 0"

    def test_ipv6_client(self):
        assert line("%(h)s", {"client": "2001:db8::1:52814"}) == "2001:db8::1"

    def test_percent_and_width(self):
        assert line("100%% %(s)5s|%(m)-5s|%(D)d", DETAILS) == "100%   200|GET  |12345"

    def test_facts_are_found_in_the_scope(self):
        scope = {key: FULL[key] for key in ("http_version", "headers", "scheme")} | {"query_string": b"b=2"}
        details = {**DETAILS, "path": "/path", "scope": scope}
        assert line("%(r)s %(a)s %(q)s", details) == "GET /path?b=2 HTTP/1.1 curl/8 b=2"
        assert json.loads(line("json", details))["scheme"] == "http"

    @pytest.mark.parametrize("form", ["%(zz)s", "%({x}z)s", "%(tt)s"])
    def test_unknown_atom_is_named(self, form):
        with pytest.raises(ConfigurationError, match=r"--access-log-format: .*no atom '"):
            make_renderer(form)

    @pytest.mark.parametrize("form", ["%(h)s 5%", "%(h)", "%(h)s %s", "%(s)x", "%(h)s %()s", "%(s)99999s"])
    def test_stray_percent_is_refused(self, form):
        with pytest.raises(ConfigurationError, match="--access-log-format"):
            make_renderer(form)


class TestEscaping:
    """No value of a client's can end its field or its line."""

    @pytest.mark.parametrize("form", ["daphne", "json", *(f"%({atom})s" for atom, _ in ATOMS), "%({x-echo}o)s"])
    def test_nothing_gets_through(self, form):
        made = line(form, HOSTILE_DETAILS)
        assert made.isprintable()
        made.encode()
        if form == "json":
            assert json.loads(made)["path"] == HOSTILE
        elif form == "daphne":
            assert made.count('"') == 2
        else:
            assert '"' not in made

    @pytest.mark.parametrize(
        "character", ["\r", "\n", "\t", "\0", "\x1b", "\x7f", "\x85", "\u2028", "\u202e", "\ud800"]
    )
    @pytest.mark.parametrize("form", ["daphne", "json", "%(r)s", "%(U)s", "%(a)s"])
    def test_a_control_character_alone_does_not_get_through(self, form, character):
        # alone, because a quote beside it would send the text down the slow way in any case
        agent = f"a{character}b".encode("utf-8", "surrogatepass")
        details = {**DETAILS, "path": f"/a{character}b", "headers": [(b"user-agent", agent)]}
        made = line(form, details)
        assert character not in made
        assert made.isprintable()

    @pytest.mark.parametrize("character", ['"', "\\"])
    def test_a_quote_or_backslash_alone_does_not_get_through(self, character):
        assert line("%(U)s", {"path": f"/a{character}b"}) == f"/a\\x{ord(character):02x}b"

    @pytest.mark.parametrize("form", ["%(h)s", "%(u)s", "%(m)s"])
    def test_unquoted_atoms_hold_no_blank(self, form):
        assert " " not in line(form, HOSTILE_DETAILS)

    def test_daphnes_client_holds_no_blank(self):
        assert line("daphne", {**DETAILS, "client": "1.2.3.4 - - [x]"}).startswith(r"1.2.3.4\x20-\x20-\x20[x] - - [")

    def test_escapes_can_be_read(self):
        assert line("%(U)s", {"path": '/"\\\n\u2028\U000e0001ä'}) == r"/\x22\x5c\x0a\u2028\U000e0001ä"
