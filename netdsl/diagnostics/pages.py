"""The pages that explain the codes: one Markdown file a code in `pages/`."""

from __future__ import annotations

from importlib.resources import files


def codes() -> list[str]:
    """Every code that has a page, in order."""
    folder = files("netdsl.diagnostics") / "pages"
    if not folder.is_dir():
        return []
    return sorted(entry.name.removesuffix(".md") for entry in folder.iterdir() if entry.name.endswith(".md"))


def page(code: str) -> str | None:
    """The text of the page of `code` (in any case, so `e0402` will do), or None where there is none."""
    code = code.upper()
    if code not in codes():
        return None
    return (files("netdsl.diagnostics") / "pages" / f"{code}.md").read_text(encoding="utf-8")
