import cv2
import pytest
from script_runs import SMALL, run

from dr_keras.data.synthetic import draw_fundus


@pytest.fixture(scope="session")
def dataset(tmp_path_factory, write_odd_photographs):
    """20 photographs of 10 patients, beside them damaged files; labels out of a spreadsheet."""
    folder = tmp_path_factory.mktemp("photographs")
    rows = ["\ufeffimage,Level ,patient,,"]
    for number in range(20):
        photograph = draw_fundus(number, number % 5, 160).image
        cv2.imwrite(str(folder / f"{number:02d}.png"), photograph[..., ::-1])
        rows.append(f"{number:02d}.png, {number % 5},p{number // 2},,")
    odd = {name: reason for name, reason in write_odd_photographs(folder / "odd").items() if reason}
    rows += [f"odd/{name},1,odd{name},," for name in odd]
    rows += ["00.png,0,p0,,", "gone.png,2,p99,,", ",,,,"]
    (folder / "labels.csv").write_text("\r\n".join(rows) + "\r\n", encoding="utf-8")
    return folder, odd


@pytest.fixture(scope="session")
def trained(tmp_path_factory, dataset):
    """The run, and what training printed."""
    folder = tmp_path_factory.mktemp("training")
    cache, run_dir = folder / "cache", folder / "run"
    done = run("train", *SMALL, f"--data_dir={dataset[0]}", f"--run_dir={run_dir}", f"--cache_dir={cache}")
    assert done.returncode == 0, done.stderr
    return run_dir, cache, done
