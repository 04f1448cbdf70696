"""Structured Reports, Secondary Captures and Segmentations, parsed back by pydicom, highdicom and dcmtk."""

import shutil
import stat
import subprocess

import dicom_files as made
import highdicom
import numpy as np
import pydicom
import pytest

from dr_keras.data import dicom
from dr_keras.data.photograph import Photograph
from dr_keras.dicom.original import Producer, read_original
from dr_keras.dicom.results import DicomResults
from dr_keras.dicom.structured_report import structured_report
from dr_keras.errors import InputError
from dr_keras.inference.graded import Graded
from dr_keras.inference.grader import Grader, explainer_of
from dr_keras.lesion_kinds import LESIONS

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:(pydicom|highdicom)")


@pytest.fixture(scope="module")
def folder(tmp_path_factory, fundus):
    """A right eye; a file of two frames; a black photograph; a grey one; a CT; a PNG."""
    folder = tmp_path_factory.mktemp("photographs")
    made.write(
        folder / "eye.dcm", fundus(0), PatientName="M\u00fcller^Zo\u00eb", SpecificCharacterSet="ISO_IR 100"
    )
    frames = np.stack([fundus(1), fundus(2)])
    made.write(folder / "both.dcm", frames, ImageLaterality=None, StudyTime="25:61", PatientSex="?")
    made.write(folder / "black.dcm", np.zeros((240, 320, 3), np.uint8))
    made.write(folder / "ct.dcm", fundus(0), SOPClassUID="1.2.840.10008.5.1.4.1.1.2")
    grey = made.dataset_of(fundus(0), SamplesPerPixel=1, PhotometricInterpretation="MONOCHROME2")
    (folder / "grey.dcm").write_bytes(made.file_bytes(grey))
    (folder / "eye.png").write_bytes(made.jpeg(fundus(0)))
    return folder


@pytest.fixture(scope="module")
def written(tmp_path_factory, folder, grader):
    """{kind: datasets} of what was written of the folder, the results, and the folder's name."""
    output = tmp_path_factory.mktemp("results") / "dicom"
    names = ["eye.dcm", "both.dcm#1", "both.dcm#2", "black.dcm", "ct.dcm", "grey.dcm", "eye.png"]
    paths = [str(folder / name) for name in names]
    results = DicomResults(output, [grader])
    graded = {result.image: result for result in results.graded(grader.grade(paths))}
    assert str(results) == (
        f"{output}: 5 DICOM results; 1 photographs aren't DICOM and have none; 1 DICOM files have none, the "
        f"first: {folder}/ct.dcm: a DICOM file, but no photograph"
    )
    pictures = DicomResults(output, [grader])
    explain = explainer_of([grader], "lesions")
    explained = {path: each for path, each, _ in pictures.explained(explain(paths[:4]))}
    assert pictures.written == 6
    found = {"report": [], "overlay": [], "lesions": []}
    for path in sorted(output.iterdir()):
        found[path.name.split("-")[0]].append(pydicom.dcmread(path))
    return found, graded, explained, output


def of(datasets, source, frame=None):
    """The dataset among several that was made of a file, or of a frame of it."""
    wanted = pydicom.dcmread(source).SOPInstanceUID, frame
    return next(each for each in datasets if references(each) == wanted)


def references(dataset):
    """(SOP Instance UID, frame) that a result refers to."""
    found = [
        (element.value[0].ReferencedSOPInstanceUID, element.value[0].get("ReferencedFrameNumber"))
        for element in dataset.iterall()
        if element.keyword in ("ReferencedSOPSequence", "SourceImageSequence") and element.value
    ]
    return next((each for each in found if each[1]), found[0])


def content(report):
    """{meaning of the name: value} of the report's items."""
    values = {}
    for item in report.iterall():
        if item.keyword == "ContentSequence":
            for each in item.value:
                name = each.ConceptNameCodeSequence[0].CodeMeaning
                if each.ValueType == "NUM":
                    values[name] = float(each.MeasuredValueSequence[0].NumericValue)
                elif each.ValueType == "CODE":
                    values[name] = each.ConceptCodeSequence[0].CodeMeaning
                elif each.ValueType == "TEXT":
                    values[name] = "; ".join(filter(None, [values.get(name), each.TextValue]))
    return values


