"""A feature that says the label by itself is named."""

import numpy as np
import pandas as pd

from helpers.data.signature import Signature
from helpers.model.leakage import telling_features

ROWS = 300
RANDOM = np.random.default_rng(0)
Y = np.arange(ROWS) % 2


def telling(**columns):
    table = pd.DataFrame(columns)
    signature = Signature.from_table(table)
    return telling_features(signature, signature.encode(table), Y)


def test_a_number_a_category_and_a_gap_that_say_the_label_are_named():
    found = telling(
        paid=Y * 100 + RANDOM.random(ROWS),
        refund=-Y + RANDOM.random(ROWS) / 2,
        status=np.where(Y, np.where(RANDOM.random(ROWS) < 0.5, "won", "closed"), "open"),
        ended=np.where(Y, RANDOM.random(ROWS), np.nan),
        noise=RANDOM.random(ROWS),
        colour=RANDOM.choice(["red", "green", "blue"], ROWS),
    )
    assert found.keys() == {"paid", "refund", "status", "ended"}
    assert all(0.98 < area <= 1 for area in found.values())


def test_good_features_are_no_cause_for_a_question():
    measured = RANDOM.normal(size=ROWS)  # another number in each row, which groups by value would take for the answer
    measured[::9] = np.nan
    assert telling(good=Y + RANDOM.normal(0, 0.6, ROWS), measured=measured) == {}
