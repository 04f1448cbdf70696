"""What a photograph costs with each engine: predict.py from its start to its end, and the network alone.

  pip install -e '.[cpu,edge,onnx,openvino]' && python benchmarks/inference.py --model=dr_grader_fast

The photographs are drawn, of 12 megapixels, or those of --data_dir. Each engine is a process of its own;
they take turns. Time and processor time of a photograph are those of all less those of one, which is the
cold start. Differences are of scores, against TensorFlow.
"""

import csv
import multiprocessing
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from absl import flags

from dr_keras import cli_flags

cli_flags.define_model_flag()
flags.DEFINE_string("data_dir", None, "Folder of photographs. Default: drawn ones.")
flags.DEFINE_integer("photographs", 20, "How many of them.", lower_bound=2)
flags.DEFINE_integer("rounds", 3, "Turns of every engine.", lower_bound=1)
flags.DEFINE_list("engines", None, "Engines to compare: tensorflow first, then others. Default: all.")
cli_flags.define_output("the figures as JSON", ".json", required=False)
FLAGS = flags.FLAGS
ENGINES = ("tensorflow", "openvino", "onnx", "tflite", "tflite_int8")
SIDE = 2800  # pixels; a drawn photograph of that height has 12 megapixels or so
_PREDICT = Path(__file__).resolve().parents[1] / "scripts" / "predict.py"
_COLUMNS = (
    "engine", "start s", "s/photograph", "processor s/photograph", "network alone, s", "peak MB",
    "largest difference", "mean",
)  # fmt: skip


def main(argv):
    cli_flags.refuse_arguments(argv)
    engines = FLAGS.engines or list(ENGINES)
    if engines[0] != "tensorflow" or not set(engines) <= set(ENGINES):
        raise cli_flags.InputError(f"--engines: expected tensorflow, then some of {', '.join(ENGINES[1:])}")
    import timing

    from dr_keras import files

    with tempfile.TemporaryDirectory() as folder:
        photographs = find_photographs(Path(folder))
        models = {engine: exported(engine, photographs, Path(folder)) for engine in engines}
        runs = {engine: [] for engine in engines}
        for _ in range(FLAGS.rounds):
            for engine, model in models.items():
                one = predict(model, engine, photographs[:1], folder)
                runs[engine].append((one, predict(model, engine, photographs, folder)))
        rows = [row(engine, runs, network_alone(models[engine], engine)) for engine in engines]
    print(", ".join(f"{name} {value}" for name, value in timing.machine().items()))
    print(f"{len(photographs)} photographs, {FLAGS.rounds} rounds, medians")
    print(" | ".join(_COLUMNS))
    for values in rows:
        print(" | ".join([values[0], *(f"{value:.3g}" for value in values[1:])]))
    if FLAGS.output:
        table = [dict(zip(_COLUMNS, values, strict=True)) for values in rows]
        files.write_json(FLAGS.output, {"machine": timing.machine(), "rows": table})


def find_photographs(folder):
    """Paths of the photographs of --data_dir, or of drawn ones."""
    from dr_keras.data.layouts.photograph_files import list_photographs

    if FLAGS.data_dir:
        paths = list_photographs([FLAGS.data_dir])
        return [str(path) for path in paths[:: max(1, len(paths) // FLAGS.photographs)][: FLAGS.photographs]]
    from PIL import Image

    from dr_keras.data.synthetic import draw_fundus

    paths = [str(folder / f"{number}.jpg") for number in range(FLAGS.photographs)]
    for number, path in enumerate(paths):
        drawn = Image.fromarray(draw_fundus(number, number % 5, SIDE // 2).image)
        drawn.resize((2 * drawn.width, 2 * drawn.height), Image.BICUBIC).save(path, quality=92)
    return paths


def exported(engine, photographs, folder):
    """The model in the format that an engine runs."""
    model = cli_flags.find_model()
    if engine in ("tensorflow", "openvino"):
        return model
    options = ["--format=onnx"] if engine == "onnx" else ["--format=tflite"]
    if engine == "tflite_int8":  # its ranges from drawn photographs: the speed is what counts here
        options += ["--quantize=int8", "--min_agreement=0"]
    script = _PREDICT.with_name("export.py")
    output = folder / engine
    run([sys.executable, str(script), f"--model={model}", f"--output_dir={output}", *options])
    return str(next(path for path in output.iterdir() if path.suffix in (".onnx", ".tflite")))


def predict(model, engine, photographs, folder):
    """Runs predict.py: its seconds, processor seconds, peak memory in MB, and scores."""
    output = Path(folder) / "grades.csv"
    command = [sys.executable, str(_PREDICT), f"--model={model}", f"--output={output}"]
    command += [f"--engine={engine}"] if engine == "openvino" else []
    start = time.perf_counter()
    usage = run([*command, *photographs])
    seconds = time.perf_counter() - start
    with open(output, newline="") as file:
        scores = [float(row["score"] or "nan") for row in csv.DictReader(file)]
    return seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1000, np.array(scores)


def run(command):
    """Runs a command and returns what it used; raises `InputError` with its last line if it failed."""
    with tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=errors)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            errors.seek(0)
            last = errors.read().decode(errors="replace").strip().splitlines()[-1:]
            raise cli_flags.InputError(f"{' '.join(command[1:4])}: {' '.join(last)}")
    return usage


def network_alone(model, engine):
    """Seconds that the network takes for a prepared photograph, median of ten, in a process of its own."""
    context = multiprocessing.get_context("spawn")
    queue = context.Queue()
    process = context.Process(target=_time_network, args=(model, engine, queue))
    process.start()
    seconds = queue.get(timeout=600)
    process.join()
    return seconds


def _time_network(model, engine, queue):
    if engine == "openvino":
        os.environ["KERAS_BACKEND"] = "openvino"
    from dr_keras.inference.grader import load_grader

    grader, seconds = load_grader(model), []
    images = np.random.default_rng(0).integers(0, 256, (1, *[grader.image_size] * 2, 3), np.uint8)
    for _ in range(12):
        start = time.perf_counter()
        grader.score_prepared(images)
        seconds.append(time.perf_counter() - start)
    queue.put(float(np.median(seconds[2:])))


def row(engine, runs, alone):
    """One line of the table: see `_COLUMNS`."""
    ones, wholes = zip(*runs[engine], strict=True)
    count = len(wholes[0][3]) - 1
    each, processor = (
        np.median([(whole[place] - one[place]) / count for one, whole in runs[engine]]) for place in (0, 1)
    )
    differences = np.abs(wholes[0][3] - runs["tensorflow"][0][1][3])
    start, peak = np.median([one[0] for one in ones]), max(whole[2] for whole in wholes)
    return engine, start, each, processor, alone, peak, np.nanmax(differences), np.nanmean(differences)


if __name__ == "__main__":
    cli_flags.run(main)
