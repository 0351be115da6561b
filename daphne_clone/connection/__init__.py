"""Connections: a Twisted protocol for each HTTP version, between a transport and the exchanges it carries."""
