"""Encoded photographs, and a tiny SavedModel."""

import cv2
import numpy as np
import pytest

from dr_keras.models.rules import GradingRules


@pytest.fixture(scope="session")
def encode(draw_photograph):
    """Function (seed, form, height, width) -> (bytes of a JPEG or PNG, its pixels before encoding)."""

    def encoded(seed=0, form=".jpg", height=480, width=640):
        pixels = draw_photograph(seed, height, width)
        pixels = np.clip(pixels * (0.5 + 0.2 * (seed % 4)), 0, 255).astype(np.uint8)
        return cv2.imencode(form, pixels[..., ::-1])[1].tobytes()

    return encoded


@pytest.fixture(scope="session")
def exported(make_grader, tmp_path_factory):
    """(graders, folder of versions): two networks, exported with thresholds of their own."""
    from dr_keras.export.saved_model import export_saved_model

    graders = [make_grader(0), make_grader(1)]
    folder = tmp_path_factory.mktemp("savedmodels") / "tiny"
    rules = GradingRules(thresholds=(0.1, 1.0, 2.0, 3.0), calibration=(2.0, 0.2, 1.0, 2.0, 3.0))
    export_saved_model(graders, folder, rules)
    return graders, folder


@pytest.fixture(scope="session")
def loaded(exported):
    """The exported model, loaded."""
    from dr_keras.inference.loaded_saved_model import load_saved_model

    return load_saved_model(exported[1])
