"""`data.fundus` in TensorFlow operations, for exported graphs: the same field of view and square crop.

It rounds as NumPy and OpenCV do, so that only the order of float sums differs.
"""

import numpy as np
import tensorflow as tf

from dr_keras.data import fundus

_NEVER = np.iinfo("int32").min
_LEAST_PART = 1e-3  # OpenCV ignores smaller fractions of a pixel


def find_field_of_view(image):
    """Finds the field of view; see `fundus.find_field_of_view`.

    Args:
        image: uint8 (height, width, 3), RGB.

    Returns:
        circle: float64 (3,): center_y, center_x and radius in the image's pixels.
        found: bool (): False if none was found, and the circle is inscribed in the central square instead.
    """
    shape = tf.cast(tf.shape(image)[:2], tf.float64)
    scale = tf.minimum(tf.constant(1.0, tf.float64), fundus.WORKING_SIDE / tf.reduce_max(shape))
    size = tf.maximum(1, tf.cast(tf.round(shape * scale), tf.int32))
    brightest = tf.reduce_max(reduce_by_area(image, size), axis=-1)
    points = _edge_points(blur(brightest, 1.0))
    circle = _fit_circle(points, tf.cast(tf.reduce_min(size), tf.float64))
    found = tf.reduce_all(tf.math.is_finite(circle))
    centre = tf.concat([shape / 2, [tf.reduce_min(shape) / 2]], axis=0)
    # Not `tf.where`: as ONNX it multiplies by 0 what isn't chosen, and NaN times 0 is NaN.
    return tf.cond(found, lambda: circle / scale, lambda: centre), found


