"""The variables that tell of the sockets systemd passed, kept from being lost; it opens nothing.

Importing ``twisted.internet.endpoints`` removes ``LISTEN_PID`` and ``LISTEN_FDS`` from the environment, long before
anybody asks for them. So they are noted here: this module is imported before anything that imports Twisted.
"""

from __future__ import annotations

import os
import sys

_NAMES = ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES")


def _listen_variables() -> dict[str, str]:
    return {name: os.environ[name] for name in _NAMES if name in os.environ}


_noted = _listen_variables()


def environment() -> dict[str, str]:
    """Return the variables of sd_listen_fds(3) as the process was given them; those that were not there are missing.

    They may be meant for another process: ``LISTEN_PID`` says for which.
    """
    return {**_taken_by_twisted(), **_noted, **_listen_variables()}


def _taken_by_twisted() -> dict[str, str]:
    """Give back what Twisted took before this module was imported, as when a program imports Twisted first."""
    endpoints = sys.modules.get("twisted.internet.endpoints")
    # A private name: there is no other record of what was removed. Without it we are where we were.
    record = getattr(getattr(endpoints, "_SystemdParser", None), "_sddaemon", None)
    descriptors = record.inheritedDescriptors() if record is not None else []
    return {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": str(len(descriptors))} if descriptors else {}
