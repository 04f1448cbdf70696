"""`data.quality` in TensorFlow operations: whether a preprocessed photograph can be graded, and why not."""

import cv2
import numpy as np
import tensorflow as tf

from dr_keras.data import fundus, inspection, quality, retina_check
from dr_keras.export import graph_fundus


def fault(square, found, limits, diameter=None, quantization=0.0):
    """Checks a preprocessed photograph as `quality.gradability` does.

    Args:
        square: float32 (size, size, 3), RGB, 0-255, whole numbers; the shape is static.
        found: bool (): whether a field of view was found.
        limits: `quality.QualityLimits`.
        diameter: float64 (), of the field of view in the photograph, in pixels; None isn't judged.
        quantization: float64 (), see `file_header.Header`.

    Returns:
        string (): why the photograph can't be graded, or "".
    """
    message = ""
    for condition, words, number in reversed(cases(square, found, limits, diameter, quantization)):
        if number is not None:
            start, end = words.split("{}")
            words = tf.strings.join([start, tf.strings.as_string(number), end])
        message = tf.where(condition, words, message)
    return message


def cases(square, found, limits, diameter=None, quantization=0.0):
    """What a photograph is refused for; the first whose condition holds is the reason.

    Args:
        square, found, limits, diameter, quantization: as for `fault`.

    Returns:
        List of (condition, words, number): a bool (), a Python string, and the whole number, int32 (), that
        stands in the words in place of `{}`, or None.
    """
    size = square.shape[0]
    circle = tf.constant([size / 2] * 3, tf.float64)
    small = graph_fundus.crop_square(square, circle, found, inspection.SMALL_SIDE)
    square = graph_fundus.crop_square(square, circle, found, quality.SIDE)
    return [*_cases_without_retina(small, found), *_cases(square, size, limits, diameter, quantization)]


def _cases(square, size, limits, diameter, quantization):
    """See `quality._fault`; `size` is the side of the preprocessed photograph, before its reduction."""
    circle = tf.constant(fundus.disc(quality.SIDE) > 0)
    lit = (tf.reduce_max(square, axis=2) > inspection.SURROUND) & circle
    inside = _eroded(lit, quality.MARGIN)
    pixels = tf.boolean_mask(square, inside)
    covered = tf.reduce_sum(tf.cast(lit, tf.float64)) / tf.reduce_sum(tf.cast(circle, tf.float64))
    dark = _share(tf.reduce_max(pixels, axis=1) < quality.DARK)
    bright = _share(tf.reduce_min(pixels[:, :2], axis=1) >= quality.BRIGHT)
    percent = tf.cast(tf.round(100 * covered), tf.int32)
    colours = tf.cast(pixels, tf.float64)
    brightest = tf.reduce_max(colours, axis=1)
    spread = tf.reduce_mean(brightest - tf.reduce_min(colours, axis=1))
    distance = tf.reduce_max(tf.abs(tf.reduce_mean(colours, axis=0) - quality.MIDDLE_GREY))
    judged = [
        ((tf.size(pixels) == 0) | (dark > limits.max_dark_share), quality.TOO_DARK, None),
        (covered < limits.min_coverage, quality.CUT_OFF, percent),
        (bright > limits.max_bright_share, quality.TOO_BRIGHT, None),
        (spread < limits.min_saturation * tf.reduce_mean(brightest), quality.GREY, None),
        (distance < limits.min_grey_distance, quality.FILTERED, None),
    ]
    if diameter is not None:
        across, least = tf.cast(tf.round(diameter), tf.int32), quality.least_diameter(size, limits)
        judged.append((across < least, quality.TOO_SMALL.format("{}", least), across))
        coarsest = limits.max_quantization * tf.maximum(diameter / size, 1.0)
        judged.append((quantization > coarsest, quality.TOO_COMPRESSED, None))
    return [*judged, *_structure_cases(square, inside, size, limits)]


def _structure_cases(square, inside, size, limits):
    """Whether the photograph is out of focus, or no retina."""
    if size < quality.SIDE - 1:
        return []
    octaves = _octaves(square, inside)
    is_retina = _has_a_retinas_structure(square, inside, octaves)
    is_retina &= _retina_log_odds(square) >= quality.MIN_LOG_ODDS
    return [
        (~_in_focus(octaves, limits), quality.OUT_OF_FOCUS, None),
        (~is_retina, quality.NO_RETINA, None),
    ]


def _octaves(square, inside):
    """See `quality._octaves`."""
    grey = tf.reduce_mean(square, axis=2)
    levels = [grey, *(graph_fundus.blur(grey, sigma) for sigma in quality.OCTAVE_SIGMAS)]
    pairs = zip(levels, levels[1:], strict=False)
    return [tf.math.reduce_std(tf.boolean_mask(a - b, inside)) for a, b in pairs]


def _in_focus(octaves, limits):
    fine, middle, coarse = octaves[:3]
    return (fine >= limits.min_fine_detail * middle) & (middle >= limits.min_middle_detail * coarse)


