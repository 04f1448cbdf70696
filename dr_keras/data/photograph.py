"""The one way from a photograph, in whatever form it comes, to the square image that a network takes."""

import dataclasses
import functools
import hashlib
import os

import cv2
import numpy as np

from dr_keras.data import decoding, dicom, file_header, fundus, normalization, quality, synthetic
from dr_keras.errors import InputError

_DRAWN_HEIGHT = 512  # pixels, where a synthetic photograph is wanted whole
_BGR_RATIO = 1.3  # mean blue over mean red: a retina reflects far more red than blue


@dataclasses.dataclass(frozen=True)
class PreparedImage:
    """A photograph made ready for a network.

    Attributes:
        pixels: uint8 (size, size, 3), RGB, 0-255.
        field_of_view: where the retina lay in the original photograph, in its pixels.
        sha256: of the source file, and of the frame's number where the file has several; "" for a synthetic
            photograph or an array.
    """

    pixels: np.ndarray
    field_of_view: fundus.FieldOfView
    sha256: str


def _photographs_fault(method):
    """Makes an error that no check foresaw the photograph's own: whatever is wrong with one ends no run."""

    @functools.wraps(method)
    def guarded(self, *arguments, **options):
        try:
            return method(self, *arguments, **options)
        except InputError:
            raise
        except Exception as error:
            raise InputError(f"{self.name}: {decoding.unforeseen(error)}") from error

    return guarded


class Photograph:
    """A photograph that is decoded at most once at each scale, however many images are made of it.

    Nothing is read before it is needed. A JPEG is decoded at the smallest of the scales 1/8, 1/4, 1/2 and 1
    that serves, which is several times cheaper than a full decode.

    Args:
        source: path of a file, name of a synthetic photograph, encoded bytes, PIL image, or uint8 array
            (height, width, 3), RGB, 0-255. `eye.dcm#2` is the second frame of a DICOM file. One of several
            frames, none of which is named, is refused when it is read: which eye is meant isn't guessed.
        name: what errors and tables call it; default: the path, or "photograph".

    Raises:
        ValueError: if `source` is of another kind, or an array of another dtype, shape or channel order.
    """

    def __init__(self, source, name=None):
        is_path = isinstance(source, (str, os.PathLike))
        self.name = name or (str(source) if is_path else "photograph")
        if is_path and synthetic.is_synthetic(source):
            self._pixels = _Drawn(str(source))
        elif is_path:
            path, frame = dicom.split_frame(source)
            self._pixels = _Encoded(functools.partial(decoding.read_bytes, path), self.name, frame)
        elif isinstance(source, (bytes, bytearray, memoryview)):
            self._pixels = _Encoded(functools.partial(bytes, source), self.name)
        elif hasattr(source, "getexif"):
            self._pixels = _Picture(source, self.name)
        else:
            self._pixels = _Array(_checked_array(source))
        self._crops = {}

    @_photographs_fault
    def prepare(self, image_size, steps=()):
        """Makes the square image around the field of view.

        Args:
            image_size: side of the result in pixels.
            steps: some of `normalization.STEPS`.

        Returns:
            A `PreparedImage`.

        Raises:
            InputError: if the file is missing or can't be decoded as an image.
        """
        square, view = self._crop(image_size, steps)
        return PreparedImage(normalization.normalize(square, steps), view, self._pixels.sha256())

    @_photographs_fault
    def gradability(self, image_size, limits=None):
        """Judges the picture, and its square image of a size before any normalisation: see `quality`."""
        square, view = self._crop(image_size)
        circle = fundus.FieldOfView.of_square(image_size, view.found)
        reason = quality.gradability(square, circle, limits, 2 * view.radius, self._pixels.quantization())[1]
        reason = quality.with_whole(reason, quality.whole_fault(self._pixels.decoded(image_size)))
        return not reason, reason

    @_photographs_fault
    def frame(self, max_side):
        """Returns the photograph, upright, with a longer side of at most `max_side` pixels: uint8 RGB.

        A synthetic photograph is drawn `max_side` pixels high.
        """
        image = self._pixels.decoded(longer_side=max_side)
        scale = max_side / max(image.shape[:2])
        if scale >= 1 or isinstance(self._pixels, _Drawn):
            return image
        return cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)

    def reason(self, error):
        """The text of an `InputError` that this photograph raised, without the photograph's name."""
        return str(error).removeprefix(f"{self.name}: ")

    def _crop(self, image_size, steps=()):
        """The square image, and the `FieldOfView` in the whole photograph's pixels."""
        key = image_size, normalization.CENTRE_SQUARE in steps
        if key not in self._crops:
            image, view = self._decoded_for(image_size, steps)
            height, width = self._pixels.size(image)
            full_view = view.scaled(height / image.shape[0], height, width)
            self._crops[key] = fundus.crop_square(image, view, image_size), full_view
        return self._crops[key]

    def _decoded_for(self, image_size, steps):
        """The smallest decode whose circle is `image_size` pixels across or more, and that circle."""
        side = image_size
        while True:
            image = fundus.without_bright_surround(self._pixels.decoded(side))
            view = normalization.find_view(image, steps)
            if 2 * view.radius >= image_size or side is None or image.shape[:2] == self._pixels.size(image):
                return image, view
            # The retina fills less of the picture than hoped: take a larger decode, then the whole.
            wanted = int(min(image.shape[:2]) * image_size / (2 * view.radius)) + 1
            side = wanted if side == image_size else None


