"""DICOM files are read as photographs: every syntax and colour space, their frames, whose eye, refusals."""

import struct
import subprocess
import sys

import dicom_files as made
import numpy as np
import pydicom
import pytest
from pydicom import uid

from dr_keras.data import decoding, dicom
from dr_keras.data.layouts import load_dataset, photograph_files
from dr_keras.data.photograph import Photograph
from dr_keras.errors import InputError

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:pydicom")


@pytest.fixture(scope="module")
def pixels(draw_photograph):
    return made.smooth(draw_photograph)


def read(data):
    return Photograph(data).frame(10_000)


@pytest.mark.parametrize(
    "syntax",
    [uid.ImplicitVRLittleEndian, uid.ExplicitVRLittleEndian, uid.DeflatedExplicitVRLittleEndian],
    ids=lambda syntax: syntax.name,
)
def test_plain_syntaxes(pixels, syntax):
    dataset = made.dataset_of(pixels)
    dataset.file_meta.TransferSyntaxUID = syntax
    np.testing.assert_array_equal(read(made.file_bytes(dataset)), pixels)


def test_big_endian_of_16_bits(pixels):
    deep = pixels.astype(np.uint16) * 257
    dataset = made.dataset_of(deep, SOPClassUID=made.PHOTOGRAPHY_16)
    made.set_pixels(dataset, deep.astype(">u2").tobytes())
    dataset.file_meta.TransferSyntaxUID = uid.ExplicitVRBigEndian
    np.testing.assert_array_equal(read(made.file_bytes(dataset)), pixels)


@pytest.mark.parametrize("bits", [10, 12, 16])
def test_deep_samples_are_scaled_by_the_bits_stored(pixels, bits):
    deep = np.round(pixels.astype(float) * ((1 << bits) - 1) / 255).astype(np.uint16)
    dataset = made.dataset_of(deep, BitsStored=bits, HighBit=bits - 1, SOPClassUID=made.PHOTOGRAPHY_16)
    np.testing.assert_array_equal(read(made.file_bytes(dataset)), pixels)


@pytest.mark.parametrize(
    "syntax", [uid.RLELossless, uid.JPEG2000Lossless, uid.JPEGLSLossless], ids=lambda syntax: syntax.name
)
def test_lossless_compressions(pixels, syntax):
    dataset = made.dataset_of(pixels)
    dataset.compress(syntax)
    np.testing.assert_array_equal(read(made.file_bytes(dataset)), pixels)


def test_jpeg_2000_with_its_own_colours(pixels):
    dataset = made.dataset_of(pixels, PhotometricInterpretation="YBR_RCT")
    dataset.compress(uid.JPEG2000Lossless)
    assert dataset.PhotometricInterpretation == "YBR_RCT"
    np.testing.assert_array_equal(read(made.file_bytes(dataset)), pixels)
    lossy = made.dataset_of(pixels, PhotometricInterpretation="YBR_ICT")
    lossy.compress(uid.JPEG2000, j2k_psnr=[45])
    assert np.abs(read(made.file_bytes(lossy)).astype(int) - pixels).mean() < 2


@pytest.mark.parametrize("options", [["+e1"], ["+el"], ["+ee"]], ids=["lossless", "lossless 14", "extended"])
def test_jpegs_of_dcmtk(tmp_path, pixels, options):
    made.write(tmp_path / "plain.dcm", pixels)
    data = made.converted(tmp_path / "plain.dcm", "dcmcjpeg", *options)
    found = read(data)
    if options == ["+ee"]:
        assert np.abs(found.astype(int) - pixels).mean() < 2
    else:
        np.testing.assert_array_equal(found, pixels)


def test_baseline_jpegs(pixels):
    data = made.file_bytes(made.jpeg_dataset(pixels, uid.JPEGBaseline8Bit))
    assert np.abs(read(data).astype(int) - pixels).mean() < 2
    of_rgb = made.dataset_of(pixels)
    made.set_pixels(of_rgb, made.encapsulate([made.jpeg(pixels, "RGB")]), uid.JPEGBaseline8Bit)
    assert np.abs(read(made.file_bytes(of_rgb)).astype(int) - pixels).mean() < 2


def test_a_jpeg_whose_header_says_rgb_but_is_ybr(pixels):
    """Some cameras write so; the JPEG's own word counts."""
    dataset = made.jpeg_dataset(pixels, uid.JPEGBaseline8Bit)
    dataset.PhotometricInterpretation = "RGB"
    assert np.abs(read(made.file_bytes(dataset)).astype(int) - pixels).mean() < 2


