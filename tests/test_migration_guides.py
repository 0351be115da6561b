"""docs/how-to/move-from-*.md: they know every option of the other server, and promise none that is not here."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from daphne_clone.arguments import build_parser

HOW_TO = Path(__file__).resolve().parent.parent / "docs" / "how-to"

# What `--help` of each release lists.
DAPHNE_4_2 = """
    --port --bind --websocket_timeout --websocket_connect_timeout --unix-socket --fd --endpoint --verbosity
    --http-timeout --access-log --log-fmt --ping-interval --ping-timeout --websocket-max-message-size
    --websocket-max-frame-size --application-close-timeout --root-path --proxy-headers --proxy-headers-host
    --proxy-headers-port --server-name --no-server-name
"""
UVICORN_0_54 = """
    --host --port --uds --fd --reload --reload-dir --reload-include --reload-exclude --reload-delay --workers --loop
    --http --http2 --ws --ws-max-size --ws-max-queue --ws-ping-interval --ws-ping-timeout --ws-per-message-deflate
    --lifespan --interface --env-file --log-config --log-level --access-log --no-access-log --use-colors
    --no-use-colors --proxy-headers --no-proxy-headers --server-header --no-server-header --date-header
    --no-date-header --forwarded-allow-ips --root-path --limit-concurrency --backlog --limit-max-requests
    --limit-max-requests-jitter --timeout-keep-alive --timeout-graceful-shutdown --timeout-worker-healthcheck
    --ssl-keyfile --ssl-certfile --ssl-keyfile-password --ssl-version --ssl-cert-reqs --ssl-ca-certs --ssl-ciphers
    --header --version --app-dir --h11-max-incomplete-event-size --reset-contextvars --factory --help
"""
GUNICORN_27 = """
    --help --version --config --bind --backlog --workers --worker-class --threads --worker-connections --max-requests
    --max-requests-jitter --timeout --graceful-timeout --keep-alive --limit-request-line --limit-request-fields
    --limit-request-field_size --reload --reload-engine --reload-extra-file --spew --check-config --print-config
    --preload --no-sendfile --reuse-port --chdir --daemon --env --pid --worker-tmp-dir --user --group --umask
    --initgroups --forwarded-allow-ips --access-logfile --disable-redirect-access-to-syslog --access-logformat
    --error-logfile --log-file --log-level --capture-output --logger-class --log-config --log-config-json
    --log-syslog-to --log-syslog --log-syslog-prefix --log-syslog-facility --enable-stdio-inheritance --statsd-host
    --dogstatsd-tags --statsd-prefix --enable-backlog-metric --name --pythonpath --paste --paster --proxy-protocol
    --proxy-allow-from --protocol --uwsgi-allow-from --keyfile --certfile --ssl-version --cert-reqs --ca-certs
    --suppress-ragged-eofs --do-handshake-on-connect --ciphers --http-protocols --http2-cleartext
    --http2-max-concurrent-streams --http2-initial-window-size --http2-max-frame-size --http2-max-header-list-size
    --paste-global --permit-obsolete-folding --strip-header-spaces --permit-unconventional-http-method
    --permit-unconventional-http-version --casefold-http-method --forwarder-headers --header-map --asgi-loop
    --asgi-lifespan --asgi-disconnect-grace-period --websocket-max-message-size --http-parser --root-path --dirty-app
    --dirty-workers --dirty-timeout --dirty-threads --dirty-graceful-timeout --control-socket --control-socket-mode
    --no-control-socket
"""
THEIRS = {"daphne": DAPHNE_4_2.split(), "uvicorn": UVICORN_0_54.split(), "gunicorn": GUNICORN_27.split()}
OURS = set(build_parser("")._option_string_actions)


def options_in(text: str) -> list[str]:
    """Those with a long name, in what is set as code within a line."""
    text = re.sub(r"(?s)```.*?```", "", text)
    return re.findall(r"(?<![\w-])--[a-z][\w-]*", " ".join(re.findall(r"`([^`]+)`", text)))


def rows_of(server: str) -> list[tuple[str, str]]:
    """Both cells of each line of the guide's tables."""
    lines = (HOW_TO / f"move-from-{server}.md").read_text(encoding="utf-8").replace(r"\|", "/").splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("| ")]
    return [(theirs, ours) for theirs, ours in cells]


@pytest.mark.parametrize("server", THEIRS)
def test_guide_knows_every_option(server: str) -> None:
    guide = (HOW_TO / f"move-from-{server}.md").read_text(encoding="utf-8")
    told = options_in(guide if server == "daphne" else " ".join(theirs for theirs, _ in rows_of(server)))
    assert sorted(set(THEIRS[server]) - set(told)) == []


@pytest.mark.parametrize("server", THEIRS)
def test_guide_names_no_option_of_ours_that_is_not_there(server: str) -> None:
    for theirs, ours in rows_of(server):
        named = options_in(ours)
        if re.match("the same\\b", ours):
            named += options_in(theirs)
        assert sorted(set(named) - OURS) == [], theirs


@pytest.mark.parametrize("server", ["uvicorn", "gunicorn"])
def test_what_the_guide_says_is_not_there_is_not_taken(server: str) -> None:
    """An option that is taken and does nothing would be a lie."""
    for theirs, ours in rows_of(server):
        if ours.startswith("not "):
            assert sorted(set(options_in(theirs)) & OURS) == [], theirs


def test_every_option_of_daphne_is_ours() -> None:
    assert sorted({*DAPHNE_4_2.split(), "-p", "-b", "-u", "-e", "-v", "-t", "-s"} - OURS) == []
