"""`geometry.place` and `overlay.blend` in TensorFlow operations, for exported graphs."""

import cv2
import numpy as np
import tensorflow as tf

from dr_keras.explain import lesion_overlay, overlay
from dr_keras.explain.geometry import LOBES
from dr_keras.export import graph_fundus, graph_photographs
from dr_keras.lesion_kinds import COLORS, LESIONS

MAX_SIDE = 512  # longest side of the picture, in pixels


def overlay_png(data, size, circle, cells, readable, grid, limit):
    """Draws an attribution map over its photograph; see `overlay.blend`.

    Args:
        data: string (), the encoded photograph.
        size: int32 (2,), height and width of the photograph.
        circle: float64 (3,), center_y, center_x and radius of the field of view, in the photograph's pixels.
        cells: float32 (rows, columns), the map, in grade units.
        readable: bool (): whether the photograph can be read.
        grid: `Grid` of the map.
        limit: absolute value in grade units at which the colour scale ends.

    Returns:
        string (): a PNG file whose longer side is that of the photograph, at most `MAX_SIDE` pixels; "" for
        a photograph that can't be read.
    """

    return _png(data, size, circle, readable, lambda image, view: map_over(image, view, cells, grid, limit))


def map_over(image, circle, cells, grid, limit):
    """Draws an attribution map over a picture.

    Args:
        image: float32 (height, width, 3), from `frame`.
        circle: float64 (3,), the field of view in the picture's pixels.
        cells, grid, limit: as for `overlay_png`.

    Returns:
        float32 (height, width, 3), RGB, 0-255, whole numbers.
    """
    height, width = tf.unstack(tf.shape(image)[:2])
    y, x = (tf.cast(tf.range(length), tf.float64) + 0.5 for length in (height, width))
    inside = (y[:, None] - circle[0]) ** 2 + (x - circle[1]) ** 2 <= circle[2] ** 2
    heat = tf.where(inside, _place(cells, grid, circle, (y, x)), 0.0)
    return _blend(image, heat, inside, limit)


def outlines_png(data, size, circle, marked, readable):
    """Outlines lesions on their photograph; see `lesion_overlay.outlined`.

    Args:
        data, size, circle, readable: as for `overlay_png`.
        marked: float32 (side, side, lesions), 1 on lesions of each of `LESIONS`, 0 elsewhere.

    Returns:
        string (), as `overlay_png`.
    """

    return _png(data, size, circle, readable, lambda image, view: outlined(image, view, marked))


def outlined(image, circle, marked):
    """Outlines lesions on a picture; `marked` as for `outlines_png`, the rest as for `map_over`."""
    height, width = tf.unstack(tf.shape(image)[:2])
    side = marked.shape[0]
    # Grown by the gap between a lesion and its outline, no lesion is lost between the frame's pixels.
    found = tf.nn.max_pool2d(marked[None], 2 * lesion_overlay.GAP + 1, 1, "SAME")[0]
    for axis, length in enumerate((height, width)):
        at = tf.cast(tf.range(length), tf.float64) + 0.5 - circle[axis] + circle[2]
        place = tf.cast(tf.floor(at * side / (2 * circle[2])), tf.int32)
        seen = tf.cast((place >= 0) & (place < side), tf.float32)
        found = tf.gather(found, tf.clip_by_value(place, 0, side - 1), axis=axis)
        found *= seen[:, None, None] if axis == 0 else seen[None, :, None]
    for channel in reversed(range(len(LESIONS))):
        lesion = found[..., channel] > 0
        outline = (_grown(lesion, 1) & ~lesion)[..., None]
        image = tf.where(outline, tf.constant(COLORS[LESIONS[channel]], tf.float32), image)
    return image


def frame(image):
    """Reduces a photograph, uint8 (height, width, 3), to `MAX_SIDE` pixels: float32, whole numbers."""
    shape = tf.cast(tf.shape(image)[:2], tf.float64)
    scale = tf.minimum(tf.constant(1.0, tf.float64), MAX_SIDE / tf.reduce_max(shape))
    reduced = tf.cast(tf.round(shape * scale), tf.int32)
    return graph_fundus.reduce_by_area(image, tf.maximum(1, reduced))


