"""The site of `web` without its models and engines: the page, what it is told, what lets it be kept."""

import base64
import dataclasses
import hashlib
import json

import numpy as np

from dr_keras.data import decoding, file_header
from dr_keras.export import graph_photographs, web_icon
from dr_keras.export.npm_package import browser_file
from dr_keras.report import grading_page

_GREY = 128  # grey level of the image on which a browser's arithmetic is tried
_ICONS = (192, 512)  # pixels a side
_OWN = ("source.js", "worker.js", "service_worker.js", "LICENSES.txt")
_NOT_KEPT = ("service_worker.js", "LICENSES.txt")  # browsers keep the first themselves
_VERSION = 12  # digits of the hash
_POLICY = (
    "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; worker-src 'self'; style-src 'self'; "
    "img-src 'self' blob: data:; connect-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'none'"
)
# With the last two a page may use several threads.
_HEADERS = {
    "Content-Security-Policy": f"{_POLICY}; frame-ancestors 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
}
_HEAD = f"""<meta http-equiv="Content-Security-Policy" content="{_POLICY}">
<meta name="theme-color" content="#0b5394">
<link rel="manifest" href="manifest.webmanifest">
<link rel="icon" href="icon-192.png">
<link rel="apple-touch-icon" href="icon-192.png">"""


def pages(content, graphs, described, rules, score):
    """Makes the page of the models and engines.

    Args:
        content: dict of path -> bytes of these.
        graphs: `WebGraphs`.
        described: from `metadata.describe`.
        rules: `GradingRules`.
        score: function of images (n, size, size, 3) to scores (n,).

    Returns:
        Dict of path -> bytes of all other files of the site.
    """
    described, name, size = described | {"rules": rules}, described["name"], described["image_size"]
    model = grading_page.PageModel(name, "", described, graphs.explains, False)
    made = {each: browser_file(each) for each in _OWN}
    made |= {"page.js": grading_page.text("page.js").encode(), "page.css": grading_page.style().encode()}
    made |= {f"icon-{side}.png": web_icon.draw(side) for side in _ICONS}
    made["manifest.webmanifest"] = _manifest(name)
    known = float(score(np.full((1, size, size, 3), _GREY))[0])
    about = _about(model, graphs, known, content | made)
    reports = grading_page.blank_reports(model, graphs.marks_lesions)
    page = grading_page.index(about, _HEAD)
    digest = hashlib.sha256(json.dumps([page, reports, _HEADERS]).encode())
    for path, data in sorted((content | made).items()):
        digest.update(path.encode() + hashlib.sha256(data).digest())
    version = digest.hexdigest()[:_VERSION]
    model = dataclasses.replace(model, version=version)
    made["report.json"] = json.dumps(grading_page.blank_reports(model, graphs.marks_lesions)).encode()
    made["index.html"] = grading_page.index(about | {"version": version}, _HEAD).encode()
    kept = {path: _hash(data) for path, data in sorted((content | made).items()) if path not in _NOT_KEPT}
    constants = {"VERSION": version, "FILES": kept, "HEADERS": _HEADERS}
    lines = [f"const {name} = {json.dumps(value, indent=1)};\n" for name, value in constants.items()]
    return made | {"files.js": "".join(lines).encode()}


def _hash(data):
    return base64.b64encode(hashlib.sha256(data).digest()).decode()


def _about(model, graphs, known, content):
    """What the page's scripts need to know, beside what a server's page does."""
    sizes = {path: len(data) / 1e6 for path, data in content.items()}
    on_graphics = sum(size for path, size in sizes.items() if path.startswith("engine/webgpu/"))
    kinds = {"JPEG": graph_photographs.JPEG, "PNG": graph_photographs.PNG}
    refusals = ("EMPTY", "NOT_AN_IMAGE", "DAMAGED", "TRUNCATED", "TOO_SMALL", "TOO_LARGE")
    return model.about() | {
        "faults": graphs.faults,
        "refusals": {name.lower(): getattr(graph_photographs, name) for name in refusals},
        "kinds": {
            kind: {"start": start.decode("latin-1"), "end": decoding.ENDINGS[kind].decode("latin-1")}
            for kind, start in kinds.items()
        },
        "least_side": decoding.MIN_SIDE,
        "most_pixels": file_header.MAX_PIXELS,
        "outlined": grading_page.OUTLINED,
        "limits": grading_page.limits(model.rules),
        "report_side": grading_page.REPORT_SIDE,
        "longest_name": grading_page.LONGEST_NAME,
        "check": {"size": model.metadata["image_size"], "level": _GREY, "score": known},
        "referable_grade": model.rules.referable_grade,
        "calibration": model.rules.calibration,
        "megabytes": {"webgpu": sum(sizes.values()), "wasm": sum(sizes.values()) - on_graphics},
    }


def _manifest(name):
    icons = [{"src": f"icon-{side}.png", "sizes": f"{side}x{side}", "type": "image/png"} for side in _ICONS]
    manifest = {
        "name": f"Grade fundus photographs: {name}",
        "short_name": "Fundus grades",
        "description": "Research use only. Grades on this device; no photograph leaves it.",
        "start_url": "./",
        "scope": "./",
        "display": "standalone",
        "background_color": "#ffffff",
        "theme_color": "#0b5394",
        "icons": icons,
    }
    return json.dumps(manifest, indent=1).encode()
