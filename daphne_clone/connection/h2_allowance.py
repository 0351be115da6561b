"""What an HTTP/2 connection may ask for without asking for anything (docs/THREAT_MODEL.md); it only counts."""

from __future__ import annotations

from typing import Final

from daphne_clone.errors import H2ConnectionFault
from daphne_clone.wire.h2_frames import ErrorCode

# Frames that ask for nothing, or only for an acknowledgement: a peer has so many, gets some back each second, and some
# for each frame of use. Envoy allows ten WINDOW_UPDATEs for each DATA, for one.
MAX_IDLE_FRAMES: Final = 1_000
_PER_SECOND: Final = 100
_PER_USE: Final = 10

# Decoding as many fields, or looking at as many settings, takes as long as a small frame.
_FIELDS_PER_FRAME: Final = 8

# Requests taken back by the peer, or malformed, while an application may work on them (CVE-2023-44487, CVE-2025-8671).
# A browser that leaves a page takes back a hundred at a time.
MAX_RESETS: Final = 200
_RESETS_PER_SECOND: Final = 20


class Allowance:
    """Counts down what one connection asks for, and up what it is good for."""

    __slots__ = ("_idle_frames_left", "_resets_left")

    def __init__(self) -> None:
        self._idle_frames_left = MAX_IDLE_FRAMES
        self._resets_left = MAX_RESETS

    def spend(self, fields: int = 0) -> None:
        """Take an idle frame.

        Args:
            fields: How many fields or settings are in it.

        Raises:
            H2ConnectionFault: ENHANCE_YOUR_CALM; it was one too many.
        """
        self._idle_frames_left -= 1 + fields // _FIELDS_PER_FRAME
        if self._idle_frames_left < 0:
            raise H2ConnectionFault(ErrorCode.ENHANCE_YOUR_CALM, "too many frames that ask for nothing")

    def earn(self) -> None:
        """A frame of use has come or gone: a request that is taken, or content."""
        if self._idle_frames_left < MAX_IDLE_FRAMES:
            self._idle_frames_left += _PER_USE

    def spend_reset(self) -> None:
        """Take a request that was taken back, or malformed.

        Raises:
            H2ConnectionFault: ENHANCE_YOUR_CALM; it was one too many.
        """
        self._resets_left -= 1
        if self._resets_left < 0:
            raise H2ConnectionFault(ErrorCode.ENHANCE_YOUR_CALM, "too many requests that were taken back or malformed")

    def tick(self) -> None:
        """About a second has gone by."""
        self._idle_frames_left = min(self._idle_frames_left + _PER_SECOND, MAX_IDLE_FRAMES)
        self._resets_left = min(self._resets_left + _RESETS_PER_SECOND, MAX_RESETS)