def test_colour_spaces_without_compression(pixels):
    full = made.dataset_of(made.ybr(pixels), PhotometricInterpretation="YBR_FULL")
    assert np.abs(read(made.file_bytes(full)).astype(int) - pixels).max() <= 2
    planar = made.dataset_of(pixels, PlanarConfiguration=1)
    made.set_pixels(planar, pixels.transpose(2, 0, 1).tobytes())
    np.testing.assert_array_equal(read(made.file_bytes(planar)), pixels)
    values = made.ybr(pixels)
    pairs = values.reshape(len(values), -1, 2, 3)
    halved = np.concatenate([pairs[..., 0], pairs[:, :, :1, 1], pairs[:, :, :1, 2]], axis=-1)
    subsampled = made.dataset_of(pixels, PhotometricInterpretation="YBR_FULL_422")
    made.set_pixels(subsampled, halved.tobytes())
    assert np.abs(read(made.file_bytes(subsampled)).astype(int) - pixels).mean() < 3


@pytest.mark.parametrize("bits", [8, 16])
def test_palettes(bits):
    rng = np.random.default_rng(0)
    colors, indices = rng.integers(0, 256, (256, 3), np.uint8), rng.integers(0, 256, (48, 64), np.uint8)
    dataset = made.dataset_of(np.zeros((48, 64, 3), np.uint8), PhotometricInterpretation="PALETTE COLOR")
    dataset.SamplesPerPixel = 1
    del dataset.PlanarConfiguration
    for name, column in zip(("Red", "Green", "Blue"), colors.T, strict=True):
        setattr(dataset, f"{name}PaletteColorLookupTableDescriptor", [256, 0, bits])
        entries = column if bits == 8 else column.astype("<u2") * 257
        setattr(dataset, f"{name}PaletteColorLookupTableData", entries.tobytes())
    made.set_pixels(dataset, indices.tobytes())
    np.testing.assert_array_equal(read(made.file_bytes(dataset)), colors[indices])


# Refusals: one line each


def changed(pixels, **elements):
    dataset = made.dataset_of(pixels)
    for keyword, value in elements.items():
        setattr(dataset, keyword, value)
    return made.file_bytes(dataset)


def without_pixels(pixels):
    dataset = made.dataset_of(pixels)
    del dataset.PixelData
    return made.file_bytes(dataset)


