"""The regression activation map (P2 section 4.5): what each region adds to the score."""

import keras
import tensorflow as tf

from dr_keras.errors import InputError
from dr_keras.explain.activations import cell_grid, score_weights
from dr_keras.explain.compiled import kept
from dr_keras.models.grader_model import is_linear_unit, network_and_front
from dr_keras.models.layers import OrdinalScore
from dr_keras.training.scoring import in_pieces, split_head


def regression_activation_map(model, images):
    """Computes scores and their signed maps, `G(i, j) = sum_k w_k g_k(i, j)` (P2 section 4.5.1).

    `g` is the input of the global average pooling and `w` the weights of the score, so that the mean of a
    map plus the score's bias is the score. Nothing is clipped or scaled. The weights of an ordinal score,
    `OrdinalScore.weights_at`, are each image's own. The function is compiled once for a model, and once more
    for images that aren't uint8; it takes any batch size.

    Args:
        model: a grader, or a network alone, that ends in global average pooling and one linear unit or
            `OrdinalScore`.
        images: (batch, height, width, 3) of the model's input size, RGB, 0-255, any dtype; for a network
            alone, standardised images.

    Returns:
        scores: float32 (batch,), in grade units.
        maps: float32 (batch, rows, columns), in grade units; `ram_grid` says where the cells lie.

    Raises:
        InputError: if the model ends in other layers.
    """
    images = tf.convert_to_tensor(images)
    if images.dtype != tf.uint8:  # uint8 images are cast inside the graph, to transfer a quarter of the bytes
        images = tf.cast(images, tf.float32)
    scores, maps = in_pieces(_compiled(model, images.dtype), images)
    return scores.numpy(), maps.numpy()


def ram_grid(model):
    """Returns the `Grid` of the model's maps; errors as for `regression_activation_map`."""
    return cell_grid(model, _pooled_and_score(network_and_front(model)[0])[0])


def score_bias(model):
    """Returns the score of an image whose map is 0, in grade units: the bias of the linear unit."""
    _, score = _pooled_and_score(network_and_front(model)[0])
    return float(score.score_of_nothing() if isinstance(score, OrdinalScore) else score.bias.numpy()[0])


def scores_and_maps(model):
    """Returns `regression_activation_map` as a function from tensors to tensors, for use inside a graph."""
    network, front = network_and_front(model)
    pooled, score = _pooled_and_score(network)
    features, head = split_head(network)
    body = keras.Model(network.inputs, [pooled, features])

    def step(images):
        activations, values = body(front(images), training=False)
        activations = tf.cast(activations, tf.float32)
        return head(values), tf.linalg.matvec(activations, score_weights(score, values)[:, None])

    return step


def _compiled(model, dtype):
    def build():
        explained = scores_and_maps(model)
        signature = [tf.TensorSpec((None, *model.input_shape[1:]), dtype)]
        step = tf.function(lambda images: explained(tf.cast(images, tf.float32)), input_signature=signature)
        return step.get_concrete_function()

    return kept(model, ("ram", dtype), build)


def _pooled_and_score(network):
    """Returns the input of the global average pooling, and the score's layer, which follows the pooling."""
    made_by = {id(layer.output): layer for layer in network.layers}
    score = made_by[id(network.output)]
    pooling = score
    if is_linear_unit(score) or isinstance(score, OrdinalScore):
        pooling = made_by[id(score.input)]
        while isinstance(pooling, keras.layers.Dropout):
            pooling = made_by[id(pooling.input)]
    if not isinstance(pooling, keras.layers.GlobalAveragePooling2D):
        raise InputError(
            f"--method=ram: model {network.name!r} doesn't end in global average pooling and a score of it; "
            "expected --method=gradcam or --method=occlusion"
        )
    return pooling.input, score
