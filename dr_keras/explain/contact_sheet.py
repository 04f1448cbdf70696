"""Contact sheets: many photographs and their maps on one page, by grade (P2 figures 5 and 6)."""

import dataclasses

import numpy as np

from dr_keras.explain import lettering
from dr_keras.explain.overlay import LIMITS, key, panels
from dr_keras.grades import GRADE_NAMES

_SIDE = 220  # pixels of a tile's photograph and of its map
_SIZE = 14  # of the letters
_GAP = 14
_COLUMNS = 4


@dataclasses.dataclass(frozen=True)
class Tile:
    """A photograph and its map, reduced, and the words under them."""

    picture: np.ndarray
    name: str
    text: str
    score: float


class ContactSheet:
    """Collects tiles by grade while explanations come in, and draws them on one page.

    Args:
        title: title of the page.
        group: of the headings, which go on with the grade's number and name: "True grade".
        limit: grade units at which the colours end; see `overlay.LIMITS`.
        most: tiles of one grade that are kept; the heading tells of how many.
    """

    def __init__(self, title, group, limit=LIMITS["ram"], most=24):
        self._title, self._group, self._limit, self._most = title, group, limit, most
        self._tiles = {grade: [] for grade in range(len(GRADE_NAMES))}
        self._counts = dict.fromkeys(self._tiles, 0)
        self._key = np.full((_SIDE, 0, 3), 255, np.uint8)

    def __len__(self):
        return sum(self._counts.values())

    def add(self, explanation, name, grade, remark=""):
        """Adds an `Explanation` to a grade; `remark` stands behind its score."""
        self._counts[grade] += 1
        self._key = key(explanation, _SIDE, _SIZE, self._limit)
        if len(self._tiles[grade]) < self._most:
            text = f"{score_text(explanation)}{remark}"
            picture = _pair(explanation, self._limit)
            self._tiles[grade].append(Tile(picture, name, text, explanation.score))

    def draw(self):
        """Draws the page: uint8 (height, width, 3), RGB; grades falling, scores falling within each."""
        columns = min(_COLUMNS, max(map(len, self._tiles.values()), default=1) or 1)
        bar = self._key
        width = columns * (2 * _SIDE + _GAP) + _GAP
        blocks = [lettering.text_block([self._title], width, round(1.3 * _SIZE), _GAP)]
        for grade in sorted(self._tiles, reverse=True):
            tiles = sorted(self._tiles[grade], key=lambda tile: -tile.score)
            if tiles:
                blocks.append(lettering.text_block([self._heading(grade)], width, _SIZE, _GAP))
                rows = [tiles[start : start + columns] for start in range(0, len(tiles), columns)]
                blocks += [_row(row, width) for row in rows]
        page = np.concatenate(blocks)
        margin = np.full((len(page), bar.shape[1], 3), 255, np.uint8)
        margin[: len(bar)] = bar[: len(page)]
        return np.concatenate([page, margin], axis=1)

    def _heading(self, grade):
        shown, count = len(self._tiles[grade]), self._counts[grade]
        number = f"{count}" if shown == count else f"the first {shown} of {count}"
        return f"{self._group} {grade}, {GRADE_NAMES[grade]}: {number}"


def score_text(explanation):
    """Returns "score 3.18", or "score 3.18 (2.91, 3.45)" with those at each scale."""
    text = f"score {explanation.score:.2f}"
    scales = ", ".join(f"{score:.2f}" for score in explanation.scores)
    return f"{text} ({scales})" if len(explanation.scores) > 1 else text


def _pair(explanation, limit):
    """The eye and its map side by side: uint8 (_SIDE, 2 * _SIDE, 3), each cut to the field of view."""
    view = explanation.field_of_view
    row, column, height, width = view.rectangle
    scale = _SIDE / max(height, width)
    cells = []
    for panel in panels(explanation, limit, round(scale * max(explanation.heat.shape))):
        top, left = round(row * scale), round(column * scale)
        part = panel[top : top + _SIDE, left : left + _SIDE][: round(height * scale), : round(width * scale)]
        cell = np.zeros((_SIDE, _SIDE, 3), np.uint8)
        top, left = (_SIDE - part.shape[0]) // 2, (_SIDE - part.shape[1]) // 2
        cell[top : top + part.shape[0], left : left + part.shape[1]] = part
        cells.append(cell)
    return np.concatenate(cells, axis=1)


def _row(tiles, width):
    text_height = lettering.text_block(["", ""], 2 * _SIDE, _SIZE).shape[0]
    row = np.full((_SIDE + text_height, width, 3), 255, np.uint8)
    for number, tile in enumerate(tiles):
        left = _GAP + number * (2 * _SIDE + _GAP)
        row[:_SIDE, left : left + 2 * _SIDE] = tile.picture
        lines = [lettering.shortened(line, 2 * _SIDE, _SIZE) for line in (tile.name, tile.text)]
        row[_SIDE:, left : left + 2 * _SIDE] = lettering.text_block(lines, 2 * _SIDE, _SIZE)
    return row
