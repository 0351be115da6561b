"""The server: one application, its exchanges and its life, on a Twisted reactor that runs an asyncio loop.

Importing this module installs the reactor, because Daphne's users rely on that; no other module does it.

What ends an exchange is seen at once, by the task that runs its application. `application_checker` and
`timeout_checker` run once a second for what only time can show: applications that outlive their client, and waits past
their deadline.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import gc
import platform
import signal
import sys
from functools import partial
from time import time
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred

from daphne_clone import __version__
from daphne_clone.asgi.forwarded import Forwarding, TrustedPeers
from daphne_clone.asgi.lifespan import Lifespan
from daphne_clone.asgi.receive import ReceiveQueue
from daphne_clone.connection.shared import CoarseClock
from daphne_clone.endpoints import REDIRECTING, readable_address, speaks_tls
from daphne_clone.errors import ConfigurationError, LifespanFailed, ListenError, is_disconnect
from daphne_clone.http_protocol import HTTPFactory
from daphne_clone.https_only import FixedAnswers, redirect_to_https, this_port_speaks_https
from daphne_clone.loggers import get_logger
from daphne_clone.observe import logs
from daphne_clone.reactor import for_running_loop, install, loop_of
from daphne_clone.settings import Settings
from daphne_clone.signals import StopSignals
from daphne_clone.tls_options import alpn_protocols, renewable_context
from daphne_clone.transport.listen import TLSOptions, open_port
from daphne_clone.transport.proxied import ProxyProtocol
from daphne_clone.wire.proxy_header import ProxyHeaderParser
from daphne_clone.ws_protocol import WebSocketFactory

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Sequence

    from asgiref.typing import ASGI3Application
    from twisted.internet.asyncioreactor import AsyncioSelectorReactor
    from twisted.python.failure import Failure

    from daphne_clone.http_protocol import WebRequest
    from daphne_clone.https_only import Answer
    from daphne_clone.interfaces import RequestHead
    from daphne_clone.transport.ports import LoopPort, ReactorPort
    from daphne_clone.transport.tls import RenewableContext
    from daphne_clone.ws_protocol import WebSocketProtocol

    ServedProtocol = WebRequest | WebSocketProtocol

twisted_loop = loop_of(install())  # Daphne's name for the loop

_log = get_logger(__name__)

# How often deadlines are looked at, in seconds: a wait ends later than it should by up to two of these.
TICK_S = 1.0

# How often a stop looks whether the last connection has ended, in seconds.
_DRAIN_POLL_S = 0.05

# How long applications have to end once they are cancelled at the end of a stop, in seconds.
_CANCEL_GRACE_S = 2.0

# Containers made before the youngest generation is collected, unless the application has asked for more, or for none.
_COLLECT_AFTER = 10_000

# uvicorn's status for an application that refuses to start; 1 is an endpoint that cannot be listened on.
STATUS_LISTEN_FAILED = 1
STATUS_STARTUP_FAILED = 3

# What stands for no limit on a handshake, in seconds: the loops take none for a default of theirs.
_UNLIMITED_HANDSHAKE_S = 30 * 86_400.0

# The key under which scope["state"] has an `asyncio.Event` that is set as soon as the server begins to stop.
SHUTTING_DOWN = "daphne_clone.shutting_down"


class Server:
    """Serves an application on endpoints.

    Args:
        application: ASGI 3.
        endpoints: Twisted endpoint descriptions, such as ``tcp:port=8000:interface=127.0.0.1``. One with ``https:`` in
            front is under TLS with the certificates of the settings; one with ``redirect:`` sends clients there.
        signal_handlers: Whether `run` handles SIGTERM and SIGINT.
        action_logger: Called with protocol, action and details (``"http", "complete", {...}``).
        http_timeout: Seconds a request may take as a whole; None or 0 is no limit.
        request_buffer_size: Octets of each ``http.request`` event of a body; None is as it arrives.
        websocket_timeout: Seconds after which a WebSocket is closed; 0 or less is never.
        websocket_connect_timeout: Seconds an application has to accept a WebSocket; 403 follows. 0 is no limit.
        ping_interval: Seconds without a sign of life after which a WebSocket is sent a ping; 0 is never.
        ping_timeout: Seconds the client then has for a sign of life, of whatever kind; 0 is no limit.
        root_path: Where the application is mounted.
        proxy_forwarded_address_header: Field with the client's address, believed from trusted peers; None for none.
            With it X-Forwarded-Host and -Prefix are believed too, and `Forwarded` as `asgi.forwarded` says.
        proxy_forwarded_port_header: Likewise its port.
        proxy_forwarded_proto_header: Likewise the scheme.
        verbosity: From 3 on, the loop runs in debug mode.
        websocket_handshake_timeout: Seconds until a handshake that is not answered ends with 503; 0 is no limit.
        websocket_max_message_size: Octets of a message, inflated; the session ends with 1009 beyond. 0 is no limit.
        websocket_max_frame_size: Octets of a frame, likewise.
        application_close_timeout: Seconds an application has to end after its client has gone.
        ready_callable: Called once when the server listens.
        server_name: Value of the ``Server`` field; empty for none.
        settings: Everything Daphne has no argument for; what it has one for is taken from the arguments.

    Attributes:
        listening_addresses: ``(host, port)`` of each TCP socket listened on.
        connections: By exchange: ``connected`` (seconds since the epoch), ``application_instance`` (its task) and, once
            the client is gone, ``disconnected``.
        exit_status: What the process should exit with.
        start_error: Why `run` could not start to serve; None if it could.
        was_cut_short: The stop did not wait for all: threads of the application may run on, and nobody should wait.

    Raises:
        ConfigurationError: There is no endpoint, or an argument cannot be used.
    """

    def __init__(
        self,
        application: ASGI3Application,
        endpoints: Sequence[str] | None = None,
        signal_handlers: bool = True,
        action_logger: Callable[[str, str, Any], object] | None = None,
        http_timeout: float | None = None,
        request_buffer_size: int | None = None,
        websocket_timeout: float = 86400,
        websocket_connect_timeout: float = 20,
        ping_interval: float = 20,
        ping_timeout: float = 30,
        root_path: str = "",
        proxy_forwarded_address_header: str | None = None,
        proxy_forwarded_port_header: str | None = None,
        proxy_forwarded_proto_header: str | None = None,
        verbosity: int = 1,
        websocket_handshake_timeout: float = 5,
        websocket_max_message_size: int = 1024 * 1024,
        websocket_max_frame_size: int = 1024 * 1024,
        application_close_timeout: float = 10,
        ready_callable: Callable[[], object] | None = None,
        server_name: str = "daphne",
        *,
        settings: Settings | None = None,
    ) -> None:
        self.application = application
        self.endpoints = list(endpoints or ())
        self.signal_handlers = signal_handlers
        self.action_logger = action_logger
        self.http_timeout = http_timeout
        self.request_buffer_size = request_buffer_size
        self.websocket_timeout = websocket_timeout
        self.websocket_connect_timeout = websocket_connect_timeout
        self.ping_interval = ping_interval
        self.ping_timeout = ping_timeout
        self.root_path = root_path
        self.proxy_forwarded_address_header = proxy_forwarded_address_header
        self.proxy_forwarded_port_header = proxy_forwarded_port_header
        self.proxy_forwarded_proto_header = proxy_forwarded_proto_header
        self.verbosity = verbosity
        self.websocket_handshake_timeout = websocket_handshake_timeout
        self.websocket_max_message_size = websocket_max_message_size
        self.websocket_max_frame_size = websocket_max_frame_size
        self.application_close_timeout = application_close_timeout
        self.ready_callable = ready_callable
        self.server_name = server_name
        self.settings = settings if settings is not None else Settings()
        self.limit_concurrency = self.settings.limit_concurrency
        try:
            server_name.encode("latin-1")
        except UnicodeEncodeError:
            raise ConfigurationError("--server-name", server_name, "text that latin-1 can hold") from None
        if not self.endpoints:
            raise ConfigurationError("endpoints", self.endpoints, "at least one endpoint to listen on")
        self.trusted_peers = TrustedPeers(self.settings.forwarded_allow_ips)
        self.forwarding = self._forwarding()
        self._tls_context = renewable_context(self.settings)
        self.listeners: list[LoopPort | ReactorPort] = []
        self.listening_addresses: list[tuple[str, int]] = []
        self.connections: dict[Any, dict[str, Any]] = {}
        self.clock = CoarseClock()
        self.state: dict[str, Any] = {}
        self.exit_status = 0
        self.start_error: Exception | None = None
        self.was_cut_short = False
        self.abort_start = False
        self._reactor: Any = None  # the zope interfaces of a reactor have no common type
        self._loop: asyncio.AbstractEventLoop = None  # type: ignore[assignment]  # set by _attach, before any use
        self._context = contextvars.Context()
        self._create_task: Callable[..., asyncio.Task[None]] = asyncio.Task
        self.ws_factory: WebSocketFactory = None  # type: ignore[assignment]  # set by _attach, before any use
        self._handle_reply = self.handle_reply  # bound once, not for each exchange
        self._http_factory: HTTPFactory | None = None
        self._lifespan: Lifespan | None = None
        self._starting: asyncio.Task[None] | None = None
        self._stopping: asyncio.Task[None] | None = None
        self._signals: StopSignals | None = None
        self._stop_requested = asyncio.Event()
        self._is_guest = False
        self._is_over = False

    # Life

    def run(self) -> None:
        """Run the reactor and serve until the server is stopped; afterwards `exit_status` is set.

        A reactor can be run once in a process. Errors of starting (an endpoint, lifespan) are logged, not raised.
        """
        if self.abort_start:
            return
        reactor = install()  # whichever is installed when the server runs; a forked child has a new one
        loop = loop_of(reactor)
        asyncio.set_event_loop(loop)
        self._prepare(reactor, loop)
        if self.signal_handlers:
            self._signals = self._handle_signals(loop)
        reactor.callWhenRunning(self._start_in_reactor)
        reactor.addSystemEventTrigger("before", "shutdown", self._stop_in_reactor)
        try:
            reactor.run(installSignalHandlers=False)  # type: ignore[no-untyped-call]  # Twisted has not annotated it
        except (KeyboardInterrupt, SystemExit):
            # From the application: asyncio lets these two through, out of the loop.
            _log.warning("The application raised KeyboardInterrupt or SystemExit: stopping")
            self._stopping = loop.create_task(self._shut_down(), name="daphne_clone stop")
            with contextlib.suppress(asyncio.CancelledError):
                loop.run_until_complete(self._stopping)
        loop.run_until_complete(self._close_loop())
        if self._signals is not None:
            self._signals.ignore()

    def stop(self) -> None:
        """Begin to stop, gracefully; to be called in the reactor's thread. Before `run`, it prevents the start."""
        if self._reactor is None:
            self.abort_start = True
        elif self._is_guest:
            self._stop_requested.set()
        elif self._reactor.running and self._stopping is None:
            self._reactor.stop()

    @property
    def has_tls(self) -> bool:
        """Whether an endpoint has certificates, which `renew_certificates` reads again."""
        return self._tls_context is not None or any(map(speaks_tls, self.endpoints))

    def renew_certificates(self) -> None:
        """Read the files of all certificates again, for connections that begin from now on; to be called in the loop.

        Files that cannot be used are told of in the log, and what was read before stays in use.
        """
        contexts: dict[RenewableContext, str] = {}
        for port in self.listeners:  # while the application starts there are none yet
            context = getattr(port, "context", None)  # Twisted's own ports have none of ours
            if context is not None:
                contexts.setdefault(context, readable_address(port))
        if self._tls_context is not None:
            contexts.setdefault(self._tls_context, "--ssl-certfile")
        for context, where in contexts.items():
            try:
                context.renew()
            except (ConfigurationError, ListenError) as error:
                _log.error("The certificates of %s stay as they were: %s", where, error)
            else:
                _log.info("The certificates of %s have been read again", where)

    async def bind(self, reactor: AsyncioSelectorReactor) -> None:
        """Bind the endpoints ahead of `serve`: for who may do so now and not later, and to learn at once of a failure.

        Neither the application nor the action logger is used yet; both may still be set afterwards.

        Args:
            reactor: The one that `serve` will be given.

        Raises:
            ListenError: An endpoint cannot be listened on; none is bound.
        """
        self._is_guest = True
        self._attach(reactor, asyncio.get_running_loop())
        try:
            for description in self.endpoints:
                self.listeners.append(await self._open(description))
        except BaseException:
            await self.unbind()
            raise

    async def unbind(self) -> None:
        """Close what `bind` has opened, where no `serve` follows."""
        while self.listeners:
            await _settled(self.listeners.pop().stopListening())

    async def serve(
        self,
        shutdown_trigger: Callable[[], Awaitable[object]] | None = None,
        *,
        reactor: AsyncioSelectorReactor | None = None,
    ) -> None:
        """Serve inside a loop that is running already, until the trigger returns or the task is cancelled.

        Args:
            shutdown_trigger: Awaited once; None is SIGTERM or SIGINT, where signals can be handled.
            reactor: The one that runs the loop, as in a process of twistd's; None is none, and the server brings one
                that nobody else meets.

        Raises:
            ListenError: An endpoint cannot be listened on.
            LifespanFailed: The application refused to start.
        """
        if self.abort_start:
            return
        loop = asyncio.get_running_loop()
        self._is_guest = True
        guest = for_running_loop(loop) if reactor is None else None
        self._prepare(reactor or guest, loop)
        reasons: set[asyncio.Future[object]] = {loop.create_task(self._stop_requested.wait())}
        if shutdown_trigger is None:
            self._signals = self._handle_signals(loop)
        else:
            reasons.add(asyncio.ensure_future(shutdown_trigger()))
        try:
            self._starting = loop.create_task(self._start(), name="daphne_clone start")
            either: set[asyncio.Future[Any]] = {self._starting, *reasons}
            done, _ = await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            if self._starting in done:
                self._starting.result()  # raises what it failed with
                await asyncio.wait(reasons, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for reason in reasons:
                reason.cancel()
            self._stopping = loop.create_task(self._shut_down(), name="daphne_clone stop")
            try:
                (error,) = await asyncio.gather(self._stopping, return_exceptions=True)
                if isinstance(error, Exception):
                    _log.error("The stop failed", exc_info=error)
            finally:
                if self._signals is not None:
                    self._signals.ignore()
                if guest is not None:
                    guest.stop()  # type: ignore[no-untyped-call]  # Twisted has not annotated it
                    self._loop.call_soon(guest.release)  # behind its last events

    def _attach(self, reactor: Any, loop: asyncio.AbstractEventLoop) -> None:  # noqa: ANN401  # see _reactor
        self._reactor = reactor
        self._loop = loop
        self.clock = CoarseClock(loop.time())
        self.ws_factory = WebSocketFactory(self)
        self._http_factory = HTTPFactory(self)

    def _prepare(self, reactor: Any, loop: asyncio.AbstractEventLoop) -> None:  # noqa: ANN401  # see _reactor
        if self._reactor is None:
            self._attach(reactor, loop)
        self._context = contextvars.copy_context()
        if self.verbosity >= 3:
            loop.set_debug(True)
        self._lifespan = Lifespan(self.application, self.settings.lifespan, loop)
        self.state = self._lifespan.state
        self.state[SHUTTING_DOWN] = asyncio.Event()

    def _start_in_reactor(self) -> None:
        self._starting = self._loop.create_task(self._start_or_give_up(), name="daphne_clone start")

    def _stop_in_reactor(self) -> Deferred[None]:
        self._stopping = self._loop.create_task(self._shut_down(), name="daphne_clone stop")
        return Deferred.fromFuture(self._stopping).addErrback(self._stop_ended_early)

    def _stop_ended_early(self, failure: Failure) -> None:
        if not isinstance(failure.value, asyncio.CancelledError):
            _log.error("The stop failed", exc_info=failure.value)

    async def _start_or_give_up(self) -> None:
        try:
            await self._start()
        except asyncio.CancelledError:
            return
        except Exception as error:  # noqa: BLE001  # the last line of a task
            self.start_error = error
            self.exit_status = tell_of_failed_start(error)
            self.abort_start = True
            self.stop()

    async def _start(self) -> None:
        """Lifespan first: nothing is accepted before ``startup.complete``."""
        assert self._lifespan is not None and self._http_factory is not None, "_prepare comes first"
        await self._lifespan.startup()
        if self._loop.get_task_factory() is not None:
            self._create_task = self._create_task_by_factory
        logs.keep_enabled()  # the application has configured logging by now, if it does at all
        self._reactor.callLater(TICK_S, self.application_checker)
        self.timeout_checker()  # at once: the clock and the Date are as old as the startup was long
        for index, description in enumerate(self.endpoints):
            if index == len(self.listeners):  # unless `bind` has
                self.listeners.append(await self._open(description))
            port = self.listeners[index]
            await port.start()
            address = port.getHost()
            if hasattr(address, "host") and hasattr(address, "port"):
                self.listening_addresses.append((address.host, address.port))
        if not self._is_guest:
            _settle_garbage_collector()
        self._announce()
        if self.ready_callable is not None:
            self.ready_callable()

    def _handle_signals(self, loop: asyncio.AbstractEventLoop) -> StopSignals:
        return StopSignals(loop, self._signal_received, self.renew_certificates if self.has_tls else None)

    async def _open(self, description: str) -> LoopPort | ReactorPort:
        factory = self._http_factory
        assert factory is not None, "_attach comes first"
        if description.startswith(REDIRECTING):
            description = description.removeprefix(REDIRECTING)
            factory = FixedAnswers(factory, self._redirect)
        return await open_port(
            description,
            factory,
            reactor=self._reactor,
            loop=self._loop,
            backlog=self.settings.backlog,
            unix_socket_permissions=self.settings.unix_socket_permissions,
            proxy_protocol=ProxyProtocol(self.trusted_peers.trusts, ProxyHeaderParser)
            if self.settings.proxy_protocol
            else None,
            tls_options=TLSOptions(
                context=self._tls_context,
                alpn=alpn_protocols(self.settings),
                key_password=self.settings.ssl_keyfile_password,
                handshake_timeout_s=self.settings.ssl_handshake_timeout or _UNLIMITED_HANDSHAKE_S,
                plain_factory=FixedAnswers(factory, this_port_speaks_https),
            ),
        )

    def _redirect(self, head: RequestHead) -> Answer:
        port = self.settings.redirect_http_port
        if port is None:
            hosts = (each.getHost() for each in self.listeners if speaks_tls(each.description))
            port = next((host.port for host in hosts if hasattr(host, "port")), None)
        return redirect_to_https(head, port)

    def _announce(self) -> None:
        name = self.settings.application or getattr(self.application, "__qualname__", type(self.application).__name__)
        _log.info(
            "daphne-clone %s (Python %s, %s) serves %s",
            __version__,
            platform.python_version(),
            type(self._loop).__module__.partition(".")[0],
            name,
        )
        where = ", ".join(map(readable_address, self.listeners))
        _log.info("Listening on %s; press Ctrl-C or send SIGTERM to stop", where)

    def _signal_received(self, signum: int, *, again: bool) -> None:
        if again:
            self.exit_status = 128 + signum
            # In the next turn: a first signal may have to make the stop that is to be cut short.
            self._loop.call_soon(self._cut_short)
        else:
            _log.info("%s: stopping", signal.Signals(signum).name)
            self._stop_requested.set()
            self.stop()

    def _cut_short(self) -> None:
        if self._stopping is not None:
            self._stopping.cancel()

    async def _shut_down(self) -> None:
        """Stop accepting, let what runs end, then tell the application, within the limits of time.

        Cancelled (by a second signal), it cuts everything at once.
        """
        self.state[SHUTTING_DOWN].set()
        try:
            if self._starting is not None and not self._starting.done():
                self._starting.cancel()
                await asyncio.wait({self._starting})
            for port in self.listeners:
                await _settled(port.stopListening())
            await self._drain()
            await self._end_applications()
            if self._lifespan is not None:
                limit = self.settings.timeout_graceful_shutdown
                await self._lifespan.shutdown(timeout_s=limit or None)
            self._is_over = True
        except asyncio.CancelledError:
            self.was_cut_short = self._is_over = True
            _log.warning("Stopping at once; %d requests are cut off", len(self.connections))
            self._abort_connections()
            for task in self._application_tasks():
                task.cancel()
            raise

    async def _drain(self) -> None:
        """Wait for connections to end; the notice to streaming responses goes out at half the time."""
        assert self._http_factory is not None, "_prepare comes first"
        connections = self._http_factory.connections
        # What the kernel has received already is read before idle connections are closed: a request that was sent
        # before the stop is served.
        for _ in range(2):
            await asyncio.sleep(0)
        for connection in list(connections):
            connection.shutdown_started()
        limit = self.settings.timeout_graceful_shutdown
        start = self._loop.time()
        is_notice_given = False
        while connections or self._application_tasks():
            waited = self._loop.time() - start
            if limit and waited >= limit:
                break
            if limit and waited >= limit / 2 and not is_notice_given:
                is_notice_given = True
                for protocol in list(self.connections):
                    protocol.shutdown_started()
            await asyncio.sleep(_DRAIN_POLL_S)

    async def _end_applications(self) -> None:
        """Past the limit: name what still runs, cancel it, and cut its connection."""
        now = time()
        if self.connections:
            self.was_cut_short = True
        for protocol, details in list(self.connections.items()):
            age = now - details["connected"]
            _log.warning("%s was still running after %.1f s; it is cancelled", protocol.describe(), age)
        self._abort_connections()
        await self._cancel_applications()

    def _abort_connections(self) -> None:
        if self._http_factory is not None:
            for connection in list(self._http_factory.connections):
                connection.abort()

    def _application_tasks(self) -> list[asyncio.Task[Any]]:
        found = (details.get("application_instance") for details in self.connections.values())
        return [task for task in found if task is not None and not task.done()]

    async def _close_loop(self) -> None:
        """What `asyncio.run` does behind its main coroutine."""
        tasks = asyncio.all_tasks(self._loop) - {asyncio.current_task(self._loop)}
        for task in tasks:
            task.cancel()
        if tasks and not self.was_cut_short:  # those have had their time
            await asyncio.wait(tasks, timeout=_CANCEL_GRACE_S)
        await self._loop.shutdown_asyncgens()

    # Exchanges

    def protocol_connected(self, protocol: ServedProtocol) -> None:
        """Note a new exchange."""
        self.connections[protocol] = {"connected": protocol.request_start}

    def protocol_disconnected(self, protocol: ServedProtocol) -> None:
        """Note that an exchange's client is gone; its application has `application_close_timeout` to end."""
        details = self.connections.get(protocol)
        if details is None:
            return
        if "application_instance" not in details:
            del self.connections[protocol]
        else:
            details.setdefault("disconnected", time())

    def protocol_still_connected(self, protocol: ServedProtocol) -> None:
        """Note that a client that seemed to be gone takes what is sent to it: its application's time begins anew."""
        details = self.connections.get(protocol)
        if details is not None and "disconnected" in details:
            details["disconnected"] = time()

    def create_application(self, protocol: ServedProtocol, scope: dict[str, Any]) -> ReceiveQueue | None:
        """Start the application for an exchange.

        Returns:
            The queue that its ``receive`` reads; None when it failed at once.
        """
        details = self.connections[protocol]
        # There is one, though an eager task may have ended its exchange before there is a task to be noted.
        details["application_instance"] = None
        # The exchange may need it before this returns: asyncio has eager tasks.
        protocol.application_queue = queue = ReceiveQueue(self._loop)
        send = partial(self._handle_reply, protocol)
        try:
            # asgiref's TypedDicts say what scope and messages hold; here they are being made.
            running = self.application(scope, queue.get, send)  # type: ignore[arg-type]
        except BaseException as error:
            self._application_ended(protocol, error)
            if not isinstance(error, Exception):
                raise
            return None
        # The path as its name: asyncio makes one up for a task without, which takes as long as all the rest of making
        # it (0.2 us). Each in a context of its own: what one application sets, the next must not see, whoever's send()
        # or callback led here.
        details["application_instance"] = self._create_task(
            self._run_application(protocol, running), loop=self._loop, name=scope["path"], context=self._context.copy()
        )
        return queue

    def _create_task_by_factory(
        self,
        running: Coroutine[Any, Any, None],
        *,
        loop: asyncio.AbstractEventLoop,
        **options: Any,  # noqa: ANN401  # as they are passed on
    ) -> asyncio.Task[None]:
        """As `asyncio.Task`, where the application wants its tasks to be made otherwise."""
        return loop.create_task(running, **options)

    async def _run_application(self, protocol: ServedProtocol, running: Awaitable[None]) -> None:
        """Run an application to its end and settle its exchange, in the same turn of the loop.

        A done-callback of the task would do so in the next, and take 0.4 us longer.
        """
        try:
            await running
        except BaseException as error:  # the application's, of whatever kind: reported, and answered with 500
            self._application_ended(protocol, error)
            if isinstance(error, KeyboardInterrupt | SystemExit | GeneratorExit):
                raise  # these are meant for the loop, or come from it
        else:
            del self.connections[protocol]
            if not protocol.is_complete:
                protocol.application_returned()

    async def handle_reply(self, protocol: ServedProtocol, message: dict[str, Any]) -> None:
        """The application's ``send``.

        Raises:
            ApplicationProtocolError: The message breaks a rule of ASGI.
            ClientDisconnected: The client is gone.
        """
        waiting = protocol.handle_reply(message)
        if waiting is not None:
            await waiting

    def _application_ended(self, protocol: ServedProtocol, error: BaseException) -> None:
        self.connections.pop(protocol, None)
        if not isinstance(error, asyncio.CancelledError):
            self._report(protocol, error)
        protocol.handle_exception(error)

    def _report(self, protocol: ServedProtocol, error: BaseException) -> None:
        if is_disconnect(error, was_told=protocol.knows_of_disconnect):
            _log.debug("%s: the client went away", protocol.describe())
        else:
            _log.error("Exception inside application: %s: %s", protocol.describe(), error, exc_info=error)

    # The periodic work

    def application_checker(self) -> None:
        """Cancel applications that go on too long after their client has gone."""
        now = time()
        for protocol, details in list(self.connections.items()):
            gone = details.get("disconnected")
            task = details.get("application_instance")
            if gone is None or task is None or now - gone < self.application_close_timeout:
                continue
            if protocol.waits_for_peer:
                details["disconnected"] = now  # who reads is not gone, whatever its FIN said
                continue
            if not details.setdefault("killed", False):
                details["killed"] = True
                _log.warning(
                    "%s: its application was still running %.0f s after the client had gone; it is cancelled",
                    protocol.describe(),
                    now - gone,
                )
            task.cancel()
        if not self._is_over:
            self._reactor.callLater(TICK_S, self.application_checker)

    def timeout_checker(self) -> None:
        """Advance the clock and the Date, end what has waited too long, and reap Twisted's child processes."""
        assert self._http_factory is not None, "_prepare comes first"
        self.clock.tick(self._loop.time())
        self._http_factory.default_fields.refresh(time())
        for item, check in [
            *((connection, connection.check_deadlines) for connection in self._http_factory.connections),
            *((protocol, protocol.check_timeouts) for protocol in self.connections),
        ]:
            try:
                check()
            except Exception:  # noqa: BLE001  # one that fails must not keep the others from being checked
                _log.exception("Checking the timeouts of %r failed", item)
        _reap_children()
        if not self._is_over:
            self._reactor.callLater(TICK_S, self.timeout_checker)

    def kill_all_applications(self) -> Deferred[None]:
        """Cancel every application; the Deferred fires when they have ended, or will not."""
        return Deferred.fromFuture(asyncio.ensure_future(self._cancel_applications(), loop=self._loop))

    async def _cancel_applications(self) -> None:
        tasks = self._application_tasks()
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=_CANCEL_GRACE_S)

    def log_action(self, protocol: str, action: str, details: dict[str, Any]) -> None:
        """Pass an action on to the action logger, if there is one."""
        if self.action_logger is None:
            return
        try:
            self.action_logger(protocol, action, details)
        except Exception:  # noqa: BLE001  # a log line must not fail a request
            _log.exception("The action logger failed")

    def call_soon(self, callback: Callable[[], None]) -> object:
        """Run ``callback`` in the next turn of the loop, outside any application's context."""
        return self._loop.call_soon(callback, context=self._context)

    def _forwarding(self) -> Forwarding | None:
        if not self.proxy_forwarded_address_header:
            return None
        return Forwarding(
            self.trusted_peers,
            self.proxy_forwarded_address_header,
            self.proxy_forwarded_port_header,
            self.proxy_forwarded_proto_header,
        )