class _Encoded:
    """Pixels of an encoded file, whose bytes `read` returns, or of a `frame` of it."""

    def __init__(self, read, name, frame=None):
        self._read, self._name, self._frame = read, name, frame
        self._images = {}

    @functools.cached_property
    def _data(self):
        return self._read()

    @functools.cached_property
    def _header(self):
        return file_header.read_header(self._data, self._name, self._frame)

    def decoded(self, shorter_side=None, longer_side=None):
        """The picture at the smallest scale that keeps one of the sides at so many pixels."""
        factor = self._header.reduction(shorter_side, longer_side)
        if factor not in self._images:
            self._images[factor] = decoding.decode_photograph(self._data, self._name, factor, self._header)
        return self._images[factor]

    def size(self, image):
        return self._header.upright_size

    def quantization(self):
        return self._header.quantization

    def sha256(self):
        digest = hashlib.sha256(self._data)
        if self._frame is not None:
            digest.update(f"#{self._frame}".encode())
        return digest.hexdigest()


class _Array:
    """Pixels that are there already."""

    def __init__(self, image):
        self._image = image

    def decoded(self, shorter_side=None, longer_side=None):
        return self._image

    def size(self, image):
        return image.shape[:2]

    def quantization(self):
        return 0.0  # whatever it went through isn't known

    def sha256(self):
        return ""


class _Picture(_Array):
    """Pixels of a PIL image, which may not have read its file yet."""

    def __init__(self, image, name):
        self._source, self._name = image, name

    @functools.cached_property
    def _image(self):
        image = decoding.upright_pixels(self._source)
        decoding.refuse_small(*image.shape[:2], self._name)
        return image


class _Drawn(_Array):
    """Pixels of a synthetic photograph, which can be drawn at any size; each size counts as a whole one."""

    def __init__(self, name):
        self._name, self._images = name, {}

    def decoded(self, shorter_side=None, longer_side=None):
        height = shorter_side or longer_side or _DRAWN_HEIGHT
        if height not in self._images:
            self._images[height] = synthetic.draw_named(self._name, height).image
        return self._images[height]


def _checked_array(source):
    """Returns an array; `ValueError` for what isn't uint8 RGB."""
    image = np.asarray(source)
    expected = "A photograph must be a path, bytes, a PIL image or a uint8 RGB array (height, width, 3)."
    if image.dtype != np.uint8:
        hint = ""
        if image.dtype.kind == "f" and image.size and np.nanmax(image) <= 1:
            hint = "; scale values in 0-1 to 0-255 first: (255 * image).round().astype('uint8')"
        raise ValueError(f"{expected} Received: {type(source).__name__} of dtype {image.dtype}{hint}")
    if image.ndim != 3 or image.shape[2] != 3:
        hint = "; several photographs are given as a list" if image.ndim == 4 else ""
        raise ValueError(f"{expected} Received: an array of shape {image.shape}{hint}")
    if min(image.shape[:2]) < decoding.MIN_SIDE:
        raise ValueError(f"{expected} At least {decoding.MIN_SIDE} pixels each way. Received: {image.shape}")
    red, _, blue = (float(image[::8, ::8, channel].mean()) for channel in range(3))
    if blue > _BGR_RATIO * red:
        raise ValueError(
            f"{expected} Received: an array whose blue is far brighter than its red, as in OpenCV's BGR "
            "order; pass image[..., ::-1]"
        )
    return image
