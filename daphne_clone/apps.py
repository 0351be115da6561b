"""The Django app: `INSTALLED_APPS = ["daphne_clone", ...]` puts `runserver` on this server; no server runs in here."""

from __future__ import annotations

import importlib.util
import sys

from django.apps import AppConfig
from django.core import checks

from daphne_clone import reactor
from daphne_clone.checks import check_daphne_installed

# Here, since Django imports its apps before anything of the project's: an app that imports twisted.internet.reactor
# would otherwise install one that runserver cannot use. The server itself, which nearly every other command of
# manage.py can do without, would take 0.2 s of each of them.
reactor.install()


def _has_daphne() -> bool:
    if "daphne" in sys.modules:
        return True
    found = importlib.util.find_spec("daphne")
    return found is not None and found.has_location  # a mere directory of that name has none


# channels.testing imports daphne.testing, whatever a project wants of it.
if not _has_daphne():
    importlib.import_module("daphne_clone.as_daphne")


class DaphneConfig(AppConfig):
    """The app; the class has Daphne's name, since projects name it or derive from it."""

    name = "daphne_clone"
    verbose_name = "Daphne-clone"

    def ready(self) -> None:
        """Register the system check."""
        checks.register(check_daphne_installed, checks.Tags.staticfiles)
