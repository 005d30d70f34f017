"""Where this copy of the project came from: what an instance installs, and what Binder opens."""

import re
import subprocess
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

from helpers import PROJECT


def origin(folder: Path = PROJECT) -> tuple[str, str]:
    """URL and commit of the checkout, as another machine can clone them; the URL is "" where there is none by https.

    A password in the URL is left out.
    """

    def git(*command: str) -> str:
        with suppress(OSError, subprocess.TimeoutExpired):
            done = subprocess.run(
                ["git", "-C", folder, *command], capture_output=True, text=True, timeout=10, check=False
            )
            return done.stdout.strip()
        return ""

    commit = git("rev-parse", "HEAD") or "main"
    url = re.sub(r"^(?:ssh://)?git@([^:/]+)[:/]", r"https://\1/", git("remote", "get-url", "origin"))
    parts = urlsplit(url)
    return (f"https://{parts.hostname}{parts.path}" if parts.scheme == "https" and parts.hostname else ""), commit


def binder_folder(folder: Path = PROJECT) -> str | None:
    """The address of notebooks/ in Binder, for a file name to follow; None where the checkout is not from GitHub."""
    repository = re.fullmatch(r"https://github\.com/([\w.-]+/[\w.-]+?)(?:\.git)?/?", origin(folder)[0])
    return f"https://mybinder.org/v2/gh/{repository[1]}/HEAD?urlpath=lab/tree/notebooks/" if repository else None
