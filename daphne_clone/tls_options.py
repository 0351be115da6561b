"""The options for TLS, made into what a port needs; errors name the option, not only the file."""

from __future__ import annotations

import os
import ssl
from dataclasses import replace
from itertools import zip_longest
from typing import TYPE_CHECKING, Final

from daphne_clone.errors import ConfigurationError, ListenError, UnusableFile
from daphne_clone.transport import tls

if TYPE_CHECKING:
    from daphne_clone.settings import Settings

_VERSIONS: Final = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}

_VERIFY_MODES: Final = {
    None: None,
    "none": ssl.CERT_NONE,
    "optional": ssl.CERT_OPTIONAL,
    "required": ssl.CERT_REQUIRED,
}

# Which option a parameter of `tls.server_context` comes from.
_OPTIONS: Final = {"certificate": "ssl_certfile", "private_key": "ssl_keyfile", "authorities": "ssl_ca_certs"}


def alpn_protocols(settings: Settings) -> tuple[str, ...]:
    """What is offered by ALPN, best first."""
    return ("h2", "http/1.1") if settings.http2 else ("http/1.1",)


def renewable_context(settings: Settings) -> tls.RenewableContext | None:
    """Read the certificates that the options name; None where they name none.

    The result's ``renew()`` raises what this does.

    Raises:
        ConfigurationError: A file is missing, or is not what it should be, or no cipher is known.
    """
    if not settings.ssl_certfile:
        return None
    # Absolute: at a renewal the process may be in another directory. twistd changes it, and applications do.
    settings = replace(
        settings,
        ssl_certfile=tuple(map(os.path.abspath, settings.ssl_certfile)),
        ssl_keyfile=tuple(map(os.path.abspath, settings.ssl_keyfile)),
        ssl_ca_certs=None if settings.ssl_ca_certs is None else os.path.abspath(settings.ssl_ca_certs),
    )
    return tls.RenewableContext(lambda: _make(settings))


def _make(settings: Settings) -> tls.ServerContext:
    try:
        contexts = [
            tls.server_context(
                certificate=certificate,
                private_key=private_key or certificate,
                password=settings.ssl_keyfile_password,
                minimum_version=_VERSIONS[settings.ssl_min_version],
                ciphers=settings.ssl_ciphers,
                authorities=settings.ssl_ca_certs,
                verify_mode=_VERIFY_MODES[settings.ssl_cert_reqs],
                alpn=alpn_protocols(settings),
            )
            for certificate, private_key in zip_longest(settings.ssl_certfile, settings.ssl_keyfile)
        ]
    except UnusableFile as error:
        name = _OPTIONS[error.parameter]
        if name == "ssl_keyfile" and not settings.ssl_keyfile:
            name = "ssl_certfile"  # the key was to be in the same file
        raise ConfigurationError(name, error.path, f"{error.expected} ({error.reason})") from error
    except ListenError as error:
        raise ConfigurationError(
            "ssl_ciphers", settings.ssl_ciphers, f"ciphers that OpenSSL knows ({error})"
        ) from error
    return tls.choosing_by_name(contexts)