def tell_of_failed_start(error: Exception) -> int:
    """Log what kept a server from starting, and return what the process should exit with."""
    if isinstance(error, LifespanFailed):
        _log.critical("The application failed to start: %s", error, exc_info=error.__cause__)
        return STATUS_STARTUP_FAILED
    if isinstance(error, ListenError):
        _log.critical("%s", error)
    else:
        _log.critical("The server failed to start", exc_info=error)
    return STATUS_LISTEN_FAILED


def _reap_children() -> None:
    """Find ended children of `reactor.spawnProcess`, the application's; only those are waited for.

    Twisted does so on SIGCHLD, whose handler is not installed here, and which uvloop would keep from it.
    """
    processes = sys.modules.get("twisted.internet.process")
    if processes is not None and processes.reapProcessHandlers:
        processes.reapAllProcesses()


def _settle_garbage_collector() -> None:
    """Make the collector fit for serving, in a process that does nothing else (docs/decisions/0009)."""
    # What starting has made stays: leave it out of every later collection, which would find nothing in it.
    gc.collect()
    gc.freeze()
    youngest, *older = gc.get_threshold()
    if 0 < youngest < _COLLECT_AFTER:
        gc.set_threshold(_COLLECT_AFTER, *older)


async def _settled(result: object) -> None:
    """Wait for a Deferred, if it is one."""
    if isinstance(result, Deferred):
        await result.asFuture(asyncio.get_running_loop())
