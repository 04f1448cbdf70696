"""The graphs that grade in a browser, as ONNX: preparation, networks, drawing.

They are the functions behind the SavedModel (`signatures`) without the decoding, which browsers do.

- `prepare` takes `photograph`, uint8 (height, width, 4), RGBA, of any size, and `quantization`, float32 (),
  that of a JPEG (`file_header.Header`), 0 of other formats. It returns `pixels`, float32 (size, size, 3), the
  network's image; `circle`, float32 (3,), center_y, center_x and radius of the field of view in the
  photograph's pixels; `fault`, int32 (), the position in `faults` of why it can't be graded, or -1; `number`,
  int32 (), which stands in those words; `frame`, float32 (rows, columns, 3), the photograph reduced to at
  most 512 pixels a side; and `view`, float32 (3,), the circle in the frame's pixels.
- `network` takes `pixels`. It returns `score`, float32 (1,); of lesion networks `marked`, uint8 (size, size,
  lesions), `lesion_scores`, float32 (1, lesions), and `context_score`, float32 (1,); of networks that end in
  global average pooling `map`, float32 (rows, columns).
- `draw`, of those two kinds, takes `frame`, `view`, and `marked` or `map`. It returns `picture`, uint8 (rows,
  columns, 4), RGBA.
"""

import importlib.util
import logging

import numpy as np
import tensorflow as tf

from dr_keras.errors import InputError
from dr_keras.explain import overlay
from dr_keras.export import graph_fundus, graph_overlay, graph_photographs, graph_quality
from dr_keras.export.float32 import rebuild_float32
from dr_keras.export.onnx import NEEDED, garbage_collected
from dr_keras.export.signatures import Functions

_OPSET = 18  # the newest of tf2onnx


