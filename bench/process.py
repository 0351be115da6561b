"""Starts one server on a core of its own, waits until it answers, and ends it with everything it started.

Nothing here ends a process that it did not start itself: each server begins a session, and only that session's members
are signalled. The session also keeps Ctrl-C in the terminal from reaching the server before its turn.
"""

from __future__ import annotations

import os
import resource
import select
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from bench import procfs
from bench.errors import MeasurementFailed, Unsupported

START_TIMEOUT_S = 20.0
STOP_TIMEOUT_S = 5.0
_POLL_S = 0.02
_TAIL_LINES = 12


class Ports:
    """Hands out free loopback ports, a new one for every start.

    The ports lie below the range that the kernel takes for outgoing connections. Inside it, a connect that finds nobody
    listening yet may be given the very same port as its source and connect to itself. A new port each time also leaves
    the closed connections of an earlier run behind, which would otherwise hold source ports for a minute.
    """

    def __init__(self, first: int = 20000) -> None:
        self._next = first

    def take(self) -> int:
        """A port that nobody listens on at this moment.

        Raises:
            MeasurementFailed: every port up to the kernel's own range is taken.
        """
        limit = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
        while self._next < limit:
            port, self._next = self._next, self._next + 1
            with socket.socket() as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                with suppress(OSError):
                    probe.bind(("127.0.0.1", port))
                    return port
        raise MeasurementFailed(f"no free port below {limit}")


@contextmanager
def open_files(wanted: int) -> Iterator[None]:
    """Let what is started in the block have ``wanted`` files open, where the usual limit is lower.

    Raises:
        MeasurementFailed: nobody may have that many.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and wanted > hard:
        raise MeasurementFailed(f"needs {wanted:,} open files, and `ulimit -Hn` is {hard:,}")
    if soft != resource.RLIM_INFINITY:
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@contextmanager
def running(argv: Sequence[str], *, programs: Path, checkout: Path, port: int, core: int) -> Iterator[int]:
    """Run a server on ``core`` for as long as the block lasts.

    Args:
        argv: its command line, for ``port``.
        programs: directory of the environment's programs.
        checkout: directory that ``bench.apps`` and ``daphne_clone`` are imported from.

    Yields:
        The pid at the root of the server's process tree, once the port accepts connections.

    Raises:
        MeasurementFailed: the server cannot be started, does not listen within ``START_TIMEOUT_S``, or ended by itself
            before the block did; also, with the end of the server's output added, where the block raises it.
        Unsupported: the block raises it.
    """
    # Nothing else is inherited: a WEB_CONCURRENCY or GUNICORN_CMD_ARGS of the caller's would change what is measured.
    environment = {
        "PATH": f"{programs}:{os.environ.get('PATH', os.defpath)}",
        "HOME": os.environ.get("HOME", "/"),
        "LANG": "C.UTF-8",
        "PYTHONPATH": str(checkout),
    }
    with tempfile.TemporaryFile() as log:
        try:
            with _on_core(core):
                process = subprocess.Popen(
                    argv,
                    cwd=checkout,
                    env=environment,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
        except OSError as error:
            raise MeasurementFailed(f"cannot be started: {error}") from error
        try:
            _wait_until_listening(process, port)
            yield process.pid
            if process.poll() is not None:
                raise MeasurementFailed("the measurement does not count")
        except Unsupported:
            raise  # the server has nothing to say to that
        except MeasurementFailed as error:
            raise MeasurementFailed(_account(process, log, str(error))) from error
        finally:
            _end(process)


@contextmanager
def _on_core(core: int) -> Iterator[None]:
    """Let what is started in the block inherit ``core``, so that no thread of a server ever runs elsewhere."""
    usual = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, usual)


def _account(process: subprocess.Popen[bytes], log: IO[bytes], complaint: str) -> str:
    """What went wrong, in the order of what matters: the server's end, the complaint, the server's last words."""
    lines = [complaint]
    if process.poll() is not None:
        status = process.returncode
        cause = signal.Signals(-status).name if status < 0 else f"status {status}"
        lines.insert(0, f"ended by itself with {cause}")
    log.seek(0)
    return "\n".join([*lines, *log.read().decode(errors="replace").splitlines()[-_TAIL_LINES:]])


def _wait_until_listening(process: subprocess.Popen[bytes], port: int) -> None:
    for _ in range(int(START_TIMEOUT_S / _POLL_S)):
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        # The pause between two attempts is a wait for the end of the process, which a failed start cuts short.
        with suppress(subprocess.TimeoutExpired):
            process.wait(_POLL_S)
            raise MeasurementFailed("before it listened")
    raise MeasurementFailed(f"did not listen within {START_TIMEOUT_S:.0f} s")


def _end(process: subprocess.Popen[bytes]) -> None:
    """End the whole session of ``process``: politely first, then at once.

    The root's pid is ours until ``wait`` has returned. After that only what is still in the session it began is
    signalled, and as long as there is such a process the kernel gives the session's number to nobody else.
    """
    try:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            process.wait(STOP_TIMEOUT_S)
    finally:  # also when a second Ctrl-C interrupts the wait
        for member in procfs.read_tree(process.pid):
            if member.session == process.pid and member.pid != process.pid:
                _kill(member.pid)
        process.kill()  # does nothing once the root has been waited for
        process.wait()


def _kill(pid: int) -> None:
    """Kill a process that is not a child of this one, and wait until it has ended; who reaps it does not matter."""
    with suppress(ProcessLookupError):
        descriptor = os.pidfd_open(pid)
        try:
            signal.pidfd_send_signal(descriptor, signal.SIGKILL)
            select.select([descriptor], [], [], STOP_TIMEOUT_S)
        finally:
            os.close(descriptor)
