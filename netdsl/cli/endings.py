"""What can go wrong outside the language, as diagnostics: files, libraries, drawings, exports, runs."""

from __future__ import annotations

from netdsl.backends.errors import BackendError, WeightsError
from netdsl.backends.graphviz import DrawingError
from netdsl.diagnostics import Diagnostic
from netdsl.train.errors import TrainError


def diagnosed(fault: Exception) -> Diagnostic | None:
    """The diagnostic of what was raised; None for a fault of netdsl's own.

    >>> diagnosed(FileNotFoundError(2, "No such file", "a.png")).message
    '`a.png`: no such file'
    """
    if isinstance(fault, TrainError | WeightsError):
        return fault.diagnostic
    if isinstance(fault, BackendError):
        return Diagnostic("E0004", fault.message, notes=fault.facts)
    if isinstance(fault, DrawingError):
        return Diagnostic("E0004", str(fault))
    if isinstance(fault, OSError) and fault.filename:
        return Diagnostic("E0004", f"`{fault.filename}`: {(fault.strerror or str(fault)).lower()}")
    if isinstance(fault, ModuleNotFoundError) and fault.name and not fault.name.startswith("netdsl"):
        install = 'install what goes with netdsl: `pip install "netdsl[all]"`'
        return Diagnostic("E0004", f"this needs `{fault.name}`, which is not installed", helps=(install,))
    return None
