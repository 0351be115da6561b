"""Daphne's helpers behave as Daphne's, and ignore what Daphne failed on."""

from __future__ import annotations

import os.path

import pytest
from twisted.web.http_headers import Headers

from daphne_clone.utils import header_value, import_by_path, parse_x_forwarded_for

ORIGINAL = ["192.0.2.9", 4242]


def parse(headers, **names):
    return parse_x_forwarded_for(headers, original_addr=ORIGINAL, original_scheme="http", **names)


class TestImportByPath:
    def test_attribute_of_a_module_is_imported(self):
        assert import_by_path("os:path.join") is os.path.join

    def test_path_without_colon_is_refused(self):
        with pytest.raises(ValueError, match="module:attribute"):
            import_by_path("os.path")

    def test_missing_attribute_raises(self):
        with pytest.raises(AttributeError):
            import_by_path("os:nothing")


class TestHeaderValue:
    def test_value_is_decoded(self):
        assert header_value({b"a": b"x"}, b"a") == "x"

    def test_first_of_several_values_is_taken(self):
        assert header_value({b"a": [b"x", b"y"]}, b"a") == "x"


class TestParseXForwardedFor:
    def test_without_the_header_everything_stays(self):
        assert parse({}) == (ORIGINAL, "http")

    @pytest.mark.parametrize(
        "headers",
        [
            {b"X-Forwarded-For": b"10.1.2.3", b"X-Forwarded-Port": b"1234", b"X-Forwarded-Proto": b"https"},
            {b"x-forwarded-for": [b"10.1.2.3"], b"x-forwarded-port": [b"1234"], b"x-forwarded-proto": [b"https"]},
            [(b"x-forwarded-for", b"10.1.2.3"), (b"x-forwarded-port", b"1234"), (b"x-forwarded-proto", b"https")],
            Headers(
                {b"X-Forwarded-For": [b"10.1.2.3"], b"X-Forwarded-Port": [b"1234"], b"X-Forwarded-Proto": [b"https"]}
            ),
        ],
        ids=["mapping", "mapping of lists", "pairs", "twisted"],
    )
    def test_all_three_headers_are_read(self, headers):
        assert parse(headers) == (["10.1.2.3", 1234], "https")

    def test_port_is_zero_when_unknown(self):
        assert parse({b"x-forwarded-for": b"10.1.2.3"}) == (["10.1.2.3", 0], "http")

    def test_leftmost_address_is_taken(self):
        assert parse({b"x-forwarded-for": b"10.1.2.3, 10.1.2.4"}) == (["10.1.2.3", 0], "http")

    def test_first_of_duplicate_fields_is_taken(self):
        assert parse([(b"X-Forwarded-For", b"10.1.2.3"), (b"x-forwarded-for", b"6.6.6.6")])[0] == ["10.1.2.3", 0]

    def test_ipv6_address_is_kept_whole(self):
        assert parse({b"x-forwarded-for": b"2001:db8::1"})[0] == ["2001:db8::1", 0]

    def test_port_and_scheme_alone_do_not_count(self):
        assert parse({b"x-forwarded-port": b"1234", b"x-forwarded-proto": b"https"}) == (ORIGINAL, "http")

    @pytest.mark.parametrize(
        "port",
        [b"x", b"-1", b"65536", b"999999999999999999999", "\N{FULLWIDTH DIGIT ONE}".encode(), b"\xff", b"", b"1e3"],
    )
    def test_port_that_is_none_is_ignored(self, port):
        assert parse({b"x-forwarded-for": b"10.1.2.3", b"x-forwarded-port": port})[0] == ["10.1.2.3", 0]

    @pytest.mark.parametrize("scheme", ["http", "https", "ws", "wss"])
    def test_known_scheme_is_taken(self, scheme):
        assert parse({b"x-forwarded-for": b"10.1.2.3", b"x-forwarded-proto": scheme.upper().encode()})[1] == scheme

    def test_first_scheme_of_a_list_is_taken(self):
        assert parse({b"x-forwarded-for": b"10.1.2.3", b"x-forwarded-proto": b"https, http"})[1] == "https"

    @pytest.mark.parametrize("scheme", [b"gopher", b"javascript:", b"", b"\xff"])
    def test_other_scheme_is_ignored(self, scheme):
        assert parse({b"x-forwarded-for": b"10.1.2.3", b"x-forwarded-proto": scheme})[1] == "http"

    @pytest.mark.parametrize("address", [b"\xff\xfe", b"", b" ", b" ,10.1.2.3"])
    def test_address_that_is_none_is_ignored(self, address):
        assert parse({b"x-forwarded-for": address, b"x-forwarded-proto": b"https"}) == (ORIGINAL, "http")

    def test_empty_list_of_values_is_ignored(self):
        assert parse({b"x-forwarded-for": []}) == (ORIGINAL, "http")

    def test_no_address_header_name_reads_nothing(self):
        assert parse({b"x-forwarded-for": b"10.1.2.3"}, address_header_name=None) == (ORIGINAL, "http")

    def test_no_port_header_name_leaves_the_port(self):
        headers = {b"x-forwarded-for": b"10.1.2.3", b"x-forwarded-port": b"1"}
        assert parse(headers, port_header_name=None)[0] == ["10.1.2.3", 0]

    def test_no_proto_header_name_leaves_the_scheme(self):
        headers = {b"x-forwarded-for": b"10.1.2.3", b"x-forwarded-proto": b"https"}
        assert parse(headers, proto_header_name=None)[1] == "http"

    def test_other_names_are_read(self):
        headers = {b"x-real-ip": b"10.1.2.3", b"x-forwarded-for": b"6.6.6.6"}
        assert parse(headers, address_header_name="X-Real-IP")[0] == ["10.1.2.3", 0]
