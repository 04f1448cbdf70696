"""`data.photograph` in TensorFlow operations: from a photograph's encoded bytes to a network's image.

A bad photograph yields a reason and raises no error, so that the others in its batch are graded.
"""

import tensorflow as tf

from dr_keras.data import decoding, file_header
from dr_keras.export import graph_exif, graph_fundus, graph_quality

REDUCTIONS = (8, 4, 2, 1)
UNREDUCED = len(REDUCTIONS) - 1
JPEG, PNG = b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n"
EMPTY = "the file is empty"
NOT_AN_IMAGE = "not an image, or its header is damaged (expected JPEG or PNG)"
DAMAGED = "the {} file is damaged and can't be decoded"
TRUNCATED = "the {} file is truncated"
TOO_SMALL = f"{{}}x{{}} pixels, expected at least {decoding.MIN_SIDE}x{decoding.MIN_SIDE}"
TOO_LARGE = f"{{}}x{{}} pixels, expected at most {file_header.MAX_PIXELS // 10**6} megapixels"


def prepare(data, image_size, limits):
    """Preprocesses one photograph as `Photograph.prepare` does, or says why it can't.

    Args:
        data: string (), an encoded JPEG or PNG.
        image_size: side of the result in pixels, a Python int.
        limits: `quality.QualityLimits`.

    Returns:
        Dict of tensors: `pixels`, float32 (image_size, image_size, 3), RGB, 0-255, whole numbers; `circle`,
        float64 (3,), center_y, center_x and radius of the field of view in the photograph's pixels; `size`,
        int32 (2,), height and width of the photograph; `message`, string (), why the photograph can't be
        read, or ""; `fault`, string (), why it is too bad to be graded (see `quality.gradability`), or "".
    """
    is_empty = tf.strings.length(data) == 0
    refused = tf.fill([2], 0), tf.where(is_empty, EMPTY, NOT_AN_IMAGE)
    size, message = _guarded(_read_header, data, refused)
    nothing = {"pixels": tf.zeros((image_size, image_size, 3)), "circle": tf.zeros(3, tf.float64)}
    damaged = tf.where(_starts_with(data, JPEG), DAMAGED.format("JPEG"), DAMAGED.format("PNG"))
    nothing |= {"message": tf.where(message == "", damaged, message), "fault": tf.constant("")}
    found = tf.cond(
        message == "",
        lambda: _guarded(lambda item: _prepare(item, size, image_size, limits), data, nothing),
        lambda: nothing,
    )
    return {**found, "size": size}


def decode(data, size, min_side):
    """Decodes a photograph: uint8 (height, width, 3), RGB.

    A JPEG is decoded at the smallest scale whose shorter side has `min_side` pixels or more.
    """
    return _decode(data, least_scale(tf.reduce_min(size), min_side), _orientation(data))


def _guarded(function, data, otherwise):
    """Returns `function(data)`, or `otherwise` if an operation in the function fails."""
    # Only a dataset can ignore errors; elsewhere in a graph an error fails the whole batch.
    tried = tf.data.Dataset.from_tensors(data).map(function).ignore_errors()
    result = tried.concatenate(tf.data.Dataset.from_tensors(otherwise)).take(1)
    options = tf.data.Options()
    options.autotune.enabled = False  # useless for a dataset of one element
    options.experimental_optimization.apply_default_optimizations = False
    return result.with_options(options).get_single_element()


def _read_header(data):
    """Returns the size, int32 (2,), and why the photograph can't be decoded, or ""."""
    is_jpeg = _starts_with(data, JPEG)
    kind = tf.where(is_jpeg, "JPEG", "PNG")
    size = tf.cond(is_jpeg, lambda: tf.io.extract_jpeg_shape(data)[:2], lambda: _png_size(data))
    size = graph_exif.upright_size(size, _orientation(data))
    shape, message = (size[1], size[0]), ""
    is_whole = tf.cond(is_jpeg, lambda: _ends(data, "JPEG"), lambda: _ends(data, "PNG"))
    before, after = TRUNCATED.split("{}")
    message = tf.where(is_whole, message, tf.strings.join([before, kind, after]))
    too_small, too_large = tf.strings.format(TOO_SMALL, shape), tf.strings.format(TOO_LARGE, shape)
    message = tf.where(tf.reduce_min(size) < decoding.MIN_SIDE, too_small, message)
    pixels = tf.reduce_prod(tf.cast(size, tf.int64))
    message = tf.where(pixels > file_header.MAX_PIXELS, too_large, message)
    is_known = is_jpeg | _starts_with(data, PNG)
    return size, tf.where(is_known, message, NOT_AN_IMAGE)


def _png_size(data):
    digits = tf.reshape(tf.cast(_raw(tf.strings.substr(data, 16, 8)), tf.int32), (2, 4))
    width, height = tf.unstack(tf.reduce_sum(digits * [2**24, 2**16, 2**8, 1], axis=1))
    with tf.control_dependencies([tf.debugging.assert_positive([width, height])]):
        return tf.stack([height, width])


