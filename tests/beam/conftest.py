import keras
import numpy as np
import pytest
import written
from PIL import Image

from dr_keras.data import layouts, preparation
from dr_keras.models.grader_model import build_grader

SIZE = 32


@pytest.fixture(scope="package")
def run_dir(tmp_path_factory):
    """A run whose network's score is 0.02 times the mean of the image."""
    folder = tmp_path_factory.mktemp("run")
    windows = keras.Input((SIZE, SIZE, 3))
    dense = keras.layers.Dense(1, use_bias=False)
    network = keras.Model(windows, dense(keras.layers.GlobalAveragePooling2D()(windows)))
    dense.set_weights([np.full((3, 1), 0.02 / 3, "float32")])
    build_grader(network, SIZE, np.zeros(3), np.ones(3)).save(folder / "model.keras")
    (folder / "run.cfg").write_text("--thresholds=0.3,0.6,0.9,1.2\n")
    return folder


@pytest.fixture(scope="package")
def how(run_dir):
    """How the run's photographs are graded by a pipeline."""
    screening = pytest.importorskip("dr_keras.beam.screening", reason="the extra beam isn't installed")
    return screening.Grading(str(run_dir), (0.3, 0.6, 0.9, 1.2), batch_size=4)


@pytest.fixture(scope="package")
def photographs(tmp_path_factory, draw_photograph, write_odd_photographs):
    """A folder of twelve photographs of different brightness in three grades, and odd files among them."""
    folder = tmp_path_factory.mktemp("photographs")
    for number in range(12):
        path = folder / str(number % 3) / f"{number:02d}.png"
        path.parent.mkdir(exist_ok=True)
        image = draw_photograph(number) * (0.4 + number / 20)
        image += (image > 0) * np.random.default_rng(number).integers(0, 9, image.shape)  # many colours
        Image.fromarray(image.clip(0, 255).astype(np.uint8)).save(path)
    write_odd_photographs(folder / "2")
    return folder


@pytest.fixture
def long_list(tmp_path, photographs):
    """A text file that names eight photographs again and again, 400 in all."""
    paths = sorted(photographs.glob("[01]/*.png"))
    path = tmp_path / "list.txt"
    path.write_text("\n".join(str(paths[n % len(paths)]) for n in range(400)))
    return path


@pytest.fixture(scope="package")
def dataset(photographs):
    return layouts.load_dataset(photographs)


@pytest.fixture(scope="package")
def prepared_without_beam(tmp_path_factory, dataset):
    """File name to bytes: what the path without Beam writes, six shards, unreadable files among them."""
    folder = tmp_path_factory.mktemp("local")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(preparation, "SHARD_ROWS", 5)
        preparation.prepare_dataset(dataset, folder, 32, workers=1, steps=("color",))
        yield written.contents(folder)
