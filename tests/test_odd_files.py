"""Files written in odd ways: tables and images that are read right, or refused with what helps."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import zipfile
from pathlib import Path
from typing import Any

import numpy
import pytest
import torch
from PIL import Image

from netdsl.train import Split, TrainError
from netdsl.train.data import Numeric, OneHot, Source, Table, Training
from netdsl.train.data.images import image_size, read_image
from netdsl.train.data.table_files import Table as Cells
from netdsl.train.data.table_files import read_table
from netdsl.train.loading import load_data
from netdsl.train.losses import MSELoss
from netdsl.train.optimizers import SGD
from netdsl.train.recipe import Recipe

RANDOM = numpy.random.default_rng(0)


def recipe(source: Source, **changes: Any) -> Recipe:
    base: dict[str, Any] = {"data": source, "loss": MSELoss(), "optimizer": SGD(lr=0.01)}
    return Recipe(**base | changes)


# ----------------------------------------------------------------------------------- odd ways to write a table

PLAIN = "a,name,y\n1.5,Zoë,2\n-3,New York,4\n1e2,x,0\n"


def zipped(text: str) -> bytes:
    kept = io.BytesIO()
    with zipfile.ZipFile(kept, "w") as archive:
        archive.writestr("t.csv", text)
    return kept.getvalue()


ODD: dict[str, tuple[str, bytes, dict[str, Any]]] = {
    "a byte order mark": ("t.csv", ("\ufeff" + PLAIN).encode(), {}),
    "lines of Windows": ("t.csv", PLAIN.replace("\n", "\r\n").encode(), {}),
    "lines of old Macs": ("t.csv", PLAIN.replace("\n", "\r").encode(), {}),
    "no end of line at the end": ("t.csv", PLAIN.rstrip().encode(), {}),
    "empty lines": ("t.csv", PLAIN.replace("\n", "\n\n  \n").encode(), {}),
    "quotes": ("t.csv", PLAIN.replace("New York", '"New York"').replace("1.5", '"1.5"').encode(), {}),
    "blanks": ("t.csv", PLAIN.replace(",", " , ").encode(), {}),
    "a delimiter at the end": ("t.csv", PLAIN.replace("\n", ",\n").encode(), {}),
    "semicolons": ("t.csv", PLAIN.replace(",", ";").encode(), {"delimiter": ";"}),
    "a comma for decimals": (
        "t.csv",
        PLAIN.replace(",", ";").replace(".", ",").encode(),
        {"delimiter": ";", "decimal": ","},
    ),
    "tabs": ("t.tsv", PLAIN.replace(",", "\t").encode(), {}),
    "Latin-1": ("t.csv", PLAIN.encode("latin-1"), {"encoding": "latin-1"}),
    "UTF-16": ("t.csv", PLAIN.encode("utf-16"), {"encoding": "utf-16"}),
    "gzip": ("t.csv.gz", gzip.compress(PLAIN.encode()), {}),
    "bzip2": ("t.csv.bz2", bz2.compress(PLAIN.encode()), {}),
    "xz": ("t.csv.xz", lzma.compress(PLAIN.encode()), {}),
    "zip": ("t.csv.zip", zipped(PLAIN), {}),
}
CHOSEN = ("a", OneHot(column="name"))


def loaded(folder: Path, name: str, content: bytes, **changes: Any) -> Split:
    (folder / name).write_bytes(content)
    source = Table(**{"path": str(folder / name), "target": "y", "features": CHOSEN} | changes)
    found = load_data(recipe(source, valid=Training())).train
    assert isinstance(found, Split)
    return found


@pytest.mark.parametrize("what", ODD)
def test_a_table_is_read_right_however_it_is_written(what: str, tmp_path: Path) -> None:
    plain = loaded(tmp_path, "plain.csv", PLAIN.encode())
    assert plain.x[:, 0].tolist() == [1.5, -3.0, 100.0]
    name, content, changes = ODD[what]
    odd = loaded(tmp_path, name, content, **changes)
    assert torch.equal(odd.x, plain.x)
    assert torch.equal(odd.y, plain.y)


CELLS: dict[str, tuple[str, dict[str, Any], list[list[float]]]] = {
    "true and false are 1 and 0": ("a,y\nTrue,1\nFALSE,2\n,3\n", {"features": (Numeric(column="a", fill=9.0),)}, [[1.0], [0.0], [9.0]]),
    "what stands for nothing is declared": ("a,y\n?,1\n3,2\n-,3\n", {"na_values": ("?", "-"), "features": (Numeric(column="a", fill=0.0),)}, [[0.0], [3.0], [0.0]]),
    "a whole number with a decimal is the category": ("a,y\n1.0,1\n2.0,2\n", {"features": (OneHot(column="a", categories=(1, 2)),)}, [[1.0, 0.0], [0.0, 1.0]]),
    "zeros in front tell categories apart": ("a,y\n007,1\n7,2\n", {"features": (OneHot(column="a", categories=("007", "7")),)}, [[1.0, 0.0], [0.0, 1.0]]),
    "categories may have blanks in them": ("a,y\n São Paulo ,1\nLos Angeles,2\n", {"features": (OneHot(column="a"),)}, [[0.0, 1.0], [1.0, 0.0]]),
    "a field may go over lines": ('a,t,y\n1,"two\nlines",1\n3,,2\n', {"features": ("a",)}, [[1.0], [3.0]]),
    "a column that does not change is 0 when it is standardised": ("a,y\n5,1\n5,2\n", {"features": (Numeric(column="a", standardise=True),)}, [[0.0], [0.0]]),
}  # fmt: skip


@pytest.mark.parametrize("what", CELLS)
def test_a_cell_means_what_it_says(what: str, tmp_path: Path) -> None:
    text, changes, wanted = CELLS[what]
    assert loaded(tmp_path, "t.csv", text.encode(), **changes).x.tolist() == wanted


REFUSED: dict[str, tuple[str, str, str, bytes, dict[str, Any]]] = {
    "another delimiter": ("E0651", 'delimiter = ";"', "t.csv", PLAIN.replace(",", ";").encode(), {}),
    "decimals with a comma": ("E0653", 'decimal = ","', "t.csv", b"a;y\n1,5;2\n", {"delimiter": ";", "features": None}),
    "another encoding": ("E0621", 'encoding = "latin-1"', "t.csv", PLAIN.encode("latin-1"), {}),
    "UTF-16 that nobody said": ("E0621", 'encoding = "utf-16"', "t.csv", PLAIN.encode("utf-16"), {}),
    "packed under another name": ("E0621", "t.csv.gz", "t.csv", gzip.compress(PLAIN.encode()), {}),
    "a workbook": ("E0621", "as CSV", "t.xlsx", zipped(PLAIN), {}),
    "no archive": ("E0621", "cut off or damaged", "t.csv.zip", PLAIN.encode(), {}),
    "cut off": ("E0621", "cut off or damaged", "t.csv.gz", gzip.compress(PLAIN.encode() * 9)[:-12], {}),
    "no bytes": ("E0651", "is empty", "t.csv", b"", {}),
    "a quote that is left open": ("E0651", "quote", "t.csv", b'a,y\n1,"2\n3,4\n', {"features": None}),
    "a row that is short": ("E0651", "line 3", "t.csv", b"a,y\n1,2\n3\n", {"features": None}),
    "two columns of a name": ("E0651", "two columns `a`", "t.csv", b"a,a,y\n1,2,3\n", {"features": ("a",)}),
    "dates as numbers": ("E0653", "dates", "t.csv", b"a,y\n2020-01-31,1\n", {"features": None}),
    "a sign for nothing": ("E0653", 'na_values = ["?"]', "t.csv", b"a,y\n?,1\n2,3\n", {"features": None}),
    "more than a float holds": ("E0653", "1e400", "t.csv", b"a,y\n1e400,1\n", {"features": None}),
    "the target as a feature": ("E0608", "the target, and a feature", "t.csv", PLAIN.encode(), {"features": ("a", "y")}),
    "numbers of rows without a name": ("E0652", "no name", "t.csv", b",a,y\n0,5,1\n1,6,2\n", {"features": None}),
    "nothing but a target": ("E0652", "beside the target", "t.csv", b"y,z\n1,2\n", {"features": None, "target": ("y", "z")}),
}  # fmt: skip


@pytest.mark.parametrize("what", REFUSED)
def test_a_table_that_cannot_be_meant_is_refused_with_what_helps(what: str, tmp_path: Path) -> None:
    code, words, name, content, changes = REFUSED[what]
    with pytest.raises(TrainError) as caught:
        loaded(tmp_path, name, content, **changes)
    found = caught.value.diagnostic
    assert found.code == code, found
    assert words in " ".join([found.message, *found.notes, *found.helps]), found


def test_a_table_is_the_same_read_at_once_or_row_by_row(tmp_path: Path) -> None:
    """An empty line before the header makes it be read row by row; a place is said by the lines of the file."""
    cells = ["", "NA", " 3 ", "-0.1", "1e-7", '"a, b"', '"x ""y"""', "Zoë", "0.1", "123456789.123456789"]
    rows = [f"{RANDOM.normal()!r},{RANDOM.choice(cells)}" for _ in range(200)]
    text = "n,t\n" + "\n".join(rows) + "\n"
    (tmp_path / "quick.csv").write_text(text, encoding="utf-8")
    (tmp_path / "slow.csv").write_text("\n" + text, encoding="utf-8")

    def numeric(names: Any) -> set[Any]:
        return {"n"} & set(names)

    quick, slow = (read_table(tmp_path / f"{name}.csv", numeric=numeric) for name in ("quick", "slow"))
    assert quick.frame["n"].dtype == float
    assert slow.frame["n"].dtype == object
    assert quick.frame["n"].tolist() == [float(cell) for cell in slow.frame["n"]]
    assert quick.frame["t"].tolist() == slow.frame["t"].tolist()
    for row in (0, 7, 199):
        assert (quick.place(row), slow.place(row)) == (f"line {row + 2}", f"line {row + 3}")
    part: Cells = quick.part([5, 150, 9]).part([1])
    assert part.place(0) == "line 152"
    assert part.frame["n"].tolist() == [quick.frame["n"][150]]


