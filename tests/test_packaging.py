"""pyproject.toml, requirements.lock and environment.yml describe one environment."""

import re
import tomllib
from importlib import metadata
from importlib.metadata import packages_distributions

import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from helpers import PROJECT

PYPROJECT = tomllib.loads((PROJECT / "pyproject.toml").read_text())
LOCK_TEXT = (PROJECT / "requirements.lock").read_text()
LOCK = [Requirement(line) for line in LOCK_TEXT.splitlines() if line and not line.lstrip().startswith("#")]
DIRECT = [
    Requirement(text)
    for text in [*PYPROJECT["project"]["dependencies"], *PYPROJECT["project"]["optional-dependencies"]["test"]]
]


def pins(name: str) -> list[Requirement]:
    return [pin for pin in LOCK if canonicalize_name(pin.name) == canonicalize_name(name)]


def test_the_lock_pins_one_exact_version_of_everything():
    assert all(re.fullmatch(r"==[\w.+!]+", str(pin.specifier)) for pin in LOCK)


def test_the_lock_meets_each_requirement_of_the_project():
    for wanted in DIRECT:
        assert pins(wanted.name), f"{wanted.name} is not in requirements.lock: renew it"
        for pin in pins(wanted.name):
            version = str(pin.specifier).removeprefix("==")
            assert wanted.specifier.contains(version, prereleases=True), f"{pin} does not meet {wanted}: renew the lock"


def test_what_is_installed_is_what_the_lock_says():
    for pin in LOCK:
        if pin.marker is None or pin.marker.evaluate():
            assert metadata.version(pin.name) == str(pin.specifier).removeprefix("=="), pin.name


def test_the_lock_holds_no_addresses_and_no_paths_of_a_machine():
    assert not re.search(r"://|--(extra-)?index-url|--find-links|^/|file:", LOCK_TEXT, re.MULTILINE)


def test_the_packages_that_the_project_stands_on_are_required():
    names = {canonicalize_name(requirement.name) for requirement in DIRECT}
    assert {"jupyter", "tensorflow", "pandas", "flask", "requests", "matplotlib", "nbval"} <= names


def test_each_requirement_says_what_it_is_for():
    text = (PROJECT / "pyproject.toml").read_text()
    for requirement in DIRECT:
        line = next(line for line in text.splitlines() if line.strip().startswith(f'"{requirement}'.split(">")[0]))
        assert re.search(r"#\s*\S+", line), line


def test_what_the_container_installs_is_a_part_of_what_the_project_requires():
    names = {canonicalize_name(requirement.name) for requirement in DIRECT}
    groups = PYPROJECT["dependency-groups"]
    assert set().union(*(groups[name] for name in groups if name.startswith("serve"))) < names


def test_conda_takes_everything_but_python_and_pip_from_the_same_two_files():
    environment = yaml.safe_load((PROJECT / "environment.yml").read_text())
    *conda, pip = environment["dependencies"]
    assert [re.split("[=<>]", name)[0] for name in conda] == ["python", "pip"]
    assert pip == {"pip": ["-r requirements.lock", "-e ."]}
    python = re.search(r"[\d.]+", conda[0])[0]
    assert Requirement(f"python{PYPROJECT['project']['requires-python']}").specifier.contains(python)


def test_every_module_imports_only_what_the_project_requires():
    owners = {name: {canonicalize_name(owner) for owner in all_} for name, all_ in packages_distributions().items()}
    ours = {canonicalize_name(requirement.name) for requirement in DIRECT} | {"keras-flask-tutorial"}
    foreign = {}
    for path in [*(PROJECT / "helpers").rglob("*.py"), *(PROJECT / "tests").glob("*.py")]:
        for name in re.findall(r"^\s*(?:import|from)\s+(\w+)", path.read_text(encoding="utf-8"), re.MULTILINE):
            if name in owners and not owners[name] & ours:
                foreign.setdefault(name, path.name)
    assert foreign == {}
