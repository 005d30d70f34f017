"""Shared code of the tutorial notebooks: one module per concept."""

from pathlib import Path

#: Root of the repository: the folder that holds `notebooks/`, `data/` and `models/`.
PROJECT = Path(__file__).resolve().parent.parent
