"""Runs the suite that scripts/wstest has installed, batch by batch, and judges its reports."""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import json
import queue
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

ROOT = Path(__file__).resolve().parent.parent
WORK = ROOT / ".wstest"
SUITE = WORK / "suite" / "bin"
REPORTS = WORK / "reports"
SERVER_LOG = REPORTS / "server.log"
sys.path.insert(0, str(ROOT))

from tests.support.server_process import ServerProcess  # noqa: E402 - the checkout's, not one that is installed

AGENT = "server"  # what the reports call the server; without it they take the `server` field of each answer
# Cases of group 9 send 16 MiB in one frame.
UNLIMITED = ("--websocket-max-message-size", "0", "--websocket-max-frame-size", "0", "--no-access-log")
# A case says when it begins. The longest may take 480 s by its own rules; within ten seconds is what they all take.
SILENCE_S = 500.0
BATCH_S = 1800.0
GROUPS = {
    1: "Framing",
    2: "Pings and pongs",
    3: "Reserved bits",
    4: "Opcodes",
    5: "Fragmentation",
    6: "UTF-8",
    7: "Closing",
    9: "Limits, performance",
    10: "Auto-fragmentation",
    12: "Compression, payloads",
    13: "Compression, parameters",
}
SPLIT = (9, 12, 13)  # groups of many slow cases: one batch for each subgroup
GOOD = ("OK", "INFORMATIONAL")
BEHAVIOURS = (*GOOD, "NON-STRICT", "UNIMPLEMENTED", "FAILED")
NOT_RUN = "NOT RUN"
CANNOT_RUN = 77
OUTPUT = "output.log"
# Nothing that a client sends may make a server log one of these.
FAULT = re.compile(r"^.*(?:\bERROR\b|\bCRITICAL\b|Traceback \(most).*$", re.MULTILINE)


@dataclass(frozen=True)
class Verdict:
    """What the suite says of one case.

    Attributes:
        case: Its number, as in ``12.1.3``.
        behaviour: One of the suite's words, or `NOT_RUN`.
        closing: The same, of how the connection ended.
        report: The file that tells more; for a case that was not run the suite's output.
    """

    case: str
    behaviour: str
    closing: str
    report: Path

    @property
    def is_good(self) -> bool:
        return self.behaviour in GOOD and self.closing in GOOD


