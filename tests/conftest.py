"""Fixtures that several test modules share."""

import gc
import json
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from filelock import FileLock

# Before any test imports TensorFlow, and for the processes that it starts:
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TF_NUM_INTRAOP_THREADS", "1")  # pytest's workers share the cores already: with more threads
os.environ.setdefault("TF_NUM_INTEROP_THREADS", "1")  # they would wait for each other
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

from helpers import PROJECT
from helpers.data.games import load_games, split
from helpers.data.signature import Signature
from helpers.data.tables import features_and_label
from helpers.serving import serve_command
from helpers.tools.readme import find_chromium

LONGEST_FIRST = ("browser", "notebooks", "slow")  # marks, which pyproject.toml explains


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--quick", action="store_true", help="no browser, no whole notebook, nothing slow")


def pytest_configure(config: pytest.Config) -> None:
    if config.option.quick and not config.option.markexpr:
        config.option.markexpr = f"not ({' or '.join(LONGEST_FIRST)})"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What takes longest starts first, so that no worker is left alone with it at the end."""

    def place(item: pytest.Item) -> int:
        return next((i for i, mark in enumerate(LONGEST_FIRST) if item.get_closest_marker(mark)), len(LONGEST_FIRST))

    items.sort(key=place)


def pytest_collection_finish() -> None:
    """What is there before the first test stays until the last: nobody looks through it for garbage after each."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def sample():
    """The sample table, 22,905 rows."""
    return load_games()


@pytest.fixture(scope="session")
def made_once(tmp_path_factory) -> Callable[[str, Callable[[Path], None]], Path]:
    """`made_once(name, make)`: the folder `name`, which `make(folder)` fills, in one of the workers for all of them.

    The others wait for it. It is shared: a test that wants to change something in it makes a copy.
    """
    own = tmp_path_factory.getbasetemp()
    common = own.parent if "PYTEST_XDIST_WORKER" in os.environ else own

    def folder_of(name: str, make: Callable[[Path], None]) -> Path:
        folder, part = common / name, common / f"{name}.part"
        with FileLock(common / f"{name}.lock"):
            if not folder.exists():
                shutil.rmtree(part, ignore_errors=True)  # of a worker that failed at it
                part.mkdir()
                make(part)
                part.rename(folder)
        return folder

    return folder_of


@pytest.fixture(scope="session")
def exported(made_once, sample) -> Path:
    """A directory with a small classifier of the sample in every format, and its card.

    A few epochs of training are enough where the weights do not matter.
    """

    def train_and_export(folder: Path) -> None:
        from helpers.export.artifacts import export_model
        from helpers.model.training import build_classifier, fit

        signature = Signature.from_table(sample.drop(columns="label"))
        x, y = features_and_label(split(sample)[0], signature)
        model = build_classifier(x.shape[1])
        fit(model, x, y, epochs=3, seed=0, verbose=0)
        export_model(model, folder / "games", signature=signature)

    return made_once("models", train_and_export) / "games"


@pytest.fixture
def model(exported, tmp_path) -> Path:
    """A copy of the exported model that a test may spoil."""
    return shutil.copytree(exported, tmp_path / "model")


@pytest.fixture(scope="session")
def other(made_once, exported) -> Path:
    """Another model of the same features: an untrained one, whose answers are all different."""

    def export(folder: Path) -> None:
        from helpers.export.artifacts import export_model
        from helpers.export.predictors import load_predictor
        from helpers.model.training import build_classifier

        signature = load_predictor(exported).signature
        export_model(build_classifier(10, seed=5), folder / "model", signature=signature, formats=("keras", "onnx"))

    return made_once("other", export) / "model"


def passengers(rows: int = 240) -> pd.DataFrame:
    """Made up: a number that is missing at times, two texts, a category with a blank in a value, yes and no."""
    random = np.random.default_rng(1)
    gender, berth = random.choice(["female", "male"], rows), random.choice(["1st", "2nd", "deck crew"], rows)
    logit = 2.5 * (gender == "female") + 1.5 * (berth == "1st") - 2 + random.normal(0, 0.5, rows)
    return pd.DataFrame(
        {
            "Größe": np.where(random.random(rows) < 0.1, np.nan, random.normal(170, 9, rows).round(1)),
            "gender": gender,
            "class": berth,
            "smoker": random.choice(["yes", "no"], rows),
            "siblings": random.integers(0, 5, rows),
            "survived": np.where(logit > 0, "yes", "no"),
        }
    )