def cut_jpeg(pixels):
    dataset = made.dataset_of(pixels, PhotometricInterpretation="YBR_FULL_422")
    whole = made.jpeg(pixels)
    made.set_pixels(dataset, made.encapsulate([whole[: len(whole) // 2]]), uid.JPEGBaseline8Bit)
    return made.file_bytes(dataset)


ODD = {
    "CT": (
        lambda p: changed(p, SOPClassUID=uid.CTImageStorage),
        "a DICOM file of CT Image Storage; expected",
    ),
    "OCT": (
        lambda p: changed(p, SOPClassUID=uid.OphthalmicTomographyImageStorage),
        "a DICOM file of Ophthalmic Tomography Image Storage; expected a photograph",
    ),
    "private class": (lambda p: changed(p, SOPClassUID="1.2.3.4"), "an unknown kind"),
    "no pixel data": (without_pixels, "no pixel data"),
    "grey": (lambda p: changed(p, PhotometricInterpretation="MONOCHROME2", SamplesPerPixel=1), "MONOCHROME2"),
    "grey, inverted": (
        lambda p: changed(p, PhotometricInterpretation="MONOCHROME1"),
        "expected one in colour",
    ),
    "four samples": (lambda p: changed(p, SamplesPerPixel=4), "colours that can't be read"),
    "signed": (lambda p: changed(p, PixelRepresentation=1), "expected 8 or 16 bits without sign"),
    "absurd": (
        lambda p: changed(p, Rows=60000, Columns=60000),
        "60000x60000 pixels, expected at most 150 megapixels",
    ),
    "tiny": (lambda p: changed(p[:8, :8]), "8x8 pixels, expected at least 32x32"),
    "wrong size": (lambda p: changed(p, Rows=2 * len(p)), "truncated: its pixel data end too early"),
    "truncated": (lambda p: changed(p)[:-1000], "truncated"),
    "cut JPEG": (cut_jpeg, "truncated: its compressed pixels end too early"),
    "only a header": (lambda p: changed(p)[:133], "DICOM file"),
    "noise": (lambda p: bytes(128) + b"DICM" + bytes(range(256)) * 4, "DICOM file"),
    "our own": (lambda p: changed(p, Manufacturer="dr_keras"), "expected the photograph itself"),
    "unknown syntax": (lambda p: unknown_syntax(p), "compression isn't known"),
}


def unknown_syntax(pixels):
    dataset = made.dataset_of(pixels)
    made.set_pixels(dataset, made.encapsulate([b"\xff\xd8\xff\xd9"]), uid.MPEG2MPML)
    return made.file_bytes(dataset)


@pytest.mark.parametrize("case", ODD)
def test_odd_files_end_in_one_line(pixels, case):
    make, expected = ODD[case]
    with pytest.raises(InputError) as caught:
        Photograph(make(pixels), "eye.dcm").frame(100)
    message = str(caught.value)
    assert message.startswith("eye.dcm: ") and expected in message and "\n" not in message
    assert not any(value in message for value in made.IDENTIFYING)


def test_wrong_lengths_never_end_a_run(pixels):
    whole = changed(pixels[:40, :40])
    for place in range(132, 900, 7):
        data = whole[:place] + struct.pack("<I", 0xFFFFFFF0) + whole[place + 4 :]
        try:
            assert read(data).shape[2] == 3
        except InputError as error:
            assert "\n" not in str(error)


def test_a_deflated_bomb_is_refused(pixels, monkeypatch):
    dataset = made.dataset_of(np.zeros((1000, 1000, 3), np.uint8))
    dataset.file_meta.TransferSyntaxUID = uid.DeflatedExplicitVRLittleEndian
    monkeypatch.setattr(dicom, "_MAX_DATASET", 1 << 20)
    with pytest.raises(InputError, match="deflated DICOM file of over 1 MiB"):
        read(made.file_bytes(dataset))


QUIET = """
import sys
sys.modules["pydicom"] = None if sys.argv[1] == "absent" else sys.modules.get("pydicom")
if sys.argv[1] != "absent":
    del sys.modules["pydicom"]
else:
    import importlib.util
    found = importlib.util.find_spec
    importlib.util.find_spec = lambda name, *rest: None if name == "pydicom" else found(name, *rest)
from dr_keras.data.photograph import Photograph
from dr_keras.errors import InputError
assert sys.argv[1] == "absent" or "pydicom" not in sys.modules
try:
    Photograph(sys.argv[2]).frame(100)
except InputError as error:
    print(error)
"""


def run_quiet(mode, path):
    command = [sys.executable, "-c", QUIET, mode, str(path)]
    return subprocess.run(command, capture_output=True, text=True, check=True)


def test_pydicom_is_loaded_late_and_stays_silent(tmp_path, pixels):
    dataset = made.dataset_of(pixels, PatientBirthDate="not a date", StudyTime="25:61")
    made.set_pixels(dataset, dataset.PixelData + b"extra.")
    (tmp_path / "odd.dcm").write_bytes(made.file_bytes(dataset))
    done = run_quiet("there", tmp_path / "odd.dcm")
    assert (done.stdout, done.stderr) == ("", "")


def test_without_pydicom_the_remedy_is_said(tmp_path, pixels):
    made.write(tmp_path / "eye.dcm", pixels)
    done = run_quiet("absent", tmp_path / "eye.dcm")
    assert done.stdout == (
        f"{tmp_path}/eye.dcm: a DICOM file, and pydicom isn't installed: pip install 'dr-keras[dicom]'\n"
    )
    assert done.stderr == ""


# Frames


@pytest.fixture(scope="module")
def both_eyes(tmp_path_factory, draw_photograph):
    """A folder: a file of two frames, the same compressed, one named by a number, a plain PNG."""
    folder = tmp_path_factory.mktemp("frames")
    frames = np.stack([made.smooth(draw_photograph, seed) for seed in (1, 2)])
    made.write(folder / "both.dcm", frames)
    compressed = made.jpeg_dataset(frames, uid.JPEGBaseline8Bit)
    (folder / "compressed.dcm").write_bytes(made.file_bytes(compressed))
    made.write(folder / "1.2.840.1", frames[0])
    (folder / "DICOMDIR").write_bytes((folder / "1.2.840.1").read_bytes())
    (folder / "notes.txt").write_text("no photograph")
    return folder, frames


def test_each_frame_is_a_photograph(both_eyes):
    folder, frames = both_eyes
    names = [str(folder / name) for name in ("1.2.840.1", "both.dcm#1", "both.dcm#2", "compressed.dcm#1")]
    names.append(str(folder / "compressed.dcm#2"))
    assert photograph_files.list_photographs([folder]) == names
    assert photograph_files.list_photographs([str(folder / "both.dcm")]) == names[1:3]
    assert photograph_files.list_photographs(names[2:3]) == names[2:3]
    np.testing.assert_array_equal(Photograph(names[2]).frame(1000), frames[1])
    np.testing.assert_array_equal(decoding.read_image(names[1]), frames[0])
    assert np.abs(Photograph(names[4]).frame(1000).astype(int) - frames[1]).mean() < 2
    digests = {Photograph(name).prepare(64).sha256 for name in names}
    assert len(digests) == 5


def test_which_of_several_frames_isnt_guessed(both_eyes):
    path = both_eyes[0] / "both.dcm"
    for source in (path, path.read_bytes()):
        with pytest.raises(InputError, match="2 frames, each a photograph of its own; expected one, named"):
            Photograph(source).frame(100)
    with pytest.raises(InputError, match="both.dcm#3: no frame 3, expected 1 to 2"):
        Photograph(f"{path}#3").frame(100)


def test_a_file_named_like_a_frame_is_a_file(tmp_path, pixels):
    made.write(tmp_path / "eye.dcm", pixels[::-1])
    made.write(tmp_path / "eye.dcm#1", pixels)
    np.testing.assert_array_equal(Photograph(tmp_path / "eye.dcm#1").frame(1000), pixels)


# Whose eye


def test_eye_and_patient_in_folders_and_tables(tmp_path, draw_photograph):
    frames = np.stack([made.smooth(draw_photograph, seed) for seed in range(5)])
    for grade in "02":
        (tmp_path / grade).mkdir()
    made.write(tmp_path / "0/a.dcm", frames[0], ImageLaterality="L")
    made.write(tmp_path / "2/b.dcm", frames[1], ImageLaterality=None, Laterality="R")
    made.write(tmp_path / "2/12_left.dcm", frames[2], PatientID="", ImageLaterality="B")
    made.write(tmp_path / "2/both.dcm", frames[3:], PatientID="other", ImageLaterality=None)
    records = {record.image: record for record in load_dataset(tmp_path).records}
    patient = records["0/a.dcm"].patient
    assert len(patient) == 16 and int(patient, 16) >= 0
    assert [(records[name].patient == patient, records[name].eye) for name in ("0/a.dcm", "2/b.dcm")] == [
        (True, "left"), (True, "right"),
    ]  # fmt: skip
    assert (records["2/12_left.dcm"].patient, records["2/12_left.dcm"].eye) == ("12", "left")
    assert records["2/both.dcm#1"].patient == records["2/both.dcm#2"].patient != patient
    rows = "image,level,eye\n0/a.dcm,0,\n2/b.dcm,2,left\n2/12_left,2,\n2/BOTH.dcm#2,3,\n"
    (tmp_path / "labels.csv").write_text(rows)
    found = {record.image: record for record in load_dataset(tmp_path).records}
    assert found["0/a.dcm"] == records["0/a.dcm"]
    assert (found["2/b.dcm"].patient, found["2/b.dcm"].eye) == (patient, "left")  # the table's word first
    assert (found["2/12_left.dcm"].patient, found["2/12_left.dcm"].eye) == ("12", "left")
    assert found["2/both.dcm#2"].patient == records["2/both.dcm#2"].patient
    np.testing.assert_array_equal(Photograph(found["2/both.dcm#2"].path).frame(1000), frames[4])


def test_the_hash_tells_patients_and_issuers_apart():
    def of(**elements):
        dataset = pydicom.Dataset()
        for keyword, value in elements.items():
            setattr(dataset, keyword, value)
        return dicom.patient_hash(dataset)

    first = of(PatientID="1", IssuerOfPatientID="A")
    assert first == of(PatientID="1 ", IssuerOfPatientID="A", PatientName="Another")
    assert len({first, of(PatientID="1"), of(PatientID="2", IssuerOfPatientID="A"), of(PatientID="")}) == 4
    assert of(PatientID="") == of() == ""
