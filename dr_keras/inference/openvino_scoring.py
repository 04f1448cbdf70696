"""Scores prepared photographs with OpenVINO, on Keras' backend of that name: without TensorFlow."""

import os
import tempfile

import keras
import numpy as np
import openvino

_MOST_AT_ONCE = 4  # images; a network of 1024 px takes some 0.4 GB for each


def scoring_step(grader):
    """Compiles a grader: uint8 (n, size, size, 3), RGB -> float32 array (n,).

    Each core takes an image of its own, so a photograph's score doesn't depend on the others in its batch.
    """
    shape = (1, *grader.input_shape[1:])
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "grader.xml")
        signature = [keras.InputSpec(dtype="float32", shape=shape)]
        grader.export(path, format="openvino", verbose=False, input_signature=signature)
        core = openvino.Core()
        model = core.read_model(path)
        at_once = min(len(os.sched_getaffinity(0)), _MOST_AT_ONCE)
        # Where a processor has it, OpenVINO would take bfloat16, which moves scores by some 0.1.
        options = {"INFERENCE_PRECISION_HINT": "f32", "NUM_STREAMS": at_once}
        queue = openvino.AsyncInferQueue(core.compile_model(model, "CPU", options))

    def step(images):
        scores = np.empty(len(images), "float32")

        def keep(request, number):
            scores[number] = request.get_output_tensor(0).data[0, 0]

        queue.set_callback(keep)
        for number, image in enumerate(images):
            queue.start_async({0: image[None].astype("float32")}, number)
        queue.wait_all()
        return scores

    return step
