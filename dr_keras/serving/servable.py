"""The served model: an exported SavedModel with named signatures and their inputs' types and shapes."""

import dataclasses

import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

from dr_keras.export import warm_up
from dr_keras.inference.loaded_saved_model import load_saved_model
from dr_keras.serving.forms import Spec
from dr_keras.serving.refusal import Refused

PHOTOGRAPHS = "image_bytes"  # the input that takes the bytes of image files
EXPLAIN, OCCLUDE = "explain", "occlude"


@dataclasses.dataclass(frozen=True)
class Servable:
    """A loaded version of a model.

    Attributes:
        name: the name under which it is served.
        version: its number.
        metadata: dict, the content of its `dr_keras.json`.
        definitions: dict of signature name to `tensorflow.SignatureDef`.
        functions: dict of signature name to compiled function.
    """

    name: str
    version: int
    metadata: dict
    definitions: dict
    functions: dict

    def inputs(self, signature):
        """Returns dict of input name to `Spec` for a signature; raises `Refused` (400) if it is unknown."""
        if signature not in self.functions:
            raise Refused(400, f'Serving signature name: "{signature}" not found in signature def')
        return {name: _spec(info) for name, info in self.definitions[signature].inputs.items()}

    def explains(self):
        """Whether the model makes regression activation maps."""
        return EXPLAIN in self.functions

    def occludes(self):
        """Whether the model offers the occlusion test."""
        return OCCLUDE in self.functions

    def warm_up(self):
        """Runs each signature that takes photographs once, since TensorFlow's first call is slow."""
        row = {PHOTOGRAPHS: np.array(warm_up.photograph(), object)}
        for signature in self.functions:
            if signature in warm_up.SIGNATURES and PHOTOGRAPHS in self.inputs(signature):
                self.run(signature, [row])

    def run(self, signature, rows):
        """Runs a signature on a batch.

        Args:
            signature: its name.
            rows: list of dict of input name to array, without the axis of the batch.

        Returns:
            List of dict of output name to array, in the order of `rows`.
        """
        inputs = {name: tf.constant(np.stack([row[name] for row in rows])) for name in rows[0]}
        outputs = {name: value.numpy() for name, value in self.functions[signature](**inputs).items()}
        return [{name: value[k] for name, value in outputs.items()} for k in range(len(rows))]


def load_servable(path, name=None):
    """Loads a model; only one that is trusted, since a SavedModel can read and write files when it runs.

    Args:
        path: as for `inference.loaded_saved_model.load_saved_model`: folder of a version, or of several.
        name: the name to serve it under; the model's own if None.

    Returns:
        `Servable`.

    Raises:
        InputError: if there is no exported model.
    """
    model = load_saved_model(path)
    graph = saved_model_pb2.SavedModel.FromString((model.path / "saved_model.pb").read_bytes()).meta_graphs[0]
    functions = dict(model.signatures)
    definitions = {key: graph.signature_def[key] for key in sorted(functions)}
    return Servable(
        name or model.metadata["name"], model.version or 1, model.metadata, definitions, functions
    )


def _spec(info):
    dtype = tf.dtypes.as_dtype(info.dtype).name
    if info.tensor_shape.unknown_rank:
        return Spec(dtype, None)
    return Spec(dtype, tuple(None if dim.size < 0 else dim.size for dim in info.tensor_shape.dim))
