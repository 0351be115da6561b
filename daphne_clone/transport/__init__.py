"""Bytes and sockets: what lies between the kernel and a Twisted protocol; it knows no HTTP."""
