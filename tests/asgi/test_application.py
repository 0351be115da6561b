"""Loading says what is wrong; adapting makes one kind of callable of three."""

from __future__ import annotations

import asyncio
import functools
import logging
import os
import sys
import threading
import traceback

import pytest

from daphne_clone.asgi.application import adapt, detect_interface, load_application
from daphne_clone.asgi.lifespan import Lifespan
from daphne_clone.errors import ApplicationLoadError, ClientDisconnected, ConfigurationError

# Loading


@pytest.fixture
def write_module(tmp_path, monkeypatch):
    """Return a function that writes a module to a directory of its own; what was imported is forgotten afterwards."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    before = set(sys.modules)

    def write(name, source):
        path = tmp_path / f"{name}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(source)
        return str(tmp_path)

    yield write
    for name in set(sys.modules) - before:
        del sys.modules[name]


def load_error(path, app_dir=".", **options):
    with pytest.raises(ApplicationLoadError) as caught:
        load_application(path, app_dir=app_dir, **options)
    return caught.value


APP = "async def app(scope, receive, send): pass\n"


class TestLoading:
    def test_attribute_of_a_module_is_loaded(self, write_module):
        directory = write_module("site_a", APP)
        assert load_application("site_a:app", app_dir=directory) is sys.modules["site_a"].app

    def test_nested_attribute_is_loaded(self, write_module):
        directory = write_module(
            "site_b", "class holder:\n class inner:\n  async def app(scope, receive, send): pass\n"
        )
        assert callable(load_application("site_b:holder.inner.app", app_dir=directory))

    def test_module_in_a_package_is_loaded(self, write_module):
        write_module("mysite_c/__init__", "")
        directory = write_module("mysite_c/asgi", APP)
        assert callable(load_application("mysite_c.asgi:app", app_dir=directory))


class TestAppDir:
    def test_it_is_first_absolute_and_there_once(self, write_module, tmp_path, monkeypatch):
        write_module("site_d", APP)
        monkeypatch.chdir(tmp_path)
        sys.path.append(str(tmp_path))
        for _ in range(2):
            load_application("site_d:app")
        assert sys.path[0] == str(tmp_path)
        assert sys.path.count(str(tmp_path)) == 1

    def test_it_must_be_a_directory(self, tmp_path):
        with pytest.raises(ConfigurationError, match="--app-dir"):
            load_application("os:getcwd", app_dir=str(tmp_path / "none"))


class TestLoadErrors:
    def test_missing_module_is_named(self):
        error = load_error("no_such_module_here:app")
        assert "no module 'no_such_module_here'" in str(error)
        assert "--app-dir" in str(error)

    def test_missing_submodule_is_named(self, write_module):
        directory = write_module("mysite_e/__init__", "")
        assert "no module 'mysite_e.asgi'" in str(load_error("mysite_e.asgi:app", directory))

    def test_missing_package_of_a_submodule_is_named(self):
        assert "no module 'no_such_package'" in str(load_error("no_such_package.asgi:app"))

    def test_failing_import_inside_the_module_is_chained(self, write_module):
        directory = write_module("site_f", "import no_such_dependency\n")
        error = load_error("site_f:app", directory)
        assert str(error) == "importing 'site_f' failed: ModuleNotFoundError: No module named 'no_such_dependency'"
        assert isinstance(error.__cause__, ModuleNotFoundError)
        assert "import no_such_dependency" in "".join(traceback.format_exception(error))

    def test_package_that_imports_its_missing_module_is_not_taken_for_missing(self, write_module):
        directory = write_module("mysite_g/__init__", "from mysite_g.asgi import x\n")
        assert "importing 'mysite_g.asgi' failed" in str(load_error("mysite_g.asgi:app", directory))

    @pytest.mark.parametrize(
        ("source", "cause"),
        [("1/0", ZeroDivisionError), ("def", SyntaxError), ("import sys; sys.exit(3)", SystemExit)],
        ids=["exception", "syntax", "exit"],
    )
    def test_module_that_raises_is_chained(self, write_module, source, cause):
        directory = write_module(f"site_{cause.__name__}", source)
        error = load_error(f"site_{cause.__name__}:app", directory)
        assert isinstance(error.__cause__, cause)
        assert "failed" in str(error)

    def test_missing_attribute_suggests_close_callables(self, write_module):
        directory = write_module("site_h", "aplication_name = 'x'\nasync def application(s, r, x): pass\n")
        message = str(load_error("site_h:aplication", directory))
        assert message == "'site_h:aplication': site_h has no attribute 'aplication'; did you mean application?"

    def test_missing_attribute_with_nothing_close_suggests_nothing(self, write_module):
        directory = write_module("site_i", "x = 1\n")
        assert "did you mean" not in str(load_error("site_i:zzz", directory))

    def test_missing_nested_attribute_names_its_holder(self, write_module):
        directory = write_module("site_j", "class holder: pass\n")
        assert "site_j.holder has no attribute 'app'" in str(load_error("site_j:holder.app", directory))

    def test_what_cannot_be_called_is_described(self, write_module):
        directory = write_module("site_k", "import os\napp = {}\n")
        assert "of type dict" in str(load_error("site_k:app", directory))
        assert "a module" in str(load_error("site_k:os", directory))

    def test_path_without_colon_says_what_is_expected(self):
        assert "expected module:attribute" in str(load_error("no_such_module_here"))

    @pytest.mark.parametrize("path", ["", ":", ":app", "site:"])
    def test_half_a_path_says_what_is_expected(self, path):
        assert "expected module:attribute" in str(load_error(path))

    def test_path_without_colon_suggests_the_usual_names(self, write_module):
        directory = write_module("site_l", "application = app = print\n")
        assert "did you mean site_l:app or site_l:application?" in str(load_error("site_l", directory))

    def test_path_without_colon_suggests_nothing_that_is_not_there(self, write_module):
        directory = write_module("site_m", "application = 1\n")
        assert "did you mean" not in str(load_error("site_m", directory))

    @pytest.mark.parametrize("path", ["mysite/asgi.py:app", "mysite/asgi:app", "./mysite/asgi.py:app"])
    def test_file_name_suggests_the_module(self, path):
        assert "did you mean mysite.asgi?" in str(load_error(path))

    @pytest.mark.parametrize("path", ["my-site:app", "..site:app", "a b:app"])
    def test_what_is_no_module_name_is_refused(self, path):
        assert "is not a module's name" in str(load_error(path))

    def test_file_suffix_suggests_the_module(self, write_module):
        directory = write_module("site_n", APP)
        assert "did you mean site_n?" in str(load_error("site_n.py:app", directory))


class TestFactory:
    def test_it_makes_the_application(self, write_module):
        directory = write_module("site_o", f"{APP}def create(): return app\n")
        assert load_application("site_o:create", factory=True, app_dir=directory) is sys.modules["site_o"].app

    def test_failure_is_chained(self, write_module):
        directory = write_module("site_p", "def create(): raise KeyError('DSN')\n")
        error = load_error("site_p:create", directory, factory=True)
        assert isinstance(error.__cause__, KeyError)

    def test_result_must_be_callable(self, write_module):
        directory = write_module("site_q", "def create(): return 5\n")
        assert "of type int" in str(load_error("site_q:create", directory, factory=True))

    def test_coroutine_function_is_refused(self, write_module):
        directory = write_module("site_r", "async def create(): pass\n")
        assert "coroutine function" in str(load_error("site_r:create", directory, factory=True))

    def test_function_without_arguments_suggests_the_option(self, write_module):
        directory = write_module("site_s", "def create(): pass\n")
        assert "--factory" in str(load_error("site_s:create", directory))


# Telling kinds of application apart


async def asgi3_function(scope, receive, send): ...


def asgi3_returning_awaitable(scope, receive, send):
    return asgi3_function(scope, receive, send)


class ASGI3Object:
    async def __call__(self, scope, receive, send): ...


class ASGI3PlainObject:
    def __call__(self, scope, receive, send):
        return asgi3_function(scope, receive, send)


class ASGI3AwaitedClass:
    def __init__(self, *args): ...

    def __await__(self):
        return asgi3_function(None, None, None).__await__()


class ASGI3CountedClass:
    def __init__(self, scope, receive, send): ...

    def __await__(self):
        yield from ()


class ASGI2Class:
    def __init__(self, scope): ...

    async def __call__(self, receive, send): ...


class ASGI2DefaultClass(ASGI2Class):
    def __init__(self, scope, *, debug=False, extra=None): ...


def asgi2_function(scope):
    return ASGI2Class(scope)


class ASGI2Marked:
    _asgi_double_callable = True

    def __call__(self, *args):
        return ASGI2Class(*args)


def anything(*args, **kwargs):
    return ASGI2Class(*args)


@functools.wraps(asgi3_function)
def wrapped_asgi3(*args, **kwargs):
    return asgi3_function(*args, **kwargs)


def wsgi_function(environ, start_response):
    return [b""]


def wsgi_with_option(environ, start_response, debug=False):
    return [b""]


class WSGIObject:
    def __call__(self, environ, start_response):
        return [b""]

    def method(self, environ, start_response):
        return [b""]


class WSGIClass:
    def __init__(self, environ, start_response): ...

    def __iter__(self):
        return iter(())


def with_prefix(prefix, environ, start_response):
    return [prefix]


async def asgi3_with_prefix(prefix, scope, receive, send): ...


class TestDetection:
    @pytest.mark.parametrize(
        "app",
        [
            asgi3_function,
            asgi3_returning_awaitable,
            ASGI3Object(),
            ASGI3Object().__call__,
            ASGI3PlainObject(),
            ASGI3AwaitedClass,
            ASGI3CountedClass,
            wrapped_asgi3,
            functools.partial(asgi3_with_prefix, "x"),
            functools.partial(ASGI3Object()),
            functools.partial(asgi3_returning_awaitable),
        ],
    )
    def test_asgi3(self, app):
        assert detect_interface(app) == "asgi3"

    @pytest.mark.parametrize(
        "app",
        [ASGI2Class, ASGI2DefaultClass, asgi2_function, ASGI2Marked(), anything, functools.partial(asgi2_function)],
    )
    def test_asgi2(self, app):
        assert detect_interface(app) == "asgi2"

    @pytest.mark.parametrize(
        "app",
        [
            wsgi_function,
            wsgi_with_option,
            WSGIObject(),
            WSGIObject().method,
            WSGIClass,
            functools.partial(with_prefix, b"x"),
            functools.partial(WSGIObject()),
        ],
    )
    def test_wsgi(self, app):
        assert detect_interface(app) == "wsgi"

    def test_signature_that_cannot_be_read_is_asgi2_as_in_daphne(self):
        assert detect_interface(type) == "asgi2"

    def test_django(self):
        pytest.importorskip("django")
        from django.core.handlers.asgi import ASGIHandler
        from django.core.handlers.wsgi import WSGIHandler

        assert detect_interface(WSGIHandler.__new__(WSGIHandler)) == "wsgi"
        assert detect_interface(ASGIHandler.__new__(ASGIHandler)) == "asgi3"

    def test_flask(self):
        flask = pytest.importorskip("flask")
        from werkzeug.middleware.proxy_fix import ProxyFix

        assert detect_interface(flask.Flask("x")) == "wsgi"
        assert detect_interface(ProxyFix(flask.Flask("x"))) == "wsgi"

    def test_starlette(self):
        pytest.importorskip("starlette")
        from starlette.applications import Starlette
        from starlette.endpoints import HTTPEndpoint

        assert detect_interface(Starlette()) == "asgi3"
        assert detect_interface(HTTPEndpoint) == "asgi3"

    def test_fastapi(self):
        assert detect_interface(pytest.importorskip("fastapi").FastAPI()) == "asgi3"

    def test_litestar(self):
        # with a logging_config it would configure the root logger of this process
        assert detect_interface(pytest.importorskip("litestar").Litestar(logging_config=None)) == "asgi3"

    def test_quart(self):
        assert detect_interface(pytest.importorskip("quart").Quart("x")) == "asgi3"


class TestAdapt:
    @pytest.mark.parametrize("interface", ["auto", "asgi3"])
    @pytest.mark.parametrize("app", [asgi3_function, ASGI3Object(), functools.partial(asgi3_with_prefix, "x")])
    def test_asgi3_coroutine_function_comes_back_as_it_is(self, app, interface):
        assert adapt(app, interface) is app

    @pytest.mark.parametrize("app", [asgi3_returning_awaitable, ASGI3PlainObject(), ASGI3AwaitedClass, wrapped_asgi3])
    def test_what_returns_an_awaitable_gives_coroutines(self, app):
        adapted = adapt(app)
        coroutine = adapted({}, None, None)
        assert asyncio.iscoroutine(coroutine)
        asyncio.run(coroutine)
        assert adapt(adapted) is adapted

    @pytest.mark.parametrize("interface", ["auto", "asgi2"])
    def test_asgi2_is_called_twice(self, interface):
        calls = []

        class App:
            def __init__(self, scope):
                calls.append(scope)

            async def __call__(self, receive, send):
                calls.append((receive, send))

        asyncio.run(adapt(App, interface)("scope", "receive", "send"))
        assert calls == ["scope", ("receive", "send")]

    def test_named_interface_wins(self):
        assert adapt(asgi3_function, "wsgi") is not asgi3_function

    def test_unknown_interface_is_refused(self):
        with pytest.raises(ConfigurationError, match="--interface"):
            adapt(asgi3_function, "asgi4")


# WSGI


def http_scope(**changes):
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.5"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": "/",
        "raw_path": b"/",
        "query_string": b"",
        "root_path": "",
        "headers": [(b"host", b"example.org")],
        "client": ["192.0.2.1", 4242],
        "server": ["127.0.0.1", 8000],
        "extensions": {},
        **changes,
    }


def exchange(app, *events, scope=None, send_error=None):
    """Run one exchange of an adapted WSGI application and return the messages it sent."""
    events = list(events or [{"type": "http.request", "body": b"", "more_body": False}])
    sent = []

    async def receive():
        return events.pop(0)

    async def send(message):
        if send_error is not None and message["type"] == "http.response.body":
            raise send_error
        sent.append(message)

    asyncio.run(adapt(app, "wsgi")(scope or http_scope(), receive, send))
    return sent


def body_of(sent):
    return b"".join(message.get("body", b"") for message in sent if message["type"] == "http.response.body")


class Capture:
    """A WSGI application that keeps its environ and its body."""

    def __init__(self, status="200 OK", headers=(), result=(b"ok",)):
        self.status, self.headers, self.result = status, list(headers), result

    def __call__(self, environ, start_response):
        self.environ = environ
        self.body = environ["wsgi.input"].read()
        start_response(self.status, self.headers)
        return self.result


def environ_of(**changes):
    app = Capture()
    exchange(app, scope=http_scope(**changes))
    return app.environ


class TestWSGIEnviron:
    @pytest.mark.parametrize(
        ("root_path", "path", "script_name", "path_info"),
        [
            ("", "/x", "", "/x"),
            ("/api", "/x", "/api", "/x"),
            ("/api", "/api/x", "/api", "/x"),
            ("/api", "/apiary", "/api", "/apiary"),
            ("/api/", "/api/x", "/api", "/x"),
            ("/api", "/api", "/api", ""),
            ("/", "/x", "", "/x"),
            ("/ä", "/ä/ö", "/\xc3\xa4", "/\xc3\xb6"),
        ],
    )
    def test_script_name_and_path_info(self, root_path, path, script_name, path_info):
        environ = environ_of(root_path=root_path, path=path)
        assert (environ["SCRIPT_NAME"], environ["PATH_INFO"]) == (script_name, path_info)

    def test_query_may_hold_any_octet(self):
        assert environ_of(query_string=b"q=\xff")["QUERY_STRING"] == "q=\xff"

    def test_headers_are_there(self):
        headers = [(b"content-type", b"a/b"), (b"x-one", b"1"), (b"x-one", b"2"), (b"x-hi", b"\xe4")]
        environ = environ_of(headers=headers)
        assert environ["CONTENT_TYPE"] == "a/b"
        assert environ["HTTP_X_ONE"] == "1,2"
        assert environ["HTTP_X_HI"] == "\xe4"

    def test_more_equal_headers_than_asgiref_allows_are_passed_on(self):
        assert environ_of(headers=[(b"x-one", b"1")] * 150)["HTTP_X_ONE"].count("1") == 150

    def test_addresses(self):
        environ = environ_of()
        assert (environ["REMOTE_ADDR"], environ["SERVER_NAME"], environ["SERVER_PORT"]) == (
            "192.0.2.1",
            "127.0.0.1",
            "8000",
        )

    def test_client_on_a_unix_socket_is_empty(self):
        assert environ_of(client=None, server=["/run/x.sock", None])["REMOTE_ADDR"] == ""

    def test_environ_is_valid(self):
        from wsgiref.validate import validator

        def app(environ, start_response):
            environ["wsgi.input"].read(1)
            start_response("200 OK", [("Content-Type", "text/plain")])
            return [b"ok"]

        assert body_of(exchange(validator(app))) == b"ok"


class TestWSGIBody:
    def test_body_without_length_gets_one(self):
        app = Capture()
        events = [{"type": "http.request", "body": b"abc", "more_body": True}, {"type": "http.request", "body": b"de"}]
        exchange(app, *events, scope=http_scope(headers=[(b"transfer-encoding", b"chunked")]))
        assert app.body == b"abcde"
        assert app.environ["CONTENT_LENGTH"] == "5"
        assert "HTTP_TRANSFER_ENCODING" not in app.environ

    def test_big_body_is_kept_in_a_file(self):
        kept_in_memory = []

        def app(environ, start_response):
            kept_in_memory.append(not environ["wsgi.input"]._rolled)
            start_response("200 OK", [])
            return [str(len(environ["wsgi.input"].read())).encode()]

        piece = {"type": "http.request", "body": b"x" * 65536, "more_body": True}
        sent = exchange(app, *[piece] * 32, {"type": "http.request", "body": b""})
        assert body_of(sent) == b"2097152"
        assert kept_in_memory == [False]

    def test_client_that_leaves_during_its_upload_is_no_error(self):
        events = [{"type": "http.request", "body": b"abc", "more_body": True}, {"type": "http.disconnect"}]
        assert exchange(Capture(), *events) == []


class TestWSGIResponse:
    def test_head_and_body_are_sent(self):
        sent = exchange(Capture("404 Not Found", [("X-A", "1")]))
        assert sent == [
            {"type": "http.response.start", "status": 404, "headers": [(b"x-a", b"1")], "trailers": False},
            {"type": "http.response.body", "body": b"ok", "more_body": True},
            {"type": "http.response.body", "body": b"", "more_body": False},
        ]

    def test_content_length_ends_the_body(self):
        sent = exchange(Capture(headers=[("Content-Length", "3")], result=[b"ab", b"cd", b"ef"]))
        assert [message.get("body") for message in sent] == [None, b"ab", b"c"]
        assert sent[-1]["more_body"] is False

    def test_empty_result_sends_the_head(self):
        sent = exchange(Capture("204 No Content", result=[]))
        assert [message["type"] for message in sent] == ["http.response.start", "http.response.body"]

    def test_head_request_may_announce_a_length_and_send_nothing(self):
        sent = exchange(Capture(headers=[("Content-Length", "3")], result=[]), scope=http_scope(method="HEAD"))
        assert (sent[0]["headers"], body_of(sent)) == ([(b"content-length", b"3")], b"")

    def test_latin_1_value_and_status_without_reason_are_sent(self):
        sent = exchange(Capture("200", [("X-Name", "\xe4")]))
        assert (sent[0]["status"], sent[0]["headers"]) == (200, [(b"x-name", b"\xe4")])

    def test_generator_may_start_late(self):
        def app(environ, start_response):
            yield b""
            start_response("201 Created", [])
            yield b"x"

        sent = exchange(app)
        assert (sent[0]["status"], body_of(sent)) == (201, b"x")

    def test_head_may_be_replaced_until_the_first_octet(self):
        def app(environ, start_response):
            start_response("200 OK", [])
            try:
                raise KeyError
            except KeyError:
                start_response("500 Oops", [], sys.exc_info())
            return [b""]

        assert exchange(app)[0]["status"] == 500

    def test_head_cannot_be_replaced_after_it(self):
        def app(environ, start_response):
            start_response("200 OK", [])
            yield b"x"
            try:
                raise KeyError("late")
            except KeyError:
                start_response("500 Oops", [], sys.exc_info())

        with pytest.raises(KeyError, match="late"):
            exchange(app)

    def test_second_start_without_exc_info_is_an_error(self):
        def app(environ, start_response):
            start_response("200 OK", [])
            start_response("200 OK", [])
            return []

        with pytest.raises(ValueError, match="second time"):
            exchange(app)

    def test_missing_start_is_an_error(self):
        with pytest.raises(ValueError, match="did not call start_response"):
            exchange(lambda environ, start_response: [b"x"])

    def test_write_sends(self):
        def app(environ, start_response):
            write = start_response("200 OK", [])
            write(b"a")
            write(b"b")
            return [b"c"]

        assert body_of(exchange(app)) == b"abc"


class Closing:
    def __init__(self, *chunks, error=None):
        self.chunks, self.error, self.closed = chunks, error, 0

    def __iter__(self):
        yield from self.chunks
        if self.error:
            raise self.error

    def close(self):
        self.closed += 1


class TestWSGIClose:
    def test_result_is_closed_at_its_end(self):
        result = Closing(b"x")
        exchange(Capture(result=result))
        assert result.closed == 1

    def test_result_is_closed_when_its_length_is_reached(self):
        result = Closing(b"x", b"y")
        exchange(Capture(headers=[("Content-Length", "1")], result=result))
        assert result.closed == 1

    def test_result_is_closed_when_it_raises(self):
        result = Closing(b"x", error=ZeroDivisionError())
        with pytest.raises(ZeroDivisionError):
            exchange(Capture(result=result))
        assert result.closed == 1

    def test_result_is_closed_when_the_client_is_gone(self):
        result = Closing(b"x", b"y")
        with pytest.raises(ClientDisconnected):
            exchange(Capture(result=result), send_error=ClientDisconnected())
        assert result.closed == 1


class TestWSGIThreads:
    def test_requests_run_side_by_side(self):
        both_there = threading.Barrier(2)

        def app(environ, start_response):
            both_there.wait(5)
            start_response("200 OK", [])
            return []

        async def one():
            async def receive():
                return {"type": "http.request", "body": b"", "more_body": False}

            async def send(message): ...

            await adapt(app)(http_scope(), receive, send)

        async def both():
            await asyncio.gather(one(), one())

        asyncio.run(both())


class TestWSGIOtherScopes:
    def test_lifespan_is_quietly_unsupported(self, caplog):
        async def main():
            lifespan = Lifespan(adapt(wsgi_function), "auto", asyncio.get_running_loop())
            await lifespan.startup()
            return await lifespan.shutdown()

        assert asyncio.run(main()) is True
        assert [record for record in caplog.records if record.levelno >= logging.INFO] == []

    def test_websocket_is_refused(self):
        sent = []

        async def receive():
            return {"type": "websocket.connect"}

        async def send(message):
            sent.append(message)

        asyncio.run(adapt(wsgi_function)({"type": "websocket", "path": "/"}, receive, send))
        assert [message["type"] for message in sent] == ["websocket.close"]


class TestWSGIFrameworks:
    def test_flask_reads_a_chunked_form(self):
        flask = pytest.importorskip("flask")
        app = flask.Flask("x")

        @app.post("/form")
        def form():
            return flask.request.form["a"] + flask.url_for("form")

        headers = [
            (b"host", b"example.org"),
            (b"transfer-encoding", b"chunked"),
            (b"content-type", b"application/x-www-form-urlencoded"),
        ]
        scope = http_scope(method="POST", path="/form", root_path="/api", headers=headers)
        sent = exchange(app, {"type": "http.request", "body": b"a=1"}, scope=scope)
        assert (sent[0]["status"], body_of(sent)) == (200, b"1/api/form")

    def test_django_ends_its_request(self):
        pytest.importorskip("django")
        import subprocess

        program = """
import asyncio, django
from django.conf import settings
settings.configure(ROOT_URLCONF=__name__, ALLOWED_HOSTS=["*"], SECRET_KEY="x", MIDDLEWARE=[])
django.setup()
from django.core.handlers.wsgi import WSGIHandler
from django.core.signals import request_finished
from django.http import HttpResponse
from django.urls import path
from daphne_clone.asgi.application import adapt
urlpatterns = [path("x/", lambda request: HttpResponse(request.path + request.body.decode()))]
finished = []
request_finished.connect(lambda **kwargs: finished.append(1), weak=False)
async def receive(): return {"type": "http.request", "body": b"abc"}
sent = []
async def send(message): sent.append(message)
scope = dict(type="http", http_version="1.1", method="POST", path="/x/", query_string=b"", root_path="/api",
             headers=[(b"host", b"h")], client=None, server=["h", 80], scheme="http")
asyncio.run(adapt(WSGIHandler())(scope, receive, send))
assert (sent[0]["status"], sent[1]["body"], finished) == (200, b"/api/x/abc", [1]), (sent, finished)
"""
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
        subprocess.run([sys.executable, "-c", program], check=True, env=environment, timeout=30)
