"""Measures preparation and screening on one and on two processes, their memory, and training on two workers.

  pip install -e '.[cpu,beam]' && python benchmarks/scale.py

The photographs are 500 synthetic ones; the longer lists name them again and again, the longest for the most
processes alone. Memory is the largest of a process at any time (PSS, which shares out what processes have in
common). Takes hours with the shipped grader, 45 minutes with --model=RUN of Net-5 at 128 px. --quick only
shows that everything runs.
"""

import collections
import itertools
import subprocess
import sys
import threading
import time
from pathlib import Path

import command

from dr_keras import cli_flags

SCRIPTS = Path(__file__).resolve().parents[1] / "scripts"
PROCESSES = (1, 2)
SIDE = 512  # pixels, of a photograph
SIZE = 256


def main(argv):
    cli_flags.refuse_arguments(argv)
    cli_flags.require_tensorflow()
    command.measure_sections(
        MEASURE, NEEDS, f"photographs of {SIDE} px, 500 different ones; one run each, of training three"
    )


def settings():
    """(photographs, processes) to measure."""
    *shorter, longest = (20, 60) if command.FLAGS.quick else (500, 5000, 50_000)
    return [*itertools.product(shorter, PROCESSES), (longest, PROCESSES[-1])]


def measure_preparation(setting):
    """Preparation of a dataset by the embedded engine."""
    photographs = draw(setting.folder)
    for count, processes in settings():
        data_dir, output = setting.folder / f"data-{count}", setting.folder / f"prepared-{count}-{processes}"
        link(photographs, data_dir, count)
        arguments = [f"--data_dir={data_dir}", f"--output_dir={output}", f"--image_size={SIZE}"]
        yield from measured(
            "preparation", "prepare_data", [*arguments, "--runner=DirectRunner"], count, processes
        )
        for path in output.iterdir():  # 10 GB at 50,000
            path.unlink()


def measure_screening(setting):
    """Grading by --model."""
    photographs = draw(setting.folder)
    for count, processes in settings():
        listed = setting.folder / f"list-{count}.txt"
        listed.write_text("".join(f"{photographs[n % len(photographs)]}\n" for n in range(count)))
        arguments = [f"--input={listed}", f"--output={setting.folder / f'graded-{count}-{processes}'}"]
        arguments += [f"--model={command.FLAGS.model}", "--shard_rows=64"]
        yield from measured("screening", "screen", arguments, count, processes)


def measure_training(setting):
    """Two workers on a part of the cores each against one process on all of them, in turns."""
    import csv
    import os

    import numpy as np

    rounds, epochs, images = (1, 2, 64) if command.FLAGS.quick else (3, 4, 2000)
    cores = len(os.sched_getaffinity(0))
    names = [f"Net-5, 128 px, {workers} processes on {cores} cores" for workers in PROCESSES]
    rates = {name: [] for name in names}
    for turn in range(rounds):
        for name, workers in zip(names, PROCESSES, strict=True):
            run_dir = setting.folder / f"run-{workers}-{turn}"
            train = [sys.executable, str(SCRIPTS / "train.py"), "--image_size=128", f"--run_dir={run_dir}"]
            train += [f"--synthetic_images={images}", f"--epochs={epochs}"]
            train += [f"--cache_dir={setting.folder / 'cache'}"]
            if workers > 1:
                launch = [sys.executable, str(SCRIPTS / "launch_workers.py"), f"--workers={workers}", "--"]
                train = [*launch, *train, "--strategy=multi_worker"]
            watch(train)
            with open(run_dir / "history.csv", newline="") as file:
                _, *later = [float(row["images_per_second"]) for row in csv.DictReader(file)]
            rates[name].append(np.median(later))  # the first epoch compiles
    one, several = (np.array(rates[name]) for name in names)
    for name in names:
        yield row("training", name, rates[name], "images/s", several / one if name == names[1] else None)


def measured(section, script, arguments, count, processes):
    """Runs a script; yields its speed, cost per photograph and memory."""
    import os

    used, start = os.times(), time.perf_counter()
    memory = watch([sys.executable, str(SCRIPTS / f"{script}.py"), *arguments, f"--workers={processes}"])
    wall, after = time.perf_counter() - start, os.times()
    busy = after.children_user + after.children_system - used.children_user - used.children_system
    name = f"{count:,} photographs, {processes} processes"
    yield row(section, name, [count / wall], "images/s")
    yield row(section, f"{name}: processor time", [1000 * busy / count], "ms/image")
    for who, peak in memory.items():
        yield row(section, f"{name}: {who}", [peak / 1024], "MiB")


def watch(arguments):
    """Runs a command: {"driver" and "largest worker": most memory in KiB}."""
    peaks, over = collections.Counter(), threading.Event()
    with subprocess.Popen(arguments, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:

        def look():
            while not over.wait(0.5):
                for pid in family(process.pid):
                    who = "driver" if pid == process.pid else "largest worker"
                    peaks[who] = max(peaks[who], memory_of(pid))

        thread = threading.Thread(target=look)
        thread.start()
        said = process.communicate()[1]
        over.set()
        thread.join()
    if process.returncode:
        raise cli_flags.InputError(f"{' '.join(arguments)}: {said.strip().splitlines()[-1]}")
    return dict(peaks)


def family(pid):
    """A process and those that it started, and so on."""
    try:
        children = Path(f"/proc/{pid}/task").glob("*/children")
        found = [int(child) for path in children for child in path.read_text().split()]
    except OSError:
        return [pid]
    return [pid, *(member for child in found for member in family(child))]


def memory_of(pid):
    """Memory of a process, KiB; 0 if it is gone."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("Pss:")), 0)


def draw(folder):
    """Draws the photographs as JPEG files, once; returns their paths."""
    import cv2

    from dr_keras.data.synthetic import draw_fundus

    count = 8 if command.FLAGS.quick else 500
    paths = [folder / "photographs" / f"{number:03d}.jpg" for number in range(count)]
    paths[0].parent.mkdir(exist_ok=True)
    for number, path in enumerate(paths):
        if not path.exists():
            cv2.imwrite(str(path), draw_fundus(number, number % 5, SIDE).image[..., ::-1])
    return paths


def link(paths, folder, count):
    """Makes a dataset of hard links to photographs: folders of grades."""
    if folder.exists():
        return
    for grade in range(5):
        (folder / str(grade)).mkdir(parents=True)
    for number in range(count):
        (folder / str(number % 5) / f"{number:06d}.jpg").hardlink_to(paths[number % len(paths)])


def row(section, name, values, unit, ratios=None):
    import timing

    rounds = len(values)
    values, ratios = (timing.spread(some) if some is not None else None for some in (values, ratios))
    return timing.Row(section, name, values, unit, ratios, "of one process" if ratios else "", None, rounds)


MEASURE = {"preparation": measure_preparation, "screening": measure_screening, "training": measure_training}
NEEDS = {
    "preparation": ("apache_beam", "dr-keras[beam]"),
    "screening": ("apache_beam", "dr-keras[beam]"),
}

cli_flags.define_model_flag()
command.define_flags(MEASURE)


if __name__ == "__main__":
    cli_flags.run(main)
