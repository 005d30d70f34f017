"""The pictures of clothes that come with this project, an excerpt of Fashion-MNIST, and the names of their ten classes.

`load_clothes` reads `data/clothes.npz`; `write_sample` made that file from the data set's own (`data/README.md`).
"""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np

from helpers import PROJECT

FILE = PROJECT / "data" / "clothes.npz"
CLASSES = ("T-shirt", "trousers", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot")
TRAIN, TEST = 4000, 1000  # pictures of the sample: the first ones of each part
PARTS = {"train": ("train", TRAIN), "test": ("t10k", TEST)}  # how the data set's files call them
IMAGES, LABELS = 2051, 2049  # what a file of the IDX format begins with: 3 or 1 dimensions of bytes


def load_clothes(path: Path = FILE) -> tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]:
    """`(x_train, y_train), (x_test, y_test)`, as `keras.datasets.fashion_mnist.load_data()` returns all 70,000.

    x: (k, 28, 28) uint8, grey from 0, black, to 255. y: (k,) uint8, the place of the class in `CLASSES`.
    """
    with np.load(path) as held:
        train, test = ((held[f"x_{part}"], held[f"y_{part}"]) for part in PARTS)
    return train, test


def write_sample(source: str | Path = "/usr/share/datasets/fashion-mnist", path: Path = FILE) -> None:
    """Write the sample from the four files of Fashion-MNIST in `source`, where Debian's package of them puts them.

    Raises OSError where they are not there, ValueError for a file that is not what its name says.
    """
    arrays = {}
    for part, (name, count) in PARTS.items():
        arrays[f"x_{part}"] = _read(Path(source) / f"{name}-images-idx3-ubyte.gz", IMAGES)[:count]
        arrays[f"y_{part}"] = _read(Path(source) / f"{name}-labels-idx1-ubyte.gz", LABELS)[:count]
    np.savez_compressed(path, **arrays)


def _read(path: Path, kind: int) -> np.ndarray:
    """The array in a file of the IDX format (http://yann.lecun.com/exdb/mnist/): kind, sizes, then bytes."""
    content = gzip.decompress(path.read_bytes())
    head = np.frombuffer(content[: 4 * (1 + kind % 256)], ">i4")
    if not len(head) or head[0] != kind:
        raise ValueError(f"{path.name} is no file of this data set: take it from Fashion-MNIST")
    return np.frombuffer(content, np.uint8, offset=head.nbytes).reshape(head[1:])
