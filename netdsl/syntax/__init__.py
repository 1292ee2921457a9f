"""The form of the language: text to tree (`parse`) and back (`print_file`, `format_source`)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from netdsl.syntax.parser import parse

if TYPE_CHECKING:
    from netdsl.syntax.printer import format_source, print_file

__all__ = ["format_source", "parse", "print_file"]


def __getattr__(name: str) -> Any:
    """The formatter is loaded when somebody asks for it: a check does without."""
    if name in ("format_source", "print_file"):
        from netdsl.syntax import printer

        return getattr(printer, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
