"""What a person types: the nearest of the words that are known, and words quoted for a terminal."""

import os
import shlex

import pytest

from helpers.serving import golden
from helpers.serving.serve_command import read_key
from helpers.tools.option_values import names
from helpers.wording import (
    did_you_mean,
    line,
    listed,
    meant,
    named,
    no_file,
    option,
    put_together,
    text_in,
    with_commas,
)


def test_the_nearest_of_the_words_known_is_found_in_any_case():
    known = ["Verträge", "Churn?", "games"]
    assert meant("verträge", known) == " (did you mean Verträge?)"
    assert meant("vertrage", known) == " (did you mean Verträge?)"
    assert meant("churn", known) == ' (did you mean "Churn?"?)'
    assert did_you_mean("5'11\"") == "did you mean 5'11\"?"
    assert did_you_mean("Churn?") == 'did you mean "Churn?"?'
    assert meant("titanic", known) == "" == meant("titanic", [])
    assert meant("Bought", ["type", "properties.bought"]) == " (did you mean properties.bought?)"
    assert meant("Aachen", ["München", "Köln"]) == "" and meant("achen", ["Aachen"]) == " (did you mean Aachen?)"


def test_a_name_is_taken_in_any_case_where_only_one_is_meant():
    assert named("GENDER", ["Gender", "age"]) == "Gender"
    assert named("age", ["Age", "age"]) == "age"
    assert named("AGE", ["Age", "age"]) is named("sex", ["Age"]) is None


def test_words_that_hold_a_comma_are_told_apart():
    assert with_commas(["bank transfer", "post"]) == "bank transfer, post"
    assert (
        with_commas(["bank transfer, card", "post"])
        == '"bank transfer, card", "post"'
        == listed(["bank transfer, card", "post"])
    )


def test_a_name_goes_back_into_the_option_as_it_is_shown():
    for name in ("left", "zip code", "a,b", "-x"):
        (word,) = shlex.split(option("--drop", with_commas([name])))[-1:]
        assert names(word.removeprefix("--drop=")) == (name,)
    assert option("--positive", "-1") == "--positive=-1"
    assert names("a, b,") == ("a", "b")


def test_a_name_that_was_cut_at_its_commas_is_put_together_where_it_is_known():
    known = ["age", "How was it? (1 = bad, 5 = good)", "a,b", "a", "b"]
    assert put_together(names("age, how was it? (1 = bad, 5 = good)"), known) == known[:2]
    assert put_together(names('"a,b",a,b,other'), known) == ["a,b", "a", "b", "other"]
    assert put_together([], known) == []


def test_a_file_that_is_not_there_is_told_by_those_beside_it_or_by_the_folder(tmp_path, monkeypatch):
    (tmp_path / "neue Kunden.csv").touch()
    monkeypatch.chdir(tmp_path)
    assert no_file("neue kunde.csv") == 'there is no file neue kunde.csv (did you mean "neue Kunden.csv"?)'
    assert (
        no_file(f"{tmp_path}/kunden.csv") == f'there is no file {tmp_path}/kunden.csv (did you mean "neue Kunden.csv"?)'
    )
    assert no_file("titanic.csv") == f"there is no file titanic.csv in {tmp_path}"
    assert no_file("in/titanic.csv") == f"there is no file in/titanic.csv in {tmp_path}"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le"])
def test_a_file_made_on_windows_is_read_as_it_was_meant(tmp_path, encoding):
    mark = "\ufeff" if encoding == "utf-16-le" else ""
    (tmp_path / "key.txt").write_bytes((mark + "Schlüssel\r\n").encode(encoding))
    assert text_in(tmp_path / "key.txt").strip() == "Schlüssel"
    (tmp_path / "golden.json").write_bytes((mark + '[{"request": {"age": 3}, "at_least": 0.7}]').encode(encoding))
    assert golden.read(tmp_path / "golden.json")[0].at_least == 0.7
    (tmp_path / "api.txt").write_bytes((mark + "open-sesame\r\n").encode(encoding))
    assert read_key(tmp_path / "api.txt") == "open-sesame"


def test_one_word_more_is_named_as_well_as_counted():
    assert listed("abc", 3) == "a, b, c" and listed("abcd", 3) == "a, b, c, d"
    assert listed("abcde", 3) == "a, b, c and 2 more"


@pytest.mark.skipif(os.name != "posix", reason="the quotes are those of a POSIX shell")
@pytest.mark.parametrize(
    "word", ["titanic", "Übung.csv", "a b", "Churn?", 'say "yes"', "it's", "a$b", "C:\\x", "", "~/a b", "-x", "5 € (!)"]
)
def test_a_line_is_read_by_a_shell_as_the_words_that_were_meant(word):
    assert shlex.split(line("serve", word, "--to")) == ["serve", word, "--to"]


@pytest.mark.skipif(os.name != "posix", reason="the quotes are those of a POSIX shell")
def test_a_path_with_a_blank_is_quoted_as_windows_reads_it_too():
    assert line("train", "Meine Tabellen/Verträge.csv") == 'train "Meine Tabellen/Verträge.csv"'


def test_a_link_to_nowhere_is_named_as_one(tmp_path):
    (tmp_path / "m.keras").symlink_to("moved.keras")
    said = no_file(str(tmp_path / "m.keras"))
    assert said == f"{tmp_path / 'm.keras'} is a link to moved.keras, which is not there: give the file itself"
