"""Packages that are needed only for what they are for: imported when they are used first."""

from __future__ import annotations

import importlib
from typing import Any


def pandas() -> Any:
    """Import pandas."""
    return _extra("pandas")


def pyarrow() -> Any:
    """Import pyarrow."""
    return _extra("pyarrow", "arrow")


def _extra(name: str, extra: str = "") -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise ImportError(f"this needs {name}: pip install 'wattline[{extra or name}]'") from error
