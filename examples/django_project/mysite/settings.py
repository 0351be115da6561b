"""The least that a Django project needs: no database, no sessions, no static files.

For a real one, take ``DEBUG``, ``SECRET_KEY`` and ``ALLOWED_HOSTS`` from the environment.
"""

from __future__ import annotations

DEBUG = False
SECRET_KEY = "an example's key: it protects nothing here, and must not protect anything elsewhere"
ALLOWED_HOSTS = ["localhost", "127.0.0.1", "[::1]"]

ROOT_URLCONF = "mysite.urls"
ASGI_APPLICATION = "mysite.asgi.application"
INSTALLED_APPS: list[str] = []
DATABASES: dict[str, dict[str, str]] = {}
# All of these run in async mode too, so an async view never has to wait for a thread.
MIDDLEWARE = ["django.middleware.security.SecurityMiddleware", "django.middleware.common.CommonMiddleware"]

USE_TZ = True
