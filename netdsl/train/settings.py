"""The plain data of a `train` block (moved: the elaborator makes it, see `netdsl.elaborate.settings`)."""

from netdsl.elaborate.settings import Choice, Setting, Value, shown

__all__ = ["Choice", "Setting", "Value", "shown"]