def _ends(data, kind):
    """Whether the image data have an end, whatever comes behind; decoders fill what is missing with grey."""
    ending, raw = decoding.ENDINGS[kind], _raw(data)
    raw = raw[tf.minimum(graph_exif.image_data(raw), tf.size(raw)) :] if kind == "JPEG" else raw
    count = tf.size(raw) - len(ending) + 1
    return tf.reduce_any(tf.reduce_all([raw[k : k + count] == byte for k, byte in enumerate(ending)], axis=0))


def _starts_with(data, prefix):
    return tf.strings.substr(data, 0, len(prefix)) == prefix


def _raw(data):
    return tf.io.decode_raw(data, tf.uint8)


def least_scale(side, min_side):
    """See `file_header.Header.reduction`: a position in `REDUCTIONS`."""
    return 3 - tf.reduce_sum(tf.cast(side // tf.constant(REDUCTIONS[:3]) >= min_side, tf.int32))


def _decode(data, reduction, orientation):
    def jpeg(factor):
        return lambda: tf.io.decode_jpeg(
            data, channels=3, ratio=factor, fancy_upscaling=True, dct_method="INTEGER_ACCURATE"
        )

    branches, is_jpeg = [jpeg(factor) for factor in REDUCTIONS], _starts_with(data, JPEG)
    image = tf.cond(
        is_jpeg, lambda: tf.switch_case(reduction, branches), lambda: tf.io.decode_png(data, channels=3)
    )
    return graph_exif.upright(image, orientation)


def _orientation(data):
    return graph_exif.orientation(data, _starts_with(data, JPEG))


def _prepare(data, size, image_size, limits):
    """Preprocesses a photograph with a valid header; an operation fails if the rest is damaged."""
    first = least_scale(tf.reduce_min(size), image_size)
    image, circle, found = _smallest_decode(data, tf.reduce_min(size), image_size, first)
    full = tf.cast(size[0], tf.float64) / tf.cast(tf.shape(image)[0], tf.float64)
    pixels = graph_fundus.crop_square(image, circle, found, image_size)
    raw, nothing = _raw(data), tf.constant(0.0, tf.float64)
    coarseness = tf.cond(_starts_with(data, JPEG), lambda: graph_exif.quantization(raw), lambda: nothing)
    fault = graph_quality.fault(pixels, found, limits, 2 * circle[2] * full, coarseness)
    return {"pixels": pixels, "circle": circle * full, "message": tf.constant(""), "fault": fault}


def _smallest_decode(data, side, image_size, first):
    """See `Photograph._decoded_for`: decodes up to three times, each time at a larger scale."""
    full, orientation = UNREDUCED, _orientation(data)

    def attempt(number, reduction, *_):
        image = graph_fundus.without_bright_surround(_decode(data, reduction, orientation))
        circle, found = graph_fundus.find_field_of_view(image)
        wanted = tf.reduce_min(tf.shape(image)[:2]) * image_size
        wanted = tf.cast(tf.cast(wanted, tf.float64) / (2 * circle[2]), tf.int32) + 1
        following = tf.where(number == 0, least_scale(side, wanted), full)
        is_enough = (2 * circle[2] >= image_size) | (reduction == full) | ~_starts_with(data, JPEG)
        return number + 1, following, is_enough, image, circle, found

    image = tf.zeros((1, 1, 3), tf.uint8)
    state = 0, first, tf.constant(False), image, tf.zeros(3, tf.float64), tf.constant(False)
    shapes = [], [], [], [None, None, 3], [3], []
    return tf.while_loop(
        lambda number, reduction, is_enough, *_: ~is_enough,
        attempt,
        state,
        shape_invariants=tuple(tf.TensorShape(shape) for shape in shapes),
    )[3:]


def reduced_as_jpeg(image, position):
    """Reduces a decoded JPEG, about as decoders do that invert only its lower frequencies.

    Args:
        image: uint8 (height, width, 3).
        position: int32 (), a position in `REDUCTIONS`.

    Returns:
        uint8 (height, width, 3): means of blocks, mostly within a grey level of a decoding at that scale.
    """
    factor = tf.constant(REDUCTIONS)[position]

    def means():
        picture = image
        for _ in (0, 1):  # rows, then columns
            length, width = tf.unstack(tf.shape(picture)[:2])
            count = (length + factor - 1) // factor
            rows = tf.minimum(tf.range(count * factor), length - 1)  # the last fills up its block
            blocks = tf.reshape(tf.gather(picture, rows), (-1, factor, width, 3))
            picture = tf.transpose(tf.reduce_sum(tf.cast(blocks, tf.float32), axis=1), (1, 0, 2))
        return tf.cast(tf.round(picture / tf.cast(factor**2, tf.float32)), tf.uint8)

    return tf.cond(factor > 1, means, lambda: image)
