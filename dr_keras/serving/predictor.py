"""Runs a request's tensors through the model: checks them, queues their rows, stacks the results.

REST, gRPC and the page all come this way.
"""

import asyncio
import io

import numpy as np
from PIL import Image

from dr_keras.data import decoding, file_header, quality
from dr_keras.serving import plain_photographs
from dr_keras.serving.batching import Batcher
from dr_keras.serving.refusal import Refused
from dr_keras.serving.servable import OCCLUDE, PHOTOGRAPHS

# Share of the time for an answer that may pass in the queue; requests that would wait longer are refused.
_PATIENCE = 0.5
_DECODED_AT_ONCE = 2  # requests whose photographs are made plain, each some 0.2 GB at most
_BATCH_PIXELS = 100e6  # decoded in one batch at most; preparing them takes some 2 GB


class Predictor:
    """A `Servable` behind a queue. Make it in a running event loop, and `close` it at the end.

    Args:
        servable: the model.
        limits: `Limits`.
        observe: see `Batcher`.
    """

    def __init__(self, servable, limits, observe=None):
        self.servable, self.limits = servable, limits
        self._decoding = asyncio.Semaphore(_DECODED_AT_ONCE)
        self._batcher = Batcher(
            self._run, limits.max_batch, limits.max_wait, limits.max_queue, _BATCH_PIXELS,
            _PATIENCE * limits.seconds, observe,
        )  # fmt: skip

    def __len__(self):
        """How many photographs wait."""
        return len(self._batcher)

    async def predict(self, signature, inputs):
        """Runs a signature.

        Args:
            signature: its name.
            inputs: dict of input name to array, the batch first.

        Returns:
            Dict of output name to array, the batch first.

        Raises:
            Refused: 400 for wrong inputs, photographs of too many pixels, or if none of the photographs can
                be read; 413 and 503 where the queue has no room; 504 if it takes too long.
        """
        try:
            async with asyncio.timeout(self.limits.seconds):
                inputs, reasons, faults = await self._plain(inputs)
                rows = _split(inputs, self.servable.inputs(signature))
                costs = [self._cost(number, row) for number, row in enumerate(rows)]
                if signature == OCCLUDE:
                    costs = [_BATCH_PIXELS] * len(rows)  # each goes alone: the others wait no longer for it
                shapes = tuple((name, array.shape[1:]) for name, array in sorted(inputs.items()))
                results = await self._batcher.submit((signature, shapes), rows, costs)
        except TimeoutError:
            raise self.too_late() from None
        outputs = {name: _stack([result[name] for result in results]) for name in results[0]}
        for number, reason in reasons.items():
            outputs["message"][number] = reason.encode()
        for number, fault in faults.items():
            _withdraw_grade(outputs, number, fault)
        if PHOTOGRAPHS in inputs:
            _refuse_unreadable(outputs)
        return outputs

    def too_late(self):
        """The `Refused` of a request that can't be answered in time."""
        return Refused(504, f"not answered within {self.limits.seconds:g} seconds")

    async def close(self):
        """Finishes what waits."""
        await self._batcher.close()

    async def _plain(self, inputs):
        """Inputs whose photographs are JPEG or PNG; {number: reason} of what can't be read, and of what is no
        photograph of one eye.
        """
        rows = inputs.get(PHOTOGRAPHS)
        if rows is None or rows.ndim != 1:
            return inputs, {}, {}
        async with self._decoding:
            rows, reasons, faults, too_large = await asyncio.to_thread(
                plain_photographs.plain_rows, rows, self.limits.max_pixels
            )
        if too_large:
            raise self._too_large(too_large[0])
        return inputs | {PHOTOGRAPHS: rows}, reasons, faults

    def _too_large(self, number):
        most = f"{self.limits.max_pixels / 1e6:g} megapixels"
        return Refused(400, f"photograph {number}: expected at most {most}")

    def _run(self, key, rows):
        return self.servable.run(key[0], rows)

    def _cost(self, number, row):
        """Pixels that the model will decode of a row's photograph; a JPEG may be decoded reduced."""
        if PHOTOGRAPHS not in row:
            return 0
        try:
            with Image.open(io.BytesIO(row[PHOTOGRAPHS].item()), formats=("JPEG", "PNG")) as image:
                kind, (width, height) = image.format, image.size
        except Image.DecompressionBombError:
            kind, width, height = "PNG", 1, file_header.MAX_PIXELS + 1
        except Exception:  # Pillow raises many kinds for damaged headers; the model's answer will say why
            return _BATCH_PIXELS
        if width * height > self.limits.max_pixels:
            raise self._too_large(number)
        size = self.servable.metadata.get("image_size", decoding.MIN_SIDE)
        factor = file_header.reduction(min(width, height), size) if kind == "JPEG" else 1
        return width * height / factor**2


def _split(inputs, specs):
    """Rows of a batch: list of dict of input name to array."""
    for name, array in inputs.items():
        expected = specs[name].shape
        if not array.ndim or expected is not None and not _fits(array.shape, expected):
            shape = [-1 if length is None else length for length in expected or (None,)]
            raise Refused(400, f"input {name}: expected shape {shape} but got: {list(array.shape)}")
    counts = {len(array) for array in inputs.values()}
    if len(counts) > 1:
        raise Refused(400, "inputs must have the same 0-th dimension")
    if counts == {0}:
        raise Refused(400, "no values in the request; expected at least one")
    return [{name: array[k, ...] for name, array in inputs.items()} for k in range(counts.pop())]


def _fits(shape, expected):
    return len(shape) == len(expected) and all(e in (None, s) for s, e in zip(shape, expected, strict=True))


def _stack(values):
    if isinstance(values[0], bytes):
        stacked = np.empty(len(values), object)
        stacked[:] = values
        return stacked
    return np.stack(values)


def _withdraw_grade(outputs, number, fault):
    """Makes the answer for a photograph that the model read one of a photograph that can't be graded."""
    message = quality.with_whole(outputs["message"][number].decode(), fault)
    none = {"message": message.encode(), "gradable": False, "grade": -1, "referable": False}
    none |= {"probabilities": np.nan, "referable_probability": np.nan}
    for name in none.keys() & outputs.keys():
        outputs[name][number] = none[name]


def _refuse_unreadable(outputs):
    """Raises `Refused` if none of the photographs could be read; one too bad to be graded was read."""
    messages = outputs.get("message", ())
    if len(messages) and all(messages) and np.isnan(outputs["score"]).all():
        raise Refused(400, f"photograph 0: {messages[0].decode()}")
