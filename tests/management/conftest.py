"""A project for each test, a client for HTTP and TLS, and one running server for the tests that only ask it."""

from __future__ import annotations

import json
import ssl
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from tests.support.django_project import DjangoProject, RunServer
from tests.support.server_process import WAIT_S

_NO_PROXY = urllib.request.ProxyHandler({})


@dataclass
class Answer:
    status: int
    headers: Any
    body: bytes

    @property
    def facts(self) -> dict[str, Any]:
        """What the view /facts/ says."""
        assert self.status == 200, self
        return dict(json.loads(self.body))


@pytest.fixture(scope="session")
def get() -> Callable[..., Answer]:
    """Ask a server for a path; ``trusted`` is the certificate, in PEM, that it must have."""

    def get(server: RunServer, path: str, trusted: str | None = None) -> Answer:
        context = ssl.create_default_context(cadata=trusted) if trusted else None
        opener = urllib.request.build_opener(_NO_PROXY, urllib.request.HTTPSHandler(context=context))
        try:
            with opener.open(server.url + path, timeout=WAIT_S) as response:
                return Answer(response.status, response.headers, response.read())
        except urllib.error.HTTPError as error:
            with error:
                return Answer(error.code, error.headers, error.read())

    return get


@pytest.fixture
def project(tmp_path) -> DjangoProject:
    return DjangoProject(tmp_path)


@pytest.fixture(scope="module")
def server(tmp_path_factory) -> Iterator[RunServer]:
    """A server that nobody's edit restarts."""
    with DjangoProject(tmp_path_factory.mktemp("site")).runserver("--noreload") as server:
        yield server
