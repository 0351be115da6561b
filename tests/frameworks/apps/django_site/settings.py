"""Settings: the middleware that `startproject` writes, as far as it needs no database, and conditional GET."""

from __future__ import annotations

ALLOWED_HOSTS = ["127.0.0.1"]
DATA_UPLOAD_MAX_MEMORY_SIZE = None
DEBUG = False
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.http.ConditionalGetMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]
ROOT_URLCONF = "django_site.urls"
SECRET_KEY = "only for tests"
SESSION_ENGINE = "django.contrib.sessions.backends.signed_cookies"
USE_TZ = True
