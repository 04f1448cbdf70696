"""FHIR reports: their structure by R4's rules, and that they name no patient."""

import json
import re
import stat

import dicom_files as made
import numpy as np
import pytest
from script_runs import run

from dr_keras.data import dicom

STATUSES = {"registered", "partial", "preliminary", "final", "amended", "corrected", "cancelled", "unknown"}
IDENTIFIER = re.compile(r"[A-Za-z0-9.-]{1,64}")


def check_concept(concept):
    for coding in concept["coding"]:
        assert set(coding) <= {"system", "code", "display"} and re.match(r"(urn|http):\S+$", coding["system"])
        assert re.fullmatch(r"\S+", coding["code"]) and coding["display"]


def check_observation(observation):
    assert observation["resourceType"] == "Observation" and IDENTIFIER.fullmatch(observation["id"])
    assert observation["status"] in STATUSES
    check_concept(observation["code"])
    values = [key for key in observation if key.startswith("value")]
    assert len(values) + ("dataAbsentReason" in observation) == 1  # obs-6
    for key in ("valueCodeableConcept", "dataAbsentReason", "bodySite"):
        if key in observation:
            check_concept(observation[key])
    for component in observation.get("component", ()):
        check_concept(component["code"])
        assert len([key for key in component if key.startswith("value")]) == 1
        if "valueQuantity" in component:
            quantity = component["valueQuantity"]
            assert quantity["system"] == "http://unitsofmeasure.org" and quantity["code"] == "1"
            assert np.isfinite(quantity["value"])


def check_report(report):
    """The parts that R4 asks for, and that every contained resource is referred to (dom-3)."""
    assert report["resourceType"] == "DiagnosticReport" and IDENTIFIER.fullmatch(report["id"])
    assert report["status"] in STATUSES and re.fullmatch(r"[-\d]{10}T[\d:]{8}\+00:00", report["issued"])
    check_concept(report["code"])
    contained = {resource["id"]: resource for resource in report["contained"]}
    assert len(contained) == len(report["contained"])
    text = json.dumps(report)
    assert all(f'"#{name}"' in text for name in contained)
    for result in report["result"]:
        check_observation(contained[result["reference"].removeprefix("#")])
    assert contained["model"]["resourceType"] == "Device" and "Research use only" in report["conclusion"]
    assert "subject" not in report or list(report["subject"]) == ["identifier"]


@pytest.fixture(scope="module")
def done(tmp_path_factory, fundus, model_path):
    """predict.py over a folder: two eyes of a DICOM patient, one black, two of a named one, and of nobody."""
    folder = tmp_path_factory.mktemp("fhir")
    photographs = folder / "photographs"
    photographs.mkdir()
    made.write(photographs / "a.dcm", fundus(0), ImageLaterality="L")
    made.write(photographs / "b.dcm", np.zeros((240, 320, 3), np.uint8))
    made.write(photographs / "c.dcm", np.stack([fundus(1), fundus(2)]), PatientID="")
    for name, seed in (("p1_left", 3), ("p1_right", 4), ("nobody", 5)):
        (photographs / f"{name}.jpg").write_bytes(made.jpeg(fundus(seed)))
    flags = [f"--model={model_path}", f"--output={folder}/grades.csv", f"--fhir_output={folder}/fhir"]
    ran = run("predict", *flags, f"--dicom_output={folder}/dicom", photographs)
    assert ran.returncode == 0, ran.stderr
    reports = [json.loads(path.read_text()) for path in (folder / "fhir").iterdir()]
    return folder, ran, reports


def test_the_structure_is_r4s(done):
    assert len(done[2]) == 5  # two patients, each frame of c.dcm, and nobody.jpg
    for report in done[2]:
        check_report(report)


def test_a_patients_eyes_are_in_one_report(done):
    folder, _, reports = done
    hashed = dicom.whose(folder / "photographs/a.dcm")[0]
    (report,) = [
        each for each in reports if each.get("subject", {}).get("identifier", {}).get("value") == hashed
    ]
    left, right = [each for each in report["contained"] if each["resourceType"] == "Observation"]
    assert left["bodySite"]["coding"][0]["code"] == "8966001" and "valueCodeableConcept" in left
    assert right["bodySite"]["coding"][0]["code"] == "18944008" and "component" not in right
    assert right["dataAbsentReason"]["text"] and "1 of 2 photographs can't be graded" in report["conclusion"]
    assert [each for each in reports if len(each["result"]) == 2 and each is not report]
    assert sum("subject" not in each for each in reports) == 3


def test_no_file_but_dicom_names_the_patient(done):
    folder, ran, _ = done
    texts = [ran.stdout, ran.stderr, (folder / "grades.csv").read_text()]
    for path in (folder / "fhir").iterdir():
        texts.append(path.read_text())
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert not [word for word in made.IDENTIFYING for text in texts if word in text]
    assert "grades.csv: 6 graded, 1 not gradable, 0 unreadable" in ran.stdout
    assert "4 DICOM results; 3 photographs aren't DICOM and have none" in ran.stdout
    assert len(list((folder / "dicom").iterdir())) == 4
    assert "Warning" not in ran.stderr


def test_explain_writes_pictures_as_dicom(tmp_path, fundus, model_path):
    made.write(tmp_path / "both.dcm", np.stack([fundus(1), fundus(2)]))
    flags = [f"--model={model_path}", f"--output_dir={tmp_path}/maps", f"--dicom_output={tmp_path}/dicom"]
    ran = run("explain", *flags, tmp_path / "both.dcm")
    assert ran.returncode == 0, ran.stderr
    assert {path.name for path in (tmp_path / "maps").glob("both*")} == {
        "both-1.npz", "both-1.png", "both-2.npz", "both-2.png",
    }  # fmt: skip
    kinds = sorted(path.name.split("-")[0] for path in (tmp_path / "dicom").iterdir())
    assert kinds == ["lesions", "lesions", "overlay", "overlay"]
