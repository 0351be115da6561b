"""The parsers of /proc, on texts as Linux writes them, and the readers on this process."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from bench import procfs
from bench.procfs import CoreTime, Process

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads Linux's /proc")

STAT = (
    "4242 (a (b) c) S 17 4242 4240 0 -1 4194304 1891 20 0 0 150 25 7 3 20 0 4 0 98765 123456789 4321 "
    "18446744073709551615 1 1 0 0 0 0 0 16781312 17642 0 0 0 17 1 0 0 0 0 0 0 0 0 0 0 0 0 0"
)


def test_stat_line_gives_parent_session_and_all_cpu_time() -> None:
    assert procfs.parse_stat(STAT) == Process(pid=4242, parent=17, session=4240, cpu_ticks=150 + 25 + 7 + 3)


def test_core_time_leaves_out_idle_and_interrupts() -> None:
    stat = "cpu  1 1 1 1 1 1 1 1 0 0\ncpu1 20 1 300 99 5 6 7 8 0 0\ncpu11 1 2 3 4 5 6 7 80 0 0\nintr 1\n"
    assert procfs.parse_core(stat, 1) == CoreTime(processes=321, stolen=8)
    assert procfs.parse_core(stat, 11) == CoreTime(processes=6, stolen=80)


def test_missing_core_is_a_lookup_error() -> None:
    with pytest.raises(LookupError, match="cpu3"):
        procfs.parse_core("cpu  1 1 1 1 1 1 1 1\ncpu0 1 1 1 1 1 1 1 1\n", 3)


def test_rollup_gives_the_proportional_set_size_in_bytes() -> None:
    text = "5587-7ffd ---p 00000000 00:00 0   [rollup]\nRss:    1732 kB\nPss:     361 kB\nPss_Dirty:   116 kB\n"
    assert procfs.parse_rollup(text) == 361 * 1024


def test_rollup_without_figures_is_a_lookup_error() -> None:
    with pytest.raises(LookupError):
        procfs.parse_rollup("")


def test_tree_holds_descendants_and_orphans_of_the_session_only() -> None:
    root = Process(100, parent=1, session=100, cpu_ticks=1)
    child = Process(101, parent=100, session=100, cpu_ticks=2)
    own_session = Process(102, parent=101, session=102, cpu_ticks=4)
    orphan = Process(103, parent=1, session=100, cpu_ticks=8)
    orphans_child = Process(104, parent=103, session=104, cpu_ticks=16)
    stranger = Process(105, parent=1, session=105, cpu_ticks=32)
    tree = procfs.members([stranger, orphans_child, orphan, own_session, child, root], 100)
    assert {process.pid for process in tree} == {100, 101, 102, 103, 104}


def test_tree_of_a_living_process_has_memory_and_cpu_time() -> None:
    tree = procfs.read_tree(os.getpid())
    assert os.getpid() in {process.pid for process in tree}
    assert procfs.memory_bytes(tree) > 1_000_000
    assert procfs.cpu_seconds(tree) > 0


def test_tree_of_an_ended_process_is_empty() -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""], start_new_session=True)
    ended.wait()
    assert procfs.read_tree(ended.pid) == []
