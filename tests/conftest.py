"""Fixtures that several test modules share."""

import os
import socket
from pathlib import Path

import pytest

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # before any test imports TensorFlow

from helpers import PROJECT
from helpers.data.games import load_games, split
from helpers.data.signature import Signature
from helpers.data.tables import features_and_label


@pytest.fixture(scope="session")
def sample():
    """The sample table, 22,905 rows."""
    return load_games()


@pytest.fixture(scope="session")
def trained(sample):
    """A small classifier of the sample: a few epochs are enough where the weights do not matter."""
    from helpers.model.training import build_classifier, fit

    x, y = features_and_label(split(sample)[0], Signature.from_table(sample.drop(columns="label")))
    model = build_classifier(x.shape[1])
    fit(model, x, y, epochs=3, seed=0, verbose=0)
    return model


@pytest.fixture(scope="session")
def exported(trained, sample, tmp_path_factory):
    """A directory with `trained` in every format, and its card."""
    from helpers.export.artifacts import export_model

    directory = tmp_path_factory.mktemp("models") / "games"
    export_model(trained, directory, signature=Signature.from_table(sample.drop(columns="label")))
    return directory


@pytest.fixture
def article_csv() -> Path:
    """The article's own file; it has no licence, so it is not part of this repository."""
    for path in (PROJECT / "data" / "article.csv", PROJECT.parent / "shared" / "data" / "games-expand.csv"):
        if path.exists():
            return path
    pytest.skip("the article's CSV is not here: `python3 tutorial.py run --data article` downloads it")


@pytest.fixture
def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
