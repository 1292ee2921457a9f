"""The worst samples of a run for its page: images, such with masks over them, series, texts, or rows of a table."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING

from netdsl.train.charts import BLUE, GREYED, ORANGE, Line, sparkline
from netdsl.train.page import brief, table

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor

    from netdsl.train.worst import Worst

COLUMNS = 24  # of a row of a table
LARGEST = 256  # pixels of the longer side of an image
OVER = 0.55  # how much of a mask covers the image
CURVES = (BLUE, ORANGE, GREYED, "#2e8b57", "#8a5fbf", "#b8860b")


def gallery(worst: Sequence[Worst], names: Sequence[str] = ()) -> str:
    """The samples as HTML; `names` are those of the classes."""
    if not worst:
        return ""
    if all(sample.masks for sample in worst):
        figures = "".join(map(_overlaid, worst))
        return f'{_legend(worst, names)}<div class="gallery masks">{figures}</div>'
    if all(sample.image is not None for sample in worst):
        return f'<div class="gallery">{"".join(map(_picture, worst))}</div>'
    return _rows(worst)


def _picture(sample: Worst) -> str:
    return f"<figure>{_img(image_of(sample), f'sample {sample.number}')}{_caption(sample)}</figure>"


def _caption(sample: Worst) -> str:
    """What it is, what it was taken for, and how wrong that is."""
    lines = [f"<b>{escape(sample.target)}</b>"] if sample.target else []
    lines.append(f"<i>taken for</i> {escape(sample.output)}" if sample.target else escape(sample.output))
    lines.append(f"<i>loss {brief(sample.loss)}, sample {sample.number}</i>")
    return f"<figcaption>{'<br>'.join(lines)}</figcaption>"


def _overlaid(sample: Worst) -> str:
    """The image, and it with the true and the predicted classes of its pixels over it."""
    image = image_of(sample)
    parts = [f"<div>{_img(image, f'sample {sample.number}')}<br><span>image</span></div>"]
    for mask, name in zip(sample.masks or (), ("true", "predicted"), strict=True):
        parts.append(f"<div>{_img(covered(image, mask), f'{name} mask')}<br><span>{name}</span></div>")
    return f'<figure><div class="panels">{"".join(parts)}</div>{_caption(sample)}</figure>'


def _legend(worst: Sequence[Worst], names: Sequence[str]) -> str:
    from netdsl.train.masks import COLOURS

    seen = {int(number) for sample in worst for mask in sample.masks or () for number in mask.unique()}
    parts: list[str] = []
    for number in sorted(n for n in seen if 0 <= n < max(len(names), 2)):
        colour = "transparent" if number == 0 else "rgb({},{},{})".format(*COLOURS[number % len(COLOURS)])
        name = names[number] if number < len(names) else str(number)
        parts.append(f'<span><i style="background:{colour}"></i>{escape(name)}</span>')
    return f'<p class="legend">{"".join(parts)}</p>'


def _rows(worst: Sequence[Worst]) -> str:
    """A row a sample, with what the model got of it."""
    head = ["sample", "loss", "true", "predicted"]
    rows = [[str(w.number), brief(w.loss), w.target, w.output] for w in worst]
    if all(w.series for w in worst):
        names = zip(worst[0].series, CURVES, strict=False)
        head.append(" ".join(f'<span style="color:{c}">{escape(name)}</span>' for (name, _), c in names))
        cells = [_series(w) for w in worst]
        return table(head, [[*row, cell] for row, cell in zip(rows, cells, strict=True)], html={4})
    if all(w.text for w in worst):
        return table([*head, "text"], [[*row, w.text] for row, w in zip(rows, worst, strict=True)], wide={4})
    if all(w.row for w in worst):
        head += [name for name, _ in worst[0].row[:COLUMNS]]
        rows = [[*row, *(brief(v) for _, v in w.row[:COLUMNS])] for row, w in zip(rows, worst, strict=True)]
    return table(head, rows)


def _series(sample: Worst) -> str:
    return sparkline(
        [
            Line(name, [float(i) for i in range(len(column))], column, colour)
            for (name, column), colour in zip(sample.series, CURVES, strict=False)
        ]
    )


# ------------------------------------------------------------------------------------------------- images


def image_of(sample: Worst) -> Image:
    """The image of a sample, in colours, no larger than is shown."""
    from PIL import Image

    pixels = sample.image.permute(1, 2, 0).contiguous().numpy() if sample.image is not None else None
    assert pixels is not None
    image = Image.fromarray(pixels.squeeze(2) if pixels.shape[2] == 1 else pixels)
    image.thumbnail((LARGEST, LARGEST))
    return image


def covered(image: Image, mask: Tensor) -> Image:
    """`image` under the colours of a mask, which class 0 has none of."""
    from PIL import Image

    from netdsl.train.masks import COLOURS

    numbers = Image.fromarray(mask.clamp(0, 255).byte().numpy())
    numbers = numbers.resize(image.size, Image.Resampling.NEAREST)
    flat = numbers.copy()
    flat.putpalette([part for number in range(256) for part in COLOURS[number % len(COLOURS)]])
    over = numbers.point([0 if number % len(COLOURS) == 0 else round(255 * OVER) for number in range(256)])
    return Image.composite(flat.convert("RGB"), image.convert("RGB"), over.convert("L"))


def _img(image: Image, alt: str) -> str:
    return f'<img src="data:image/png;base64,{base64.b64encode(png(image)).decode()}" alt="{escape(alt)}">'


def png(image: Image) -> bytes:
    """An image as a PNG file."""
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()
