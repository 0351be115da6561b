"""ASGI as a server sees it: scopes, rules, lifespan and loading; no Twisted, sockets or TLS here."""
