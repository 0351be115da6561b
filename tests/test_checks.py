"""The system check of the Django app, as `manage.py check` and SILENCED_SYSTEM_CHECKS meet it."""

from __future__ import annotations

import pytest

from tests.support.django_project import DjangoProject

OURS, STATIC = "daphne_clone", "django.contrib.staticfiles"


@pytest.mark.parametrize(
    "apps",
    [
        [OURS, STATIC],
        [OURS],
        [f"{OURS}.apps.DaphneConfig", f"{STATIC}.apps.StaticFilesConfig"],
        ["local_app.LocalConfig", STATIC],
    ],
)
def test_an_app_that_comes_before_staticfiles_is_fine(tmp_path, apps):
    project = DjangoProject(tmp_path, f"INSTALLED_APPS = {apps}")
    project.write("local_app.py", "from daphne_clone.apps import DaphneConfig\nclass LocalConfig(DaphneConfig): pass")
    done = project.manage("check")
    assert done.returncode == 0, done.stderr
    assert "no issues" in done.stdout


@pytest.mark.parametrize(
    ("apps", "tags"),
    [
        ([STATIC, OURS], []),
        ([STATIC, OURS], ["--tag", "staticfiles"]),
        ([f"{STATIC}.apps.StaticFilesConfig", f"{OURS}.apps.DaphneConfig"], []),
    ],
)
def test_an_app_that_comes_after_staticfiles_is_an_error(tmp_path, apps, tags):
    done = DjangoProject(tmp_path, f"INSTALLED_APPS = {apps}").manage("check", *tags)
    assert done.returncode == 1
    assert "(daphne.E001)" in done.stderr
    assert "'daphne_clone' must be listed before 'django.contrib.staticfiles' in INSTALLED_APPS" in done.stderr


def test_the_check_can_be_silenced_under_daphnes_id(tmp_path):
    settings = f"INSTALLED_APPS = [{STATIC!r}, {OURS!r}]\nSILENCED_SYSTEM_CHECKS = ['daphne.E001']"
    done = DjangoProject(tmp_path, settings).manage("check")
    assert done.returncode == 0
    assert "(1 silenced)" in done.stdout
