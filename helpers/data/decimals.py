"""The decimals of many float32 at once: the fewest that give each number back, as `str` has them of one.

An array comes in, the float64 that those decimals are go out. One by one that takes 2 microseconds a number, and a
picture that a model answers with has a hundred thousand of them.
"""

from __future__ import annotations

import numpy as np

DIGITS = (6, 7, 8, 9)  # any decimal of 6 digits is given back by its float32, any float32 by 9
SMALLEST, LARGEST = 1e-14, 1e14  # between which each power of ten that is needed is a float64 without an error
UNSURE = 1e-6  # of a unit of the last digit: nearer to a half, a product may have been rounded to the other side
FEW = 100  # numbers, which are told as fast one by one
_POWERS = 10.0 ** np.arange(23)


def shortest(numbers: np.ndarray) -> np.ndarray:
    """Numbers of any type as float64 of the same shape, each the value of its shortest decimals."""
    found = numbers.astype(np.float64).reshape(-1)
    if numbers.dtype not in (np.float16, np.float32):  # whole ones and doubles are
        return found.reshape(numbers.shape)
    if numbers.dtype == np.float16 or numbers.size < FEW:
        return np.array([float(str(number)) for number in numbers.reshape(-1)]).reshape(numbers.shape)
    size = np.abs(found)
    # below a power of two the numbers lie closer than above it: which decimals give it back is no matter of nearness
    is_quick = (size >= SMALLEST) & (size < LARGEST) & (np.frexp(size)[0] != 0.5)
    open_ones, slow = np.flatnonzero(is_quick), np.flatnonzero(~is_quick & (size != 0))
    exponent = np.floor(np.log10(size[open_ones])).astype(int)
    exponent += size[open_ones] >= _times_power(np.ones(len(exponent)), exponent + 1)
    exponent -= size[open_ones] < _times_power(np.ones(len(exponent)), exponent)
    wanted = numbers.reshape(-1)
    for digits in DIGITS:
        places = digits - 1 - exponent
        scaled = _times_power(found[open_ones], places)
        whole = np.rint(scaled)
        is_sure = np.abs(np.abs(scaled - whole) - 0.5) > UNSURE
        tried = _times_power(whole, -places)
        fits = tried.astype(np.float32) == wanted[open_ones]
        found[open_ones[fits & is_sure]] = tried[fits & is_sure]
        slow = np.concatenate([slow, open_ones[~is_sure]])
        left = ~fits & is_sure
        open_ones, exponent = open_ones[left], exponent[left]
    for i in np.concatenate([slow, open_ones]):
        found[i] = float(str(wanted[i]))
    return found.reshape(numbers.shape)


def rounded(numbers: np.ndarray, spread, digits: int = 2) -> np.ndarray:
    """Numbers to so many digits of how far such numbers spread, by their shortest decimals: 39.6 of 24 to 73 is 40."""
    spread = np.where(spread == 0, np.maximum(np.abs(numbers), SMALLEST), spread)
    step = 10.0 ** (np.floor(np.log10(spread)) + 1 - digits)
    return shortest(np.float32(np.round(numbers / step) * step)) + 0.0  # of -0.0 nothing is left


def proposed(low, high) -> np.ndarray:
    """One of the numbers between such ends: the middle, but 0 of 0 to 1, which no and yes have as shares do."""
    low, high = np.asarray(low), np.asarray(high)
    return np.where((low == 0) & (high == 1), 0, rounded((low + high) / 2, high - low))


def _times_power(numbers: np.ndarray, power: np.ndarray) -> np.ndarray:
    """Numbers times a power of ten, rounded once: divided by it where it is below one."""
    by = _POWERS[np.abs(power)]
    return np.where(power >= 0, numbers * by, numbers / by)
