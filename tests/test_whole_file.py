"""A file is there whole or not at all."""

import stat

import pytest

from helpers.whole_file import becoming


def test_a_file_takes_its_place_once_it_is_whole(tmp_path):
    path = tmp_path / "key"
    path.write_text("the one before")
    with becoming(path, 0o600) as part:
        part.write_text("another")
        assert path.read_text() == "the one before" and part.parent == tmp_path
    assert path.read_text() == "another" and stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [path]


def test_a_block_that_fails_leaves_what_was_there(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text("the one before")
    with pytest.raises(KeyboardInterrupt), becoming(path) as part:
        part.write_text("half")
        raise KeyboardInterrupt
    assert path.read_text() == "the one before" and list(tmp_path.iterdir()) == [path]


def test_what_a_killed_process_of_the_same_number_left_is_not_in_the_way(tmp_path):
    with becoming(tmp_path / "a") as part:
        left = part
    left.write_text("of a process that was killed")
    with becoming(tmp_path / "a") as part:
        assert part.read_bytes() == b""
