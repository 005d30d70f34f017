"""Numbers as people and programs write them: with thousands separators, a sign of money or percent, a minus behind.

A text comes in, its number in plain decimals and the sign that stands beside it go out. A table is read by this; a
request has to write plain decimals, and is told how by this.
"""

from __future__ import annotations

import re

MARKS = {",": "comma", ".": "point"}  # before the fraction, in words
SIGNS = "%‰$€£¥₹₩₽₺₴₦₫฿¢"
_MINUS = str.maketrans({"\u2212": "-", "\u2013": "-"})  # what typesetting writes for it

_PLAIN = re.compile(r"[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?", re.ASCII)
_COMMA = re.compile(r"[+-]?(?:\d+(?:,\d*)?|,\d+)(?:[eE][+-]?\d+)?", re.ASCII)
_GROUPED = {  # a number with thousands separators, by the decimal mark; 12,34,567 as India writes it
    ".": re.compile(
        r"[+-]?(?:[1-9]\d{0,2}(?:[, '\u2019\u00a0\u202f]\d{3})+|[1-9]\d?(?:,\d\d)+,\d{3})(?:\.\d+)?", re.ASCII
    ),
    ",": re.compile(r"[+-]?[1-9]\d{0,2}(?:[. '\u2019\u00a0\u202f]\d{3})+(?:,\d+)?", re.ASCII),
}
_UNIT = re.compile(  # 12.5 kg, CHF 12, US$12
    rf"((?:[A-Z]{{3}}(?=\s)|[A-Z]{{0,2}}[{SIGNS}])?)\s?([+-]?[.,]?\d(?:.*\d)?)\s?((?:[^\W\d_]|[{SIGNS}°])\D*)?"
)
_MULTIPLES = frozenset("k tsd thousand m mn mio million b bn mrd billion lakh crore cr 万 億 亿".split())
_GROUPS = {".": re.compile("[, '\u2019\u00a0\u202f]"), ",": re.compile("[. '\u2019\u00a0\u202f]")}


def is_plain(text: str) -> bool:
    """Whether it is a number in decimals with a point, and nothing else."""
    return _PLAIN.fullmatch(text) is not None


def plain(text: str, decimal: str = ".") -> tuple[str, str] | None:
    """("-1234.5", "$") of "-$1,234.50", of "($1,234.50)" and of "$1,234.50-"; None where it is no number.

    decimal: the mark before the fraction, "." or ",".
    """
    if is_plain(text) and decimal == ".":
        return text, ""
    body, minus = text.strip().translate(_MINUS), ""
    if body.startswith("(") and body.endswith(")"):  # as accounts write it
        body, minus = body[1:-1].strip(), "-"
    elif body.endswith("-"):  # as SAP does
        body, minus = body[:-1].rstrip(), "-"
    if body[:1] in ("+", "-") and body[1:].lstrip()[:1] in SIGNS and not minus:
        body, minus = body[1:].lstrip(), body[0]
    sign = next((end for end in (body[:1], body[-1:]) if end and end in SIGNS), "")
    if sign:
        body = body.removeprefix(sign).lstrip() if body.startswith(sign) else body.removesuffix(sign).rstrip()
    if minus and body[:1] in ("+", "-"):
        return None
    if _GROUPED[decimal].fullmatch(body):
        body = _GROUPS[decimal].sub("", body)
    elif not (_COMMA if decimal == "," else _PLAIN).fullmatch(body):
        return None
    return minus + (body.replace(",", ".") if decimal == "," else body), sign


def abbreviated(text: str) -> str:
    """The "M" of "$1.2M", by which a number is to be multiplied; "" where none stands there."""
    end = with_unit(text) and _UNIT.fullmatch(text)[3] or ""
    return end if end.casefold().rstrip(".") in _MULTIPLES else ""


def with_unit(text: str) -> tuple[str, str] | None:
    """("12.5", "kg") of "12.5 kg", ("12.50", "CHF") of "CHF 12.50"; None where no unit stands beside a number."""
    found = _UNIT.fullmatch(text)
    unit = f"{found[1]}{found[3] or ''}".strip() if found else ""
    return (found[2], unit) if unit and any(plain(found[2], mark) for mark in ".,") else None