def test_a_report_says_what_was_graded_by_what(folder, written, grader):
    reports, graded, _, _ = written
    report = highdicom.sr.ComprehensiveSR.from_dataset(of(reports["report"], folder / "eye.dcm"))
    original, result = pydicom.dcmread(folder / "eye.dcm"), graded[str(folder / "eye.dcm")]
    for keyword in (
        "StudyInstanceUID",
        "PatientID",
        "IssuerOfPatientID",
        "PatientBirthDate",
        "AccessionNumber",
    ):
        assert report[keyword].value == original[keyword].value
    assert str(report.PatientName) == "M\u00fcller^Zo\u00eb" and report.SpecificCharacterSet == "ISO_IR 192"
    assert report.SeriesInstanceUID != original.SeriesInstanceUID
    values = content(report)
    assert values["Severity score in ICDR grade units"] == pytest.approx(result.score, rel=1e-5)
    name = f"ICDR grade {result.grade}: {result.grade_name}"
    assert values["ICDR severity grade of diabetic retinopathy"] == name
    assert values["Referable diabetic retinopathy"] == ("Yes" if result.referable else "No")
    shares = [values[f"Probability of ICDR grade {number}"] for number in range(5)]
    assert shares == pytest.approx(result.probabilities, abs=1e-5)
    assert values["Probability of referable disease"] == pytest.approx(result.referable_probability, abs=1e-5)
    assert values["Photograph can be graded"] == "Yes" and "Reason why it can't be graded" not in values
    assert values["Comment"].startswith("Research use only.") and values["Laterality"] == "Right"
    assert grader.sha256 in values["Algorithm Parameters"]
    assert (report.CompletionFlag, report.PreliminaryFlag, report.VerificationFlag) == (
        "COMPLETE", "PRELIMINARY", "UNVERIFIED",
    )  # fmt: skip


def test_a_healthy_eye_has_a_grade_and_no_finding(folder, grader):
    producer, original = Producer.of_graders([grader]), read_original(folder / "eye.dcm")
    for grade, name in enumerate(grader.rules.grade_names):
        result = Graded("eye.dcm", float(grade), grade, name, grade > 1, True)
        values = content(structured_report(result, original, producer))
        assert values["ICDR severity grade of diabetic retinopathy"] == f"ICDR grade {grade}: {name}"
        assert ("Finding" in values) == (grade > 0)
        assert not [word for word in values if word.startswith("Probability")]  # of a model without them


@pytest.mark.parametrize("name", ["black.dcm", "grey.dcm"])
def test_what_cannot_be_graded_has_a_reason_and_no_grade(folder, written, name):
    values = content(of(written[0]["report"], folder / name))
    assert values["Photograph can be graded"] == "No"
    assert values["Reason why it can't be graded"] == written[1][str(folder / name)].reason != ""
    assert not {word for word in values if "grade of" in word or "score" in word or "Probability" in word}
    assert "Finding" not in values and "Referable diabetic retinopathy" not in values


def test_each_frame_has_its_report(folder, written):
    for frame in (1, 2):
        report = of(written[0]["report"], folder / "both.dcm", frame)
        score = written[1][f"{folder}/both.dcm#{frame}"].score
        assert content(report)["Severity score in ICDR grade units"] == pytest.approx(score, rel=1e-5)


def test_dcmtk_reads_the_reports(written):
    if shutil.which("dsrdump") is None:
        pytest.skip("dsrdump of dcmtk isn't installed")
    for path in written[3].glob("report-*.dcm"):
        done = subprocess.run(["dsrdump", str(path)], capture_output=True, text=True)
        assert done.returncode == 0 and "E: " not in done.stderr, done.stderr
        assert "Comprehensive SR Document" in done.stdout and "Research use only." in done.stdout


def test_an_overlay_is_the_explanations_picture(folder, written):
    capture = of(written[0]["overlay"], folder / "eye.dcm")
    explanation = written[2][str(folder / "eye.dcm")]
    np.testing.assert_array_equal(capture.pixel_array, np.asarray(explanation.overlay()))
    original = pydicom.dcmread(folder / "eye.dcm")
    assert capture.StudyInstanceUID == original.StudyInstanceUID and capture.Laterality == "R"
    assert (capture.BurnedInAnnotation, capture.Manufacturer) == ("YES", "dr_keras")
    with pytest.raises(InputError, match="drawn by this project over a photograph"):
        Photograph(written[3] / f"overlay-{capture.SOPInstanceUID}.dcm").frame(100)


