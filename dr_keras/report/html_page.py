"""One self-contained HTML page: no script, no outside file, pictures inside as data URIs.

Text goes in as plain text and is escaped here; only `Html` passes as it is.
"""

import base64
import dataclasses
import html
import string
from importlib import resources
from itertools import starmap

NOTICE_TITLE = "Research use only."  # no quotes in these two: they are part of the print style too
NOTICE = "No output may guide the care of a patient."
_KINDS = {b"\x89PNG": "png", b"\xff\xd8\xff": "jpeg"}


class Html(str):
    """Text that is HTML already."""


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


def text(value):
    """Escapes plain text; `Html` stays as it is."""
    return value if isinstance(value, Html) else Html(html.escape(str(value)))


def paragraph(*parts, kind=None):
    """A paragraph of plain text and `Html`."""
    attribute = f' class="{kind}"' if kind else ""
    return Html(f"<p{attribute}>{''.join(map(text, parts))}</p>")


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
    encoded = base64.b64encode(data).decode("ascii")
    return Html(f'<img alt="{text(alt)}" src="data:image/{kind};base64,{encoded}">')


def figure(data, alt, reading_help):
    """A picture with a sentence on how to read it below; arguments as for `image`."""
    return Html(f"<figure>{image(data, alt)}<figcaption>{text(reading_help)}</figcaption></figure>")


def side_by_side(*blocks):
    """Figures beside one another where the screen is wide enough, else below."""
    return Html(f'<div class="figures">{"".join(blocks)}</div>')


def facts(rows):
    """Large numbers: rows of (what, value, remark)."""
    boxes = (
        f"<div><dt>{text(what)}</dt><dd>{text(value)}<small>{text(remark)}</small></dd></div>"
        for what, value, remark in rows
    )
    return Html(f'<dl class="facts">{"".join(boxes)}</dl>')


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
    body = []
    for row in rows:
        if len(row) != len(header):
            raise ValueError(f"`rows` must have {len(header)} cells each. Received: {row}")
        first, *others = map(text, row)
        body.append(f'<tr><th scope="row">{first}</th>{"".join(f"<td>{cell}</td>" for cell in others)}</tr>')
    head = "".join(f'<th scope="col">{text(name)}</th>' for name in header)
    kind = ' class="words"' if words else ""
    # The box can be focused, so that its scrolling needs no mouse.
    return Html(
        f'<p class="caption">{text(caption)}</p>'
        f'<div class="scroll" role="region" aria-label="{text(caption)}" tabindex="0"><table{kind}>'
        f"<thead><tr>{head}</tr></thead><tbody>{''.join(body)}</tbody></table></div>"
    )


def photographs(cards, wide):
    """Photographs with captions, as many in a row as the screen holds.

    Args:
        cards: list of (pictures, caption): pictures a list of (data, alt, width / height), the first
            two as for `image`.
        wide: True for few large cards with several pictures, False for many small ones.
    """
    items = (
        f'<li><div class="pictures">{"".join(starmap(_part, pictures))}</div>'
        f'<div class="caption">{text(caption)}</div></li>'
        for pictures, caption in cards
    )
    return Html(f'<ul class="photographs {"wide" if wide else "narrow"}">{"".join(items)}</ul>')


def _part(data, alt, aspect):
    """A picture as wide as its share of the row: then all of a row are equally high."""
    return f'<div style="flex: {aspect:.4f}">{image(data, alt)}</div>'


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
    template = resources.files(__package__).joinpath("html_page.html").read_text(encoding="utf-8")
    return string.Template(template).substitute(
        title=text(title),
        lead=text(lead),
        notice_title=NOTICE_TITLE,
        notice=NOTICE,
        contents="\n".join(f'<li><a href="#{s.name}">{text(s.title)}</a></li>' for s in sections),
        sections="\n".join(map(_section, sections)),
    )


def _section(section):
    blocks = (block if isinstance(block, Html) else paragraph(block) for block in section.blocks)
    return (
        f'<section id="{section.name}" aria-labelledby="{section.name}-title">\n'
        f'<h2 id="{section.name}-title">{text(section.title)}</h2>\n' + "\n".join(blocks) + "\n</section>"
    )
