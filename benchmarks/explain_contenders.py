"""What `explain.py` times: a grader's maps and plain passes, on images that are in memory."""

import math
import multiprocessing
import resource

import numpy as np

_MEAN, _SD = (110.0, 60.0, 30.0), (65.0, 38.0, 22.0)
_OPTIONS = {"efficientnet_lite0": {"head": "multiscale"}}
_MAPS_IN_BATCHES = 32
_WARM_UP_CALLS = 50  # until the allocator has what it keeps


class Explained:
    """A grader with random weights and a batch of random images.

    Args:
        architecture: a name of `architectures.ARCHITECTURES`.
        image_size: side of the images.
        precision: Keras dtype policy.
        batch: number of images.
    """

    def __init__(self, architecture, image_size, precision, batch):
        from dr_keras.data.fundus import FieldOfView
        from dr_keras.models.architectures import ARCHITECTURES
        from dr_keras.models.grader_model import build_grader
        from dr_keras.training.hosts.devices import precision_scope
        from dr_keras.training.scoring import scoring_step

        with precision_scope(precision):
            network = ARCHITECTURES[architecture].build(image_size, **_OPTIONS.get(architecture, {}))
            self.grader = build_grader(network, image_size, _MEAN, _SD)
        self.parameters = network.count_params()
        shape = (batch, image_size, image_size, 3)
        self._images = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
        self._score = scoring_step(self.grader)
        half = image_size / 2
        self._view = FieldOfView(half, half, half, image_size, image_size, found=True)

    def plain(self, times):
        """The compiled forward pass, as photographs are scored."""
        for _ in range(times):
            self._score(self._images).numpy()

    def ram(self, times):
        """Scores and regression activation maps."""
        from dr_keras.explain.ram import regression_activation_map

        for _ in range(times):
            regression_activation_map(self.grader, self._images)

    def grad_cam(self, times):
        """Scores and Grad-CAM maps."""
        from dr_keras.explain.gradcam import grad_cam

        for _ in range(times):
            grad_cam(self.grader, self._images)

    def ram_laid_over(self, times):
        """Scores and regression activation maps at the size of the image, each interpolated."""
        from dr_keras.explain.geometry import place
        from dr_keras.explain.ram import ram_grid, regression_activation_map

        grid, size = ram_grid(self.grader), self._images.shape[1]
        for _ in range(times):
            _, maps = regression_activation_map(self.grader, self._images)
            for cells in maps:
                place(cells, grid, self._view, size, size)

    def occlusion(self, layer, window, stride):
        """Function of a number of times to hide every window of the first image's layer."""
        from dr_keras.explain.occlusion import occlusion_map

        def hide(times):
            for _ in range(times):
                occlusion_map(self.grader, self._images[:1], window, stride, layer)

        return hide

    def passes(self, count, batch=_MAPS_IN_BATCHES):
        """Function of a number of times to score so many images, in batches."""
        images = np.resize(self._images, (count, *self._images.shape[1:]))

        def score(times):
            for _ in range(times):
                for start in range(0, count, batch):
                    self._score(images[start : start + batch]).numpy()

        return score

    def tf_explain(self, count):
        """Function of a number of times to let tf-explain hide so many squares of the first image."""
        from tf_explain.core.occlusion_sensitivity import OcclusionSensitivity

        explainer, image = OcclusionSensitivity(batch_size=count), self._images[0].astype("float32")
        square = math.ceil(len(image) / math.isqrt(count))

        def hide(times):
            for _ in range(times):
                explainer.get_sensitivity_map(self.grader, image, 0, square)

        return hide

    def positions(self, layer, window, stride):
        """Number of the layer's windows."""
        rows, columns = self.grader.layers[-1].get_layer(layer).output.shape[1:3]
        return ((rows - window) // stride + 1) * ((columns - window) // stride + 1)


def memory_growth(method, image_size, precision, batch, calls):
    """By how many MiB the peak of a process of its own grows over so many calls of a method.

    Args:
        method: "ram" or "grad_cam", or (layer, window, stride) of an occlusion.
        image_size, precision, batch: see `Explained`; the network is Net-5.
        calls: number of calls, after some that don't count.
    """
    context = multiprocessing.get_context("spawn")
    with context.Pool(1) as pool:
        return pool.apply(_growth, (method, image_size, precision, batch, calls))


def _growth(method, image_size, precision, batch, calls):
    explained = Explained("net5", image_size, precision, batch)
    call = getattr(explained, method) if isinstance(method, str) else explained.occlusion(*method)
    call(_WARM_UP_CALLS)
    before = _peak()
    call(calls)
    return _peak() - before


def _peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024  # Linux counts KiB
