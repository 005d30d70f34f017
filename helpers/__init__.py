"""Shared code of the tutorial notebooks: one room per stage of the route, one module per concept.

A room imports from the rooms below it only: tools, cloud, serving, export, figures, model, data. Whatever a command, a
notebook or a test of this project runs imports this first, so what holds for all of them stands here.
"""

import os
from pathlib import Path

#: Root of the repository: the folder that holds `notebooks/`, `data/` and `models/`.
PROJECT = Path(__file__).resolve().parent.parent

# ONNX Runtime 1.32 reads this when it is imported, in this process or one that it starts. Without it, it writes a
# device id and a database to the user's cache folder, for the telemetry that it can send to its maker.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"
