"""What a file is that somebody takes for a Keras model, told by its content: by its first bytes, not by its name.

`container_of(path)` returns "HDF5" or "zip"; for anything else it raises `ArtifactError`, which names what the file is
and how to go on. Nothing is read but the first bytes (and a zip archive's list), so that a device or a pipe cannot
block. `refuse_bomb` compares what a file would take in memory with what it takes on the disk.
"""

from __future__ import annotations

import re
import stat
import zipfile
from pathlib import Path

from helpers.export.errors import ArtifactError

HDF5 = b"\x89HDF\r\n\x1a\n"
ZIP = b"PK\x03\x04"
LOOK = 4096  # bytes
# Weights hardly shrink when packed: a file that unpacks to much more than itself was made to fill the memory.
LARGEST_GROWTH, ALWAYS_ALLOWED = 50, 256 * 1024**2  # times the file; bytes

DOWNLOAD = "get the model itself by the link to the raw file"
OTHER_FILE = "give the file of a model, .keras, .h5, .onnx or .tflite"
OTHER_READER = "load it with the library that wrote it"
INTO_ONNX = "load it with the library that wrote it, and bring what that writes as ONNX"
FROM_PYTORCH = "load it in PyTorch, and bring what torch.onnx.export writes of it"
FROM_PICKLE = "load it where it was made, and bring what skl2onnx (or a converter like it) makes of it"
UNPACK = "unpack it first"
FROM_TREES = "load it with the library that wrote it, and bring what onnxmltools (or a converter like it) makes of it"
MADE_OF = "bring the ONNX file that it was made of"
CHECKPOINT = "load it into the model that it came from, and save that as .h5"
# What the first bytes say, as a pattern; what that is; and what to do.
KINDS = [
    (rb"version https://git-lfs", "a Git LFS pointer, the model is elsewhere", "run `git lfs pull` in its folder"),
    (rb"(?i)\s*<(!doctype html|html|head|body)", "a web page (HTML)", DOWNLOAD),
    (rb"(?s)\s*<\?xml[^>]*>\s*(?><!--.*?-->\s*)*<PMML", "a model in PMML", FROM_TREES),
    (rb"(?s)\s*<\?xml[^>]*>\s*<net\s", "a model of OpenVINO", MADE_OF),
    (rb"\s*<\?xml", "an XML file", DOWNLOAD),
    (
        rb"\s*[\[{]",
        "a JSON file",
        "a model's is given beside its weights, load_keras(weights, architecture=file)",
    ),
    (rb"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19", "a PyTorch file", FROM_PYTORCH),
    (rb"(?s)\x80[\x02-\x05].*joblib", "a joblib file (a Python pickle)", FROM_PICKLE),
    (rb"\x80[\x02-\x05]|c(copy_?reg|__builtin__|builtins|numpy|sklearn)[\w.]*\n", "a Python pickle", FROM_PICKLE),
    (rb"x[\x01\x5e\x9c\xda]", "packed by zlib, as joblib packs a Python pickle", FROM_PICKLE),
    (rb"model_checkpoint_path", "the list of a TensorFlow checkpoint", CHECKPOINT),
    (rb"tree\nversion=", "a model of LightGBM", FROM_TREES),
    (rb"CBM1", "a model of CatBoost", 'bring what its save_model(..., format="onnx") writes'),
    (rb"(?s)....ORTM", "a model in ORT format", MADE_OF),
    (rb"(?s)....TFL3", "a LiteRT model", "serve it as it is, or get the Keras file that it was made from"),
    (rb"\x93NUMPY", "a NumPy array", OTHER_READER),
    (rb"\x08\x01\x12", "a TensorFlow graph (.pb)", "a SavedModel is read with its folder: give that"),
    (rb"(?s)\x08[\x03-\x0f][\x12:].{0,200}\x3a", "an ONNX model", "run it with onnxruntime"),
    (
        rb"(?s)\n.{1,4}\n.{1,60}\x12.{1,40}",
        "a TensorFlow graph (.pb)",
        "it holds no Keras model: get the one it was made from",
    ),
    (rb"\x1f\x8b", "a gzip archive", UNPACK),
    (rb"BZh", "a bzip2 archive", UNPACK),
    (rb"\xfd7zXZ", "an xz archive", UNPACK),
    (rb"7z\xbc\xaf", "a 7-Zip archive", UNPACK),
    (rb"Rar!", "a RAR archive", UNPACK),
    (rb"(?s).{257}ustar", "a tar archive", UNPACK),
    (rb"GGUF", "a GGUF model", INTO_ONNX),
    (rb"(?s).{8}\{\"", "a safetensors file", INTO_ONNX),
    (rb"\x89PNG|\xff\xd8\xff|GIF8", "a picture", OTHER_FILE),
    (rb"%PDF", "a PDF file", OTHER_FILE),
]
CHECKPOINT_INDEX = b"\x57\xfb\x80\x8b\x24\x75\x47\xdb"  # the end of a table of LevelDB, in which TensorFlow keeps it


