"""Export to a static site that grades photographs in the browser, with no server and no network.

`SITE/` is the page that the server has (`report/page`), with the graphs of `web_graphs` in `models/`, ONNX
Runtime Web in `engine/`, and a service worker that keeps the site for use offline. Any server of files will
do: `python -m http.server -d SITE`. A later export to the same folder replaces it, and browsers that kept the
old site fetch the new one.
"""

import contextlib
import os
import shutil
import tempfile
from pathlib import Path

from dr_keras.data.cache import SYNTHETIC
from dr_keras.errors import InputError
from dr_keras.export import check, npm_package, web_site
from dr_keras.export.metadata import describe
from dr_keras.export.web_graphs import WebGraphs, scorer

_TEMPORARY = ".site-"
_MARK = "service_worker.js"  # what a site has


def export_web(grader, prepared, output_dir, node_modules=None, check_images=60, min_agreement=0.9, seed=0):
    """Writes the site, if its scores are those of Keras.

    Args:
        grader: `Grader`; all its networks are built in, and its rules travel inside the site.
        prepared: `PreparedDataset` with graded photographs, of the grader's image size, to compare on.
        output_dir: folder of the site; an older site there is replaced. It is whole or as it was.
        node_modules: folder with the pinned version of the npm package; None fetches it by npm.
        check_images, min_agreement, seed: as for `check.export_checked`.

    Returns:
        What was written and found, in one line.

    Raises:
        InputError: if the grades don't agree, the folder holds something else, or a tool is missing.
    """
    output_dir = Path(output_dir)
    _refuse_other_content(output_dir)
    with npm_package.engine_files(node_modules) as engine:  # before what takes longer
        graphs = WebGraphs(grader.networks, grader.rules)
        models = graphs.convert()
        score = scorer(models["network"])
        compared = check.graded_photographs(prepared, seed)[:check_images]
        checked = check.compare_with_keras(score, grader, prepared, compared)
        check.require_agreement(checked, min_agreement)
        content = {f"models/{name}.onnx": data for name, data in models.items()}
        content |= {f"engine/{path}": file.read_bytes() for path, file in engine.items()}
    described = describe(grader.networks, grader.rules, grader.name)
    content |= web_site.pages(content, graphs, described, grader.rules, score)
    _write(content, output_dir)
    megabytes = sum(map(len, content.values())) / 1e6
    found = check.describe(checked, prepared.name == SYNTHETIC)
    return f"{len(content)} files, {megabytes:.1f} MB; {found}"


def _refuse_other_content(folder):
    try:
        if any(folder.iterdir()) and not (folder / _MARK).exists():
            raise InputError(f"--output_dir={folder}: holds something else than a site; name another folder")
    except FileNotFoundError:
        pass
    except OSError as error:
        raise InputError(f"--output_dir={folder}: can't be read ({error.strerror})") from None


def _write(content, folder):
    """Writes the files beside `folder`, then puts them in its place."""
    folder = folder.absolute()
    folder.parent.mkdir(parents=True, exist_ok=True)
    made = Path(tempfile.mkdtemp(prefix=_TEMPORARY, dir=folder.parent))
    try:
        for path, data in content.items():
            (made / "new" / path).parent.mkdir(parents=True, exist_ok=True)
            (made / "new" / path).write_bytes(data)
        with contextlib.suppress(FileNotFoundError):
            os.rename(folder, made / "old")
        os.rename(made / "new", folder)
    except BaseException:
        if (made / "old").exists() and not folder.exists():
            os.rename(made / "old", folder)
        raise
    finally:
        shutil.rmtree(made, ignore_errors=True)