def test_lesions_are_segments_of_the_photograph(folder, written):
    path = folder / "eye.dcm"
    segmentation = highdicom.seg.Segmentation.from_dataset(of(written[0]["lesions"], path))
    original, explanation = pydicom.dcmread(path), written[2][str(path)]
    assert (segmentation.Rows, segmentation.Columns) == (original.Rows, original.Columns)
    assert "FrameOfReferenceUID" not in segmentation
    codes = [segmentation.get_segment_description(number).segmented_property_type for number in range(1, 5)]
    assert [(code.value, code.scheme_designator) for code in codes] == [
        ("MICROANEURYSMS", "99DRKERAS"), ("50960005", "SCT"), ("HARD_EXUDATES", "99DRKERAS"),
        ("SOFT_EXUDATES", "99DRKERAS"),
    ]  # fmt: skip
    masks = segmentation.get_pixels_by_source_instance([original.SOPInstanceUID])[0]
    view = explanation.field_of_view  # of the photograph as it is: it isn't larger than the explanation
    side = view.square[2]
    for channel, kind in enumerate(LESIONS):
        labels = explanation.findings.labels[kind] > 0
        assert masks[..., channel].mean() == pytest.approx(
            labels.mean() * side**2 / masks[..., 0].size, rel=0.1
        )
        for lesion in explanation.findings.of_kind(kind):
            y, x = int(lesion.center_y), int(lesion.center_x)
            assert masks[max(0, y - 40) : y + 40, max(0, x - 40) : x + 40, channel].any()
    frames = of(written[0]["lesions"], folder / "both.dcm", 2)
    assert frames.NumberOfFrames == 4
    for each, kind in ((segmentation, made.PHOTOGRAPHY_8), (frames, made.TRUE_COLOR)):
        named = {item.value for item in each.iterall() if item.keyword == "ReferencedSOPClassUID"}
        assert named == {kind}


def test_nothing_is_drawn_of_what_cannot_be_graded(folder, written):
    uid = pydicom.dcmread(folder / "black.dcm").SOPInstanceUID
    drawn = [references(each)[0] for kind in ("overlay", "lesions") for each in written[0][kind]]
    assert len(drawn) == 6 and uid not in drawn


def test_a_repeated_run_writes_the_same_instances(folder, written, grader):
    output = written[3]
    before = {path: path.stat().st_mtime_ns for path in output.iterdir()}
    assert {stat.S_IMODE(path.stat().st_mode) for path in before} == {0o600}
    assert stat.S_IMODE(output.stat().st_mode) == 0o700
    again = DicomResults(output, [grader])
    list(again.graded(grader.grade([str(folder / "eye.dcm"), str(folder / "both.dcm#2")])))
    assert again.written == 2 and {path: path.stat().st_mtime_ns for path in output.iterdir()} == before


def test_uids_tell_models_rules_frames_and_kinds_apart(folder, lesion_network):
    def producer(name="tiny", thresholds=None):
        return Producer.of_graders([Grader.of_networks([lesion_network], name, thresholds)])

    first, second = (read_original(f"{folder}/both.dcm#{frame}") for frame in (1, 2))
    other_rules = producer(thresholds=(0.1, 1, 2, 3))
    uids = [first.uid(producer(), "report"), first.uid(producer("renamed"), "report")]
    assert uids[0] == uids[1] and pydicom.uid.UID(uids[0]).is_valid
    uids += [second.uid(producer(), "report"), first.uid(producer(), "overlay")]
    uids += [first.uid(other_rules, "report"), first.series_uid(producer(), "report")]
    assert len(set(uids)) == 5


def test_a_folder_that_others_may_enter_is_refused(tmp_path, grader):
    tmp_path.chmod(0o755)
    with pytest.raises(
        InputError, match="others may enter it .mode 0755.* expected a new folder, or chmod 700"
    ):
        DicomResults(tmp_path, [grader])


def test_a_dicom_file_without_its_study_has_no_result(tmp_path, fundus):
    made.write(tmp_path / "eye.dcm", fundus(0), StudyInstanceUID=None)
    with pytest.raises(InputError, match="eye.dcm: the DICOM file has no StudyInstanceUID"):
        read_original(tmp_path / "eye.dcm")
    assert dicom.whose(tmp_path / "eye.dcm")[1] == "right"
