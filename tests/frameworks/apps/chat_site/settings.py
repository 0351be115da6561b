"""Settings: what the tutorial adds to `startproject`. The environment says where the database and the layer are."""

from __future__ import annotations

import os
from typing import Any

REDIS_SOCKET = os.environ.get("REDIS_SOCKET")  # of a running redis-server; without it the layer is in memory

ALLOWED_HOSTS = ["127.0.0.1"]
ASGI_APPLICATION = "chat_site.asgi.application"
CHANNEL_LAYERS: dict[str, dict[str, Any]] = {"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}}
if REDIS_SOCKET:
    CHANNEL_LAYERS["default"] = {
        "BACKEND": os.environ["CHANNEL_LAYER"],
        # From its version 8 on, redis gives up reading after the 5 seconds that channels_redis waits for a message.
        "CONFIG": {"hosts": [{"address": f"unix://{REDIS_SOCKET}", "socket_timeout": 30}]},
    }
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": os.environ["DATABASE"]}}
DEBUG = False
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
INSTALLED_APPS = [
    "channels",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "chat_site",
]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
]
ROOT_URLCONF = "chat_site.urls"
SECRET_KEY = "only for tests"
TEMPLATES = [{"BACKEND": "django.template.backends.django.DjangoTemplates", "APP_DIRS": True}]
USE_TZ = True
