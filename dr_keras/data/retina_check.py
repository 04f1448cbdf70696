"""Whether a picture shows a retina at all, by a small convolutional network that runs without TensorFlow.

What a photograph's statistics can't tell, the look of vessels and disc can: a cat in a dark circle has the
colours and contrasts of some eye. The network sees structure alone, the same for any exposure, shading and
white balance, so that another camera's eyes look alike to it. Its weights are those of
`savedmodels/retina_check`, whose card says what they were learnt from.
"""

import functools

import cv2
import numpy as np

from dr_keras.data.fundus import brightest_channel, disc
from dr_keras.data.inspection import SURROUND
from dr_keras.shipped import RETINA_CHECK, shipped_path

SIDE = 128  # pixels; of the square that the network sees
CHANNELS = 2  # red and green; blue is mostly noise
MEAN_SIGMA, SPREAD_SIGMA = 6.0, 16.0  # pixels, of the blurs that give the local mean and the local contrast
LEAST_SPREAD = 1.0, 0.01  # grey levels, and share of the local mean: less contrast than noise isn't raised
LIMIT = 4.0  # local standard deviations
EMPTY = 1e-3  # keeps quotients finite where nothing is lit


@functools.cache
def convolutions():
    """The network's layers: a list of (kernel, float32 (size, size, in, out), bias (out,), stride).

    Convolutions without padding, each with a ReLU behind it but the last, which sees the mean over all
    positions.
    """
    with np.load(shipped_path(*RETINA_CHECK)) as arrays:
        strides = arrays["strides"].tolist()
        kernels = [arrays[f"kernel{number}"].astype("float32") for number in range(len(strides))]
        biases = [arrays[f"bias{number}"].astype("float32") for number in range(len(strides))]
    return list(zip(kernels, biases, strides, strict=True))


def structure(square):
    """What the network sees of a picture: float32 (SIDE, SIDE, 2), red and green in local deviations.

    Args:
        square: uint8 (side, side, 3), RGB, the side a multiple of `SIDE`: the square around the field of
            view, black outside the circle.
    """
    blocks = square.reshape(SIDE, len(square) // SIDE, SIDE, -1, 3)
    reduced = np.rint(blocks.mean(axis=(1, 3), dtype=np.float32))
    lit = ((brightest_channel(reduced) > SURROUND) & (disc(SIDE) > 0)).astype(np.float32)[..., None]
    colours = reduced[..., :CHANNELS]
    mean = _blurred(colours * lit, MEAN_SIGMA) / (_blurred(lit, MEAN_SIGMA) + EMPTY)
    detail = (colours - mean) * lit
    spread = np.sqrt(_blurred(detail**2, SPREAD_SIGMA) / (_blurred(lit, SPREAD_SIGMA) + EMPTY))
    return np.clip(detail / (spread + LEAST_SPREAD[0] + LEAST_SPREAD[1] * mean), -LIMIT, LIMIT)


def retina_log_odds(square):
    """Returns the log odds that a picture, given as to `structure`, shows a retina: a float."""
    x = structure(square)
    *hidden, last = convolutions()
    for kernel, bias, stride in hidden:
        x = np.maximum(_convolved(x, kernel, stride) + bias, 0)
    kernel, bias, _ = last
    return float(_convolved(x.mean(axis=(0, 1), keepdims=True), kernel, 1)[0, 0, 0] + bias[0])


def _blurred(planes, sigma):
    return cv2.GaussianBlur(planes, (0, 0), sigma).reshape(planes.shape)


def _convolved(x, kernel, stride):
    windows = np.lib.stride_tricks.sliding_window_view(x, kernel.shape[:2], axis=(0, 1))[::stride, ::stride]
    patches = np.ascontiguousarray(windows.transpose(0, 1, 3, 4, 2)).reshape(*windows.shape[:2], -1)
    # Row by row: for one large product NumPy would start a thread a core, which cost many times the work.
    return patches @ kernel.reshape(patches.shape[-1], -1)
