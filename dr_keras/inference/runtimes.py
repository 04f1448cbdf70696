"""One protocol for every engine that runs a model: preprocessed images in, scores out."""

import functools
import io
import os
from pathlib import Path
from typing import Protocol

import numpy as np

from dr_keras.errors import InputError
from dr_keras.inference import formats

FOREIGN = "not a model made by scripts/export.py"


class Runtime(Protocol):
    """A loaded model of any file format.

    Attributes:
        image_size: side of the square images that the model takes, in pixels.
        rules: `GradingRules`.
        num_networks: number of networks, whose scores are averaged.
        networks: list of the Keras models; empty for an exported model.
        sha256: SHA-256 of the weights; an exported model has that of the model it was made from.
    """

    image_size: int
    rules: object
    num_networks: int
    networks: list
    sha256: str

    def score(self, images, network=None):
        """Scores preprocessed images.

        Args:
            images: uint8 (n, image_size, image_size, 3), RGB, 0-255.
            network: position of the network to score with; None takes the mean over all networks.

        Returns:
            float64 (n,), in grade units.
        """
        ...


class KerasRuntime:
    """Keras models with the same image size and rules, such as those of a run's folds.

    They run on Keras' backend: TensorFlow, or OpenVINO where the environment variable KERAS_BACKEND says so.

    Args:
        networks: models from `models.build_grader`.
    """

    def __init__(self, networks):
        from dr_keras.models.grader_model import rules_of

        self.networks = list(networks)
        self.num_networks = len(self.networks)
        self.image_size = self.networks[0].input_shape[1]
        self.rules = rules_of(self.networks[0])

    @functools.cached_property
    def _steps(self):
        import keras

        if keras.backend.backend() == "openvino":
            from dr_keras.inference.openvino_scoring import scoring_step
        else:
            from dr_keras.training.scoring import scoring_step
        return [scoring_step(network) for network in self.networks]

    @functools.cached_property
    def sha256(self):
        from dr_keras.models.grader_model import hash_weights

        return hash_weights(self.networks)

    def score(self, images, network=None):
        """See `Runtime.score`."""
        steps = self._steps if network is None else [self._steps[network]]
        return sum(np.asarray(step(images), "float64") for step in steps) / len(steps)


class _Exported:
    """An exported model, which counts as one network."""

    num_networks = 1

    def __init__(self, metadata):
        self.networks = []
        self.rules, self.sha256 = metadata["rules"], metadata["sha256"]
        self.image_size = metadata["image_size"]


class TFLiteRuntime(_Exported):
    """A .tflite file, run by LiteRT; no TensorFlow is needed.

    Args:
        model: path or bytes of the file.
        threads: number of threads; None uses all cores.

    Raises:
        InputError: if LiteRT isn't installed, or the file isn't a model of this project.
    """

    def __init__(self, model, threads=None):
        try:
            from ai_edge_litert.interpreter import Interpreter
        except ImportError:
            raise InputError("LiteRT isn't installed: pip install 'dr-keras[edge]'") from None
        is_content = isinstance(model, bytes)
        name = "the model" if is_content else model
        source = {"model_content": model} if is_content else {"model_path": str(model)}
        try:
            self._interpreter = Interpreter(**source, num_threads=threads)
            self._run = self._interpreter.get_signature_runner("pixels")
        except (ValueError, RuntimeError, OSError) as error:
            raise InputError(f"{name}: {FOREIGN} ({_first_line(error)})") from None
        super().__init__(formats.read_tflite_metadata(io.BytesIO(model) if is_content else model, name))
        self._name = name

    def score(self, images, network=None):
        """See `Runtime.score`; `InputError` where a damaged file only shows when it is run."""
        singles = (np.asarray(image[None], "float32") for image in images)
        try:
            return np.array([self._run(image=one)["score"][0] for one in singles], "float64")
        except (ValueError, RuntimeError) as error:
            raise InputError(f"{self._name}: can't be run ({_first_line(error)})") from None


class ONNXRuntime(_Exported):
    """An .onnx file, run by ONNX Runtime; no TensorFlow is needed.

    Args:
        model: path or bytes of the file.

    Raises:
        InputError: if ONNX Runtime isn't installed, or the file isn't a model of this project.
    """

    def __init__(self, model):
        try:
            import onnxruntime
        except ImportError:
            raise InputError("ONNX Runtime isn't installed: pip install 'dr-keras[onnx]'") from None
        name = "the model" if isinstance(model, bytes) else model
        try:
            self._session = onnxruntime.InferenceSession(model if isinstance(model, bytes) else str(model))
            properties = self._session.get_modelmeta().custom_metadata_map
        except Exception as error:  # ONNX Runtime's errors have no common base class
            raise InputError(f"{name}: {FOREIGN} ({_first_line(error)})") from None
        super().__init__(formats.parse_metadata(lambda: properties[formats.METADATA], name))
        self._name = name

    def score(self, images, network=None):
        """See `Runtime.score`; `InputError` where a damaged file only shows when it is run."""
        # One by one: many at once would take gigabytes, and no less time.
        singles = (np.asarray(image[None], "float32") for image in images)
        try:
            return np.array([self._session.run(None, {"image": one})[0][0, 0] for one in singles], "float64")
        except Exception as error:  # see above
            raise InputError(f"{self._name}: can't be run ({_first_line(error)})") from None


class SavedModelRuntime(_Exported):
    """A TensorFlow SavedModel, run by its signature `pixels`.

    Args:
        path: folder of a version, or the folder of all versions, of which the highest is taken.

    Raises:
        InputError: if there is no SavedModel, or this project didn't export it.
    """

    def __init__(self, path):
        from dr_keras.inference.loaded_saved_model import load_saved_model

        self._model = load_saved_model(path)
        super().__init__(self._model.metadata)

    def score(self, images, network=None):
        """See `Runtime.score`."""
        return self._model.grade_pixels(images)["score"].astype("float64")


def open_runtime(path):
    """Loads a model of any of `formats.FORMATS` and returns its `Runtime`.

    Raises:
        InputError: if there is no model, or it doesn't carry its grading rules.
    """
    formats.check_model(path)
    kind = formats.format_of(path)
    if kind == formats.KERAS:
        return _open_keras(path)
    return {
        formats.TFLITE: TFLiteRuntime,
        formats.ONNX: ONNXRuntime,
        formats.SAVED_MODEL: SavedModelRuntime,
    }[kind](path)


def _open_keras(path):
    try:
        from dr_keras.models.grader_model import load_model
    except ModuleNotFoundError as error:
        if error.name != "keras":
            raise
        raise InputError(
            f"{path}: Keras isn't installed: pip install 'dr-keras[cpu]', or 'dr-keras[gpu]'; without it "
            ".tflite and .onnx models can be used"
        ) from None

    networks = [load_model(model) for model in formats.model_files(path)]
    try:
        return KerasRuntime(networks)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None


def _first_line(error):
    """An error's words, on one line; its kind where it has none."""
    return (str(error).splitlines() or [type(error).__name__])[0]


def name_of(path):
    """Returns a model's name for servers and reports: its folder's name, or its file's without suffix."""
    path = Path(os.path.abspath(path))
    if path.is_file() and path.stem != "model":
        return path.stem
    return (path.parent if path.is_file() else path).name
