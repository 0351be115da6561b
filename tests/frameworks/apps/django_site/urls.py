"""Paths."""

from __future__ import annotations

from django.urls import path

from django_site import views

urlpatterns = [
    path("", views.hello),
    path("async/", views.hello_async),
    path("upload/", views.upload),
    path("digest/", views.digest),
    path("digest/async/", views.digest_async),
    path("stream/", views.stream),
    path("stream/async/", views.stream_async),
    path("conditional/", views.conditional),
    path("cookies/", views.cookies),
    path("session/", views.session),
    path("redirect/", views.to_hello),
    path("boom/", views.boom),
    path("boom/async/", views.boom_async),
    path("boom/stream/", views.boom_stream),
    path("slow/", views.slow),
    path("slow/async/", views.slow_async),
    path("events/", views.events),
    path("file/", views.file),
    path("origin/", views.origin),
]
