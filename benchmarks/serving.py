"""Loads the server as a clinic would, and as it should never be loaded, and prints what came of it.

  pip install -e '.[cpu,serve]' && python benchmarks/serving.py --model=savedmodels/NAME

Callers that each send one photograph after the other: latency, errors and throughput at each --concurrency
for --seconds; a flood of several times what the queue holds, with the server's memory before and after; then
the most callers against a server that takes one photograph at a time. `cores` is how many the server kept
busy and `ms CPU` what a photograph costs it on one: batching can't give more than the cores that one request
at a time leaves idle, unless it makes a photograph cheaper. The photographs are synthetic, or those given
after the flags. Caller and server share the machine.
"""

import collections
import concurrent.futures
import http.client
import os
import time
from pathlib import Path

from absl import flags

from dr_keras import cli_flags

flags.DEFINE_string("model", None, "Model made by export.py.", required=True)
flags.DEFINE_list("concurrency", ["1", "8", "32"], "Callers at once.")
flags.DEFINE_float("seconds", 60.0, "For each measurement.", lower_bound=0.1)
flags.DEFINE_integer("flood", 256, "Callers of the flood.", lower_bound=1)
flags.DEFINE_enum("signature", "serving_default", ("serving_default", "explain"), "What is asked for.")
flags.DEFINE_integer("image_side", 1024, "Longer side of synthetic photographs, in pixels.", lower_bound=64)
cli_flags.define_output("the figures as JSON", ".json", required=False)

FLAGS = flags.FLAGS
_ROW = (
    "{name:<34} {answers:>8} {errors:>7} {busy:>6} {rate:>9.1f} {p50:>8.0f} {p95:>8.0f} {p99:>8.0f} "
    "{cores:>7.2f} {cpu:>7.0f} {memory:>8.0f}"
)


def main(argv):
    import timing
    from served import request_body, running

    from dr_keras import files

    bodies = [request_body([data], FLAGS.signature) for data in photographs(argv[1:])]
    callers, rows = [int(count) for count in FLAGS.concurrency], []
    print(", ".join(f"{name} {value}" for name, value in timing.machine().items()))
    print(_ROW.replace(".1f", "").replace(".2f", "").replace(".0f", "").format(
        name=f"{FLAGS.signature}, {FLAGS.seconds:g} s each", answers="answers", errors="errors", busy="503",
        rate="images/s", p50="p50 ms", p95="p95 ms", p99="p99 ms", cores="cores", cpu="ms CPU", memory="MiB",
    ))  # fmt: skip

    def measure(name, server, count):
        rows.append({"name": name, **load(server, bodies, count)})
        print(_ROW.format(**rows[-1]), flush=True)
        if rows[-1]["errors"]:
            print(f"  statuses: {rows[-1]['statuses']} (0: no answer)")
        return rows[-1]

    with running(FLAGS.model) as server:
        rates = [measure(f"{count} at once", server, count)["rate"] for count in callers]
        measure(f"flood of {FLAGS.flood}", server, FLAGS.flood)
        measure("1 at once, after it", server, 1)
    with running(FLAGS.model, "--max_batch=1", "--max_wait_ms=0") as server:
        alone = measure(f"{callers[-1]} at once, batches of one", server, callers[-1])
    ratios = {"one caller": rates[-1] / rates[0], "batches of one": rates[-1] / alone["rate"]}
    told = ", ".join(f"{ratio:.2f} times {name}" for name, ratio in ratios.items())
    print(f"throughput of {callers[-1]} at once: {told}")
    if FLAGS.output:
        files.write_json(FLAGS.output, {"machine": timing.machine(), "rows": rows, "batching": ratios})


def photographs(paths):
    """Bytes of the photographs given, or of eight synthetic ones."""
    from dr_keras.data.layouts import photograph_files

    if paths:
        return [Path(path).read_bytes() for path in photograph_files.list_photographs(paths)]
    import cv2

    from dr_keras.data.synthetic import draw_fundus

    drawn = (draw_fundus(seed, seed % 5, FLAGS.image_side).image for seed in range(8))
    return [cv2.imencode(".jpg", image[..., ::-1])[1].tobytes() for image in drawn]


def load(server, bodies, count):
    """Lets `count` callers ask for a while: dict of what they saw."""
    import numpy as np

    end, spent = time.perf_counter() + FLAGS.seconds, cpu_seconds(server)
    with concurrent.futures.ThreadPoolExecutor(count) as pool:
        calls = [pool.submit(call_until, end, server.address, bodies, k) for k in range(count)]
        seen = [item for call in calls for item in call.result()]
    seconds = FLAGS.seconds + max(0.0, time.perf_counter() - end)
    spent = cpu_seconds(server) - spent
    good = [1000 * took for status, took in seen if status == 200]
    p50, p95, p99 = np.percentile(good, (50, 95, 99)) if good else (float("nan"),) * 3
    pages = int(Path(f"/proc/{server.pid}/statm").read_text().split()[1])
    busy = sum(status == 503 for status, _ in seen)
    return {
        "answers": len(good),
        "errors": len(seen) - len(good) - busy,
        "busy": busy,
        "rate": len(good) / seconds,
        "p50": p50,
        "p95": p95,
        "p99": p99,
        "cores": spent / seconds,
        "cpu": 1000 * spent / len(good) if good else float("nan"),
        "memory": pages * 4096 / 2**20,
        "statuses": dict(collections.Counter(status for status, _ in seen)),
    }


def cpu_seconds(process):
    """Seconds of processor time that a process has used, all threads together."""
    fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def call_until(end, address, bodies, first):
    """One caller: list of (status, seconds), status 0 where no answer came."""
    from served import connect

    (connection, ask), seen = connect(address), []
    while time.perf_counter() < end:
        start = time.perf_counter()
        try:
            status, _ = ask(bodies[(first + len(seen)) % len(bodies)])
            seen.append((status, time.perf_counter() - start))
            if status == 503:
                time.sleep(0.2)  # far less than it asks for
        except (OSError, http.client.HTTPException):
            seen.append((0, time.perf_counter() - start))
            connection.close()
    connection.close()
    return seen


if __name__ == "__main__":
    cli_flags.run(main)
