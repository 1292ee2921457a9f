"""Files that may be packed, and what a file is by its first bytes where its name does not say it."""

from __future__ import annotations

import bz2
import gzip
import lzma
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any
from zipfile import ZipFile

from netdsl.train.errors import TrainError

PACKED: dict[str, Callable[..., Any]] = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}
KINDS = (
    (b"\x1f\x8b", "packed by gzip", "call it `{name}.gz`, and it is unpacked"),
    (b"BZh", "packed by bzip2", "call it `{name}.bz2`, and it is unpacked"),
    (b"\xfd7zXZ", "packed by xz", "call it `{name}.xz`, and it is unpacked"),
    (b"PAR1", "a parquet file", "call it `{stem}.parquet`"),
    (b"PK\x03\x04", "an archive, or a workbook of a spreadsheet", "save the sheet as CSV"),
    (b"\xd0\xcf\x11\xe0", "a workbook of a spreadsheet", "save the sheet as CSV"),
    (b"\xff\xfe", "UTF-16 text", 'say `encoding = "utf-16"`'),
    (b"\xfe\xff", "UTF-16 text", 'say `encoding = "utf-16"`'),
)


def unpacked(path: Path) -> tuple[Callable[[], IO[bytes]], str]:
    """How to open the file at `path` for its bytes, unpacked where its name says that it is packed, and how the name of
    what is in it ends, as `.tsv`.

    E0621 for an archive of several files.
    """
    endings = [ending.lower() for ending in path.suffixes]
    if endings[-1:] == [".zip"]:
        return _of_archive(path)
    if endings and endings[-1] in PACKED:
        return lambda: PACKED[endings[-1]](path, "rb"), (endings[:-1] or [""])[-1]
    return lambda: path.open("rb"), (endings or [""])[-1]


def _of_archive(path: Path) -> tuple[Callable[[], IO[bytes]], str]:
    with ZipFile(path) as archive:
        names = [name for name in archive.namelist() if not name.endswith("/") and "__MACOSX" not in name]
        locked = any(info.flag_bits & 1 for info in archive.infolist())
    if len(names) != 1 or locked:
        message = f"`{path}` holds {len(names)} files" if len(names) != 1 else f"`{path}` has a password"
        raise TrainError("E0621", message, helps=["unpack it first, and name the file that is the table"])
    return lambda: ZipFile(path).open(names[0]), Path(names[0]).suffix.lower()


def check_kind(path: Path, opened: Callable[[], IO[bytes]], encoding: str = "utf-8") -> None:
    """Refuse files that are no text by their first bytes (E0621)."""
    with opened() as file:
        begin = file.read(8)
    for mark, what, help_ in KINDS:
        if begin.startswith(mark) and not (what.startswith("UTF") and encoding.lower() != "utf-8"):
            helps = [help_.format(name=path.name, stem=path.stem)]
            raise TrainError("E0621", f"`{path}` is {what}", helps=helps)
