"""The names of what bodies hold, as Content-Type and Accept give them."""

from __future__ import annotations

JSON, FORM, MULTIPART = "application/json", "application/x-www-form-urlencoded", "multipart/form-data"
CSV, LINES = "text/csv", "application/jsonlines"
LINES_TYPES = {LINES, "application/x-jsonlines", "application/jsonl", "application/x-ndjson"}
