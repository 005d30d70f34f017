"""`tutorial.py export`: a model's file becomes a model in `models/`, and nothing else happens.

Checked options come in. What the file is, what the model takes and answers, and how far what was written agrees with
Keras is printed, and the line that serves it.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
import warnings

from helpers.export import registry, versions
from helpers.export.errors import ArtifactError, Remark
from helpers.tools import command_line


def main(chosen: argparse.Namespace, is_served: bool = False) -> int:
    """Export, and say what was found; returns the exit code. is_served: whether who runs this serves the model next."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    from helpers.data.inputs import signature_from
    from helpers.data.raw_tables import DataError
    from helpers.export import own_model

    repairs = logging.getLogger("helpers.export.legacy")
    level = repairs.level
    repairs.setLevel(logging.ERROR)  # they are printed here
    try:
        found = own_model.found_in(chosen.file, chosen.weights, chosen.imports or "")
        own_model.check_owner(chosen.to, chosen.file, chosen.replace or chosen.beside)
        print(found, flush=True)
        if chosen.beside and (remark := registry.beside_none(chosen.to)):
            print(remark, flush=True)
        there_were = versions.versions(chosen.to)
        with warnings.catch_warnings(record=True) as warned:
            warnings.simplefilter("always", UserWarning)
            card = own_model.export_file(
                chosen.file,
                chosen.to,
                features=chosen.features,
                like=chosen.like or "",
                classes=chosen.classes,
                label=chosen.label or "",
                pixels=chosen.pixels or "",
                takes=chosen.takes or "",
                imports=chosen.imports or "",
                weights=chosen.weights or "",
                replace=chosen.replace,
                beside=chosen.beside,
            )
    except (ArtifactError, DataError) as error:
        print(f"{'serve' if is_served else 'export'}: {error}", file=sys.stderr, flush=True)
        return 2
    finally:
        repairs.setLevel(level)
    said = [str(each.message) for each in warned if issubclass(each.category, Remark)]
    print("\n".join([*said, *own_model.told(card, signature_from(card["signature"]))]))
    kept = [f"--{name}" for name, wish in card["source"]["wishes"].items() if wish and not getattr(chosen, name)]
    if kept:
        print(f"as said before: {', '.join(kept)}; say anew what has changed")
    print(f"exported to {registry.shown(chosen.to)}")
    for remark in registry.what_became_of(chosen.to, there_were, chosen.beside):
        print(remark)
    if not is_served:
        print(registry.how_to_serve(chosen.to, card))
    return 0


if __name__ == "__main__":  # what `serve FILE` runs, in a process of its own
    sys.exit(main(command_line.parse(["export", *sys.argv[1:]]), is_served=True))
