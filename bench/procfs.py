"""What Linux's ``/proc`` says about a process tree and about a processor core; see proc(5).

Knows neither servers nor load. The parsers are pure; the readers below them take a snapshot each and keep nothing.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

_TICKS_A_SECOND = os.sysconf("SC_CLK_TCK")
_PROC = Path("/proc")


@dataclass(frozen=True, slots=True)
class Process:
    """One line of ``/proc/<pid>/stat``.

    Attributes:
        session: id of its session, which is the pid of the process that began it.
        cpu_ticks: user and system time of all its threads, ended ones included, and of the children it has waited for.
    """

    pid: int
    parent: int
    session: int
    cpu_ticks: int


@dataclass(frozen=True, slots=True)
class CoreTime:
    """One ``cpu<n>`` line of ``/proc/stat``, in clock ticks: by processes, and taken away by the hypervisor."""

    processes: int
    stolen: int


def parse_stat(line: str) -> Process:
    """Read one ``/proc/<pid>/stat``; the program's name in it may hold spaces and parentheses."""
    pid, _, rest = line.partition(" (")
    # proc(5) numbers the fields from 1; after the name, which is field 2, the list begins with field 3.
    fields = rest.rpartition(") ")[2].split()
    return Process(
        pid=int(pid),
        parent=int(fields[1]),
        session=int(fields[3]),
        cpu_ticks=sum(int(field) for field in fields[11:15]),  # 14 utime, 15 stime, 16 cutime, 17 cstime
    )


def parse_core(stat: str, core: int) -> CoreTime:
    """Read the line of ``core`` in the text of ``/proc/stat``.

    Raises:
        LookupError: the text has no such core.
    """
    for line in stat.splitlines():
        name, *fields = line.split()
        if name == f"cpu{core}":
            user, nice, system, *_idle, stolen = (int(field) for field in fields[:8])
            return CoreTime(processes=user + nice + system, stolen=stolen)
    raise LookupError(f"no cpu{core} in /proc/stat")


def parse_rollup(text: str) -> int:
    """Proportional set size from the text of ``/proc/<pid>/smaps_rollup``, in bytes.

    A page that n processes share counts for one n-th in each, so that a sum over a tree counts it once.

    Raises:
        LookupError: the text has no such line.
    """
    for line in text.splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024
    raise LookupError("no Pss in smaps_rollup")


def members(processes: Iterable[Process], root: int) -> list[Process]:
    """The processes of a tree: ``root``, all that descend from it, and all of the session that it began.

    A worker whose parent ended belongs to init from then on, but stays in the session.
    """
    by_parent: dict[int, list[Process]] = {}
    tree: dict[int, Process] = {}
    for process in processes:
        by_parent.setdefault(process.parent, []).append(process)
        if process.pid == root or process.session == root:
            tree[process.pid] = process
    unvisited = list(tree)
    while unvisited:
        for child in by_parent.get(unvisited.pop(), ()):
            if child.pid not in tree:
                tree[child.pid] = child
                unvisited.append(child.pid)
    return list(tree.values())


def read_tree(root: int) -> list[Process]:
    """The tree of ``root`` as it is now; empty once all of it has ended."""
    processes = []
    for entry in _PROC.iterdir():
        if entry.name.isdigit():
            try:
                processes.append(parse_stat((entry / "stat").read_text(errors="replace")))
            except (FileNotFoundError, ProcessLookupError):  # ended since it was listed
                continue
    return members(processes, root)


def cpu_seconds(tree: Iterable[Process]) -> float:
    """CPU time that a tree has used since it began."""
    return sum(process.cpu_ticks for process in tree) / _TICKS_A_SECOND


def memory_bytes(tree: Iterable[Process]) -> int:
    """Resident memory of a tree: the sum of the proportional set sizes."""
    total = 0
    for process in tree:
        try:
            total += parse_rollup((_PROC / str(process.pid) / "smaps_rollup").read_text())
        except (FileNotFoundError, ProcessLookupError, LookupError):  # ended, or a zombie, which has no memory
            continue
    return total


def core_seconds(core: int) -> float:
    """CPU time of ``core`` since boot that went to processes of this machine or to another guest of the hypervisor."""
    time = parse_core((_PROC / "stat").read_text(), core)
    return (time.processes + time.stolen) / _TICKS_A_SECOND