def _png(data, size, circle, readable, draw):
    """A PNG file of what `draw` makes of the reduced photograph and of the field of view in its pixels."""

    def encoded():
        image = frame(graph_photographs.decode(data, size, MAX_SIDE))
        view = circle * (tf.cast(tf.shape(image)[0], tf.float64) / tf.cast(size[0], tf.float64))
        return tf.io.encode_png(tf.cast(draw(image, view), tf.uint8))

    return tf.cond(readable, encoded, lambda: "")


def _place(cells, grid, circle, positions):
    """See `geometry.place`; `positions` are the centres of the frame's rows and columns."""
    scale = 2 * circle[2] / grid.image_size
    rows, columns = (
        _resampling((positions[axis] - circle[axis] + circle[2]) / scale, grid, axis, cells.shape[axis])
        for axis in (0, 1)
    )
    across = tf.transpose(_along_rows(tf.transpose(cells), *columns))
    return _along_rows(across, *rows)


def _along_rows(cells, matrix, around, seen):
    """See `geometry._along_rows`; `around` are the cells before and after each place."""
    around = [tf.gather(cells, place) for place in around]
    placed = tf.clip_by_value(tf.matmul(matrix, cells), tf.minimum(*around), tf.maximum(*around))
    return placed * tf.cast(seen, tf.float32)[:, None]


def _resampling(positions, grid, axis, num_cells):
    """See `geometry._resampling`."""
    at = (positions - grid.offset[axis]) / grid.step[axis]
    taps = tf.cast(tf.floor(at), tf.int32)[:, None] + np.arange(1 - LOBES, 1 + LOBES, dtype="int32")
    distance = at[:, None] - tf.cast(taps, tf.float64)
    weights = _sinc(distance) * _sinc(distance / LOBES)
    weights /= tf.reduce_sum(weights, axis=1, keepdims=True)
    start, extent = grid.window[axis], grid.window[axis + 2]
    seen = (positions >= start) & (positions < start + extent)
    taps = tf.clip_by_value(taps, 0, num_cells - 1)
    places = tf.cast(taps[..., None] == np.arange(num_cells), tf.float64)
    matrix = tf.cast(tf.reduce_sum(places * weights[..., None], axis=1), tf.float32)
    return matrix, (taps[:, LOBES - 1], taps[:, LOBES]), seen


def _sinc(value):
    turns = np.pi * tf.where(value == 0, tf.constant(1e-20, tf.float64), value)
    return tf.sin(turns) / turns


def _blend(image, heat, inside, limit):
    """See `overlay.blend`: float32 (height, width, 3), whole numbers."""
    grey = image[..., 1:2]
    strength = tf.minimum(tf.abs(heat) / limit, 1)[..., None]
    opacity = overlay.OPACITY * strength**overlay.STEEPNESS
    colors = tf.where(heat[..., None] > 0, overlay.RAISES, overlay.LOWERS)
    colors *= 1 - overlay.RELIEF + overlay.RELIEF * grey / overlay.GREY
    blended = tf.round(tf.clip_by_value(grey * (1 - opacity) + colors * opacity, 0, 255))
    top = _top_regions(heat, inside, limit)
    inner, outer = _grown(top, 1), _grown(top, 2)  # the widths that `blend` uses up to MAX_SIDE pixels
    blended = tf.where((outer & ~inner)[..., None], 0.0, blended)
    return tf.where((inner & ~top)[..., None], 255.0, blended)


def _top_regions(heat, inside, limit):
    """See `overlay.top_regions`."""
    ordered = tf.sort(tf.boolean_mask(heat, inside))
    last = tf.size(ordered) - 1
    place = (1 - overlay.TOP_SHARE) * tf.cast(last, tf.float64)
    below = tf.cast(tf.floor(place), tf.int32)
    share = tf.cast(place - tf.floor(place), tf.float32)
    highest = ordered[below] * (1 - share) + ordered[tf.minimum(below + 1, last)] * share
    return inside & (heat >= tf.maximum(highest, overlay.TOP_LEAST * limit))


def _grown(mask, pixels):
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * pixels + 1, 2 * pixels + 1))
    kernel = tf.constant(disc[..., None, None], tf.float32)
    return tf.nn.conv2d(tf.cast(mask, tf.float32)[None, ..., None], kernel, 1, "SAME")[0, ..., 0] > 0