SAVED_MODEL = "saved_model.pb"  # in the folder of a SavedModel
JSON, LITERT, ONNX = (
    next(pattern for pattern, what, _ in KINDS if word in what) for word in ("JSON", "LiteRT", "ONNX")
)


def is_saved_model(path: Path) -> bool:
    return (path / SAVED_MODEL).is_file()


def kind_of(path: Path) -> str:
    """ "SavedModel", "JSON", "LiteRT" or "ONNX", by the content; "Keras" for the rest, which `container_of` names."""
    if path.is_dir():
        if is_saved_model(path):
            return "SavedModel"
        versions = [each.name for each in path.iterdir() if each.name.isdigit() and is_saved_model(each)]
        if versions:  # as TensorFlow Serving keeps them, under rising numbers
            last = max(versions, key=lambda name: (len(name), name))
            raise ArtifactError(f"{path.name}/ holds the SavedModel {last}: give {path.name}/{last}")
        raise ArtifactError(
            f"{path.name} is a folder without a {SAVED_MODEL}, so it is no SavedModel: {_instead(path)}"
        )
    if not path.is_file():
        return "Keras"
    with path.open("rb") as file:
        start = file.read(LOOK)
    if path.suffix.lower() == ".onnx" and not start.startswith((HDF5, ZIP, b"version https://git-lfs", b"<")) and start:
        return "ONNX"
    found = {"JSON": JSON, "LiteRT": LITERT, "ONNX": ONNX}
    return next((kind for kind, pattern in found.items() if re.match(pattern, start)), "Keras")


def _instead(folder: Path) -> str:
    """What to do about a folder that is no SavedModel."""
    names = sorted(each.name for each in folder.iterdir())
    if {"metadata.json", "config.json", "model.weights.h5"} <= {*names}:
        return "it is the inside of a .keras file, so zip its files, and give that"
    if any(name.endswith(".index") for name in names):
        return f"it is a TensorFlow checkpoint; {CHECKPOINT}"
    if "config.json" in names and any(name.endswith((".safetensors", ".bin")) for name in names):
        return "it is a model of transformers; bring what `optimum-cli export onnx` makes of it"
    models = [name for name in names if name.endswith((".keras", ".h5", ".hdf5", ".onnx", ".tflite", "model.json"))]
    return f"give the file of a model, {f'{folder.name}/{models[0]}' if models else '.keras, .h5, .onnx or .tflite'}"


