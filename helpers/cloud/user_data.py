"""The script that an instance runs when it first starts: `helpers/cloud/aws/user_data.sh`, its settings filled in."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

USER_DATA = Path(__file__).parent / "aws" / "user_data.sh"
MOST_BYTES = 16_384  # what AWS takes


def user_data(repository: str, revision: str, **settings: str) -> str:
    """The script that an instance runs when it first starts: `user_data.sh` with its settings filled in.

    settings: those that stand at the script's head, in lower case (`model_url`, `model_sha256`, `api_key="yes"`,
    `jupyter="open"`, ...). Anyone who may describe the instance can read it, so a URL with a password, a key or a
    signature is refused.
    """
    script = USER_DATA.read_text(encoding="utf-8")
    known = set(re.findall(r"^(?:: \"\$\{)?([A-Z_0-9]+)(?==\$\{|:\?)", script, re.MULTILINE))
    if urlsplit(repository).scheme not in ("https", "ssh", "file"):
        raise ValueError(
            f"repository {repository!r} is no URL: an instance needs one that it can clone, as https://..."
        )
    values = {"REPOSITORY": repository, "REVISION": revision, **{name.upper(): text for name, text in settings.items()}}
    unknown = set(values) - known
    if unknown:
        raise ValueError(f"user_data.sh has no setting {', '.join(sorted(unknown)).lower()}")
    for name, value in values.items():
        if "\n" in value or value.startswith("-"):
            raise ValueError(f"{name.lower()} is no plain value: {value!r}")
        if _holds_secret(value):
            raise ValueError(f"{name.lower()} holds a secret, and user data can be read: use a URL without one")
    if bool(values.get("MODEL_URL")) != bool(values.get("MODEL_SHA256")):
        raise ValueError("model_url and model_sha256 belong together: a model is only used when its checksum fits")
    lines = "".join(f"{name}={shlex.quote(value)}\n" for name, value in values.items())
    filled = re.sub(r"^# ---- settings:.*\n", lambda mark: mark[0] + lines, script, count=1, flags=re.MULTILINE)
    if len(filled.encode()) > MOST_BYTES:
        raise ValueError("user data may have 16 KB")
    return filled


def _holds_secret(value: str) -> bool:
    parts = urlsplit(value)
    names = {name.lower() for name, _ in parse_qsl(parts.query)}
    signed = any(re.search(r"signature|token|secret|password|key|credential|^sig$", name) for name in names)
    access_key = re.search(r"\b(AKIA|ASIA)[A-Z0-9]{16}\b|BEGIN [A-Z ]*PRIVATE KEY", value)
    return bool((parts.scheme and "@" in parts.netloc and parts.scheme != "ssh") or signed or access_key)
