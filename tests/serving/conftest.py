import cv2
import numpy as np
import pytest


@pytest.fixture(scope="session")
def toy_path(tmp_path_factory):
    """The model of TensorFlow Serving's documentation, version 123, with signatures to try more on."""
    pytest.importorskip("fastapi")
    pytest.importorskip("uvicorn")
    pytest.importorskip("prometheus_client")
    import tensorflow as tf

    from dr_keras import files

    class Toy(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, name="x")])
        def half(self, x):
            return {"y": x / 2 + 3}

        @tf.function(
            input_signature=[
                tf.TensorSpec([None], tf.string, name="tag"),
                tf.TensorSpec([None, None], tf.float32, name="signal"),
                tf.TensorSpec([None, 2, 2], tf.float32, name="sensor"),
            ]
        )
        def mirror(self, tag, signal, sensor):
            return {"tag": tag, "tag_bytes": tag, "signal": signal, "total": tf.reduce_sum(sensor, (1, 2))}

        @tf.function(input_signature=[tf.TensorSpec([None], tf.int32, name="steps")])
        def work(self, steps):
            """Takes time, as many steps as asked for."""
            start = tf.constant(0), tf.eye(64)
            _, product = tf.while_loop(
                lambda step, x: step < tf.reduce_max(steps), lambda step, x: (step + 1, x @ x), start
            )
            return {
                "done": tf.cast(steps, tf.float32) * product[0, 0],
                "rows": tf.ones_like(steps) * len(steps),
            }

    folder, toy = tmp_path_factory.mktemp("half_plus_three") / "123", Toy()
    signatures = {"serving_default": toy.half, "mirror": toy.mirror, "work": toy.work}
    tf.saved_model.save(toy, str(folder), signatures)
    described = {"name": "half_plus_three", "image_size": 32, "rules": {}}
    files.write_json(folder / "assets.extra" / "dr_keras.json", described)
    return folder.parent


@pytest.fixture(scope="session")
def half_plus_three(toy_path):
    """It, loaded."""
    from dr_keras.serving.servable import load_servable

    return load_servable(toy_path)


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory, photographs):
    """Folder of an exported grader of random weights, 128 px; each photograph has another grade."""
    pytest.importorskip("fastapi")
    from dr_keras.data.photograph import Photograph
    from dr_keras.export.saved_model import export_saved_model
    from dr_keras.models.grader_model import build_grader
    from dr_keras.models.nets import net5
    from dr_keras.models.rules import GradingRules

    folder = tmp_path_factory.mktemp("exported")
    network = net5(128, width=0.05)
    kernel = network.get_layer("score").kernel
    kernel.assign(100 * kernel.numpy())  # else all scores are nearly the same
    grader = build_grader(network, 128, (150, 85, 45), (40, 30, 20))
    prepared = []
    for data in photographs:
        (folder / "photograph.jpg").write_bytes(data)
        prepared.append(Photograph(folder / "photograph.jpg").prepare(128).pixels)
    scores = np.sort(grader(np.stack(prepared)).numpy()[:, 0].astype("float64"))
    cuts = tuple((scores[1:] + scores[:-1]) / 2)
    rules = GradingRules(thresholds=cuts, calibration=(1.0, *cuts))
    export_saved_model([grader], folder / "tiny", rules)
    return folder / "tiny"


@pytest.fixture(scope="session")
def tiny(tiny_model):
    """It, loaded and warm."""
    from dr_keras.serving.servable import load_servable

    servable = load_servable(tiny_model)
    servable.warm_up()
    return servable


@pytest.fixture(scope="session")
def photographs():
    """JPEGs of synthetic fundus photographs, of grades 0 to 4."""
    from dr_keras.data.synthetic import draw_fundus

    drawn = (draw_fundus(seed, seed, 256).image for seed in range(5))
    return [cv2.imencode(".jpg", image[..., ::-1])[1].tobytes() for image in drawn]
