"""Output files: written beside their place under another name, and moved there when they are whole."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from errno import EISDIR, ENOENT
from pathlib import Path


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A path to write to, with the suffix of `path`; it becomes `path` at the end of the block, unless that fails.

    >>> import tempfile
    >>> target = Path(tempfile.mkdtemp()) / "net.py"
    >>> with replacing(target) as temporary:
    ...     _ = temporary.write_text("x = 1")
    >>> target.read_text()
    'x = 1'
    """
    target = path.resolve()  # a link is written through, not replaced
    if target.is_dir():
        raise IsADirectoryError(EISDIR, "is a folder", str(path))
    if not target.parent.is_dir():
        raise FileNotFoundError(ENOENT, "there is no such folder", str(path.parent))
    temporary = target.with_name(f".{target.stem}.{os.getpid()}{target.suffix}")
    try:
        yield temporary
        with suppress(FileNotFoundError):
            temporary.chmod(target.stat().st_mode & 0o777)
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)


def write(path: Path, text: str) -> None:
    """Write `text` as UTF-8 with newlines as they are."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="")
