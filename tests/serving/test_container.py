"""The Containerfile, built and run: what is in the image, whom it runs as, how it answers and how it ends."""

import json

import numpy as np
import pytest
from containers import BASE, HARDENED, SERVICE

from helpers.export.predictors import load_predictor

pytestmark = pytest.mark.slow

ASK = """
import sys, urllib.request
print(urllib.request.urlopen("http://127.0.0.1:8080" + sys.argv[1]).read().decode())
"""


@pytest.fixture(scope="module")
def hardened(podman):
    """A container that may do nothing but serve."""
    with podman.running(SERVICE, options=HARDENED) as container:
        podman.wait_until_healthy(container)
        yield container


def query(row: np.ndarray, names: list[str]) -> str:
    return "/predict?" + "&".join(f"{name}={value:g}" for name, value in zip(names, row, strict=True))


def test_it_answers_as_the_model_does_without_network_rights_or_a_place_to_write(podman, hardened, exported):
    predictor = load_predictor(exported)
    row = predictor.signature.sample(1)
    answer = json.loads(podman.python(hardened, ASK, query(row[0], predictor.signature.names)))
    assert answer["probability"] == pytest.approx(float(predictor(row)[0]), abs=1e-6)


def test_it_is_less_than_300_mb_beside_its_base(podman):
    size = {image: int(podman("inspect", "--format={{.Size}}", image).stdout) for image in (BASE, SERVICE)}
    added = (size[SERVICE] - size[BASE]) / 1e6
    print(f"{added:.0f} MB beside the base")
    assert added < 300


def test_nothing_of_what_trains_is_in_it(podman, hardened):
    source = "from importlib.metadata import distributions as all_; print(*(each.name.lower() for each in all_()))"
    names = set(podman.python(hardened, source).split())
    assert {"flask", "onnxruntime"} <= names
    assert not [name for name in names if name.startswith(("tensorflow", "keras", "pandas", "jupyter", "ipy", "pip"))]
