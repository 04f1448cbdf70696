import numpy as np
import pytest

pytest.importorskip("pydicom", reason="needs pydicom: pip install 'dr-keras[dicom]'")
pytest.importorskip("highdicom", reason="needs highdicom: pip install 'dr-keras[dicom]'")

LESION_SIZE = 128


@pytest.fixture(scope="session")
def lesion_network():
    """A lesion network with random weights that marks a good part of any picture."""
    from dr_keras.models import GradingRules, build_grader
    from dr_keras.models.lesion_nets import lesion_net

    network = lesion_net(LESION_SIZE, widths=(4, 6, 8, 8, 8))
    network.get_layer("shares").least = (0.3, 0.4, 0.5, 0.6)
    network.get_layer("segmenter").get_layer("logits").bias.assign(np.full(5, -0.5))
    score = network.get_layer("score")
    kernel = np.linspace(0.01, 0.08, np.prod(score.kernel.shape)).reshape(score.kernel.shape)
    score.set_weights([kernel, np.array([-0.5, -1.5, -2.5, -3.5])])
    rules = GradingRules(calibration=(2.0, 1.0, 2.0, 3.0, 4.0))
    return build_grader(network, LESION_SIZE, (0, 0, 0), (1, 1, 1), rules)


@pytest.fixture(scope="session")
def grader(lesion_network):
    from dr_keras.inference.grader import Grader

    return Grader.of_networks([lesion_network], "tiny")


@pytest.fixture(scope="session")
def model_path(tmp_path_factory, lesion_network):
    """The network in a file."""
    path = tmp_path_factory.mktemp("model") / "tiny.keras"
    lesion_network.save(path)
    return path


@pytest.fixture(scope="session")
def fundus():
    """Function (seed) -> uint8 (240, 320, 3) RGB photograph that is good enough to be graded."""
    import cv2

    from dr_keras.data.synthetic import draw_fundus

    return lambda seed: cv2.resize(draw_fundus(seed, 2, 240).image, (320, 240))
