"""Starting, watching and ending a server, with small scripts in a server's place."""

from __future__ import annotations

import os
import resource
import select
import signal
import socket
import subprocess
import sys
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from bench import procfs
from bench.errors import MeasurementFailed, Unsupported
from bench.process import Ports, open_files, running

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="pins processes and reads Linux's /proc")

LISTEN = """
import os, socket, sys, time
{before}
listener = socket.create_server(("127.0.0.1", int(sys.argv[1])))
while True:
    connection, _ = listener.accept()
    connection.close()
"""
CHILD_THAT_STAYS = """
import signal
if os.fork() == 0:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    while True:
        time.sleep(10)
"""


def start(directory: Path, script: str) -> AbstractContextManager[int]:
    file = directory / "server.py"
    file.write_text(script)
    core, port = min(os.sched_getaffinity(0)), Ports().take()
    argv = [sys.executable, str(file), str(port)]
    return running(argv, programs=directory, checkout=directory, port=port, core=core)


def has_ended(pid: int) -> bool:
    """Whether a process has ended, be it that nobody has reaped it yet."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([descriptor], [], [], 0)[0])
    finally:
        os.close(descriptor)


def test_server_runs_on_its_core_and_is_gone_afterwards(tmp_path: Path) -> None:
    with start(tmp_path, LISTEN.format(before="")) as root:
        assert os.sched_getaffinity(root) == {min(os.sched_getaffinity(0))}
        assert not has_ended(root)
    assert has_ended(root)


def test_children_that_ignore_sigterm_are_ended_too(tmp_path: Path) -> None:
    with start(tmp_path, LISTEN.format(before=CHILD_THAT_STAYS)) as root:
        tree = [process.pid for process in procfs.read_tree(root)]
        assert len(tree) == 2
    assert all(has_ended(pid) for pid in tree)


def test_interrupt_in_the_block_ends_the_server(tmp_path: Path) -> None:
    pids: list[int] = []

    def interrupted() -> None:
        with start(tmp_path, LISTEN.format(before="")) as root:
            pids.append(root)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert has_ended(pids[0])


def test_failed_start_is_told_with_the_last_output(tmp_path: Path) -> None:
    script = "import sys; print('no such option', file=sys.stderr); sys.exit(3)"
    told = r"status 3\nbefore it listened\nno such option"
    with pytest.raises(MeasurementFailed, match=told), start(tmp_path, script):
        pytest.fail("the server never listened")


def test_missing_program_is_told(tmp_path: Path) -> None:
    core = min(os.sched_getaffinity(0))
    with (
        pytest.raises(MeasurementFailed, match="cannot be started"),
        running([str(tmp_path / "missing")], programs=tmp_path, checkout=tmp_path, port=1, core=core),
    ):
        pytest.fail("there is nothing to start")


def test_server_that_dies_under_load_is_told_by_its_signal(tmp_path: Path) -> None:
    def killed() -> None:
        with start(tmp_path, LISTEN.format(before="")) as root:
            os.kill(root, signal.SIGKILL)
            os.waitid(os.P_PID, root, os.WEXITED | os.WNOWAIT)

    with pytest.raises(MeasurementFailed, match="ended by itself with SIGKILL"):
        killed()


def test_what_a_server_does_not_have_is_told_without_its_output(tmp_path: Path) -> None:
    def unsupported() -> None:
        with start(tmp_path, LISTEN.format(before="print('not of interest', flush=True)")):
            raise Unsupported("answered 404", "no WebSocket")

    with pytest.raises(Unsupported, match="^answered 404$") as raised:
        unsupported()
    assert raised.value.label == "no WebSocket"


def test_limit_of_open_files_is_raised_for_the_block_only(tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
    try:
        with open_files(300):
            told = subprocess.run(["sh", "-c", "ulimit -n"], capture_output=True, text=True, check=True).stdout
        assert told == "300\n"
        with open_files(100):
            assert resource.getrlimit(resource.RLIMIT_NOFILE) == (256, hard)
        assert resource.getrlimit(resource.RLIMIT_NOFILE) == (256, hard)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_more_open_files_than_allowed_fail_the_measurement(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda limit: (1024, 4096))
    with pytest.raises(MeasurementFailed, match="needs 5,000 open files, and `ulimit -Hn` is 4,096"), open_files(5000):
        pytest.fail("nothing may have that many")


def test_ports_are_free_different_and_below_the_kernels_own() -> None:
    ports = Ports()
    with socket.socket() as taken:
        first = ports.take()
        taken.bind(("127.0.0.1", first + 1))
        taken.listen()
        second = ports.take()
    assert second > first + 1
    limit = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    assert second < limit


def test_no_port_left_fails_the_measurement() -> None:
    with pytest.raises(MeasurementFailed, match="no free port"):
        Ports(first=65535).take()
