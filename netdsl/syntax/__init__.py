"""The form of the language: text to tree (`parse`) and back (`print_file`)."""

from netdsl.syntax.parser import parse

__all__ = ["parse"]
