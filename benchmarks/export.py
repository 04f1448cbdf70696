"""Compares every export of a model with the model itself, on the same photographs, and prints one table.

  pip install -e '.[cpu,edge,serve]' && python benchmarks/export.py --model=RUN --data_dir=FOLDER

Differences and agreement are against Keras, in the run's own precision. SavedModel and server are given
the photographs' files. Times of the server have decoding and preparation of the file in them, too; the
others' are of prepared photographs.
"""

import json
import tempfile
import time
from pathlib import Path

import numpy as np
from absl import flags

from dr_keras import cli_flags

cli_flags.define_model_flag()
cli_flags.define_data_flags()
cli_flags.define_cache_dir()
cli_flags.define_output("the figures as JSON", ".json", required=False)
flags.DEFINE_integer("photographs", 64, "Graded photographs to compare on, drawn at random.", lower_bound=2)
flags.DEFINE_integer("calibration_images", 60, "Others, for int8's ranges.", lower_bound=1)
flags.DEFINE_integer("runs", 30, "Calls that each latency is taken over.", lower_bound=3)

FLAGS = flags.FLAGS
BATCH = 32
_ROW = "{name:<22}{size:>8}{max:>11}{mean:>11}{agreement:>9}{kappa:>8}{p50:>9}{p99:>9}{rate:>11}"
_HEADS = {
    "name": "export", "size": "MB", "max": "max diff.", "mean": "mean diff.", "agreement": "same, %",
    "kappa": "kappa", "p50": "p50 ms", "p99": "p99 ms", "rate": "images/s",
}  # fmt: skip


def main(argv):
    cli_flags.refuse_arguments(argv)
    if not FLAGS.data_dir:
        raise cli_flags.InputError("--data_dir: expected a folder of graded photographs")
    cli_flags.check_data()
    cli_flags.require_tensorflow()
    cli_flags.require_packages("tflite", "ai_edge_litert")
    cli_flags.require_packages("serve", "fastapi", "uvicorn")
    import timing

    from dr_keras import files
    from dr_keras.export import check
    from dr_keras.inference.grader import load_grader

    model = load_grader(cli_flags.find_model())
    thresholds = model.rules.thresholds
    prepared = cli_flags.open_prepared(model.image_size)
    chosen = np.random.default_rng(0).permutation(np.flatnonzero(prepared.grades >= 0))
    compared, calibrating = chosen[: FLAGS.photographs], chosen[-FLAGS.calibration_images :]
    images, rows, reference = prepared.read(compared), [], None
    paths = [prepared.records[index].path for index in compared]
    print(", ".join(f"{name} {value}" for name, value in timing.machine().items()))
    print(_ROW.format(**_HEADS))
    with tempfile.TemporaryDirectory() as folder:
        for name, size, call, scores in contenders(model, images, paths, prepared.read(calibrating), folder):
            reference = scores if reference is None else reference
            grades = prepared.grades[compared]
            row = {"name": name, "megabytes": size / 1e6}
            row |= check.compare(scores, reference, grades, thresholds) | speed(call)
            rows.append(row)
            print_row(row)
    if FLAGS.output:
        files.write_json(FLAGS.output, {"machine": timing.machine(), "rows": rows})


def contenders(model, images, paths, representative, folder):
    """Yields (name, bytes, function that scores so many photographs, their scores), Keras first."""
    from served import connect, request_body, running

    from dr_keras.export import metadata, tflite
    from dr_keras.export.saved_model import export_saved_model
    from dr_keras.inference.grader import load_grader
    from dr_keras.inference.runtimes import TFLiteRuntime

    keras_score = model.score_prepared

    def of_images(score):
        return lambda count: score(images[np.arange(count) % len(images)])

    size = sum(path.stat().st_size for path in model.model_files)
    scores = [keras_score(images[start : start + BATCH]) for start in range(0, len(images), BATCH)]
    yield "Keras", size, of_images(keras_score), np.concatenate(scores)
    version = export_saved_model(model.networks, Path(folder) / "model")
    loaded = load_grader(version)
    scores = np.array([graded.score for graded in loaded.grade(paths)])
    size = sum(file.stat().st_size for file in Path(version).rglob("*") if file.is_file())
    yield "SavedModel", size, of_images(loaded.score_prepared), scores
    with running(Path(version).parent) as server:
        _, ask = connect(server.address)
        scores = [score for path in paths for score in served_scores(ask, request_body([read(path)]))]
        bodies = {count: request_body([read(path) for path in paths[:count]]) for count in (1, BATCH)}
        yield "server, over HTTP", size, lambda count: served_scores(ask, bodies[count]), np.array(scores)
    for quantize in tflite.QUANTIZATIONS:
        content = tflite.convert(model.networks, quantize, representative)
        described = metadata.describe(model.networks, model.rules, model.name)
        lite = TFLiteRuntime(metadata.into_tflite(content, described))
        yield f"TFLite, {quantize}", len(content), of_images(lite.score), lite.score(images)


def read(path):
    """A photograph's file."""
    return Path(path).read_bytes()


def served_scores(ask, body):
    """Scores of the photographs in a request."""
    return [row["score"] for row in json.loads(ask(body)[1])["predictions"]]


def speed(call):
    """Milliseconds for one image, and images/s of a batch of 32."""
    call(1)
    seconds = []
    for _ in range(FLAGS.runs):
        start = time.perf_counter()
        call(1)
        seconds.append(time.perf_counter() - start)
    call(BATCH)
    start = time.perf_counter()
    call(BATCH)
    rate = BATCH / (time.perf_counter() - start)
    p50, p99 = 1000 * np.quantile(seconds, (0.5, 0.99))
    return {"p50_ms": float(p50), "p99_ms": float(p99), "images_per_second": rate}


def print_row(row):
    """One line of the table."""
    print(
        _ROW.format(
            name=row["name"],
            size=f"{row['megabytes']:.1f}",
            max=f"{row['max_score_difference']:.5f}",
            mean=f"{row['mean_score_difference']:.5f}",
            agreement=f"{100 * row['agreement']:.1f}",
            kappa=f"{row['kappa']:.3f}",
            p50=f"{row['p50_ms']:.0f}",
            p99=f"{row['p99_ms']:.0f}",
            rate=f"{row['images_per_second']:.1f}",
        ),
        flush=True,
    )


if __name__ == "__main__":
    cli_flags.run(main)
