"""What is wrong with a file, as data (`model`), and how it is shown (`render`)."""

from netdsl.diagnostics.model import Diagnostic, Fix, Label, Report

__all__ = ["Diagnostic", "Fix", "Label", "Report"]
