"""What is known of an exchange is found in its details first, then in its scope."""

from __future__ import annotations

import base64

import pytest

from daphne_clone.access.details import (
    basic_user,
    fact,
    field_value,
    protocol_suffix,
    request_headers,
    target,
    whole_target,
)
from tests.support.access_details import DETAILS, FULL


class TestScope:
    @pytest.mark.parametrize("key", ["http_version", "scheme", "headers"])
    def test_tells_what_the_details_do_not(self, key):
        assert fact({**DETAILS, "scope": {key: FULL[key]}}, key) == FULL[key]

    def test_counts_less_than_the_details(self):
        assert fact({"scheme": "https", "scope": {"scheme": "http"}}, "scheme") == "https"

    def test_may_be_missing(self):
        assert fact(DETAILS, "scheme") is None
        assert list(request_headers(DETAILS)) == []


class TestTarget:
    @pytest.mark.parametrize(
        ("details", "path", "query", "whole"),
        [
            ({}, None, None, "-"),
            ({"path": "/a"}, "/a", None, "/a"),
            ({"path": "/a?b"}, "/a", "b", "/a?b"),
            ({"path": "/a?"}, "/a", "", "/a?"),
            ({"path": "/a", "query_string": b"b=2"}, "/a", "b=2", "/a?b=2"),
            ({"path": "/a", "query_string": b""}, "/a", None, "/a"),
            ({"path": "/a", "scope": {"query_string": b"\xff"}}, "/a", "\xff", "/a?\xff"),
            ({"path": "/a?b=1", "query_string": b"b=2"}, "/a", "b=1", "/a?b=1"),
        ],
    )
    def test_path_and_query(self, details, path, query, whole):
        assert target(details) == (path, query)
        assert whole_target(details) == whole

    def test_protocol_is_empty_where_the_version_is_not_known(self):
        assert (protocol_suffix({"http_version": "1.1"}), protocol_suffix({})) == (" HTTP/1.1", "")


def test_first_of_several_fields_counts():
    assert field_value([(b"a", b"1"), (b"b", b"\xe4"), (b"b", b"3")], b"b") == "ä"
    assert field_value([], b"b") is None


class TestBasicUser:
    def test_is_told_without_the_password(self):
        assert basic_user(FULL) == "ann"

    @pytest.mark.parametrize(
        "authorization",
        [b"Bearer abc", b"Basic", b"Basic !!!", b"Basic /w==", b"Basic " + base64.b64encode(b"password-alone")],
    )
    def test_is_none_in_anything_else(self, authorization):
        assert basic_user({"headers": [(b"authorization", authorization)]}) is None