def as_requests(table: pd.DataFrame) -> list[dict]:
    """The rows of a table as requests hold them, each without its missing values."""
    return [{k: v for k, v in row.items() if pd.notna(v)} for row in table.to_dict("records")]


def reexported(directory: Path, beside: bool = False, **feature) -> str:
    """Export a model once more, with another first feature in its card; returns the version."""
    from helpers.export.folder import replacing
    from helpers.export.kept import version_of

    with replacing(directory, beside) as scratch:
        shutil.copytree(directory, scratch, dirs_exist_ok=True)
        card = json.loads((scratch / "card.json").read_text())
        card["signature"]["features"][0] |= feature
        (scratch / "card.json").write_text(json.dumps(card))
    return version_of(card)


@pytest.fixture(scope="session")
def passengers_model(made_once) -> Path:
    """An export of a model of `passengers()`, in the formats "keras" and "onnx"."""

    def train_and_export(folder: Path) -> None:
        from helpers.export.pipeline import train_and_export

        passengers().to_csv(folder / "passengers.csv", index=False)
        train_and_export(folder / "model", folder / "passengers.csv", "survived", epochs=5, formats=("keras", "onnx"))

    return made_once("passengers", train_and_export) / "model"


@pytest.fixture(scope="session")
def many(made_once) -> Path:
    """Three and a half million rows of the games in Parquet, of which a part of an output takes a million."""

    def make(folder: Path) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        random, rows = np.random.default_rng(0), 3_500_000
        games = {f"G{i}": random.integers(0, 2, rows, np.int8) for i in range(1, 11)}
        pq.write_table(pa.table({"id": np.arange(rows), **games}), folder / "many.parquet")

    return made_once("many", make) / "many.parquet"


@pytest.fixture(scope="session")
def podman(request):
    """podman, with a store in pytest's cache. Without it the tests are skipped; in CI that is a failure."""
    if sys.platform != "linux":
        pytest.skip("the containers of the tests are made from the Python of a Linux machine")
    if not shutil.which("podman"):
        how = "no podman on this machine, so no container was run: install it (`sudo apt install podman`)"
        if os.environ.get("CI"):
            pytest.fail(how)
        pytest.skip(how)
    from containers import Podman

    return Podman(request.config.cache.mkdir("containers"))


@pytest.fixture(scope="session")
def service_image(podman, made_once, exported) -> Path:
    """The images `containers.SERVICE`, with the model of `exported`, and `containers.BARE` are in podman's store.

    The folder that they were built from, by the Containerfile in it.
    """
    from containers import build_service

    return made_once("service-image", lambda folder: build_service(podman, exported, folder))


@pytest.fixture(scope="session")
def trained(exported):
    """The Keras model that `exported` holds."""
    from helpers.export.legacy import load_keras
    from helpers.model.training import auc

    return load_keras(exported / "model.keras", custom_objects={"auc": auc})


@pytest.fixture(scope="module")
def connected():
    """A simulated account, forgotten after the module."""
    from helpers.cloud.account import connect, disconnect

    yield connect("simulated", "eu-central-1")
    disconnect()


@pytest.fixture
def article_csv() -> Path:
    """The article's own file; it has no licence, so it is not part of this repository."""
    for path in (PROJECT / "data" / "article.csv", PROJECT.parent / "shared" / "data" / "games-expand.csv"):
        if path.exists():
            return path
    pytest.skip("the article's CSV is not here: `python3 tutorial.py run --data article` downloads it")


@pytest.fixture
def free_port() -> int:
    return serve_command.free_port("127.0.0.1", 0)


@pytest.fixture(scope="session")
def chromium() -> str:
    """Path of a Chromium or Chrome. Without one the tests are skipped; in CI that is a failure."""
    if found := find_chromium():
        return found
    how = "no Chromium on this machine, so nothing was seen in a browser: install it (`sudo apt install chromium`, \
`brew install --cask chromium`) and run the tests again"
    if os.environ.get("CI"):
        pytest.fail(how)
    pytest.skip(how)
