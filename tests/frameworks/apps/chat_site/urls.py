"""Paths."""

from __future__ import annotations

from django.urls import path

from chat_site import views

urlpatterns = [
    path("chat/<str:room_name>/", views.room),
    path("login/<str:name>/", views.log_in),
]
