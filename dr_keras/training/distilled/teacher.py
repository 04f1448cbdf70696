"""The network that others learn from: EfficientNet-Lite0 with the weights that ImageNet gave it."""

import keras
from keras import layers

from dr_keras.errors import InputError
from dr_keras.models.efficientnet import MEAN, SD, efficientnet_lite0
from dr_keras.models.efficientnet_weights import imagenet_file, load_trunk
from dr_keras.models.grader_model import build_grader

_LAYERS = {"block5c_add": 16, "block7a_project": 32}  # and the distance of their cells, in pixels
_PITCH = 1 / 8  # distance of a student's cells, as a share of the image's side


def load_teacher(image_size, cells):
    """Loads the teacher: (grader, backbone), as `FeatureCache.of` takes them.

    The backbone gives (batch, cells, cells, 432): two of its layers, averaged over squares of an eighth of
    the image's side, which lie around the middle of the image as a student's cells do.

    Args:
        image_size: side of the images that the teacher sees, of `distillation_config.TEACHER_SIZES`.
        cells: side of the student's last map.

    Raises:
        InputError: if the weights aren't installed, or the teacher has no such cells.
    """
    network = efficientnet_lite0(image_size)
    load_trunk(network, imagenet_file("efficientnet_lite0"))
    parts = []
    for name, pitch in _LAYERS.items():
        x = network.get_layer(name).output
        size = round(_PITCH * image_size / pitch)  # of its cells in a student's
        margin, odd = divmod(x.shape[1] - cells * size, 2)
        if margin < 0 or odd:
            raise InputError(
                f"the student's {cells}x{cells} cells don't lie on the teacher's {x.shape[1]}x{x.shape[1]}; "
                "expected a student of 6x6 cells, or for --teacher_size=512 of up to 8x8"
            )
        x = layers.Cropping2D(margin)(x) if margin else x
        parts.append(layers.AveragePooling2D(size)(x) if size > 1 else x)
    grader = build_grader(network, image_size, MEAN, SD)
    return grader, keras.Model(network.inputs, layers.Concatenate()(parts))
