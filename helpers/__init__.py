"""Shared code of the tutorial notebooks: one room per stage of the route, one module per concept.

A room imports from the rooms below it only: tools, cloud, serving, export, figures, model, data.
"""

from pathlib import Path

#: Root of the repository: the folder that holds `notebooks/`, `data/` and `models/`.
PROJECT = Path(__file__).resolve().parent.parent
