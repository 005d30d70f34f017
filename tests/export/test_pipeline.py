"""From a table to an exported model without a notebook: trained where there is none, exported where a format lacks."""

import os
import subprocess
import sys

import notebook_tools as tools
import numpy as np
import pandas as pd
import pytest

from helpers.data.signature import Signature
from helpers.export.artifacts import export_model
from helpers.export.card import read_card
from helpers.export.errors import ArtifactError
from helpers.export.pipeline import ensure_export, train_and_export
from helpers.export.predictors import load_predictor
from helpers.tools import command_line, runner


@pytest.mark.slow
def test_the_articles_network_on_the_articles_data_reaches_its_test_auc(article_csv, tmp_path):
    card = train_and_export(tmp_path / "article", data=article_csv, formats=("onnx",))
    assert card["metrics"]["rows"] == 22_905
    assert card["metrics"]["test_rows"] == 5_000
    assert 0.78 <= card["metrics"]["test_auc"] <= 0.81


def in_project(project, program: str) -> subprocess.CompletedProcess:
    """A Python program in a copy of the project, whose `helpers` and `models/` it means."""
    run = {"env": tools.environment_in(project), "capture_output": True, "text": True}
    return subprocess.run([sys.executable, "-c", program], cwd=project / "notebooks", check=False, **run)


@pytest.mark.slow
def test_where_the_model_of_the_sample_is_missing_it_is_trained(tmp_path):
    project = tools.copy_project(tmp_path / "tutorial")
    program = "from helpers.export.pipeline import ensure_export; ensure_export('../models/games', ('onnx', 'npz'))"
    done = in_project(project, program)
    assert "training it on the sample data" in done.stdout, done.stderr
    card = read_card(project / "models" / "games")
    low, high = card["metrics"]["test_auc_interval"]
    assert 0.78 <= card["metrics"]["test_auc"] <= 0.84
    assert low < card["metrics"]["test_auc"] < high
    assert load_predictor(project / "models" / "games")(card_example(card)).shape == (1,)


def test_nothing_is_trained_under_another_name(tmp_path):
    with pytest.raises(ArtifactError, match="there is no model .*typo"):
        ensure_export(tmp_path / "typo")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "model.keras").write_text("the user's own")
    with pytest.raises(ArtifactError, match="holds model.keras, but no card.json"):
        ensure_export(tmp_path / "mine")
    with pytest.raises(ArtifactError, match="holds other files"):
        train_and_export(tmp_path / "mine", data="there is no such table")
    assert [path.name for path in tmp_path.rglob("*")] == ["mine", "model.keras"]
    assert (tmp_path / "mine" / "model.keras").read_text() == "the user's own"


def test_a_keras_file_that_was_exchanged_is_not_exported_under_the_old_card(trained, tmp_path):
    from helpers.model.training import build_classifier

    export_model(trained, tmp_path / "games", formats=("keras",))
    before = (tmp_path / "games" / "card.json").read_bytes()
    build_classifier(10, seed=5).save(tmp_path / "games" / "model.keras")
    with pytest.raises(ArtifactError, match="model.keras .*damaged or exchanged"):
        ensure_export(tmp_path / "games", formats=("keras", "onnx"))
    assert (tmp_path / "games" / "card.json").read_bytes() == before


def test_an_export_without_its_keras_file_is_not_completed(trained, tmp_path):
    export_model(trained, tmp_path / "games", formats=("npz",))
    with pytest.raises(ArtifactError, match="model.keras was not exported"):
        ensure_export(tmp_path / "games", formats=("npz", "onnx"))


def card_example(card):
    signature = Signature.from_dict(card["signature"])
    return signature.parse(signature.example())


def test_a_missing_format_is_exported_beside_those_that_are_there_from_their_model(trained, sample, tmp_path, capsys):
    signature = Signature.from_table(sample.drop(columns="label"))
    metrics = {"data": "some data", "test_auc": 0.5}
    export_model(trained, tmp_path / "games", signature=signature, metrics=metrics, formats=("keras", "npz"))
    card = ensure_export(tmp_path / "games", formats=("keras", "onnx"))
    assert card["formats"] == ["keras", "onnx", "npz"]
    assert card["metrics"] == metrics
    assert capsys.readouterr().out == ""


def test_an_export_that_is_there_is_left_alone(exported):
    before = read_card(exported)
    assert ensure_export(exported) == before


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="the superuser may write everywhere")
def test_a_folder_that_cannot_be_written_is_said_before_the_training(tmp_path, capsys):
    (tmp_path / "locked").mkdir(mode=0o500)
    model = tmp_path / "locked" / "games"
    with pytest.raises(ArtifactError, match="make .*/locked/ writable"):
        train_and_export(model, data="there is no such table")
    with pytest.raises(SystemExit):
        command_line.parse(["train", "--data", "sample", "--model", str(model)])
    assert "locked/ writable" in capsys.readouterr().err


@pytest.mark.notebooks
def test_notebook_04_serves_a_readers_own_table(tmp_path):
    """300 real-valued features of all magnitudes, in names that need quoting; the network is hardly trained."""
    random, columns = np.random.default_rng(0), 300
    scale, offset = 10 ** random.uniform(-3, 3, columns), random.normal(0, 100, columns)
    x = random.normal(size=(500, columns))
    table = pd.DataFrame(offset + scale * x, columns=[f"Size & weight {i}" for i in range(columns)])
    table.assign(bought=(x.sum(axis=1) > 0).astype(int)).to_csv(tmp_path / "mine.csv", index=False)
    served = ("keras", "onnx", "tflite", "npz")
    train_and_export(tmp_path / "mine", tmp_path / "mine.csv", "bought", epochs=2, formats=served)
    notebook = runner.read(runner.NOTEBOOKS / "04_serve-predictions.ipynb")
    runner.set_parameters(notebook, {"MODEL": str(tmp_path / "mine")})
    tools.shorten_loads(notebook)
    runner.execute(notebook, "04_serve-predictions")
