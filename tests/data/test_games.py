"""The sample is reproducible; the article's file arrives whole or not at all; a reader's table is checked by column."""

import hashlib
import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pandas as pd
import pytest

from helpers.data import games, tables
from helpers.data.games import download_article, load_games, split
from helpers.data.tables import DataError, features_and_label


def test_the_sample_in_the_repository_is_what_the_generator_writes(tmp_path):
    games.write_sample(tmp_path / "games.csv")
    assert (tmp_path / "games.csv").read_bytes() == games.SAMPLE.read_bytes()


def test_the_datasheet_states_the_samples_checksum():
    digest = hashlib.sha256(games.SAMPLE.read_bytes()).hexdigest()
    assert digest in (games.SAMPLE.parent / "README.md").read_text()


def test_the_sample_has_the_articles_form(sample):
    assert sample.shape == (22_905, 11)
    assert list(sample.columns) == [*games.GAMES, "label"]
    assert set(np.unique(sample)) == {0, 1}


def test_the_sample_resembles_the_articles_data(sample, article_csv):
    article = load_games(article_csv)
    assert (sample.mean() - article.mean()).abs().max() < 0.01
    assert (sample.corr() - article.corr()).abs().max().max() < 0.08


def test_the_split_is_the_authors(sample):
    train, test = split(sample)
    pd.testing.assert_frame_equal(test, sample.head(5_000))
    pd.testing.assert_frame_equal(train, sample.tail(17_905))


def test_another_table_sorted_by_its_label_gives_both_labels_to_both_parts():
    table = pd.DataFrame({"x": np.arange(1000), "y": np.arange(1000) >= 700}).astype(int)
    train, test = split(table, "y")
    assert len(train) == 800
    assert sorted([*train.x, *test.x]) == list(range(1000))
    assert test.y.mean() == train.y.mean() == 0.3
    assert 0 < train.y.tail(160).mean() < 1  # where Keras takes its validation rows from


def test_features_and_label_are_float32_arrays_in_the_tables_order(sample):
    x, y = features_and_label(sample)
    assert (x.shape, x.dtype, y.shape, y.dtype) == ((22_905, 10), np.float32, (22_905,), np.float32)
    assert (x[:, 9] == sample.G10).all()


# ---- a reader's own table ----


def load(tmp_path, text, label="label"):
    path = tmp_path / "mine.csv"
    path.write_text(text)
    return load_games(path, label)


def test_a_good_table_is_read(tmp_path):
    assert load(tmp_path, "a,b,label\n1,2.5,0\n2,3,1\n").shape == (2, 3)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "is empty"),
        ("a,label\n", "no rows"),
        ("a,b\n1,0\n2,1\n", "no column 'label'; its columns are a, b"),
        ("label\n0\n1\n", "at least one feature"),
        ("a,label\n1,0\nx,1\n", "column 'a' is not numeric: line 3 holds 'x'"),
        ("a,label\n1,0\n,1\n", "column 'a' has 1 missing value, it is in line 3"),
        ("a,label\n1,0\ninf,1\n", "column 'a' holds an infinite value in line 3"),
        ("a,label\n1,0\n2,2\n", "label 'label' must be 0 or 1: line 3 holds 2"),
        ("a,label\n1,0\n1,1\n", "column 'a' is constant"),
        ("a,label\n1,0\n2,0\n", "label 'label' is constant"),
        ('a,label\n"1,0\n', "not a CSV"),
    ],
)
def test_what_is_wrong_with_a_table_is_said(tmp_path, text, says):
    with pytest.raises(DataError, match="mine.csv") as error:
        load(tmp_path, text)
    assert says in str(error.value)


def test_every_bad_column_is_named_at_once(tmp_path):
    with pytest.raises(DataError) as error:
        load(tmp_path, "a,b,c,label\n1,x,5,0\n1,2,,3\n")
    assert [f"column {name!r}" in str(error.value) for name in "abc"] == [True] * 3
    assert "label 'label'" in str(error.value)


def test_a_file_that_is_not_there_is_named():
    with pytest.raises(DataError, match=r"there is no file nowhere\.csv"):
        load_games("nowhere.csv")


# ---- the article's file, from a real server on this machine ----


class Files(BaseHTTPRequestHandler):
    content = b"G1,label\n0,1\n1,0\n"

    def do_GET(self):
        if self.path == "/slow.csv":
            time.sleep(3)
        if self.path == "/gone.csv":
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(self.content)))
        self.end_headers()
        self.wfile.write(self.content[:5] if self.path == "/cut.csv" else self.content)

    def log_message(self, *args):
        pass


@pytest.fixture
def files():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Files)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


GOOD = hashlib.sha256(Files.content).hexdigest()


def test_a_download_is_kept_and_not_made_again(files, tmp_path):
    cache = tmp_path / "data" / "article.csv"
    assert download_article(cache, f"{files}/games.csv", GOOD).read_bytes() == Files.content
    assert download_article(cache, "http://127.0.0.1:9/never-asked", GOOD) == cache


def test_a_damaged_cache_is_downloaded_again(files, tmp_path):
    cache = tmp_path / "article.csv"
    cache.write_bytes(b"half of i")
    assert download_article(cache, f"{files}/games.csv", GOOD).read_bytes() == Files.content


@pytest.mark.parametrize(
    ("path", "sha256", "says"),
    [
        ("/games.csv", "0" * 64, "is not the file that the article used"),
        ("/gone.csv", GOOD, "answered 404"),
        ("/cut.csv", GOOD, "cannot be reached"),
        ("/slow.csv", GOOD, "did not answer within 1 s"),
        (None, GOOD, "cannot be reached"),
    ],
)
def test_a_failed_download_says_why_and_leaves_nothing(files, tmp_path, monkeypatch, path, sha256, says):
    monkeypatch.setattr(tables, "TIMEOUT", 1)
    url = f"{files}{path}" if path else "http://127.0.0.1:9/nobody-listens"
    with pytest.raises(DataError, match=says):
        download_article(tmp_path / "article.csv", url, sha256)
    assert list(tmp_path.iterdir()) == []


def test_a_table_is_read_from_an_address(files):
    assert load_games(f"{files}/games.csv").to_dict("list") == {"G1": [0, 1], "label": [1, 0]}


def test_the_mixture_is_the_one_that_was_fitted():
    fitted = games.PROJECT.parent / "shared" / "data" / "games_mixture.json"
    if not fitted.exists():
        pytest.skip("the fitted figures are not beside this checkout")
    figures = json.loads(fitted.read_text())
    assert [share for share, _ in games.MIXTURE] == figures["weights"]
    assert [list(row) for _, row in games.MIXTURE] == figures["probabilities"]
