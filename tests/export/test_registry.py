"""Which model a word means, and what is said of everything that is none."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import notebook_tools as tools
import pytest


@pytest.fixture(scope="module")
def project(exported, tmp_path_factory) -> Path:
    """A copy of the project with the models games and titanic."""
    project = tools.copy_project(tmp_path_factory.mktemp("registry") / "tutorial")
    for name in ("games", "titanic"):
        shutil.copytree(exported, project / "models" / name)
    return project


@pytest.fixture
def here(tmp_path, exported) -> Path:
    """A folder that a person stands in, with things of their own."""
    shutil.copytree(exported, tmp_path / "mine")
    shutil.copytree(exported, tmp_path / "titanic")  # called like a model of the project
    (tmp_path / "keras").mkdir()
    (tmp_path / "damaged").mkdir()
    (tmp_path / "empty").mkdir()
    (tmp_path / "damaged" / "card.json").write_text("{")
    for name in ("keras/model.keras", "net.h5", "net.onnx", "mine.csv", "notes"):
        (tmp_path / name).write_text("the user's own")
    if os.name == "posix":
        (tmp_path / "nowhere").symlink_to(tmp_path / "gone")
    return tmp_path


def ask(project: Path, here: Path, expression: str) -> str:
    """What an expression of `registry` gives in that project, seen from the folder `here`; or its error's sentence."""
    program = (
        "import sys\nfrom pathlib import Path\nfrom helpers.export import registry\n"
        f"try:\n    print({expression})\nexcept registry.UnknownModel as error:\n    print('UnknownModel:', error)"
    )
    run = {"env": tools.environment_in(project), "capture_output": True, "text": True}
    done = subprocess.run([sys.executable, "-c", program], cwd=here, check=False, **run)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.parametrize(
    ("word", "meant"),
    [
        ("games", "PROJECT/models/games"),
        ("titanic", "PROJECT/models/titanic"),  # a name comes first ...
        ("./titanic", "HERE/titanic"),  # ... and a separator makes a path
        ("mine", "HERE/mine"),
        ("mine/", "HERE/mine"),
        ("empty/../mine", "HERE/mine"),
    ],
)
def test_a_word_is_a_name_or_a_path(project, here, word, meant):
    meant = meant.replace("PROJECT", str(project)).replace("HERE", str(here))
    assert ask(project, here, f"registry.find({word!r})") == meant


@pytest.mark.parametrize(
    ("word", "says"),
    [
        ("titanik", "there is no model 'titanik' (did you mean titanic?): the models here are games, titanic"),
        ("models/titanic", "there is no model 'models/titanic'"),  # from another folder than the project's
        ("", "a model has a name or a path"),
        ("..", "has no card.json"),
        ("empty", "has no card.json"),
        ("keras", "holds model.keras, but no card.json that says what the model takes"),
        ("damaged", "card.json is damaged"),
        ("net.h5", "net.h5 is a Keras file"),
        ("net.onnx", "net.onnx is a model's file alone"),
        ("mine.csv", "mine.csv --label COLUMN` first"),
        ("notes", "notes is a file"),
        pytest.param(
            "nowhere",
            "is a link that leads nowhere",
            marks=pytest.mark.skipif(os.name != "posix", reason="links need no rights on POSIX systems"),
        ),
    ],
)
def test_what_is_no_model_is_said_in_one_sentence(project, here, word, says):
    said = ask(project, here, f"registry.find({word!r})")
    assert said.startswith("UnknownModel: ") and says in said and "\n" not in said


def test_only_the_model_of_the_sample_need_not_be_there(here, tmp_path_factory):
    empty = tools.copy_project(tmp_path_factory.mktemp("clone") / "tutorial")
    for word in ("games", str(empty / "models" / "games")):
        assert ask(empty, here, f"registry.find({word!r})") == str(empty / "models" / "games")
    assert "none has been exported yet" in ask(empty, here, "registry.find('typo')")
    (empty / "models" / "games").mkdir(parents=True)
    assert "has no card.json" in ask(empty, here, "registry.find('games')")


@pytest.mark.parametrize(
    ("data", "name"),
    [
        ("sample", "games"),
        ("article", "article"),
        ("/tables/titanic.csv", "titanic"),
        ("/tables/titanic.csv.gz", "titanic"),
        ("/tables/titanic.v2.zip", "titanic.v2"),
        ("https://example.org/tables/titanic.csv?raw=1", "titanic"),
        ("/tables/-titanic.csv", "titanic"),  # which no option begins with
        ("/tables/games.csv", "my-games"),  # the sample's model is not replaced by another
    ],
)
def test_a_table_gives_its_model_its_name(project, here, data, name):
    assert ask(project, here, f"registry.for_table({data!r})") == str(project / "models" / name)


def test_the_line_that_serves_a_model_works_where_it_is_printed(project, here):
    line = "registry.serve_command(registry.MODELS / 'titanic')"
    assert ask(project, project, line) == "python3 tutorial.py serve --model titanic"
    assert ask(project, here, line) == f"python3 {project}/tutorial.py serve --model titanic"
    spaced = ask(project, project, "registry.serve_command(Path('/a folder/m'))")
    assert spaced == 'python3 tutorial.py serve --model "/a folder/m"'
