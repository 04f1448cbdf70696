"""A run as a TensorFlow SavedModel that takes photographs as they are: for TF Serving, and to load here.

`NAME/<N>/` holds version N. Signatures, dicts in and out, any batch size:

- `serving_default`: `image_bytes` string (batch,), encoded JPEGs or PNGs, the original photographs ->
  `score` float32 (batch,), grade units, NaN where it can't be read; `gradable` bool, by `data.quality`;
  `grade` int32, -1 where it isn't gradable; `referable` bool, False likewise; `message` string, "" or one
  line that says why it can't be read or isn't gradable.
- `explain`, of networks that end in global average pooling: also `map` float32 (batch, rows, columns),
  signed, grade units (mean over the networks, NaN where it can't be read) and `overlay_png_bytes` string
  (batch,): the map over the photograph, longer side at most 512 px, limits +-12; "" where it can't be read.
- `occlude`: as `explain`, of any network, with the occlusion test's map, 8 x 8 windows; limits +-1. It costs
  as much as 65 photographs.
- `pixels`: `image` float32 (batch, size, size, 3), prepared, RGB, 0-255 -> `score`, `grade` and `referable`.

`assets.extra/dr_keras.json` says what the model is (see `metadata`), TF Serving reads the requests in
`assets.extra/tf_serving_warmup_requests`. In Python: `dr_keras.load_grader(path)`, or the signatures
themselves by `inference.saved_model.load_saved_model(path).grade([bytes, ...])`.
"""

import os
import shutil
import tempfile
from pathlib import Path

from dr_keras import files
from dr_keras.export import signatures, warm_up
from dr_keras.export.metadata import describe
from dr_keras.inference.formats import EXTRA, METADATA, versions
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
        folder = Path(tempfile.mkdtemp(prefix=_TEMPORARY, dir=output_dir))
        try:
            functions.write(folder)
            (folder / EXTRA).mkdir()
            described = describe(graders, rules, name) | {"explains": functions.explains}
            files.write_json(folder / EXTRA / METADATA, described)
            warm_up.write_requests(folder / EXTRA / warm_up.FILE, name, functions.signatures)
            folder.chmod(0o755)
            version = output_dir / str(max(versions(output_dir), default=0) + 1)
            os.rename(folder, version)
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
    return version