def main(arguments: Sequence[str]) -> int:
    """Run what the command line asks for.

    Returns:
        0 if every case is OK or informational and the server logged no fault, otherwise 1; 77 if another run is under
        way in this checkout; 130 if interrupted.
    """
    signal.signal(signal.SIGTERM, _interrupt)
    options, cases = _parse(arguments, _all_cases())
    with (WORK / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print("The Autobahn test suite was not run: another run is under way in this checkout.", file=sys.stderr)
            return CANNOT_RUN
        return _run_all(options.url, cases)


def _run_all(own_url: str | None, cases: list[str]) -> int:
    shutil.rmtree(REPORTS, ignore_errors=True)
    REPORTS.mkdir(parents=True)
    verdicts: list[Verdict] = []
    interrupted = False
    with _server(own_url) as url:
        versions = _output_of("wstest", "--autobahnversion")
        print(f"{' '.join(versions.split())}: {len(cases)} cases against {url}", flush=True)
        print(_row("", "", "cases", *BEHAVIOURS, "close:", *GOOD, "other", "seconds"), flush=True)
        try:
            for group, members in groupby(cases, key=_group):
                started = time.monotonic()
                verdicts += (found := [one for batch in _batches(members) for one in _run(url, batch)])
                _print_counts(str(group), GROUPS.get(group, ""), found, time.monotonic() - started)
        except KeyboardInterrupt:
            interrupted = True
    _print_counts("all", "", verdicts, None)
    bad = [verdict for verdict in verdicts if not verdict.is_good]
    for verdict in bad:
        print(f"{verdict.case}: {verdict.behaviour}, closing {verdict.closing}: {_why(verdict)}")
    faults = FAULT.findall(SERVER_LOG.read_text()) if SERVER_LOG.exists() else []
    if faults:
        print(f"{SERVER_LOG} has {len(faults)} faults of the server, the first: {faults[0]}")
    if interrupted:
        print("interrupted")
        return 130
    print(f"{len(verdicts) - len(bad)} of {len(cases)} cases OK or informational; reports in {REPORTS}")
    return 1 if bad or faults else 0


def _parse(arguments: Sequence[str], known: Sequence[str]) -> tuple[argparse.Namespace, list[str]]:
    parser = argparse.ArgumentParser(prog="scripts/wstest", description="Run the Autobahn test suite.")
    parser.add_argument("--url", help="of a server that runs already; by default one is started")
    parser.add_argument(
        "cases", nargs="*", metavar="CASE", help="a group (9 or 9.*), a subgroup (12.1), a case (6.4.1)"
    )
    options = parser.parse_args(arguments)
    chosen = set[str]()
    for pattern in options.cases or ["*"]:
        start = pattern.removesuffix("*").removesuffix(".")
        hits = [case for case in known if not start or case == start or case.startswith(f"{start}.")]
        if not hits:
            parser.error(f"no case is named {pattern!r}")
        chosen.update(hits)
    return options, [case for case in known if case in chosen]


def _all_cases() -> list[str]:
    names = _output_of("python", "-c", "from autobahntestsuite.case import Cases\nfor c in Cases: print(c.__name__)")
    numbers = [[int(part) for part in name.removeprefix("Case").split("_")] for name in names.split()]
    return [".".join(map(str, number)) for number in sorted(numbers)]


def _output_of(program: str, *arguments: str) -> str:
    done = subprocess.run([SUITE / program, *arguments], stdout=subprocess.PIPE, text=True, timeout=60, check=True)
    return done.stdout


def _group(case: str) -> int:
    return int(case.partition(".")[0])


def _batches(cases: Iterable[str]) -> Iterator[list[str]]:
    """The suite writes its reports when it ends: in batches a hang costs one batch, and memory is given back."""

    def name(case: str) -> list[str]:
        return case.split(".")[: 2 if _group(case) in SPLIT else 1]

    for _, members in groupby(cases, key=name):
        yield list(members)


@contextlib.contextmanager
def _server(url: str | None) -> Iterator[str]:
    if url is not None:
        yield url
        return
    with ServerProcess("ws_echo:application", UNLIMITED) as process:
        try:
            yield "ws://{}:{}".format(*process.address)
            if not process.is_running():
                print("the server has ended by itself")
        finally:
            process.end()
            SERVER_LOG.write_text(process.log)


def _run(url: str, cases: list[str]) -> list[Verdict]:
    """Run cases that share their first two numbers, or only the first, in one process of the suite."""
    directory = REPORTS / (f"{cases[0]}-{cases[-1]}" if len(cases) > 1 else cases[0])
    directory.mkdir()
    specification = directory / "specification.json"
    server = {"agent": AGENT, "url": url}
    specification.write_text(json.dumps({"outdir": str(directory), "servers": [server], "cases": cases}))
    with (directory / OUTPUT).open("w") as log:
        process = subprocess.Popen(
            [SUITE / "python", "-u", SUITE / "wstest", "--mode", "fuzzingclient", "--spec", specification],
            cwd=directory,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        )
        try:
            for line in _lines(process):
                log.write(line)
        finally:
            process.kill()
            process.wait()
    index = directory / "index.json"
    results = json.loads(index.read_text()).get(AGENT, {}) if index.exists() else {}
    return [_verdict(case, results.get(case), directory) for case in cases]


def _lines(process: subprocess.Popen[str]) -> Iterator[str]:
    """A process's output, until it ends, says nothing for too long, or takes too long altogether."""
    lines: queue.SimpleQueue[str] = queue.SimpleQueue()
    output = process.stdout
    assert output is not None

    def read() -> None:
        for line in output:
            lines.put(line)
        lines.put("")

    threading.Thread(target=read, daemon=True).start()
    deadline = time.monotonic() + BATCH_S
    while (left_s := deadline - time.monotonic()) > 0:
        try:
            line = lines.get(timeout=min(SILENCE_S, left_s))
        except queue.Empty:
            break
        if not line:
            return
        yield line
    yield "scripts/wstest: ended this batch, which took too long\n"
    print("a batch took too long and was ended", flush=True)


def _verdict(case: str, result: dict[str, str] | None, directory: Path) -> Verdict:
    if result is None:
        return Verdict(case, NOT_RUN, NOT_RUN, directory / OUTPUT)
    return Verdict(case, result["behavior"], result["behaviorClose"], directory / result["reportfile"])


def _why(verdict: Verdict) -> str:
    """What is wrong with a case, and where more of it is told."""
    if verdict.behaviour == NOT_RUN:
        return f"{(verdict.report.read_text().splitlines() or ['no output'])[-1]} {verdict.report}"
    told = json.loads(verdict.report.read_text())
    reasons = [f"Expected: {told['expectation']}"] if verdict.behaviour not in GOOD else []
    reasons += [told["resultClose"]] if verdict.closing not in GOOD else []
    return f"{' '.join(' '.join(reasons).split())} {verdict.report.with_suffix('.html')}"


def _print_counts(name: str, about: str, verdicts: list[Verdict], took_s: float | None) -> None:
    behaviours = Counter(verdict.behaviour for verdict in verdicts)
    behaviours["FAILED"] += behaviours.pop(NOT_RUN, 0)
    closings = Counter(verdict.closing for verdict in verdicts)
    other = sum(closings.values()) - sum(closings[word] for word in GOOD)
    counts = [*(behaviours[word] for word in BEHAVIOURS), "", *(closings[word] for word in GOOD), other]
    print(_row(name, about, len(verdicts), *counts, "" if took_s is None else f"{took_s:.1f}"), flush=True)


def _row(name: str, about: str, *cells: object) -> str:
    widths = (5, *(max(len(word), 4) for word in BEHAVIOURS), 6, *map(len, GOOD), 5, 7)
    return f"{name:>3}  {about:24}" + "  ".join(f"{cell:>{width}}" for cell, width in zip(cells, widths, strict=True))


def _interrupt(signum: int, frame: object) -> NoReturn:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
