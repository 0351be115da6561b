"""One view of each kind that an ASGI server has to serve."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING

from django.http import HttpResponse, JsonResponse, StreamingHttpResponse
from django.views.decorators.http import require_POST

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from django.http import HttpRequest

FORM = """<!doctype html>
<title>daphne-clone and Django</title>
<h1>Hello from Django!</h1>
<form method="post" action="/upload/" enctype="multipart/form-data">
  <input type="file" name="file"> <button>Upload</button>
</form>
"""


def home(request: HttpRequest) -> HttpResponse:
    """A sync view: Django runs it in a thread, so it may block."""
    return HttpResponse(FORM)


async def async_home(request: HttpRequest) -> JsonResponse:
    """An async view: it runs on the server's event loop."""
    await asyncio.sleep(0)
    return JsonResponse({"on_main_thread": threading.current_thread() is threading.main_thread()})


@require_POST
def upload(request: HttpRequest) -> JsonResponse:
    """Count the bytes of the uploaded file; Django writes one over 2.5 MB to a temporary file."""
    file = request.FILES.get("file")
    if file is None:
        return JsonResponse({"error": "the form has no file"}, status=400)
    size = sum(len(chunk) for chunk in file.chunks())
    return JsonResponse({"name": file.name, "size": size})


def stream(request: HttpRequest) -> StreamingHttpResponse:
    """A stream from a plain iterator. Under ASGI, Django reads all of it before it sends any: prefer the async one."""

    def rows() -> Iterator[str]:
        for number in range(1000):
            yield f"row {number}\n"

    return StreamingHttpResponse(rows(), content_type="text/plain")


async def async_stream(request: HttpRequest) -> StreamingHttpResponse:
    """A stream from an async iterator: each part is sent when it is made."""

    async def ticks() -> AsyncIterator[str]:
        for number in range(3):
            yield f"data: tick {number}\n\n"
            await asyncio.sleep(0.1)

    return StreamingHttpResponse(ticks(), content_type="text/event-stream")
