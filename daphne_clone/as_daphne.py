"""Stands for Daphne: once this module is imported, ``import daphne`` and all below it mean this package.

For code that cannot be changed; Channels' live-server test case is such. The Django app imports it wherever Daphne is
not installed. Otherwise it is the first line of a program: ``import daphne_clone.as_daphne``.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from typing import TYPE_CHECKING

import daphne_clone

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import ModuleType

_NAME = "daphne"
_BELOW = f"{_NAME}."


class _Finder(MetaPathFinder, Loader):
    """Gives a module of Daphne's name the module of ours, the very same: two of them would have two reactors."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if not fullname.startswith(_BELOW) or importlib.util.find_spec(_ours(fullname)) is None:
            return None
        return ModuleSpec(fullname, self)

    def exec_module(self, module: ModuleType) -> None:
        # What a loader leaves in sys.modules is what is imported.
        sys.modules[module.__name__] = importlib.import_module(_ours(module.__name__))


def _ours(name: str) -> str:
    return daphne_clone.__name__ + name.removeprefix(_NAME)


def _install() -> None:
    if _NAME in sys.modules:
        raise ImportError(f"{_NAME} is imported already: import daphne_clone.as_daphne before it")
    # In front: the finder of files would load ours a second time, from the same directory.
    sys.meta_path.insert(0, _Finder())
    sys.modules[_NAME] = daphne_clone


_install()
