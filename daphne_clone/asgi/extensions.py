"""Which ASGI extensions an HTTP exchange can use; a scope lists exactly those its connection can carry."""

from __future__ import annotations

import functools


@functools.lru_cache
def http_extensions(http_version: str, *, can_send_files: bool) -> dict[str, dict[str, object]]:
    """The extensions for a request.

    Args:
        http_version: HTTP/1.0 has neither trailers nor interim responses.
        can_send_files: The transport can send from a file.

    Returns:
        A mapping to copy before use, as scopes have it.
    """
    names = []
    if can_send_files:
        names += ["http.response.pathsend", "http.response.zerocopysend"]
    if http_version != "1.0":
        names += ["http.response.trailers", "http.response.early_hint"]
    return {name: {} for name in names}
