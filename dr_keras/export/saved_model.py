"""Export to a TensorFlow SavedModel that takes original photographs, for TF Serving and for Python.

`NAME/<N>/` holds version N. Its signatures take and return dicts, with any batch size:

- `serving_default` takes `image_bytes`, string (batch,): original photographs as JPEG or PNG files. It
  returns `score`, float32 (batch,), in grade units, NaN if the photograph can't be read; `gradable`, bool,
  see `data.quality`; `grade`, int32, and `referable`, bool, which are -1 and False if the photograph isn't
  gradable; and `message`, string, one line that says why it can't be read or graded, or "". Of calibrated
  models also `probabilities`, float32 (batch, 5), of grades 0 to 4, and `referable_probability`, float32
  (batch,): NaN if the photograph isn't gradable.
- `explain`, for networks that end in global average pooling, also returns `map`, float32 (batch, rows,
  columns): the attribution map, signed, in grade units, the mean over the networks, NaN if the photograph
  can't be read; and `overlay_png_bytes`, string (batch,): the map over the photograph, at most 512 pixels
  wide or high, with colours from -12 to 12, "" if the photograph can't be read.
  Of lesion networks the overlay outlines the lesions by kind, `lesion_scores`, float32 (batch, 4), is what
  microaneurysms, haemorrhages, hard and soft exudates add to the score, `lesion_areas`, float32 (batch, 4),
  what share of the square image they cover, and `context_score`, float32 (batch,), what the look of the
  retina adds besides (0 for `lesion_net`).
- `occlude` returns the same for any network, with the map of the occlusion test: 8 x 8 windows, colours from
  -1 to 1. It takes as long as grading 65 photographs.
- `pixels` takes `image`, float32 (batch, size, size, 3): preprocessed images, RGB, 0-255. It returns `score`,
  `grade` and `referable`.

`assets.extra/dr_keras.json` holds the metadata (see `metadata`); TF Serving reads the requests in
`assets.extra/tf_serving_warmup_requests`. In Python, load the model with `dr_keras.load_grader(path)`, or
call its signatures with `inference.loaded_saved_model.load_saved_model(path).grade([bytes, ...])`.
"""

import os
import secrets
import shutil
from pathlib import Path

from tensorflow.core.protobuf import fingerprint_pb2

from dr_keras import files
from dr_keras.export import signatures, warm_up
from dr_keras.export.metadata import describe
from dr_keras.inference.formats import EXTRA, METADATA, versions
from dr_keras.lesion_kinds import COLORS, LESIONS
from dr_keras.models.grader_model import rules_of

_TEMPORARY = ".export-"


def export_saved_model(graders, output_dir, rules=None, name=None):
    """Writes a SavedModel as the next free version; see the module's first lines.

    Args:
        graders: models from `build_grader` of one image size: the score is their mean.
        output_dir: folder of the versions, made if it isn't there.
        rules: `GradingRules`; None takes those that the models carry.
        name: name of the model; that of the folder if None.

    Returns:
        Path of the version's folder. It is whole or absent; existing versions stay as they are.
    """
    output_dir = Path(output_dir)
    name = name or output_dir.resolve().name
    rules = rules or rules_of(graders[0])
    functions = signatures.Functions(graders, rules)
    with files.sole_writer(output_dir):
        for leftover in output_dir.glob(f"{_TEMPORARY}*"):
            shutil.rmtree(leftover)
        folder = output_dir / f"{_TEMPORARY}{secrets.token_hex(4)}"
        folder.mkdir()
        try:
            functions.write(folder)
            _clear_number(folder / "fingerprint.pb")
            (folder / EXTRA).mkdir()
            described = describe(graders, rules, name) | {"explains": functions.explains}
            if functions.marks_lesions:
                described["lesions"] = {kind: COLORS[kind] for kind in LESIONS}
            files.write_json(folder / EXTRA / METADATA, described)
            warm_up.write_requests(folder / EXTRA / warm_up.FILE, name, functions.signatures)
            version = output_dir / str(max(versions(output_dir), default=0) + 1)
            os.rename(folder, version)
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
    return version


def _clear_number(path):
    """Takes the random number out of a SavedModel's fingerprint, so that equal models are equal files."""
    fingerprint = fingerprint_pb2.FingerprintDef.FromString(path.read_bytes())
    fingerprint.ClearField("uuid")
    path.write_bytes(fingerprint.SerializeToString(deterministic=True))
