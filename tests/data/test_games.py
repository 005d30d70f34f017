"""The sample is reproducible; the article's file arrives whole or not at all."""

import hashlib
import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pandas as pd
import pytest

from helpers.data import games, reading
from helpers.data.games import download_article, load_games, load_table, split
from helpers.data.raw_tables import DataError


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


@pytest.mark.slow
def test_the_label_of_the_ten_games_has_a_name_for_people_and_no_other_has(tmp_path, sample):
    assert load_table().signature().outcome == "buying the offered game"
    assert load_table(display_name="a sale").signature().outcome == "a sale"
    sample.rename(columns={"label": "bought"}).to_csv(tmp_path / "mine.csv", index=False)
    assert load_table(tmp_path / "mine.csv", "bought").signature().outcome == "bought"
    sample.head(500).to_csv(tmp_path / "few.csv", index=False)
    assert load_table(tmp_path / "few.csv").signature().outcome == "label"


def test_the_split_is_the_authors(sample):
    train, test = split(sample)
    pd.testing.assert_frame_equal(test, sample.head(5_000))
    pd.testing.assert_frame_equal(train, sample.tail(17_905))


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


@pytest.mark.slow
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
    monkeypatch.setattr(reading, "TIMEOUT", 1)
    url = f"{files}{path}" if path else "http://127.0.0.1:9/nobody-listens"
    with pytest.raises(DataError, match=says):
        download_article(tmp_path / "article.csv", url, sha256)
    assert list(tmp_path.iterdir()) == []


def test_a_proxy_through_which_nothing_is_reached_is_named(monkeypatch):
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
    with pytest.raises(DataError, match="cannot be reached .*, through the proxy that https_proxy names.: check"):
        reading.read_table("https://example.com/games.csv")


def test_a_table_is_read_from_an_address(files):
    assert reading.read_table(f"{files}/games.csv").frame.to_dict("list") == {"G1": ["0", "1"], "label": ["1", "0"]}


def test_an_address_that_sends_more_than_a_table_is_left(files, monkeypatch):
    monkeypatch.setattr(reading, "LARGEST", 10)
    with pytest.raises(DataError, match="games.csv sends more than .* GB: save a part of it, and give that"):
        reading.read_table(f"{files}/games.csv")


def test_the_mixture_is_the_one_that_was_fitted():
    fitted = games.PROJECT.parent / "shared" / "data" / "games_mixture.json"
    if not fitted.exists():
        pytest.skip("the fitted figures are not beside this checkout")
    figures = json.loads(fitted.read_text())
    assert [share for share, _ in games.MIXTURE] == figures["weights"]
    assert [list(row) for _, row in games.MIXTURE] == figures["probabilities"]
