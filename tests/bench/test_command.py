"""The command line, the order of measurements, and the table of servers."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench import generators
from bench.__main__ import parse
from bench.errors import EnvironmentFailed
from bench.generators import Generators
from bench.measure import estimated_seconds, plan
from bench.scenarios import BASELINES, SCENARIOS
from bench.servers import BASELINE, HTTP2_BASELINES, OURS, SERVERS, Server


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


BY_NAME = {scenario.name: scenario for scenario in SCENARIOS}


@pytest.mark.parametrize(
    ("name", "made", "missing"),
    [
        ("hello", Generators(), "wrk is not on PATH; .* apt-get install wrk"),
        ("tls-hello", Generators(), "wrk is not on PATH"),
        ("tls-connect", Generators(tls=Path("/built/load_tls")), None),
        ("h2-hello", Generators(), "h2load is not on PATH; .* apt-get install nghttp2-client"),
        ("h2c-hello", Generators(), "h2load is not on PATH"),
        ("ws-echo-64", Generators(ws=Path("/built/load_ws")), None),
    ],
)
def test_only_the_load_generators_that_are_needed_must_be_there(
    name: str, made: Generators, missing: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    certificates: list[str] = []
    monkeypatch.setattr("bench.load_ws.build", lambda: Path("/built/load_ws"))
    monkeypatch.setattr("bench.load_tls.build", lambda: Path("/built/load_tls"))
    monkeypatch.setattr("bench.tls.make_certificate", lambda: certificates.append("made"))
    monkeypatch.setattr("shutil.which", lambda program: f"/bin/{program}")
    assert generators.prepare([BY_NAME[name]]) == made
    assert bool(certificates) == BY_NAME[name].tls == name.startswith(("tls-", "h2-"))
    monkeypatch.setattr("shutil.which", lambda program: None)
    if missing is None:
        assert generators.prepare([BY_NAME[name]]) == made
    else:
        with pytest.raises(EnvironmentFailed, match=missing):
            generators.prepare([BY_NAME["ws-echo-64"], BY_NAME[name]])


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
    few, many = [BY_NAME["ws-echo-64"]], [BY_NAME["ws-idle"]]
    assert estimated_seconds(1, many, 1, 1) > estimated_seconds(1, few, 1, 1) + 1


def test_servers_have_unique_names_and_include_ours_and_the_baseline() -> None:
    names = [server.name for server in SERVERS]
    assert len(set(names)) == len(names)
    assert {OURS, BASELINE, HTTP2_BASELINES.requests, HTTP2_BASELINES.cpu} <= set(names)


def test_ratios_refer_to_servers_that_speak_the_protocol() -> None:
    assert {name for name, servers in BASELINES.items() if servers == HTTP2_BASELINES} == {
        name for name in BASELINES if name.startswith("h2")
    }
    by_name = {server.name: server for server in SERVERS}
    assert all(by_name[name].listen_tls for name in (OURS, BASELINE, HTTP2_BASELINES.requests, HTTP2_BASELINES.cpu))


@pytest.mark.parametrize("http2", [False, True], ids=["h1", "h2"])
@pytest.mark.parametrize(
    ("server", "tls"),
    [
        *(pytest.param(server, False, id=server.name) for server in SERVERS),
        *(pytest.param(server, True, id=f"{server.name}-tls") for server in SERVERS if server.listen_tls),
    ],
)
def test_command_lines_name_program_port_and_application(server: Server, tls: bool, http2: bool) -> None:
    argv = server.argv(Path("/env/bin"), 20123, tls=tls, http2=http2)
    assert argv[0].startswith("/env/bin/")
    assert any("20123" in word for word in argv)
    assert argv[-1] == "bench.apps:app"
    assert not any("{" in word for word in argv)
    line = " ".join(argv)
    assert ("bench/build/tls/key.pem" in line) == ("bench/build/tls/certificate.pem" in line) == tls
    assert (server.http2 in line) == http2 or not server.http2


def test_every_peer_is_pinned() -> None:
    lines = Path(__file__).parents[2].joinpath("bench", "peers.txt").read_text().splitlines()
    pinned = {line.partition("==")[0].lower() for line in lines if "==" in line}
    assert {server.distribution for server in SERVERS if server.name != OURS} <= pinned
    assert {"uvloop", "httptools"} <= pinned
