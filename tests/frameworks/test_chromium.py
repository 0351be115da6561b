"""Pages in a headless Chromium that open WebSockets: directly, through nginx, and through nginx with TLS."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.chromium import Browser, Tab, running_chromium
from tests.support.nginx import running_nginx

pytest.importorskip("starlette", reason="the package starlette is not installed")

APP = "starlette_ws_app:app"
APPS = Path(__file__).resolve().parent / "apps"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with running_chromium() as running:
        yield running


@pytest.fixture
def tab(browser: Browser) -> Iterator[Tab]:
    opened = Tab(browser)
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def server(serve: Any) -> Iterator[Any]:
    with serve(APP, "--proxy-headers", "--forwarded-allow-ips", "127.0.0.1") as running:
        yield running


@pytest.fixture(scope="module", params=["direct", "nginx", "nginx with TLS"])
def origin(request: pytest.FixtureRequest, server: Any) -> Iterator[str]:
    """Where the browser finds the server."""
    if request.param == "direct":
        yield server.url
        return
    with (
        tempfile.TemporaryDirectory(prefix="nginx-") as directory,
        running_nginx(f"127.0.0.1:{server.port}", Path(directory)) as nginx,
    ):
        has_tls = request.param == "nginx with TLS"
        yield f"https://127.0.0.1:{nginx.tls_port}" if has_tls else f"http://127.0.0.1:{nginx.port}"


@pytest.fixture
def page(server: Any, tab: Tab, origin: str) -> Iterator[Tab]:
    tab.open(f"{origin}/page")
    yield tab
    assert not server.faults()


def test_messages_come_back_as_they_went(server: Any, page: Tab) -> None:
    told = page.run("echoes([0, 1, 125, 126, 65535, 65536, 500000])")
    assert told["results"] == [True] * 21
    assert told["extensions"].startswith("permessage-deflate"), "what Chromium offers is taken"
    assert (told["code"], told["reason"], told["wasClean"]) == (4002, "Åsa left", True)
    server.wait_for_log("disconnected page: 4002 'Åsa left'")


def test_handshake_tells_who_asks(page: Tab, origin: str) -> None:
    page.run("document.cookie = 'taste=tea'")
    told = page.run("scope()")
    scheme = "wss" if origin.startswith("https") else "ws"
    assert (told["scheme"], told["client"], told["origin"]) == (scheme, "127.0.0.1", origin)
    assert (told["query"], told["subprotocols"]) == ([["q", "1"]], [])
    assert told["cookies"]["taste"] == "tea"


def test_protocol_of_the_view_is_chosen(page: Tab) -> None:
    told = page.run("tell(new Conversation('/accepted', ['one', 'two']))")
    assert (told["opened"], told["protocol"], told["code"], told["wasClean"]) == (True, "two", 1000, True)


@pytest.mark.parametrize(("code", "reason"), [(1000, ""), (1001, "going"), (1011, "broke"), (4999, "å" * 61)])
def test_code_and_reason_of_the_view_arrive(page: Tab, code: int, reason: str) -> None:
    told = page.run(f"sentAway({code}, '{reason}')")
    assert (told["opened"], told["code"], told["reason"], told["wasClean"]) == (True, code, reason, True)


@pytest.mark.parametrize("path", ["/refuse", "/deny/json", "/deny/stream", "/nothing"])
def test_refusals_close_with_1006(page: Tab, path: str) -> None:
    # A page is never told more.
    told = page.run(f"tell(new Conversation('{path}'))")
    assert (told["opened"], told["code"], told["wasClean"]) == (False, 1006, False)


def test_closing_the_tab_closes_with_1001(server: Any, browser: Browser, origin: str) -> None:
    mark = f"tab-of-{origin}"
    tab = Tab(browser)
    tab.open(f"{origin}/page")
    tab.run(f"begin('/echo?{mark}')")
    tab.close()
    server.wait_for_log(f"disconnected {mark}: 1001")


def test_server_that_stops_says_so(serve: Any, tab: Tab) -> None:
    with serve(APP) as server:
        tab.open(f"{server.url}/page")
        tab.run("begin('/echo')")
        assert server.terminate() == 0
        told = tab.run("tell(window.conversation)")
        assert (told["code"], told["wasClean"]) == (1012, True)


def test_chat_of_channels_tutorial(serve: Any, browser: Browser, tmp_path: Path) -> None:
    pytest.importorskip("channels", reason="the package channels is not installed")
    environment = {"DATABASE": str(tmp_path / "db.sqlite3"), "DJANGO_SETTINGS_MODULE": "chat_site.settings"}
    migrate = [sys.executable, "-m", "django", "migrate", "--verbosity", "0"]
    subprocess.run(migrate, env={**os.environ, **environment, "PYTHONPATH": str(APPS)}, check=True, timeout=60)
    # Resolves once the log holds what is waited for.
    heard = """new Promise((resolve) => {
        const log = document.querySelector('#chat-log');
        const look = () => log.value === '%s' ? resolve(true) : setTimeout(look, 10);
        look();
    })"""
    say = """
        document.querySelector('#chat-message-input').value = '%s';
        document.querySelector('#chat-message-submit').click();
    """
    joined = "new Promise((resolve) => { chatSocket.readyState === 1 ? resolve() : chatSocket.onopen = resolve; })"
    with serve("chat_site.asgi:application", environment=environment) as server:
        tabs = [Tab(browser), Tab(browser)]
        for tab in tabs:
            tab.open(f"{server.url}/chat/lobby/")
            tab.run(joined)
        tabs[0].run(say % "hello")
        for tab in tabs:
            assert tab.run(heard % r"hello\n")
        tabs[1].run(say % "Åsa")
        for tab in tabs:
            assert tab.run(heard % r"hello\nÅsa\n")
            tab.close()
        server.wait_for_log("left lobby: 1001", 2)
