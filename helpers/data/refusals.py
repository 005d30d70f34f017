"""Why a request is refused: an error that names each bad field, and what is to be said of it.

What is said of many fields takes a bounded time: so many are named, so many counted, and so many texts compared.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from helpers.wording import did_you_mean, nearest, with_commas

MOST_NAMED = 200  # bad fields that an error names; the rest are counted
MOST_COUNTED = 10_000  # bad fields, after which a request is read no further
MOST_COMPARED = 10_000  # known texts that those of a request are held against, to say which ones they may mean
LONGEST_NAME = 200  # characters of a name that a caller has sent which an error repeats
MOST_SHOWN = 12  # values of a category that an error names

# What is wrong with a field: the words, or what finds them, which is worth its time only for a field that is named.
What = str | Callable[[Callable[[int], bool]], str]


class InvalidRequest(ValueError):
    """Request parameters that do not fit the signature.

    `fields` maps each bad field to what is wrong with it: `{"age": "missing", "agee": "unknown"}`;
    in a list of rows the field is preceded by its row, counted from 0: `{"[3].age": "missing"}`.
    """

    def __init__(self, message: str, fields: Mapping[str, str] | None = None):
        super().__init__(message)
        self.fields = dict(fields or {})


class Named:
    """Fields and what is to be said of each: as many as are worth naming; the others are counted."""

    def __init__(self):
        self.fields: dict[str, str] = {}
        self.count = 0
        self.are_more = False  # than were counted
        self._compared = 0

    def add(self, field: str, what: What) -> None:
        if field not in self.fields:
            self.count += 1
        if len(self.fields) < MOST_NAMED:
            what = what if isinstance(what, str) else what(self._may_compare)
            self.fields[field if len(field) <= LONGEST_NAME else f"{field[:LONGEST_NAME]}…"] = what

    def add_all(self, found: Iterable[tuple[str, What]]) -> bool:
        """Add bad fields and what is wrong with each, until enough are counted; whether there were any."""
        are_any = False
        for field, what in found:
            are_any = True
            if self.count >= MOST_COUNTED:
                self.are_more = True
                break
            self.add(field, what)
        return are_any

    def _may_compare(self, texts: int) -> bool:
        """Whether a text may be held against so many others: each takes some 20 microseconds."""
        is_first = not self._compared
        self._compared += texts
        return is_first or self._compared <= MOST_COMPARED

    def named(self) -> dict[str, str]:
        """The fields, and under "..." how many more there are."""
        more = self.count - len(self.fields)
        return {**self.fields, "...": f"and {self._at_least}{more:,} more"} if more > 0 else self.fields

    def refuse(self) -> None:
        """Raise `InvalidRequest` where there is anything."""
        if not self.count:
            return
        named = ", ".join(f"{field}: {what}" for field, what in list(self.fields.items())[:3])
        more = f" and {self.count - 3:,} more" if self.count > 3 else ""
        count = f"{self._at_least}{self.count:,} bad field{'s' * (self.count > 1)}"
        raise InvalidRequest(f"{count}: {named}{more}", self.fields)

    @property
    def _at_least(self) -> str:
        return "at least " if self.are_more else ""


def choice(known: Sequence[str], text: str, may_compare: Callable[[int], bool], says: str = "must be one of {}") -> str:
    """What is to be said of a text that is none of those known: which there are, and which may be meant."""
    shown = with_commas(known[:MOST_SHOWN]) + (f" or {len(known) - MOST_SHOWN} others" * (len(known) > MOST_SHOWN))
    if not (0 < len(text) <= 100 and may_compare(len(known))):
        return says.format(shown)
    near = nearest(text, known)
    return says.format(shown) + (f"; {did_you_mean(near)}" if near else "")
