"""Contract, section 1, "Lifespan": startup before anything is accepted, shutdown when all connections are closed."""

from __future__ import annotations

import re
import signal
from pathlib import Path

import pytest

from tests.support.http1 import Client, head
from tests.support.http1 import Connection as RawConnection
from tests.support.server_process import ServerProcess

STATUS_STARTUP_FAILED = 3


def lifespan_server(name, *options, **more):
    return ServerProcess(f"lifespan_apps:{name}", options, **more)


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_both_events_come_once_on_the_loop_of_the_requests_and_are_waited_for(signum):
    with lifespan_server("regular") as server:
        assert Client(server.address).request("/").body == b"served"
        assert server.stop(signum) == 0
        said = re.findall(r"app: (\S+) on loop (\d+) thread (\d+)", server.log)
        assert [what for what, *_ in said] == ["lifespan.startup", "request", "lifespan.shutdown"]
        assert len({tuple(where) for _, *where in said}) == 1
        assert server.log.count("app: shut down") == 1  # 0.3 s behind the event: it was waited for


def test_lifespan_scope():
    with lifespan_server("regular") as server:
        assert (
            "app: scope {'type': 'lifespan', 'asgi': {'version': '3.0', 'spec_version': '2.0'}, 'state': 'dict'}"
            in (server.log)
        )


def test_nothing_is_accepted_before_startup_is_complete(tmp_path: Path):
    path, go = tmp_path / "socket", tmp_path / "go"
    with lifespan_server("late", listen=["-u", str(path)], wait=False, environment={"LATE_UNTIL": str(go)}) as server:
        server.wait_for_log("app: starting", 15)
        with pytest.raises(OSError, match="No such file|refused"):
            RawConnection(str(path))
        assert "Listening" not in server.log
        go.touch()
        server.wait_until_listening()
        assert Client(str(path)).request("/").body == b"served"
        assert server.log.index("app: started") < server.log.index("Listening")


def test_startup_failed_is_logged_and_is_the_exit_status():
    with lifespan_server("refusing", wait=False) as server:
        assert server.wait() == STATUS_STARTUP_FAILED
        assert re.search("CRITICAL.*no database today", server.log)
        assert "Listening" not in server.log


def test_auto_serves_an_application_that_raises_on_the_lifespan_scope():
    with lifespan_server("unaware") as server:
        assert Client(server.address).request("/").body == b"served"
        assert "app: called with lifespan" in server.log
        assert "ERROR" not in server.log
        assert server.stop() == 0


def test_on_refuses_an_application_that_raises_on_the_lifespan_scope():
    with lifespan_server("unaware", "--lifespan", "on", wait=False) as server:
        assert server.wait() == STATUS_STARTUP_FAILED
        assert "only HTTP here" in server.log
        assert "Listening" not in server.log


def test_off_never_calls_the_application_for_lifespan():
    with lifespan_server("unaware", "--lifespan", "off") as server:
        assert Client(server.address).request("/").body == b"served"
        assert server.stop() == 0
        assert "app: called with" not in server.log


def test_shutdown_is_sent_after_all_connections_are_closed():
    with lifespan_server("connected") as server, RawConnection(server.address) as connection:
        connection.send(head("/", [(b"Content-Length", b"2"), (b"Expect", b"100-continue")], method=b"POST"))
        assert connection.read_head().status == 100  # the application waits for the body
        server.send_signal()
        server.wait_for_log("stopping")
        assert "app: shutdown" not in server.log
        connection.send(b"ab")
        assert connection.read_response().body == b"whole"
        assert connection.is_closed()
        assert server.wait() == 0
        assert server.log.index("app: answered") < server.log.index("app: shutdown")


def test_state_of_the_lifespan_is_that_of_the_requests():
    with ServerProcess() as server:
        assert Client(server.address).request("/count/x").body == b"(1, 1)"
