"""Why Keras cannot build what a file describes, in one sentence with the way out."""

from __future__ import annotations

import re
from collections.abc import Iterator

from helpers.export.errors import ArtifactError, NeedsMoreError, NoConversionError, last_line, needs_rebuilding
from helpers.export.keras2_layers import CONVERSIONS, RENAMED, REWRITE
from helpers.export.keras_contents import Contents
from helpers.export.keras_tree import label_of, layers_of


def reason_of(error: Exception, contents: Contents, custom: dict) -> ArtifactError:
    """What to raise for an error of Keras's. custom: functions and classes by name that were given."""
    import keras

    around = [layer for layer in layers_of(contents.tree) if layer["class_name"] == "TFSMLayer"]
    if around:  # which Keras reads from wherever the folder lies
        folder = around[0]["config"].get("filepath", "that it reads")
        return ArtifactError(
            f"{contents.path.name} only names a SavedModel ({label_of(around[0])}), which is not in the file: serve "
            f"that folder itself, {folder}"
        )
    known = {*vars(keras.layers), *vars(keras.models), *custom, *keras.saving.get_custom_objects()}
    known |= {*CONVERSIONS, *RENAMED, "Functional"}
    foreign = sorted({layer["class_name"] for layer in (contents.tree, *layers_of(contents.tree))} - known)
    if foreign:
        needed = ", ".join(f'"{name}": {name.rpartition(">")[2]}' for name in foreign)
        without = f"{contents.path.name} uses classes that Keras {keras.__version__} does not have"
        return NeedsMoreError(without, f"pass custom_objects={{{needed}}}", _own_module(foreign, "class"))
    own = re.search(r"Could not locate (function|class) '([^']+)'", str(error))
    own = own or re.search(r"Could not interpret .* identifier: .*'(class)_name': '([^']+)'", str(error))
    if own:  # an initializer, say
        kind, name = own.groups()
        return NeedsMoreError(
            f"{contents.path.name} uses a {kind} '{name}' of its maker's",
            f"pass custom_objects={{'{name}': {name}}}",
            _own_module([name], kind),
        )
    said = f"{contents.path.name} (Keras {contents.version}) cannot be built by Keras {keras.__version__}: "
    refused = [each for each in _chain(error) if isinstance(each, NoConversionError)]
    if refused:
        return needs_rebuilding(f"{said}{refused[-1]}", REWRITE)  # Keras raises its own around it, of the same type
    lost = re.search(r"Layer '[^']+' expected \d+ variables, but received \d+", str(error))
    if lost and contents.version == keras.__version__:  # as of a model that lies in two others
        said += f"{lost[0]}, as Keras saved no more: where the model is in memory, save it by "
        return ArtifactError(f"{said}model.export('folder'), and bring that folder")
    said += last_line(error)
    if re.search(r"__init__\(\) got an unexpected keyword argument '(trainable|name|dtype)'", said):
        said += ": let it take **kwargs, too, and hand them to super().__init__(**kwargs)"
    return ArtifactError(said)


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """An error, and those that it was raised from or while they were handled: Keras wraps what a layer raises."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _own_module(names: list[str], kind: str) -> str:
    """What a command takes classes or functions of the reader's from."""
    named = [f"{name.rpartition('>')[2]}, registered as {name}," if ">" in name else name for name in names]
    there = f"the {kind} {named[0]}" if len(names) == 1 else f"the {kind}es {', '.join(named)}"
    return f"put {there} into a module, my_layers.py, here or beside the file, and add --import my_layers"
