"""The Django project as an ASGI application.

    server --app-dir examples/django_project mysite.asgi:application

Its page, with a form to upload a file, is at http://127.0.0.1:8000/.
"""

from __future__ import annotations

import os

from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "mysite.settings")

application = get_asgi_application()
