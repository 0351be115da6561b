"""Which view answers which path."""

from __future__ import annotations

from django.urls import path

from mysite import views

urlpatterns = [
    path("", views.home),
    path("async/", views.async_home),
    path("upload/", views.upload),
    path("stream/", views.stream),
    path("async-stream/", views.async_stream),
]