def container_of(path: Path) -> str:
    """ "HDF5" or "zip"; `ArtifactError` with one sentence for what is no file of Keras's."""
    name = path.name
    try:
        mode = path.stat().st_mode
        if stat.S_ISDIR(mode):
            raise ArtifactError(f"{name} is a folder, not a Keras file (a SavedModel is read by tf.saved_model.load)")
        if not stat.S_ISREG(mode):
            raise ArtifactError(f"{name} is not a Keras file: it is a device or a pipe, not a file on the disk")
        with path.open("rb") as file:
            start = file.read(LOOK)
            file.seek(max(path.stat().st_size - len(CHECKPOINT_INDEX), 0))
            end = file.read(len(CHECKPOINT_INDEX))
    except FileNotFoundError:
        folder = path.parent.name or "this folder"
        raise ArtifactError(f"there is no file {name} in {folder}/") from None
    except OSError as error:
        raise ArtifactError(f"{name} cannot be read ({error.strerror or error})") from error
    if start.startswith(HDF5):
        return "HDF5"
    if start.startswith(ZIP):
        return "zip"
    if re.search(r"\.data-\d{5}-of-\d{5}$", name):  # nothing in it says so
        raise ArtifactError(f"{name} is not a Keras file: it is a part of a TensorFlow checkpoint; {CHECKPOINT}")
    raise ArtifactError(f"{name} is not a Keras file: it {_what_it_is(start, end)}")


def _what_it_is(start: bytes, end: bytes) -> str:
    if not start:
        return "is empty"
    for pattern, what, advice in KINDS:
        if re.match(pattern, start):
            return f"is {what}; {advice}"
    if end == CHECKPOINT_INDEX:
        return f"is the index of a TensorFlow checkpoint; {CHECKPOINT}"
    if not start.strip(b"\x00"):
        return "holds nothing but zeros; get it again"
    if re.fullmatch(rb"[\t\n\r\x20-\x7e\x80-\xff]+", start) and not re.search(rb"[\x80-\xff]{4}", start):
        return f"is a text file; {OTHER_FILE}"
    return f"is neither an HDF5 file nor a zip archive; {OTHER_FILE}"


def describe_archive(names: list[str]) -> str:
    """What a zip archive is whose members have these names and that is no Keras archive, and what to do."""
    endings = {Path(name).suffix for name in names if not name.endswith("/")}
    models = [name for name in names if Path(name).suffix in (".h5", ".hdf5", ".keras")]
    folders = {Path(name).parent for name in names if Path(name).name == "model.weights.h5"}
    if inside := [each for each in folders if (each / "config.json").as_posix() in names]:
        return f"a zip archive of a folder, {inside[0]}/, with the inside of a .keras file; zip the files in it alone"
    if any(name.endswith("data.pkl") for name in names):
        return f"a PyTorch file; {FROM_PYTORCH}"
    if endings == {".npy"}:
        return f"an archive of NumPy arrays (.npz); {OTHER_READER}"
    if "[Content_Types].xml" in names:
        return f"an office document; {OTHER_FILE}"
    if models:
        return f"a zip archive with {models[0]} in it; unpack it and give that file"
    if any(name.endswith("saved_model.pb") for name in names):
        return "a zip archive with a SavedModel in it; unpack it and give the folder with its saved_model.pb"
    return "a zip archive without a model in it"


def refuse_bomb(path: Path, unpacked: int) -> None:
    """`ArtifactError` where a file would take far more memory (bytes) than its size can explain."""
    size = path.stat().st_size
    if unpacked > ALWAYS_ALLOWED and unpacked > LARGEST_GROWTH * size:
        raise ArtifactError(
            f"{path.name} is refused: it has {size / 1024**2:,.1f} MiB and would unpack to {unpacked / 1024**2:,.0f} "
            "MiB, which no model does"
        )


def archive_size(archive: zipfile.ZipFile) -> int:
    """Bytes that the members of an archive take when unpacked."""
    return sum(member.file_size for member in archive.infolist())


def weights_size(group) -> int:
    """Bytes that the datasets below a group of an HDF5 file take in memory."""
    import h5py

    total = 0

    def add(_, item) -> None:
        nonlocal total
        if isinstance(item, h5py.Dataset):
            total += item.nbytes

    group.visititems(add)
    return total
