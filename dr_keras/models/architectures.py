"""Every network that can be trained, by name: how it is built, its image sizes, heads, options and weights.

To add an architecture, write its builder in this package and give it an entry in `ARCHITECTURES`; flags,
validation and training read it from there. This module loads no Keras: builders are imported when called.
"""

import dataclasses
import importlib
from collections.abc import Callable


def _later(module, name):
    """Returns a function that imports `name` from a module of this package when it is called."""

    def call(*arguments, **options):
        function = getattr(importlib.import_module(f"dr_keras.models.{module}"), name)
        return function(*arguments, **options)

    return call


@dataclasses.dataclass(frozen=True)
class PublishedWeights:
    """Weights that others trained an architecture with, and the preprocessing that they expect.

    Attributes:
        statistics: called without arguments; returns (mean, sd), three numbers each, on the scale 0-255.
        find: called with the architecture's name; returns the path of its installed ImageNet weights.
        load: called with a network and the path of a file of weights; gives the network those weights.
    """

    statistics: Callable
    find: Callable
    load: Callable

    @property
    def mean(self):
        """Channel means, RGB, that are subtracted from pixels 0-255."""
        return self.statistics()[0]

    @property
    def sd(self):
        """Channel standard deviations that pixels are then divided by."""
        return self.statistics()[1]


@dataclasses.dataclass(frozen=True)
class Architecture:
    """What a network can be built as.

    Attributes:
        builder: called as `build` is; returns the functional model of standardised windows to scores.
        image_sizes: sides, in pixels, of the stored images that it is offered for.
        heads: the heads that it has; where there are several, the builder takes one as `head`.
        options: further arguments of the builder, fields of `training.config.TrainingConfig`.
        published: `PublishedWeights`, or None.
        standardizes: whether the network takes standardised pixels; otherwise they are 0-255.
    """

    builder: Callable
    image_sizes: tuple
    heads: tuple = ("gap",)
    options: tuple = ()
    published: PublishedWeights | None = None
    standardizes: bool = True

    def build(self, image_size, seed=0, **options):
        """Builds the network; `options` are `head` and those named in `options`, each with a default."""
        return self.builder(image_size, seed=seed, **options)


def _alexnet_statistics(variant):
    from dr_keras.models.alexnets import VARIANTS

    return VARIANTS[variant].mean, VARIANTS[variant].sd


def _efficientnet_statistics():
    from dr_keras.models import efficientnet

    return efficientnet.MEAN, efficientnet.SD


def _paper_net(name, image_sizes=(128, 256, 512, 768), heads=("gap", "dense")):
    return Architecture(_later("nets", name), image_sizes, heads, ("untied_biases", "width"))


def _efficientnet(name):
    weights = PublishedWeights(
        _efficientnet_statistics,
        _later("efficientnet_weights", "imagenet_file"),
        _later("efficientnet_weights", "load_trunk"),
    )
    sizes = (256, 384, 512, 640, 768)
    return Architecture(_later("efficientnet", name), sizes, ("gap", "multiscale"), published=weights)


def _lesion_net(name):
    weights = PublishedWeights(
        _efficientnet_statistics,
        lambda name: _later("efficientnet_weights", "imagenet_file")("efficientnet_lite0"),
        _later("lesion_nets", "load_backbones"),
    )
    sizes, builder = (128, 256, 512, 768, 1024), _later("lesion_nets", name)
    return Architecture(builder, sizes, ("lesions",), published=weights, standardizes=False)


def _alexnet(name, variant):
    weights = PublishedWeights(
        lambda: _alexnet_statistics(variant),
        _later("alexnet_weights", "no_imagenet_file"),
        _later("alexnet_weights", "load_trunk"),
    )
    heads = ("regression", "classification")
    return Architecture(_later("alexnets", name), (256,), heads, ("hidden",), weights)


ARCHITECTURES = {
    "net5": _paper_net("net5"),
    "net4": _paper_net("net4"),
    "ram_net5": _paper_net("ram_net5", (128, 256), ("gap",)),
    "efficientnet_lite0": _efficientnet("efficientnet_lite0"),
    "efficientnet_lite1": _efficientnet("efficientnet_lite1"),
    "efficientnet_lite2": _efficientnet("efficientnet_lite2"),
    "lesion_net": _lesion_net("lesion_net"),
    "lesion_efficientnet": _lesion_net("lesion_efficientnet"),
    "alexnet": _alexnet("alexnet", "caffe"),
    "caffenet": _alexnet("caffenet", "caffenet"),
    "alexnet_torchvision": _alexnet("alexnet_torchvision", "torchvision"),
}
