"""Views; those that outlive their client print when they start and how they end."""

from __future__ import annotations

import asyncio
import hashlib
import os
import threading
import time
from collections.abc import AsyncIterator

from django.http import FileResponse, HttpRequest, HttpResponse, JsonResponse, StreamingHttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import etag

ROWS = 2000


def _is_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()


def hello(request: HttpRequest) -> HttpResponse:
    return HttpResponse(f"Hello, {request.GET.get('name', 'you')}! {_is_main_thread()}")


async def hello_async(request: HttpRequest) -> HttpResponse:
    await asyncio.sleep(0)
    return HttpResponse(f"Hello, {request.GET.get('name', 'you')}! {_is_main_thread()}")


@csrf_exempt
def upload(request: HttpRequest) -> JsonResponse:
    file = request.FILES["file"]
    digest = hashlib.sha256()
    for chunk in file.chunks():
        digest.update(chunk)
    return JsonResponse({"name": file.name, "size": file.size, "sha256": digest.hexdigest(), "by": request.POST["by"]})


@csrf_exempt
def digest(request: HttpRequest) -> JsonResponse:
    return JsonResponse({"size": len(request.body), "sha256": hashlib.sha256(request.body).hexdigest()})


@csrf_exempt
async def digest_async(request: HttpRequest) -> JsonResponse:
    return JsonResponse({"size": len(request.body), "sha256": hashlib.sha256(request.body).hexdigest()})


def stream(request: HttpRequest) -> StreamingHttpResponse:
    return StreamingHttpResponse((f"row {number}\n" for number in range(ROWS)), content_type="text/plain")


async def stream_async(request: HttpRequest) -> StreamingHttpResponse:
    async def rows() -> AsyncIterator[str]:
        for number in range(ROWS):
            yield f"row {number}\n"

    return StreamingHttpResponse(rows(), content_type="text/plain")


@etag(lambda request: '"v1"')
def conditional(request: HttpRequest) -> HttpResponse:
    return HttpResponse("the first version")


def cookies(request: HttpRequest) -> HttpResponse:
    response = JsonResponse(request.COOKIES)
    response.set_cookie("flavour", "oat", httponly=True)
    response.set_cookie("shape", "round", max_age=60)
    return response


def session(request: HttpRequest) -> HttpResponse:
    request.session["visits"] = request.session.get("visits", 0) + 1
    return HttpResponse(str(request.session["visits"]))


def to_hello(request: HttpRequest) -> HttpResponse:
    return redirect("/?name=redirected")


def boom(request: HttpRequest) -> HttpResponse:
    raise RuntimeError("the view broke")


async def boom_async(request: HttpRequest) -> HttpResponse:
    raise RuntimeError("the view broke")


async def boom_stream(request: HttpRequest) -> StreamingHttpResponse:
    async def rows() -> AsyncIterator[str]:
        yield "the only row\n"
        raise RuntimeError("the stream broke")

    return StreamingHttpResponse(rows())


def slow(request: HttpRequest) -> HttpResponse:
    print(f"started {request.get_full_path()}")
    time.sleep(0.3)
    print(f"ended {request.get_full_path()}")
    return HttpResponse("late")


async def slow_async(request: HttpRequest) -> HttpResponse:
    print(f"started {request.get_full_path()}")
    try:
        await asyncio.sleep(30)
    except asyncio.CancelledError:
        print(f"cancelled {request.get_full_path()}")
        raise
    return HttpResponse("late")


async def events(request: HttpRequest) -> StreamingHttpResponse:
    async def ticks() -> AsyncIterator[str]:
        try:
            for number in range(3000):
                yield f"data: {number}\n\n"
                await asyncio.sleep(0.01)
        finally:
            print(f"closed {request.get_full_path()}")

    return StreamingHttpResponse(ticks(), content_type="text/event-stream")


def origin(request: HttpRequest) -> JsonResponse:
    """What Django makes of where a request comes from, and of where it went."""
    return JsonResponse(
        {
            "client": request.META.get("REMOTE_ADDR"),
            "secure": request.is_secure(),
            "host": request.get_host(),
            "uri": request.build_absolute_uri(),
            "prefix": request.META["SCRIPT_NAME"],
            "here": reverse(origin),
        }
    )


def file(request: HttpRequest) -> FileResponse:
    return FileResponse(open(os.environ["BIG_FILE"], "rb"), as_attachment=True)  # Django closes it
