"""Tell a peer why its handshake failed: OpenSSL makes the alert, and neither loop sends it before it closes.

Without it a client that shows no certificate, or speaks too old a version, sees nothing but the end of the connection.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
from contextvars import ContextVar
from typing import Final

# The socket of the connection whose handshake is run in this context: both loops make the transport, and call it, in a
# copy of the context in which they were asked to.
handshaking: Final[ContextVar[socket.socket | None]] = ContextVar("handshaking", default=None)


class TellingSSLObject(ssl.SSLObject):
    """The server's side of a session that sends the last word of a handshake that fails.

    Attributes:
        outgoing: Where OpenSSL leaves what is to be sent; set by whoever makes the object.
    """

    outgoing: ssl.MemoryBIO

    def do_handshake(self) -> None:
        """Go on with the handshake; raises as that of `ssl.SSLObject`."""
        try:
            super().do_handshake()
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            raise
        except ssl.SSLError:
            connection = handshaking.get()
            if connection is not None:
                # Behind what the loop has sent; that a handshake fills the kernel's buffer does not happen.
                with contextlib.suppress(OSError):
                    connection.send(self.outgoing.read())
            raise
