"""A model as SageMaker takes it: `model.tar.gz`, whose files it lays into the container's /opt/ml/model.

In: the folder of an exported model. Out: an `Archive`, the same bytes each time. Two containers read it: the service's
own (the export as it is), and TensorFlow Serving's, which wants a SavedModel in a folder named by a number.

https://docs.aws.amazon.com/sagemaker/latest/dg/cdf-inference.html
https://www.tensorflow.org/tfx/serving/serving_basic
"""

from __future__ import annotations

import gzip
import io
import json
import tarfile
from dataclasses import dataclass
from pathlib import Path

from helpers.data.inputs import InputSignature, signature_from
from helpers.data.signature import Signature
from helpers.export.card import image_for, not_run, read_artifact, read_card
from helpers.export.errors import ArtifactError
from helpers.export.folder import CARD
from helpers.export.kept import version_of
from helpers.whole_file import becoming

OWN, TENSORFLOW = "own", "tensorflow"
# The formats that the service's container runs, by the BACKEND that its image was built with.
RUN = {"onnx": ("onnx", "npz"), "litert": ("onnx", "npz", "tflite"), "keras": ("onnx", "npz", "keras")}
SERVED = (CARD, "model.onnx", "model.npz", "model.tflite")  # small ones, whether or not an image reads them


@dataclass(frozen=True)
class Archive:
    """path: of the `.tar.gz`. version: the model's. container: "own" or "tensorflow". names: the files in it."""

    path: Path
    version: str
    container: str
    names: tuple[str, ...]

    @property
    def bytes(self) -> int:
        return self.path.stat().st_size


def pack(model: str | Path, target: str | Path, container: str = OWN, backend: str = "onnx") -> Archive:
    """The export in the folder `model` as an archive at `target`, for a container "own" or "tensorflow".

    backend: the BACKEND that the image of our own was built with, "onnx", "litert" or "keras". Raises `ArtifactError`
    where the folder holds no format that this container runs.
    """
    if backend not in RUN:
        raise ValueError(f"backend is one of {', '.join(RUN)}, not {backend!r}")
    folder, target = Path(model), Path(target)
    card = read_card(folder)
    if container == OWN:
        wanted = [*SERVED, "model.keras"] if backend == "keras" else SERVED
        files = {name: folder / name for name in wanted if (folder / name).exists()}
        there = [name for name in card["formats"] if name not in RUN[backend] or f"model.{name}" in files]
        if sentence := not_run({**card, "formats": there}, RUN[backend], _another_image(card["formats"])):
            raise ArtifactError(f"{folder.name} {sentence}")
        for name in files.keys() - {CARD}:
            read_artifact(folder, name, card)  # which the container would refuse where it is damaged
    elif container == TENSORFLOW:
        saved = folder / "saved_model"
        files = {f"1/{path.relative_to(saved).as_posix()}": path for path in saved.rglob("*") if path.is_file()}
        if "1/saved_model.pb" not in files:
            raise ArtifactError(f"{folder.name} holds no SavedModel{_how_to_have_one(folder, card)}")
    else:
        raise ValueError(f'container is "{OWN}" or "{TENSORFLOW}", not {container!r}')
    with becoming(target) as part:
        part.write_bytes(_packed(dict(sorted(files.items()))))
    return Archive(target, version_of(card), container, tuple(sorted(files)))


def _another_image(formats: list[str]) -> str:
    """What to do with a model that holds these formats alone, as the end of a sentence."""
    backend = image_for(formats)
    todo = f'pack it with backend="{backend}", for an image built with --build-arg BACKEND={backend}'
    return f'{todo}, or for TensorFlow\'s container, container="tensorflow"' if "keras" in formats else todo


def _how_to_have_one(folder: Path, card: dict) -> str:
    """What to do where a SavedModel is wanted that an export does not hold, as the end of a sentence."""
    if refused := card.get("not_exported", {}).get("saved_model"):
        return f", as {refused['reason']}: serve it on a machine of your own"
    if "keras" not in card["formats"]:
        return ", and none is made of what Keras does not read: pack it for our own container"
    return (
        f': write one with export_model(load_keras("{folder}/model.keras"), "{folder}-tensorflow", '
        f'load_predictor("{folder}").signature, formats=("saved_model",)), and pack that'
    )


def signature_of(archive: Archive) -> Signature | InputSignature:
    """What the model in an archive for the service's own container takes."""
    with tarfile.open(archive.path) as files:
        return signature_from(json.load(files.extractfile(CARD))["signature"])


def _packed(files: dict[str, Path]) -> bytes:
    """The same bytes for the same files: no times, no owners."""
    held = io.BytesIO()
    with gzip.GzipFile(fileobj=held, mode="wb", mtime=0) as zipped, tarfile.open(fileobj=zipped, mode="w") as archive:
        for name, path in files.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = path.stat().st_size, 0o644
            with path.open("rb") as content:
                archive.addfile(entry, content)
    return held.getvalue()
