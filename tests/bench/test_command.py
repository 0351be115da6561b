"""The command line, the order of measurements, and the table of servers."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.__main__ import load_generators, parse
from bench.errors import EnvironmentFailed
from bench.measure import estimated_seconds, plan
from bench.scenarios import SCENARIOS
from bench.servers import BASELINE, OURS, SERVERS, Server


def test_default_is_everything() -> None:
    options = parse([])
    assert options.only == SERVERS
    assert options.scenario == SCENARIOS
    assert (options.seconds, options.rounds, options.connections) == (3, 3, 64)


def test_quick_is_one_round_of_one_second_where_not_given() -> None:
    options = parse(["--quick", "--rounds", "5"])
    assert (options.seconds, options.rounds) == (1, 5)


def test_chosen_names_keep_their_order_and_count_once() -> None:
    options = parse(["--only", "granian, uvicorn,granian", "--scenario=echo,hello"])
    assert [server.name for server in options.only] == ["granian", "uvicorn"]
    assert [scenario.name for scenario in options.scenario] == ["echo", "hello"]


@pytest.mark.parametrize(
    ("argument", "value", "told"),
    [
        ("--only", "nginx", "'nginx' is none of daphne-clone, uvicorn"),
        ("--scenario", "", "'' is none of hello"),
        ("--seconds", "0", "'0' is not a whole number above 0"),
        ("--connections", "1.5", "'1.5' is not a whole number above 0"),
    ],
)
def test_wrong_values_are_told_with_what_is_allowed(
    argument: str, value: str, told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        parse([argument, value])
    assert ended.value.code == 2
    assert told in capsys.readouterr().err


def test_only_the_load_generators_that_are_needed_must_be_there(monkeypatch: pytest.MonkeyPatch) -> None:
    by_name = {scenario.name: scenario for scenario in SCENARIOS}
    hello, echo = by_name["hello"], by_name["ws-echo-64"]
    built = Path("/built/load_ws")
    monkeypatch.setattr("bench.load_ws.build", lambda: built)
    monkeypatch.setattr("shutil.which", lambda program: None)
    assert load_generators([echo]) == built
    with pytest.raises(EnvironmentFailed, match="wrk is not on PATH"):
        load_generators([hello, echo])
    monkeypatch.setattr("shutil.which", lambda program: f"/bin/{program}")
    assert load_generators([hello]) is None


def test_plan_interleaves_servers_and_begins_each_round_with_another() -> None:
    order = [(scenario.name, number, server.name) for scenario, number, server in plan(SERVERS[:3], SCENARIOS[:2], 2)]
    a, b, c = (server.name for server in SERVERS[:3])
    first, second = (scenario.name for scenario in SCENARIOS[:2])
    one_scenario = [(0, a), (0, b), (0, c), (1, b), (1, c), (1, a)]
    assert order == [(name, number, server) for name in (first, second) for number, server in one_scenario]


def test_estimate_grows_with_everything_measured() -> None:
    one, three = SCENARIOS[:1], SCENARIOS[:3]
    assert estimated_seconds(2, three, 4, 5) == pytest.approx(2 * 3 * 4 * (5 + estimated_seconds(1, one, 1, 0)))


def test_estimate_counts_the_opening_of_many_connections() -> None:
    by_name = {scenario.name: scenario for scenario in SCENARIOS}
    few, many = [by_name["ws-echo-64"]], [by_name["ws-idle"]]
    assert estimated_seconds(1, many, 1, 1) > estimated_seconds(1, few, 1, 1) + 1


def test_servers_have_unique_names_and_include_ours_and_the_baseline() -> None:
    names = [server.name for server in SERVERS]
    assert len(set(names)) == len(names)
    assert {OURS, BASELINE} < set(names)


@pytest.mark.parametrize("server", SERVERS, ids=lambda server: server.name)
def test_command_lines_name_program_port_and_application(server: Server) -> None:
    argv = server.argv(Path("/env/bin"), 20123)
    assert argv[0].startswith("/env/bin/")
    assert any("20123" in word for word in argv)
    assert argv[-1] == "bench.apps:app"
    assert not any("{" in word for word in argv)


def test_every_peer_is_pinned() -> None:
    lines = Path(__file__).parents[2].joinpath("bench", "peers.txt").read_text().splitlines()
    pinned = {line.partition("==")[0].lower() for line in lines if "==" in line}
    assert {server.distribution for server in SERVERS if server.name != OURS} <= pinned
    assert {"uvloop", "httptools"} <= pinned
