"""What Twisted finds here: the command ``daphne_clone`` of twistd and twist, and the endpoint ``fd:``.

There is no ``__init__.py`` beside this file: Twisted gathers its plugins from every directory of this name.
"""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING

from twisted.application.service import ServiceMaker
from twisted.internet.endpoints import AdoptedStreamServerEndpoint
from twisted.internet.interfaces import IStreamServerEndpointStringParser
from twisted.plugin import IPlugin
from zope.interface import implementer

if TYPE_CHECKING:
    from twisted.internet.interfaces import IReactorCore

command = ServiceMaker(  # type: ignore[no-untyped-call]  # Twisted has not annotated it
    "daphne-clone",
    "daphne_clone.tap",
    "An ASGI server for HTTP and WebSockets: Django, Channels, FastAPI, Starlette.",
    "daphne_clone",
)


@implementer(IPlugin, IStreamServerEndpointStringParser)
class DescriptorParser:
    """Parses ``fd:fileno=3``: a socket that this process has inherited, and that listens already.

    Twisted wants to be told the family of a socket that it adopts; the kernel knows it.
    """

    prefix = "fd"

    def parseStreamServer(self, reactor: IReactorCore, *args: object, **kwargs: object) -> AdoptedStreamServerEndpoint:
        """Make an endpoint; its ``listen`` takes the descriptor over, and closes it.

        Raises:
            TypeError: There is another parameter than ``fileno``.
            ValueError: It is no number, or not that of a socket.
        """
        return self._parse(reactor, *args, **kwargs)  # the interface has no room for the names of parameters

    def _parse(self, reactor: IReactorCore, fileno: object) -> AdoptedStreamServerEndpoint:
        try:
            number = int(str(fileno))
            with socket.socket(fileno=os.dup(number)) as duplicate:
                family = duplicate.family
        except (OSError, ValueError) as error:
            raise ValueError(f"fd:{fileno} is no socket of this process: {error}") from error
        return AdoptedStreamServerEndpoint(reactor, number, family)  # type: ignore[no-untyped-call]  # not annotated


descriptor_parser = DescriptorParser()
