"""Starts several processes on this machine that train together, each with its TF_CONFIG.

  python scripts/launch_workers.py --workers=2 -- python scripts/train.py --strategy=multi_worker ...

For trying out what docs/scale.md runs on several hosts. Ends with the first exit status that isn't 0.
"""

import _installed  # noqa: F401  isort: skip
import sys

from absl import flags

from dr_keras import cli_flags
from dr_keras.errors import InputError

flags.DEFINE_integer("workers", 2, "Processes.", lower_bound=1)

FLAGS = flags.FLAGS


def main(argv):
    if len(argv) < 2:
        raise InputError("expected a command after --, such as -- python scripts/train.py")
    from dr_keras.training.hosts import launch

    sys.exit(launch.run_workers(argv[1:], FLAGS.workers))


if __name__ == "__main__":
    cli_flags.run(main)
