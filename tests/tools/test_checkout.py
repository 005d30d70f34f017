"""Where a checkout came from, asked of real git repositories."""

import subprocess
from pathlib import Path

import pytest

from helpers.tools import checkout


@pytest.fixture
def cloned_from(tmp_path):
    def clone(origin: str | None) -> Path:
        subprocess.run(["git", "init", "-q", tmp_path], check=True)
        if origin:
            subprocess.run(["git", "-C", tmp_path, "remote", "add", "origin", origin], check=True)
        return tmp_path

    return clone


@pytest.mark.parametrize(
    ("origin", "url"),
    [
        ("https://example.org/me/tutorial.git", "https://example.org/me/tutorial.git"),
        ("https://me:secret@example.org/me/tutorial.git", "https://example.org/me/tutorial.git"),
        ("git@example.org:me/tutorial.git", "https://example.org/me/tutorial.git"),
        ("ssh://git@example.org/me/tutorial.git", "https://example.org/me/tutorial.git"),
        ("/somewhere/on/this/disk", ""),
        (None, ""),
    ],
)
def test_another_machine_installs_from_where_the_checkout_came_without_its_password(origin, url, cloned_from):
    assert checkout.origin(cloned_from(origin))[0] == url


@pytest.mark.parametrize(
    ("origin", "repository"),
    [
        ("https://github.com/someone/a-tutorial.git", "someone/a-tutorial"),
        ("https://github.com/someone/a.tutorial", "someone/a.tutorial"),
        ("git@github.com:someone/a-tutorial.git", "someone/a-tutorial"),
        ("https://example.org/someone/a-tutorial.git", None),
        (None, None),
    ],
)
def test_binder_opens_a_notebook_of_the_repository_that_the_checkout_came_from(origin, repository, cloned_from):
    address = checkout.binder_folder(cloned_from(origin))
    expected = f"https://mybinder.org/v2/gh/{repository}/HEAD?urlpath=lab/tree/notebooks/"
    assert address == (expected if repository else None)
