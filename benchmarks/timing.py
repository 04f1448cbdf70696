"""Timing side by side: the contenders take turns, round after round, and ratios are taken within a round.

Whatever slows the machine for a while slows all contenders of a round alike, so that the median of the
ratios stands still where the times themselves don't.
"""

import dataclasses
import os
import platform
import time
from importlib import metadata
from pathlib import Path

import numpy as np

_VERSIONS = (
    "tensorflow-cpu",
    "tensorflow",
    "keras",
    "keras-cv",
    "torch",
    "grad-cam",
    "opencv-python-headless",
    "pillow",
)


@dataclasses.dataclass(frozen=True)
class Schedule:
    """How long to measure.

    Attributes:
        rounds: turns of every contender.
        seconds: least length of a turn.
    """

    rounds: int
    seconds: float


def timed(function):
    """Makes a contender of a function that works through `count` items and waits for the last."""

    def contender(count):
        start = time.perf_counter()
        function(count)
        return time.perf_counter() - start

    return contender


def take_turns(contenders, schedule, warm_up=2):
    """Times contenders in rounds.

    Args:
        contenders: dict of name to function of a number of repetitions, returning seconds.
        schedule: `Schedule`.
        warm_up: repetitions before every turn that don't count; what was filled up while the others
            ran, as a pipeline's buffer, is used up in them.

    Returns:
        Dict of name to float array (rounds,): seconds per repetition.
    """
    counts = {}
    for name, contender in contenders.items():
        contender(2)  # compiles
        counts[name] = max(1, round(schedule.seconds / contender(1)))
    results = {name: [] for name in contenders}
    names = list(contenders)
    for number in range(schedule.rounds):
        for name in names[number % len(names) :] + names[: number % len(names)]:
            contenders[name](warm_up)
            results[name].append(contenders[name](counts[name]) / counts[name])
    return {name: np.array(seconds) for name, seconds in results.items()}


@dataclasses.dataclass(frozen=True)
class Row:
    """A line of the table.

    Attributes:
        section, name: what was measured.
        rate: median over the rounds and, in brackets in the table, the smallest and the largest.
        unit: of `rate`, "images/s" or "ms/image"; "MiB" where memory is measured.
        ratio: speed in relation to the fastest other contender of the section, taken within each round:
            median, smallest, largest; None for the others themselves.
        ratio_to: what they are.
        target: least ratio that is aimed at, or None.
        rounds: number of rounds.
    """

    section: str
    name: str
    rate: tuple
    unit: str
    ratio: tuple | None
    ratio_to: str
    target: float | None
    rounds: int


def compare(section, contenders, schedule, images=1, ratio_to="", target=None, unit="images/s", warm_up=2):
    """Times contenders side by side.

    Args:
        section: heading of the rows.
        contenders: see `take_turns`; the last one is what the others are the measure of.
        schedule, warm_up: see `take_turns`.
        images: number of images in a repetition.
        ratio_to, target, unit: see `Row`.

    Returns:
        List of `Row`, one per contender.
    """
    seconds = take_turns(contenders, schedule, warm_up)
    *others, last = seconds
    fastest = min(others, key=lambda name: np.median(seconds[name]))
    rows = []
    for name, values in seconds.items():
        rate = images / values if unit == "images/s" else 1000 * values / images
        ratio = spread(seconds[fastest] / values) if name == last else None
        rows.append(
            Row(
                section,
                name,
                spread(rate),
                unit,
                ratio,
                ratio_to,
                target if ratio else None,
                schedule.rounds,
            )
        )
    return rows


def spread(values):
    """(median, least, greatest)."""
    return float(np.median(values)), float(np.min(values)), float(np.max(values))


def format_table(rows):
    """The rows as text."""
    lines = [f"{'':<40}{'median (low - high)':>36}  {'ratio (low - high)':>22}"]
    section = None
    for item in rows:
        if item.section != section:
            section = item.section
            lines.append(section)
        line = f"  {item.name:<38}{'{:.1f} ({:.1f} - {:.1f})'.format(*item.rate):>27} {item.unit:<8}"
        if item.ratio:
            line += "  {:>22} {}".format("{:.2f} ({:.2f} - {:.2f})".format(*item.ratio), item.ratio_to)
        if item.target is not None:
            line += f"; target {item.target:g}: {'met' if item.ratio[0] >= item.target else 'MISSED'}"
        lines.append(line.rstrip())
    return "\n".join(lines)


def machine():
    """What the figures were measured on: dict of CPU, cores, system and versions."""
    model = platform.processor()
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        model = next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
        flags = next(line for line in lines if line.startswith("flags")).split()
    except (OSError, StopIteration):
        flags = []
    versions = {}
    for name in _VERSIONS:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return {
        "cpu": model,
        "bfloat16": ", ".join(flag for flag in ("avx512_bf16", "amx_bf16") if flag in flags) or "none",
        "cores": len(os.sched_getaffinity(0)),
        "load_before": os.getloadavg()[0],
        "python": platform.python_version(),
        **versions,
    }
