"""What belongs to a connection is freed by its end, and not by the cycle collector, which comes late and costs time."""

import json
import subprocess
import sys
import textwrap

import pytest

SCRIPT = textwrap.dedent("""
    import asyncio, collections, gc, json, sys
    import daphne_clone

    async def app(scope, receive, send):
        if scope["type"] == "lifespan":
            return
        await send({"type": "http.response.start", "status": 200})
        await send({"type": "http.response.body", "body": b"x"})

    async def ask(port, request, end):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(request)
        await reader.readuntil(end)
        writer.close()
        await writer.wait_closed()

    async def main(request, end):
        stop = asyncio.Event()
        serving = asyncio.create_task(daphne_clone.serve(
            app, shutdown_trigger=stop.wait, port=0, verbosity=0, lifespan="off"))
        server = None
        while server is None or not server.listening_addresses:
            await asyncio.sleep(0.01)
            servers = [o for o in gc.get_objects() if type(o).__qualname__ == "Server"]
            server = next((o for o in servers if type(o).__module__ == "daphne_clone.server"), None)
        port = server.listening_addresses[0][1]
        await ask(port, request, end)
        await asyncio.sleep(0.1)
        gc.collect(); gc.disable(); gc.set_debug(gc.DEBUG_SAVEALL)
        for _ in range(5):
            await ask(port, request, end)
        await asyncio.sleep(0.1)
        gc.collect()
        found = collections.Counter(type(o).__module__ for o in gc.garbage)
        gc.set_debug(0); gc.garbage.clear()
        stop.set()
        await serving
        print(json.dumps(found))

    loop, request, end = sys.argv[1:]
    request, end = bytes.fromhex(request), bytes.fromhex(end)
    if loop == "uvloop":
        import uvloop
        uvloop.run(main(request, end))
    else:
        asyncio.run(main(request, end))
""")

# A preface, SETTINGS, and a GET of "/" by indices of the static table, its authority "a".
HTTP_2 = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(3) + b"\x04" + bytes(5)
HTTP_2 += b"\0\0\x06\x01\x05\0\0\0\x01\x82\x86\x84\x41\x01a"


@pytest.mark.parametrize("loop", ["uvloop", "asyncio"])
@pytest.mark.parametrize(
    ("request_", "end"),
    [(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", b"\r\n\r\nx"), (HTTP_2, b"\0\0\x01\0\x01\0\0\0\x01x")],
    ids=["HTTP/1.1", "HTTP/2"],
)
def test_a_closed_connection_leaves_no_cycles(loop: str, request_: bytes, end: bytes) -> None:
    command = [sys.executable, "-c", SCRIPT, loop, request_.hex(), end.hex()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 0, done.stderr
    assert not [module for module in json.loads(done.stdout) if "daphne_clone" in module], done.stdout
