"""What an HTTP/2 connection may ask for without asking for anything; how frames are counted is in test_h2."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from daphne_clone.connection.h2_allowance import MAX_IDLE_FRAMES, MAX_RESETS, Allowance
from daphne_clone.errors import H2ConnectionFault
from daphne_clone.wire.h2_frames import ErrorCode


def until_too_many(spend: Callable[[], None]) -> int:
    """How often it could be spent."""
    for count in range(10_000):
        try:
            spend()
        except H2ConnectionFault as fault:
            return count if fault.code == ErrorCode.ENHANCE_YOUR_CALM else -1
    return 10_000


def test_so_many_frames_and_so_many_resets() -> None:
    allowance = Allowance()
    assert until_too_many(allowance.spend) == MAX_IDLE_FRAMES == 1_000
    assert until_too_many(allowance.spend_reset) == MAX_RESETS == 200


@pytest.mark.parametrize(("fields", "cost"), [(0, 1), (7, 1), (8, 2), (80, 11), (2_730, 342)])
def test_a_frame_of_many_fields_costs_more(fields: int, cost: int) -> None:
    allowance = Allowance()
    assert until_too_many(lambda: allowance.spend(fields)) == 1_000 // cost


def test_time_gives_some_back_and_never_more_than_there_were() -> None:
    allowance = Allowance()
    until_too_many(allowance.spend)
    until_too_many(allowance.spend_reset)
    allowance.tick()
    assert until_too_many(allowance.spend) == 99  # one had been taken too many
    assert until_too_many(allowance.spend_reset) == 19
    for _ in range(100):
        allowance.tick()
    assert until_too_many(allowance.spend) == 1_000
    assert until_too_many(allowance.spend_reset) == 200


def test_use_gives_some_back_and_hardly_more_than_there_were() -> None:
    allowance = Allowance()
    for _ in range(100):
        allowance.earn()
    assert until_too_many(allowance.spend) == 1_000
    allowance.earn()
    assert until_too_many(allowance.spend) == 9
    for _ in range(1_000):
        allowance.earn()
    assert 1_000 <= until_too_many(allowance.spend) < 1_010