def _has_a_retinas_structure(square, inside, octaves):
    """See `quality._has_a_retinas_structure`."""
    pairs = zip(octaves[1:], octaves[2:], quality.MAX_OCTAVE_RATIOS, strict=False)
    smooth = tf.reduce_all([a <= ratio * b for a, b, ratio in pairs])
    details = []
    for channel in (0, 1):
        plane = square[..., channel]
        detail = plane - graph_fundus.blur(plane, quality.DETAIL_SIGMA)
        detail = tf.cast(tf.boolean_mask(detail, inside), tf.float64)
        details.append(detail - tf.reduce_mean(detail))
    red, green = details
    variance = tf.reduce_mean(green**2)
    correlation = tf.reduce_mean(red * green) / tf.sqrt(tf.reduce_mean(red**2) * variance + 1e-9)
    pixels = tf.boolean_mask(square, inside)
    shares = pixels[:, 0] / (tf.reduce_sum(pixels, axis=1) + 1)
    heavy_tailed = tf.reduce_mean(green**4) >= quality.MIN_KURTOSIS * variance**2
    judged = (correlation, quality.CORRELATIONS), (tf.math.reduce_std(shares), quality.HUE_SPREADS)
    within = [(value >= low) & (value <= high) for value, (low, high) in judged]
    return smooth & heavy_tailed & tf.reduce_all(within)


def _retina_log_odds(square):
    """See `retina_check.retina_log_odds`."""
    x = _structure(square)[None]
    *hidden, (last, last_bias, _) = retina_check.convolutions()
    for kernel, bias, stride in hidden:
        x = tf.nn.relu(tf.nn.bias_add(tf.nn.conv2d(x, kernel, stride, "VALID"), bias))
    return tf.tensordot(tf.reduce_mean(x, axis=(0, 1, 2)), last[0, 0, :, 0], 1) + last_bias[0]


def _structure(square):
    """See `retina_check.structure`."""
    block = quality.SIDE // retina_check.SIDE
    reduced = tf.round(tf.nn.avg_pool2d(square[None], block, block, "VALID")[0])
    circle = tf.constant(fundus.disc(retina_check.SIDE) > 0)
    lit = tf.cast((tf.reduce_max(reduced, axis=2) > inspection.SURROUND) & circle, tf.float32)
    near = _blurred(lit, retina_check.MEAN_SIGMA) + retina_check.EMPTY
    far = _blurred(lit, retina_check.SPREAD_SIGMA) + retina_check.EMPTY
    least, share = retina_check.LEAST_SPREAD
    planes = []
    for channel in range(retina_check.CHANNELS):
        colour = reduced[..., channel]
        mean = _blurred(colour * lit, retina_check.MEAN_SIGMA) / near
        detail = (colour - mean) * lit
        spread = tf.sqrt(_blurred(detail**2, retina_check.SPREAD_SIGMA) / far)
        planes.append(detail / (spread + least + share * mean))
    return tf.clip_by_value(tf.stack(planes, axis=2), -retina_check.LIMIT, retina_check.LIMIT)


def _blurred(plane, sigma):
    """Blurs (SIDE, SIDE) as OpenCV does, but by matrices.

    Convolutions of `graph_fundus.blur` behind one another make TensorFlow's optimiser run into a cycle.
    """
    rows = np.eye(retina_check.SIDE, dtype=np.float32)
    blur = tf.constant(cv2.GaussianBlur(rows, (1, round(8 * sigma + 1) | 1), sigma))
    return tf.linalg.matmul(blur, tf.linalg.matmul(plane, blur, transpose_b=True))


def _cases_without_retina(small, found):
    """See `inspection.reason_without_retina`; `small` is the crop that is inspected."""
    brightest, mean = tf.reduce_max(small, axis=2), tf.reduce_mean(small, axis=2)
    covered = _eroded(brightest > inspection.SURROUND, 5)
    red, green, blue = tf.unstack(tf.boolean_mask(small, covered), axis=1)
    detail = tf.boolean_mask(mean - graph_fundus.blur(mean, 2.0), covered)
    level = tf.reduce_mean(tf.boolean_mask(brightest, covered))
    is_tissue = (red >= green) & (red > blue)
    return [
        ((tf.size(red) == 0) | (level < inspection.MIN_BRIGHTNESS), inspection.BLACK, None),
        (tf.math.reduce_std(detail) < inspection.MIN_DETAIL, inspection.NO_DETAIL, None),
        (_share(red >= green) < inspection.MIN_RED_SHARE, inspection.NO_RED, None),
        (~found & (_share(is_tissue) < inspection.MIN_TISSUE_SHARE), inspection.NO_FUNDUS, None),
    ]


def _share(condition):
    return tf.reduce_mean(tf.cast(condition, tf.float32))


def _eroded(mask, side):
    """Erodes a mask (height, width) by a square of `side` pixels; beyond the picture it counts as False."""
    margin = side // 2
    outside = tf.cast(~mask, tf.float32)
    outside = tf.pad(outside, [[margin, margin], [margin, margin]], constant_values=1.0)[None, ..., None]
    for window in ((side, 1), (1, side)):
        outside = tf.nn.max_pool2d(outside, window, 1, "VALID")
    return outside[0, ..., 0] == 0
