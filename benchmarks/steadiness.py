"""How far changes that leave the eye as it is move a grader's score: compression, size, turns, exposure,
focus.

  python benchmarks/steadiness.py --data_dir=PHOTOGRAPHS --photographs=30

Prints for each change the mean and the 90th percentile of the absolute change of the score, its mean with
sign, and the share of photographs whose referral flips. `--model` names another grader than the shipped one.
"""

import io
from pathlib import Path

import numpy as np
from absl import flags
from PIL import Image, ImageFilter

from dr_keras import cli_flags

cli_flags.define_model_flag()
flags.DEFINE_string("data_dir", None, "Folder of photographs.", required=True)
flags.DEFINE_integer("photographs", 30, "How many of them, evenly spread over their names.", lower_bound=1)
FLAGS = flags.FLAGS


def resized(width):
    """A copy of that many pixels across."""
    return lambda image: image.resize((width, round(width * image.height / image.width)), Image.LANCZOS)


def times(*gains):
    """Each colour times a gain."""
    return lambda image: image.point(
        [min(255, round(level * gain)) for gain in gains for level in range(256)]
    )


def gamma(exponent):
    """Another tone curve."""
    return lambda image: image.point([round(255 * (level / 255) ** exponent) for level in range(256)] * 3)


def as_jpeg(quality):
    """What a file of that quality holds."""

    def change(image):
        file = io.BytesIO()
        image.save(file, "JPEG", quality=quality)
        return file.getvalue()

    return change


CHANGES = {
    **{f"JPEG, quality {quality}": as_jpeg(quality) for quality in (95, 85, 75, 60, 50)},
    **{f"{width} pixels wide": resized(width) for width in (900, 800, 640)},
    "turned by 90 degrees": lambda image: image.transpose(Image.ROTATE_90),
    "turned by 180 degrees": lambda image: image.transpose(Image.ROTATE_180),
    "turned by 10 degrees": lambda image: image.rotate(10, Image.BICUBIC),
    "mirrored": lambda image: image.transpose(Image.FLIP_LEFT_RIGHT),
    "brighter": times(1.15, 1.15, 1.15),
    "darker": times(0.85, 0.85, 0.85),
    "warmer": times(1.08, 1, 0.85),
    "cooler": times(0.92, 1, 1.15),
    "gamma 0.85": gamma(0.85),
    "gamma 1.15": gamma(1.15),
    "softer": lambda image: image.filter(ImageFilter.GaussianBlur(0.7)),
    "sharper": lambda image: image.filter(ImageFilter.UnsharpMask(1.5, 60, 2)),
}


def main(argv):
    cli_flags.refuse_arguments(argv)
    cli_flags.require_tensorflow()
    from dr_keras.data.layouts import photograph_files
    from dr_keras.inference.grader import load_grader

    grader = load_grader(cli_flags.find_model())
    paths = photograph_files.list_photographs([FLAGS.data_dir])
    paths = paths[:: max(1, len(paths) // FLAGS.photographs)][: FLAGS.photographs]
    rows = [_results(grader, path) for path in cli_flags.progress("grading")(paths, total=len(paths))]
    scores = np.array([[each.score for each in row] for row in rows])
    referrals = np.array([[each.referable for each in row] for row in rows], dtype=object)
    changes, flips = scores[:, 1:] - scores[:, :1], referrals[:, 1:] != referrals[:, :1]
    print(f"{len(paths)} photographs of {Path(FLAGS.data_dir).name}, {grader.name}")
    for number, name in enumerate(CHANGES):
        print(_row(name, changes[:, number], flips[:, number]))
    print(_row("all", changes, flips))


def _results(grader, path):
    image = Image.open(path).convert("RGB")
    return grader.grade([image, *(change(image) for change in CHANGES.values())])


def _row(name, changes, flips):
    size = np.abs(changes)
    return (
        f"{name:<24}mean {np.nanmean(size):.3f}  90 % below {np.nanpercentile(size, 90):.2f}  "
        f"signed {np.nanmean(changes):+.3f}  referrals that flip {100 * np.mean(flips):.1f} %"
    )


if __name__ == "__main__":
    cli_flags.run(main)
