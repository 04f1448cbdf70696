"""Sheets of photographs with captions (P1 figure 11)."""

import math

from dr_keras.report.figures import style


def sheet_figure(cells, columns, width=style.WIDTH):
    """Lays pictures out in rows, read as a page is.

    Args:
        cells: list of (picture, caption): uint8 (height, width, 3), RGB.
        columns: pictures in a row.
        width: width of the figure, in inches.
    """
    rows = max(1, math.ceil(len(cells) / columns))
    aspect = max((len(picture) / picture.shape[1] for picture, _ in cells), default=1)
    lines = max((caption.count("\n") + 1 for _, caption in cells), default=1)
    height = rows * (aspect * width / columns + 0.16 * lines + 0.1)
    figure, axes = style.new_figure(height, width, nrows=rows, ncols=columns, squeeze=False)
    figure.get_layout_engine().set(w_pad=0.03, h_pad=0.03, wspace=0.01, hspace=0.01)
    for place, cell in zip(axes.flat, [*cells, *[(None, "")] * (axes.size - len(cells))], strict=True):
        place.set_axis_off()
        picture, caption = cell
        if picture is not None:
            place.imshow(picture)
        place.set_title(caption, fontsize=9, pad=3, parse_math=False)  # a file name may have two "$"
    return figure
