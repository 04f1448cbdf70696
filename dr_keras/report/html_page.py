"""One self-contained HTML page: no script, no outside file, pictures inside as data URIs.

The templates escape what is plain text; only `Html` passes as it is.
"""

import base64
import dataclasses

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

Html = Markup  # text that is HTML already
NOTICE_TITLE = "Research use only."  # no quotes in these two: they are part of the print style too
NOTICE = "No output may guide the care of a patient."
_KINDS = {b"\x89PNG": "png", b"\xff\xd8\xff": "jpeg"}


@dataclasses.dataclass(frozen=True)
class Section:
    """A part of the page with an entry in its contents.

    Attributes:
        name: its anchor, unique on the page.
        title: its heading.
        blocks: what stands in it: `Html`, or plain text, which becomes a paragraph.
    """

    name: str
    title: str
    blocks: tuple


def templates(package):
    """The templates in a package's folder `templates`: text is escaped, a missing value is an error."""
    loader = PackageLoader(package)
    return Environment(
        loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )


_TEMPLATES = templates("dr_keras.report")


def _block(name, *arguments):
    return getattr(_TEMPLATES.get_template("blocks.html").module, name)(*arguments)


def paragraph(*parts):
    """A paragraph of plain text and `Html`."""
    return _block("paragraph", parts)


def image(data, alt):
    """A picture inside the page.

    Args:
        data: bytes of a PNG or JPEG file.
        alt: what it shows, for those who can't see it.

    Raises:
        ValueError: if `data` is neither.
    """
    kind = next((kind for start, kind in _KINDS.items() if data.startswith(start)), None)
    if kind is None:
        raise ValueError(f"`data` must be a PNG or JPEG file. Received: bytes that start with {data[:4]!r}")
    return _block("image", kind, encoded(data), alt)


def encoded(data):
    """How a picture's bytes stand in the page: in base64."""
    return base64.b64encode(data).decode("ascii")


def figure(data, alt, reading_help):
    """A picture with a sentence on how to read it below; arguments as for `image`."""
    return _block("figure", image(data, alt), reading_help)


def side_by_side(*blocks):
    """Figures beside one another where the screen is wide enough, else below."""
    return _block("side_by_side", blocks)


def facts(rows):
    """Large numbers: rows of (what, value, remark)."""
    return _block("facts", rows)


def table(header, rows, caption, words=False):
    """A table that scrolls in a box of its own where it is wider than the screen.

    Args:
        header: names of the columns.
        rows: lists of as many cells; the first names the row.
        caption: what the table shows.
        words: whether the cells hold words rather than numbers.

    Raises:
        ValueError: if a row has another number of cells.
    """
    rows = list(rows)
    for row in rows:
        if len(row) != len(header):
            raise ValueError(f"`rows` must have {len(header)} cells each. Received: {row}")
    return _block("table", header, rows, caption, words)


def photographs(cards, wide):
    """Photographs with captions, as many in a row as the screen holds.

    Args:
        cards: list of (pictures, caption): pictures a list of (data, alt, width / height), the first
            two as for `image`.
        wide: True for few large cards with several pictures, False for many small ones.
    """
    shown = [
        ([(image(data, alt), aspect) for data, alt, aspect in pictures], caption)
        for pictures, caption in cards
    ]
    return _block("photographs", shown, wide)


def page(title, lead, sections):
    """Puts the page together; the notice stays in sight wherever the reader is, and on each printed sheet.

    Args:
        title, lead: heading, and the sentence below it.
        sections: list of `Section`.

    Returns:
        The page, as text.

    Raises:
        ValueError: if two sections have one name.
    """
    names = [section.name for section in sections]
    if len(set(names)) < len(names):
        raise ValueError(f"`sections` must have names of their own. Received: {names}")
    return _TEMPLATES.get_template("page.html").render(
        title=title, lead=lead, sections=sections, notice_title=NOTICE_TITLE, notice=NOTICE
    )
