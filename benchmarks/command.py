"""The command line that the benchmarks share: sections measured in turn, printed as one table."""

import dataclasses
import importlib.util
import tempfile
from pathlib import Path

from absl import flags

from dr_keras import cli_flags

flags.disclaim_key_flags()  # they are the benchmark's, for --help

FLAGS = flags.FLAGS


@dataclasses.dataclass(frozen=True)
class Setting:
    """What all sections share.

    Attributes:
        schedule: `timing.Schedule`.
        precision: Keras dtype policy.
        folder: for files, empty at first.
    """

    schedule: object
    precision: str
    folder: Path


def define_flags(sections):
    """Defines --only, --quick, --rounds, --seconds, --precision and --output."""
    listed = ", ".join(sections)
    flags.DEFINE_list("only", list(sections), f"Sections to measure, of: {listed}.")
    flags.DEFINE_bool("quick", False, "Two short rounds: the figures mean little.")
    flags.DEFINE_integer("rounds", 11, "Turns of every contender.", lower_bound=1)
    flags.DEFINE_float("seconds", 2.0, "Least length of a turn.", lower_bound=0.0)
    flags.DEFINE_enum(
        "precision",
        "auto",
        ("auto", "float32", "mixed_bfloat16"),
        "auto: bfloat16 where the device has it.",
    )
    cli_flags.define_output("the figures as JSON", ".json", required=False)
    flags.register_validator("only", lambda names: set(names) <= set(sections), f"expected some of {listed}")


def measure_sections(measure, needs, note):
    """Measures the sections that --only names, and prints and writes their figures.

    Args:
        measure: dict of section to function of a `Setting`, returning an iterable of `timing.Row`.
        needs: dict of section to (module, what to install): left out where there is no such module.
        note: what the table's heading says beside precision and rounds.
    """
    import timing

    from dr_keras import files
    from dr_keras.training.hosts import devices

    schedule = timing.Schedule(2, 0.2) if FLAGS.quick else timing.Schedule(FLAGS.rounds, FLAGS.seconds)
    machine, rows = timing.machine(), []
    with tempfile.TemporaryDirectory() as folder:
        setting = Setting(schedule, devices.choose_precision(FLAGS.precision), Path(folder))
        for section in FLAGS.only:
            module, install = needs.get(section, (None, None))
            if module and importlib.util.find_spec(module) is None:
                print(f"{section}: left out, no {module}; pip install '{install}'")
                continue
            for item in measure[section](setting):
                rows.append(item)
                print(f"{item.section}: {item.name}: {item.rate[0]:.1f} {item.unit}", flush=True)
    print("\n" + ", ".join(f"{name} {value}" for name, value in machine.items()))
    print(f"{note}; {setting.precision} unless named; {schedule.rounds} rounds of {schedule.seconds:g} s")
    print(timing.format_table(rows))
    if FLAGS.output:
        report = {"machine": machine, "rows": [dataclasses.asdict(item) for item in rows]}
        files.write_json(FLAGS.output, report)
