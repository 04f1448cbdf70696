"""Training the check for a retina: from eyes and other pictures to `savedmodels/retina_check`."""

from pathlib import Path

import keras
import numpy as np
from keras import layers

from dr_keras import files
from dr_keras.data.parallel import map_in_order
from dr_keras.data.retina_check import CHANNELS, SIDE, structure
from dr_keras.errors import InputError
from dr_keras.training.retina_check import retina_examples

LAYERS = ((12, 5, 2), (16, 3, 2), (32, 3, 2), (48, 3, 2), (48, 3, 1))  # filters, kernel, stride
FIGURES = "metrics.json"
_OF_PICTURE, _OF_EYE = 5, 20  # examples of each photograph
_DRAWN_SHARE = 0.3  # drawings, for each example of a photograph without an eye
_HELD_OUT = 7  # one photograph in so many judges
_BATCH = 64


def train(prepared, drawn_eyes, pictures, output, epochs=12, learning_rate=0.004, seed=0, progress=None):
    """Trains the network, and writes its weights and what it does to pictures that it never saw.

    Args:
        prepared: list of `PreparedDataset` of eyes; their side is a multiple of 256 pixels.
        drawn_eyes: `PreparedDataset` of synthetic eyes, of which there is one example each.
        pictures: paths of photographs that show no eye.
        output: the `.npz` file to write; `metrics.json` is written beside it.
        epochs, learning_rate: of AdamW, whose rate half a cosine takes to zero.
        seed: seed of examples, weights and order.
        progress: wraps an iteration as `tqdm.tqdm` does, called with `total`; or None.

    Returns:
        dict: what `metrics.json` holds.

    Raises:
        InputError: if none of the pictures can be read.
    """
    wrap = progress or (lambda items, total: items)
    others, other_of = _pictures(pictures, seed, wrap)
    eyes, eye_of = _eyes([*prepared, drawn_eyes], seed, wrap)
    judged = [of % _HELD_OUT == 0 for of in (other_of, eye_of)]
    images = np.concatenate([others[~judged[0]], eyes[~judged[1]]])
    labels = np.repeat([0.0, 1.0], [np.sum(~judged[0]), np.sum(~judged[1])]).astype("float32")
    network = _network(seed)
    steps = max(1, len(images) // _BATCH)
    rate = keras.optimizers.schedules.CosineDecay(learning_rate, steps * epochs)
    network.compile(
        keras.optimizers.AdamW(rate, weight_decay=0.001), keras.losses.BinaryCrossentropy(from_logits=True)
    )
    network.fit(_Batches(images, labels, seed), epochs=epochs, verbose=0 if progress is None else 2)
    found = {
        "examples": {"other": len(others), "eyes": len(eyes)},
        "log_odds": {
            name: _quantiles(network.predict(images[chosen].astype("float32"), verbose=0)[:, 0])
            for name, images, chosen in (("other", others, judged[0]), ("eyes", eyes, judged[1]))
        },
    }
    _write(network, Path(output))
    files.write_json(Path(output).with_name(FIGURES), found)
    return found


def _pictures(paths, seed, wrap):
    """Examples without an eye, and the number of the photograph of each; each drawing has its own."""
    made, numbers = [], []
    work = [(str(path), (seed, number)) for number, path in enumerate(paths)]
    for number, parts in enumerate(map_in_order(_parts, work, progress=wrap)):
        made += parts
        numbers += [number] * len(parts)
    if not made:
        raise InputError(f"none of the {len(work)} photographs without an eye can be read")
    count = int(_DRAWN_SHARE * len(made))
    made += map_in_order(_drawing, [(seed, len(work) + one) for one in range(count)], progress=wrap)
    return np.stack(made), np.array([*numbers, *range(len(work), len(work) + count)])


def _parts(work):
    path, seed = work
    rng = np.random.default_rng(seed)
    picture = retina_examples.read_picture(path, rng)
    if picture is None:
        return []
    parts = [retina_examples.part_of_picture(picture, rng) for _ in range(_OF_PICTURE)]
    varied = [part for part in parts if part.sum(axis=2, dtype=int).std() > 2]  # not all of one colour
    return [_structure(part) for part in varied]


def _drawing(seed):
    return _structure(retina_examples.drawing(np.random.default_rng(seed)))


def _eyes(datasets, seed, wrap):
    made, numbers = [], []
    for place, dataset in enumerate(datasets, start=1):
        first = numbers[-1] + 1 if numbers else 0
        copies = 1 if place == len(datasets) else _OF_EYE
        for index in wrap(range(len(dataset)), total=len(dataset)):
            rng = np.random.default_rng((seed, first + index))
            image = dataset.read([index])[0]
            made += [_structure(retina_examples.eye(image, rng)) for _ in range(copies)]
            numbers += [first + index] * copies
    return np.stack(made), np.array(numbers)


def _structure(square):
    return structure(square).astype(np.float16)


def _network(seed):
    x = inputs = keras.Input((SIDE, SIDE, CHANNELS))
    for number, (filters, kernel, stride) in enumerate(LAYERS):
        draw = keras.initializers.GlorotUniform(seed * 1000 + number)
        x = layers.Conv2D(
            filters, kernel, stride, use_bias=False, kernel_initializer=draw, name=f"conv{number}"
        )(x)
        x = layers.BatchNormalization(momentum=0.95, name=f"norm{number}")(x)
        x = layers.ReLU()(x)
    x = layers.GlobalAveragePooling2D()(x)
    draw = keras.initializers.GlorotUniform(seed * 1000 + len(LAYERS))
    return keras.Model(inputs, layers.Dense(1, kernel_initializer=draw, name="log_odds")(x))


def _write(network, path):
    """Writes what `data.retina_check.convolutions` reads: float16, batch normalisation folded in."""
    arrays = {"strides": np.array([*(stride for _, _, stride in LAYERS), 1])}
    for number in range(len(LAYERS)):
        norm = network.get_layer(f"norm{number}")
        gamma, beta, mean, variance = norm.get_weights()
        factor = gamma / np.sqrt(variance + norm.epsilon)
        arrays[f"kernel{number}"] = network.get_layer(f"conv{number}").get_weights()[0] * factor
        arrays[f"bias{number}"] = beta - mean * factor
    kernel, bias = network.get_layer("log_odds").get_weights()
    arrays |= {f"kernel{len(LAYERS)}": kernel[None, None], f"bias{len(LAYERS)}": bias}
    halves = {
        name: value if name == "strides" else value.astype(np.float16) for name, value in arrays.items()
    }
    with files.atomic_path(path) as temporary, open(temporary, "wb") as file:
        np.savez_compressed(file, **halves)


def _quantiles(values):
    return {
        f"{share:g}": round(float(np.quantile(values, share)), 2)
        for share in (0, 0.01, 0.05, 0.5, 0.95, 0.99, 1)
    }


class _Batches(keras.utils.PyDataset):
    """Batches of all examples in another order in each epoch."""

    def __init__(self, images, labels, seed):
        super().__init__()
        self._images, self._labels, self._rng = images, labels, np.random.default_rng(seed)
        self._order = self._rng.permutation(len(images))

    def __len__(self):
        return max(1, len(self._images) // _BATCH)

    def __getitem__(self, number):
        chosen = self._order[number * _BATCH : (number + 1) * _BATCH]
        return self._images[chosen].astype("float32"), self._labels[chosen]

    def on_epoch_end(self):
        self._order = self._rng.permutation(len(self._images))
