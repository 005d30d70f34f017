"""The pictures that come with the project: what the file holds, and that it can be made again."""

import gzip
import hashlib

import numpy as np
import pytest

from helpers import PROJECT
from helpers.data import clothes


def idx(array: np.ndarray) -> bytes:
    """An array of bytes as a file of the IDX format."""
    return gzip.compress(bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">i4").tobytes() + array.tobytes())


@pytest.fixture
def data_set(tmp_path):
    """A folder with the four files of a data set of random pictures, more than the sample takes; and its arrays."""
    random, arrays = np.random.default_rng(0), {}
    for part, (name, count) in clothes.PARTS.items():
        arrays[f"x_{part}"] = random.integers(0, 256, (count + 5, 28, 28), np.uint8)
        arrays[f"y_{part}"] = random.integers(0, 10, count + 5, np.uint8)
        (tmp_path / f"{name}-images-idx3-ubyte.gz").write_bytes(idx(arrays[f"x_{part}"]))
        (tmp_path / f"{name}-labels-idx1-ubyte.gz").write_bytes(idx(arrays[f"y_{part}"]))
    return tmp_path, arrays


def test_the_sample_is_what_its_datasheet_says():
    (x_train, y_train), (x_test, y_test) = clothes.load_clothes()
    assert x_train.shape == (4000, 28, 28) and x_test.shape == (1000, 28, 28)
    assert x_train.dtype == x_test.dtype == np.uint8
    assert set(y_train) == set(y_test) == set(range(len(clothes.CLASSES)))
    assert not (x_train[:, None] == x_test[:50]).all(axis=(2, 3)).any()
    sheet = (PROJECT / "data" / "README.md").read_text(encoding="utf-8")
    content = clothes.FILE.read_bytes()
    assert hashlib.sha256(content).hexdigest() in sheet and f"{len(content):,} bytes" in sheet
    for number, name in enumerate(clothes.CLASSES):
        row = f"| {number} | {name} | {np.sum(y_train == number)} | {np.sum(y_test == number)} |"
        assert row in sheet


def test_it_is_made_of_the_first_pictures_of_the_data_set(data_set, tmp_path):
    source, arrays = data_set
    clothes.write_sample(source, tmp_path / "made.npz")
    (x_train, y_train), (x_test, y_test) = clothes.load_clothes(tmp_path / "made.npz")
    for part, x, y in (("train", x_train, y_train), ("test", x_test, y_test)):
        count = clothes.PARTS[part][1]
        assert len(x) == len(y) == count
        assert (x == arrays[f"x_{part}"][:count]).all() and (y == arrays[f"y_{part}"][:count]).all()


def test_a_file_that_is_none_of_the_data_set_is_named(data_set, tmp_path):
    source, _ = data_set
    (source / "train-images-idx3-ubyte.gz").write_bytes(gzip.compress(b"<html>not found</html>"))
    with pytest.raises(ValueError, match=r"train-images-idx3-ubyte\.gz is no file of this data set"):
        clothes.write_sample(source, tmp_path / "made.npz")
    assert not (tmp_path / "made.npz").exists()