class WebGraphs:
    """The graphs of some graders.

    Args:
        graders: models from `build_grader` of one image size: the score is their mean.
        rules: `GradingRules`.

    Attributes:
        faults: words of every reason for which a photograph isn't graded; `{}` stands for a number.
        marks_lesions, explains: whether lesions are outlined, and whether there is any overlay.

    Raises:
        InputError: if the converter isn't installed.
    """

    def __init__(self, graders, rules):
        if importlib.util.find_spec("tf2onnx") is None:
            raise InputError(NEEDED)
        # In float64, runtimes for graphics units can't compute.
        self._functions = Functions([rebuild_float32(grader) for grader in graders], rules, tf.float32)
        self._size, self._limits = graders[0].input_shape[1], rules.quality
        self.faults = []
        self.marks_lesions, self.explains = self._functions.marks_lesions, self._functions.explains

    def convert(self):
        """Returns a dict of a graph's name -> the bytes of its ONNX file."""
        pixels = tf.TensorSpec((self._size, self._size, 3), tf.float32, name="pixels")
        photograph = tf.TensorSpec((None, None, 4), tf.uint8, name="photograph")
        network = _traced(self.network, pixels)
        quantization = tf.TensorSpec((), tf.float32, name="quantization")
        graphs = {"prepare": _traced(self.prepare, photograph, quantization), "network": network}
        if self.explains:
            name = "marked" if self.marks_lesions else "map"
            found = network.get_concrete_function().structured_outputs[name]
            frame = tf.TensorSpec((None, None, 3), tf.float32, name="frame")
            view = tf.TensorSpec((3,), tf.float32, name="view")
            graphs["draw"] = _traced(
                self.draw, frame, view, tf.TensorSpec(found.shape, found.dtype, name=name)
            )
        with garbage_collected():
            return {name: _converted(graph) for name, graph in graphs.items()}

    def prepare(self, photograph, quantization):
        """Graph `prepare`."""
        whole, size = photograph[..., :3], tf.shape(photograph)[:2]
        whole = tf.ensure_shape(whole, (None, None, 3))

        image, circle, found = self._reduced(whole, quantization > 0)
        full = tf.cast(size[0], tf.float64) / tf.cast(tf.shape(image)[0], tf.float64)
        pixels = graph_fundus.crop_square(image, circle, found, self._size)
        diameter, coarseness = 2 * circle[2] * full, tf.cast(quantization, tf.float64)
        cases = graph_quality.cases(pixels, found, self._limits, diameter, coarseness)
        self.faults = [words for _, words, _ in cases]
        fault, stands = tf.constant(-1), tf.constant(0)
        for position, (condition, _, number) in reversed(list(enumerate(cases))):
            fault = tf.where(condition, position, fault)
            stands = tf.where(condition, 0 if number is None else number, stands)
        frame = graph_overlay.frame(whole)
        circle *= full
        shrunk = tf.cast(tf.shape(frame)[0], tf.float64) / tf.cast(size[0], tf.float64)
        return {
            "pixels": pixels,
            "circle": tf.cast(circle, tf.float32),
            "fault": fault,
            "number": stands,
            "frame": frame,
            "view": tf.cast(circle * shrunk, tf.float32),
        }

    def _reduced(self, whole, is_jpeg):
        """The photograph at the scale at which `Photograph.prepare` decodes it, and its circle there."""
        side = tf.reduce_min(tf.shape(whole)[:2])
        at = lambda position: graph_fundus.without_bright_surround(  # noqa: E731
            graph_photographs.reduced_as_jpeg(whole, position)
        )
        first = graph_photographs.least_scale(side, self._size)
        first = tf.where(is_jpeg, first, graph_photographs.UNREDUCED)
        image = at(first)
        circle, found = graph_fundus.find_field_of_view(image)
        # Where the retina fills less of the picture than hoped, a larger scale.
        height, wanted = tf.shape(image)[0], tf.reduce_min(tf.shape(image)[:2]) * self._size
        wanted = tf.cast(tf.cast(wanted, tf.float64) / (2 * circle[2]), tf.int32) + 1
        again = tf.where(2 * circle[2] >= self._size, first, graph_photographs.least_scale(side, wanted))
        again = tf.where(is_jpeg, again, first)
        image = tf.cond(again == first, lambda: image, lambda: at(again))
        return image, circle * tf.cast(tf.shape(image)[0] / height, tf.float64), found

    def network(self, pixels):
        """Graph `network`."""
        functions, images, found = self._functions, pixels[None], {}
        if self.marks_lesions:
            found = functions.find_lesions(images)
            scores, _ = found.pop("score"), found.pop("map")
            found["marked"] = tf.cast(found["marked"][0], tf.uint8)
        elif self.explains:
            scores, maps = functions.activation_map(images)
            found["map"] = maps[0]
        else:
            scores = functions.scores(images)
        return {"score": scores, **found}

    def draw(self, frame, view, found):
        """Graph `draw`."""
        circle = tf.cast(view, tf.float64)
        if self.marks_lesions:
            picture = graph_overlay.outlined(frame, circle, tf.cast(found, tf.float32))
        else:
            grid, limit = self._functions.grid, overlay.LIMITS["ram"]
            picture = graph_overlay.map_over(frame, circle, found, grid, limit)
        opaque = tf.fill(tf.concat([tf.shape(picture)[:2], [1]], axis=0), 255.0)
        return {"picture": tf.cast(tf.concat([picture, opaque], axis=2), tf.uint8)}


def _traced(function, *signature):
    traced = tf.function(function, input_signature=signature, autograph=False)
    traced.get_concrete_function()
    return traced


def _converted(function):
    """`tf2onnx.convert.from_function` in steps: that takes minutes, copying the graph again and again."""
    from tf2onnx import convert, optimizer, tf_loader, tfonnx

    from dr_keras.export import onnx_order

    logging.getLogger("tf2onnx").setLevel(logging.ERROR)
    graph = function.get_concrete_function()
    inputs = graph.inputs[: len(function.input_signature)]  # behind them come weights
    ends = [[tensor.name for tensor in tensors] for tensors in (inputs, graph.outputs)]
    frozen = tf_loader.from_function(graph, *ends)
    with tf.Graph().as_default() as imported:
        tf.import_graph_def(frozen, name="")
        names = convert.tensor_names_from_structed(graph, *ends)
        converted = tfonnx.process_tf_graph(
            imported, opset=_OPSET, input_names=ends[0], output_names=ends[1], tensors_to_rename=names
        )
    converted = optimizer.optimize_graph(converted, catch_errors=False).make_model("dr_keras")
    return onnx_order.in_one_order(converted).SerializeToString(deterministic=True)


def scorer(network):
    """A function that scores images (n, size, size, 3) with the bytes of a graph `network`: float (n,)."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.enable_cpu_mem_arena = False  # it keeps what the largest layer took
    session = onnxruntime.InferenceSession(network, options, providers=["CPUExecutionProvider"])
    run = lambda image: session.run(["score"], {"pixels": np.float32(image)})[0]  # noqa: E731
    return lambda images: np.concatenate([run(image) for image in images])
