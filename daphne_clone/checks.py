"""The system check of the Django app; what makes Django run it is in apps.py."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.apps import apps
from django.contrib.staticfiles.apps import StaticFilesConfig
from django.core.checks import Error

if TYPE_CHECKING:
    from collections.abc import Sequence

    from django.apps import AppConfig
    from django.core.checks import CheckMessage

_NAME = "daphne_clone"

# Daphne's, so that SILENCED_SYSTEM_CHECKS of projects that come from there go on to mean what they meant.
_ID = "daphne.E001"


def check_daphne_installed(app_configs: Sequence[AppConfig] | None, **kwargs: object) -> list[CheckMessage]:
    """Find out whose `runserver` is run: of two apps that have a command, the one that is listed first has its way.

    Args:
        app_configs: The apps that are checked; the order of all that are installed is what counts.
        kwargs: What else Django passes to checks.
    """
    for config in apps.get_app_configs():
        if config.name == _NAME:
            return []
        if isinstance(config, StaticFilesConfig):
            break
    else:
        return []
    message = f"{_NAME!r} must be listed before 'django.contrib.staticfiles' in INSTALLED_APPS."
    hint = "As it is, runserver is that of staticfiles: it speaks WSGI, and serves no WebSockets."
    return [Error(message, hint=hint, id=_ID)]
