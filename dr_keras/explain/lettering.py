"""Words in pictures, in any alphabet of the DejaVu font that comes with matplotlib."""

import functools
from pathlib import Path

import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFont

_LINE = 1.45  # distance of lines, in letter sizes
_INK = (25, 25, 25)
_ELLIPSIS = "\N{HORIZONTAL ELLIPSIS}"


def text_width(text, size):
    """Width of a line in pixels."""
    return round(_font(size).getlength(text))


def write(picture, x, y, text, size, anchor="lm", color=_INK):
    """Returns a copy of uint8 (height, width, 3) with a line of text; `anchor` is Pillow's."""
    canvas = Image.fromarray(picture)
    ImageDraw.Draw(canvas).text((x, y), text, fill=color, font=_font(size), anchor=anchor)
    return np.array(canvas)


def text_block(lines, width, size, indent=0):
    """Sets lines below each other on white, broken between words where they are too long.

    Args:
        lines: texts.
        width: width of the block, in pixels.
        size: size of the letters, in pixels.
        indent: empty pixels to the left.

    Returns:
        uint8 (height, width, 3), RGB.
    """
    broken = [part for line in lines for part in _break(line, width - indent, size)]
    block = np.full((round(size * (_LINE * len(broken) + 0.5)), width, 3), 255, np.uint8)
    for number, line in enumerate(broken):
        block = write(block, indent, size * (_LINE * (number + 0.5) + 0.25), line, size)
    return block


def shortened(text, width, size):
    """Cuts the middle out of a text that is wider than `width` pixels."""
    if text_width(text, size) <= width:
        return text
    kept = len(text) - 1
    while kept > 2 and text_width(_without_middle(text, kept), size) > width:
        kept -= 1
    return _without_middle(text, kept)


def _without_middle(text, kept):
    return text[: kept // 2] + _ELLIPSIS + text[len(text) - (kept - kept // 2) :]


def _break(text, width, size):
    lines = []
    for word in text.split(" "):
        longer = f"{lines[-1]} {word}" if lines else word
        if lines and text_width(longer, size) <= width:
            lines[-1] = longer
        else:
            lines.append(shortened(word, width, size))
    return lines


@functools.lru_cache(maxsize=16)
def _font(size):
    return ImageFont.truetype(Path(matplotlib.get_data_path(), "fonts/ttf/DejaVuSans.ttf"), size)