def without_bright_surround(image):
    """Blackens a surround that no camera makes; see `fundus.without_bright_surround`."""

    def blackened():
        outside = tf.cast(_is_no_retina(image), tf.float32)
        height, width = tf.unstack(tf.shape(image)[:2] // 3)
        is_coloured = tf.reduce_mean(outside[height:-height, width:-width]) <= fundus.MOST_IN_MIDDLE
        outside *= tf.cast(is_coloured, tf.float32)
        near = tf.nn.max_pool2d(outside[None, ..., None], fundus.SURROUND_EDGE, 1, "SAME")[0]
        return image * tf.cast(near == 0, tf.uint8)

    corners = tf.stack([image[0, 0], image[0, -1], image[-1, 0], image[-1, -1]])
    return tf.cond(tf.reduce_all(_is_no_retina(corners)), blackened, lambda: image)


def _is_no_retina(image):
    """See `fundus.is_no_retina`: uint8 (..., 3) to bool (...)."""
    red, blue = tf.cast(image[..., 0], tf.int32), tf.cast(image[..., 2], tf.int32)
    is_white = tf.reduce_min(image, axis=-1) >= fundus.WHITE
    return is_white | ((red - blue <= fundus.COLD) & (tf.reduce_max(image, axis=-1) >= fundus.LIT))


def crop_square(image, circle, found, size):
    """Crops the square around the field of view and resizes it; see `fundus.crop_square`.

    Args:
        image: uint8 (height, width, 3), RGB.
        circle, found: from `find_field_of_view`.
        size: side of the result in pixels, a Python int.

    Returns:
        float32 (size, size, 3), whole numbers, 0-255.
    """
    side = tf.maximum(1, _whole(2 * circle[2]))
    corner = _whole(circle[:2] - tf.cast(side, tf.float64) / 2)
    first = tf.maximum(corner, 0)
    last = tf.minimum(corner + side, tf.shape(image)[:2])
    before, after = first - corner, corner + side - last
    square = image[first[0] : last[0], first[1] : last[1]]
    square = tf.pad(square, [[before[0], after[0]], [before[1], after[1]], [0, 0]])
    square = tf.cond(
        side > size,
        lambda: reduce_by_area(square, (size, size)),
        lambda: _enlarged(tf.cast(square, tf.float32), side, size),
    )
    place = tf.range(tf.cast(tf.shape(square)[0], tf.float32)) + (0.5 - size / 2)
    disc = place[:, None] ** 2 + place**2 <= (size / 2) ** 2  # computed, as it would be a large constant
    return tf.ensure_shape(square, (size, size, 3)) * tf.cast(disc | ~found, tf.float32)[..., None]


def _enlarged(square, side, size):
    """Enlarges a square like OpenCV, which counts in 2048ths and rounds down between the axes."""
    at = (tf.range(size, dtype=tf.float32) + 0.5) * (tf.cast(side, tf.float32) / size) - 0.5
    low = tf.floor(at)
    right = tf.round((at - low) * 2048)
    left = 2048 - right
    before, after = (tf.clip_by_value(tf.cast(low, tf.int32) + step, 0, side - 1) for step in (0, 1))
    columns = tf.gather(square, before, axis=1) * left[:, None]
    columns = tf.floor((columns + tf.gather(square, after, axis=1) * right[:, None]) / 2**4)
    upper = tf.floor(tf.gather(columns, before) * left[:, None, None] / 2**16)
    lower = tf.floor(tf.gather(columns, after) * right[:, None, None] / 2**16)
    return tf.floor((upper + lower + 2) / 4)


def reduce_by_area(image, size):
    """Reduces uint8 (height, width, channels) to `size` like OpenCV's area interpolation.

    Returns:
        float32 (*size, channels), whole numbers.
    """
    shape, size = tf.shape(image)[:2], tf.convert_to_tensor(size)
    # TensorFlow's area interpolation computes cell borders in float32 and so includes tiny fractions of
    # pixels that OpenCV ignores; ONNX has none.
    reduced = _cell_means(_cell_means(image, size[0]), size[1])
    # OpenCV rounds halves up where it reduces to exactly a half, and to even elsewhere.
    halved = tf.reduce_all(shape == 2 * size)
    return tf.where(halved, tf.floor(reduced + 0.5), tf.round(reduced))


def _cell_means(picture, count):
    """Means over `count` equal cells along the first axis, with fractions of pixels; swaps the axes."""
    length = tf.shape(picture)[0]
    step = tf.cast(length, tf.float64) / tf.cast(count, tf.float64)
    start = step * tf.range(count, dtype=tf.float64)[:, None]
    pixels = tf.floor(start) + tf.range(tf.math.ceil(step) + 1)
    parts = tf.minimum(pixels + 1, start + step) - tf.maximum(pixels, start)
    parts = tf.cast(tf.where(parts > _LEAST_PART, parts / step, 0), tf.float32)
    pixels = tf.minimum(tf.cast(pixels, tf.int32), length - 1)

    def part(number):
        rows = tf.cast(tf.gather(picture, pixels[:, number]), tf.float32)
        return rows * parts[:, number, None, None]

    total = tf.while_loop(
        lambda number, _: number < tf.shape(pixels)[1],
        lambda number, total: (number + 1, total + part(number)),
        (1, part(0)),
    )[1]
    return tf.transpose(total, (1, 0, 2))


def blur(picture, sigma):
    """Blurs a float32 picture (height, width) like OpenCV's Gaussian blur, with mirrored borders."""
    reach = (round(sigma * 8 + 1) | 1) // 2
    weights = np.exp(-(np.arange(-reach, reach + 1) ** 2) / (2 * sigma**2))
    weights = tf.constant(weights / weights.sum(), tf.float32)
    for axis in (0, 1):
        last = tf.shape(picture)[axis] - 1
        taps = tf.abs(tf.range(-reach, last + reach + 1)) % tf.maximum(2 * last, 1)
        picture = tf.gather(picture, tf.minimum(taps, 2 * last - taps), axis=axis)
    for shape in ((-1, 1, 1, 1), (1, -1, 1, 1)):
        kernel = tf.reshape(weights, shape)
        picture = tf.nn.conv2d(picture[None, ..., None], kernel, 1, "VALID")[0, ..., 0]
    return picture


def _whole(value):
    return tf.cast(tf.round(value), tf.int32)


def _edge_points(brightness):
    """See `fundus._edge_points`: float64 (points, 2) of y, x."""
    shape = tf.cast(tf.shape(brightness), tf.float64)
    weights = tf.cast(tf.maximum(brightness - _median(brightness) * 0.5, 0) + 1e-6, tf.float64)
    total = tf.reduce_sum(weights)
    center = [
        tf.reduce_sum(tf.reduce_sum(weights, 1 - axis) * tf.range(shape[axis], dtype=tf.float64)) / total
        for axis in (0, 1)
    ]
    angles = np.arange(fundus.NUM_RAYS) * (2 * np.pi / fundus.NUM_RAYS)
    directions = tf.constant(np.stack([np.sin(angles), np.cos(angles)]))
    radii = tf.floor(tf.sqrt(tf.reduce_sum(shape**2)))
    places = tf.stack(center)[:, None, None] + directions[..., None] * tf.range(radii, dtype=tf.float64)
    inside = tf.reduce_all((places >= 0) & (places <= shape[:, None, None] - 1), axis=0)
    lengths = tf.reduce_sum(tf.cast(inside, tf.int32), axis=1)
    edges = _outermost_steps(_interpolate(brightness, places), lengths)
    found = edges >= 0
    reached = tf.cast(tf.boolean_mask(edges, found), tf.float64)
    return tf.stack(center) + tf.transpose(tf.boolean_mask(directions, found, axis=1) * reached)


def _median(values):
    """Median of values in 0-255, to within 1e-4; sorting would take longer than all other steps together."""
    return (_ranked(values, (tf.size(values) + 1) // 2) + _ranked(values, tf.size(values) // 2 + 1)) / 2


def _ranked(values, rank):
    """The value of a rank, counted from 1: found by halving the range that it lies in."""

    def halve(low, width):
        middle = low + width / 2
        below = tf.reduce_sum(tf.cast(values < middle, tf.int32))
        return tf.where(below < rank, middle, low), width / 2

    return tf.while_loop(lambda low, width: width > 1e-4, halve, (tf.constant(0.0), tf.constant(256.0)))[0]


def _interpolate(picture, places):
    """Linear interpolation at places (y, x), float64 (2, ...); beyond the border its values are repeated."""
    height, width = tf.unstack(tf.shape(picture))
    flat, places = tf.reshape(picture, [-1]), tf.cast(places, tf.float32)
    low = tf.floor(places)
    y, x = tf.unstack(places - low)
    row, column = tf.unstack(tf.cast(low, tf.int32))
    top, bottom = (tf.clip_by_value(row + step, 0, height - 1) * width for step in (0, 1))
    left, right = (tf.clip_by_value(column + step, 0, width - 1) for step in (0, 1))
    upper = tf.gather(flat, top + left) * (1 - x) + tf.gather(flat, top + right) * x
    lower = tf.gather(flat, bottom + left) * (1 - x) + tf.gather(flat, bottom + right) * x
    return upper * (1 - y) + lower * y


def _outermost_steps(rays, lengths):
    """See `fundus._outermost_steps`."""
    step = fundus.STEP
    totals = tf.pad(tf.cumsum(tf.cast(rays, tf.float64), axis=1), [[0, 0], [1, 0]])
    means = (totals[:, step:] - totals[:, :-step]) / step
    steps = means[:, :-step] - means[:, step:]
    half = tf.maximum(lengths // 2, step)
    level = tf.gather(totals, half, axis=1, batch_dims=1) / tf.cast(half, tf.float64)
    columns = tf.range(tf.shape(steps)[1])
    valid = columns <= lengths[:, None] - 2 * step
    valid &= (level >= fundus.MIN_BRIGHTNESS)[:, None] & (steps > tf.maximum(0.25 * level, 3.0)[:, None])
    last = tf.reduce_max(tf.where(valid, columns, _NEVER), axis=1)
    run = valid & (columns > last[:, None] - 2 * step)
    steepest = tf.argmax(tf.where(run, steps, float(_NEVER)), axis=1, output_type=tf.int32)
    return tf.where(last >= 0, steepest + step - 1, -1)


def _fit_circle(points, shorter_side):
    """See `fundus._fit_circle`: float64 (3,), NaN if no circle fits."""
    triples = [np.random.default_rng(0).integers(n, size=(fundus.NUM_TRIALS, 3)) for n in _counts()]
    triples = tf.constant(np.stack(triples), tf.int32)  # the draws of `fundus`, for every number of points
    count = tf.shape(points)[0]
    none = tf.fill([3], tf.constant(np.nan, tf.float64))

    def fit():
        circles = _circumcircles(tf.gather(points, triples[count - fundus.MIN_EDGE_RAYS]))
        y, x, radius = tf.split(circles, 3, axis=1)
        fits = (radius > 0.25 * shorter_side) & (radius < 1.2 * shorter_side)
        distances = tf.sqrt((points[:, 0] - y) ** 2 + (points[:, 1] - x) ** 2)
        near = fits & (tf.abs(distances - radius) < 2.0)
        votes = tf.reduce_sum(tf.cast(near, tf.int32), axis=1)
        best = near[tf.argmax(votes)]
        needed = tf.maximum(float(fundus.MIN_EDGE_RAYS), 0.5 * tf.cast(count, tf.float32))
        enough = tf.cast(tf.reduce_max(votes), tf.float32) >= needed
        return tf.cond(enough, lambda: _least_squares(tf.boolean_mask(points, best)), lambda: none)

    return tf.cond(count >= fundus.MIN_EDGE_RAYS, fit, lambda: none)


def _counts():
    return range(fundus.MIN_EDGE_RAYS, fundus.NUM_RAYS + 1)


def _least_squares(points):
    """See `fundus._fit_circle`: in coordinates from the points' mean, two equations remain."""
    mean = tf.reduce_mean(points, axis=0)
    y, x = tf.unstack(points - mean, axis=1)
    squares = y * y + x * x
    yy, yx, xx = (tf.reduce_sum(product) for product in (y * y, y * x, x * x))
    right_y, right_x = tf.reduce_sum(y * squares) / 2, tf.reduce_sum(x * squares) / 2
    determinant = yy * xx - yx * yx
    y, x = (xx * right_y - yx * right_x) / determinant, (yy * right_x - yx * right_y) / determinant
    return tf.stack([mean[0] + y, mean[1] + x, tf.sqrt(tf.reduce_mean(squares) + y * y + x * x)])


def _circumcircles(triples):
    """See `fundus._circumcircles`."""
    first, second, third = tf.unstack(triples, axis=1)
    b, c = second - first, third - first
    cross = 2 * (b[:, 0] * c[:, 1] - b[:, 1] * c[:, 0])
    b2, c2 = tf.reduce_sum(b**2, axis=1), tf.reduce_sum(c**2, axis=1)
    y = (c[:, 1] * b2 - b[:, 1] * c2) / cross
    x = (b[:, 0] * c2 - c[:, 0] * b2) / cross
    return tf.stack([first[:, 0] + y, first[:, 1] + x, tf.sqrt(x * x + y * y)], axis=1)