# ----------------------------------------------------------------------------------- odd images


def odd_image(folder: Path, what: str) -> Path:
    """A file of a ramp from 0 to 255 over 4 rows and 8 columns, in some odd way."""
    grey = numpy.linspace(0, 255, 32).round().astype(numpy.uint8).reshape(4, 8)
    path = folder / f"{what}.png"
    if what == "16 bits":
        Image.fromarray(grey.astype(numpy.uint16) * 257).save(path)
    elif what == "a palette":
        Image.fromarray(grey).convert("P").save(path)
    elif what == "a palette that can be seen through":
        Image.fromarray(grey).convert("P").save(path, transparency=bytes(range(256)))
    elif what == "alpha":
        Image.fromarray(numpy.dstack([grey] * 3 + [255 - grey])).save(path)
    elif what == "grey and alpha":
        Image.fromarray(numpy.dstack([grey, 255 - grey])).save(path)
    elif what == "several frames":
        path = path.with_suffix(".gif")
        Image.fromarray(grey).save(path, save_all=True, append_images=[Image.fromarray(255 - grey)])
    elif what == "CMYK":
        path = path.with_suffix(".jpg")
        Image.fromarray(numpy.stack([grey] * 3, 2)).convert("CMYK").save(path, quality=100)
    else:  # as a camera that was held on its side
        path, exif = path.with_suffix(".jpg"), Image.Exif()
        exif[0x0112] = 6
        turned = Image.fromarray(grey).transpose(Image.Transpose.ROTATE_90)
        turned.save(path, exif=exif, quality=100)
    return path


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(
    "what",
    [
        "16 bits",
        "a palette",
        "a palette that can be seen through",
        "alpha",
        "grey and alpha",
        "several frames",
        "CMYK",
        "turned by the camera",
    ],
)
def test_an_image_is_what_it_shows(what: str, channels: int, tmp_path: Path) -> None:
    path = odd_image(tmp_path, what)
    found = read_image(path, channels)
    ramp = torch.linspace(0, 255, 32).view(1, 4, 8).expand(channels, 4, 8)
    assert found.shape == (channels, 4, 8)
    assert image_size(path) == (4, 8)
    assert (found.float() - ramp).abs().max() < 10, found


@pytest.mark.parametrize("what", ["no bytes", "cut off", "text", "32 bits"])
def test_a_file_that_shows_nothing_is_refused(what: str, tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    Image.fromarray(RANDOM.integers(0, 256, (16, 16, 3), dtype=numpy.uint8)).save(path)
    if what == "32 bits":
        path = tmp_path / "a.tif"
        Image.fromarray(RANDOM.normal(size=(4, 4)).astype(numpy.float32)).save(path)
    else:
        path.write_bytes({"no bytes": b"", "cut off": path.read_bytes()[:300], "text": b"hello"}[what])
    with pytest.raises(TrainError) as caught:
        read_image(path, 3)
    assert caught.value.diagnostic.code == "E0661"
    assert caught.value.diagnostic.helps
