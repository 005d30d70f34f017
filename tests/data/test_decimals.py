"""The decimals of many numbers at once are those that each number has by itself."""

import numpy as np

from helpers.data.decimals import shortest

RANDOM = np.random.default_rng(1)


def test_many_numbers_have_the_decimals_that_each_has_by_itself():
    with np.errstate(over="ignore"):
        ends = np.float32(10) ** np.arange(-30, 30, dtype=np.float32)
        powers = np.float32(2) ** np.arange(-140, 127, dtype=np.float32)
    for some in (
        RANDOM.integers(0, 2**32, 20_000, dtype=np.uint64).astype(np.uint32).view(np.float32),
        RANDOM.normal(size=50_000).astype(np.float32),
        RANDOM.random(50_000).astype(np.float32),
        (RANDOM.integers(0, 10**6, 20_000) / 10.0 ** RANDOM.integers(0, 16, 20_000)).astype(np.float32),
        np.concatenate([powers, -powers, *(np.nextafter(ends, np.float32(side)) for side in (-1, 1, np.inf))]),
        np.float32([0, -0.0, 1, 0.1, 1e14, 1e-14] * 20),
    ):
        numbers = some[np.isfinite(some)]
        found, wanted = shortest(numbers), np.array([float(str(number)) for number in numbers])
        assert (found == wanted).all() and (np.signbit(found) == np.signbit(wanted)).all()


def test_other_numbers_stay_what_they_are_and_all_keep_their_shape():
    doubles = RANDOM.normal(size=(20, 3, 4))
    assert (shortest(doubles) == doubles).all() and shortest(np.arange(600).reshape(2, 300)).shape == (2, 300)
    assert shortest(np.full((2, 60), 0.1, np.float16)).tolist() == [[0.1] * 60] * 2
    few = np.float32([[0.1], [0.2]])
    assert shortest(few).tolist() == [[0.1], [0.2]] and shortest(few[:0]).shape == (0, 1)
