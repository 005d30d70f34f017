"""Numbers that are names are told from amounts by what each of them says of the answer."""

import numpy as np
import pandas as pd

from helpers.data.signature import Signature
from helpers.data.tables import load_table
from helpers.model.codes import telling_codes
from helpers.tools.train_command import told

ROWS = 4000
RANDOM = np.random.default_rng(0)
DEPARTMENT = RANDOM.integers(0, 40, ROWS)
SHARES = RANDOM.random(40)
Y = (RANDOM.random(ROWS) < SHARES[DEPARTMENT]).astype(int)


def found(label=Y, **columns):
    table = pd.DataFrame(columns)
    return telling_codes(table.assign(label=label), Signature.from_table(table))


def test_numbers_of_which_each_tells_something_else_are_named():
    missing = np.where(RANDOM.random(ROWS) < 0.1, np.nan, DEPARTMENT)
    areas = found(department=DEPARTMENT * 37 + 2041, missing=missing)
    assert areas.keys() == {"department", "missing"}
    assert all(by_name > 0.7 and by_size < 0.65 for by_name, by_size in areas.values())


def test_amounts_and_numbers_that_tell_nothing_are_no_cause_for_a_question():
    age = RANDOM.integers(18, 90, ROWS)
    older = (RANDOM.random(ROWS) < np.where(np.abs(age - 50) < 15, 0.8, 0.2)).astype(int)  # neither rises nor falls
    measured = (age * 1000 + RANDOM.integers(0, 1000, ROWS), age + 0.5)
    assert found(older, age=age, income=measured[0], half=measured[1], noise=RANDOM.permutation(DEPARTMENT)) == {}


def test_few_rows_are_not_enough_to_tell():
    few = slice(0, 300)
    assert found(Y[few], department=DEPARTMENT[few]) == {}
    assert found(np.arange(ROWS) < 5, department=DEPARTMENT) == {}


def test_what_to_do_about_them_is_said(tmp_path):
    path = tmp_path / "access.csv"
    pd.DataFrame({"dept nr": DEPARTMENT * 37 + 2041, "label": Y}).to_csv(path, index=False)
    assert 'do they name something? If so, --as "dept nr=category".' in told(load_table(path))
    assert "do they name" not in told(load_table(path, treat_as={"dept nr": "category"}))
