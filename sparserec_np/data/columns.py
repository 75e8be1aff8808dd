"""The choice of the columns that hold users, items, ratings and times."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from math import isfinite

from sparserec_np.data.read_report import Columns
from sparserec_np.errors import InputError


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


# In lower case, without blanks and punctuation; of several in a file the first here is chosen.
USUAL_NAMES = {
    "user": _words(
        "userid user uid users reviewerid customerid memberid visitorid accountid profileid "
        "buyerid personid clientid playerid listenerid readerid reviewer customer member visitor "
        "account username sessionid session"
    ),
    "item": _words(
        "itemid item iid items movieid productid asin parentasin artistid businessid bookid isbn "
        "trackid songid articleid gameid appid recipeid beerid venueid locationid poiid placeid "
        "contentid videoid newsid goodsid animeid restaurantid hotelid listingid courseid sku "
        "movie product artist business book track song article game recipe venue location place "
        "content video anime restaurant hotel listing course"
    ),
    "rating": _words(
        "rating ratings score stars star overall bookrating reviewrating userrating preference "
        "weight playcount plays count"
    ),
    "time": _words(
        "timestamp time ts datetime date unixreviewtime reviewtime unixtime eventtime createdat "
        "ratedat reviewdate timestampms"
    ),
}

# In a column without a name, numbers from here on (in seconds: March 1973) are times; ratings,
# scores and play counts stay below.
_EARLIEST_SECONDS = 1e8


@dataclass(frozen=True)
class ColumnOptions:
    """Columns that the caller asks for: a name, a position counted from 1, or None."""

    user: str | None = None
    item: str | None = None
    rating: str | None = None
    time: str | None = None


@dataclass(frozen=True)
class ColumnIndices:
    """Positions of the columns that are read, from 0."""

    user: int
    item: int
    rating: int | None = None
    time: int | None = None

    def named(self, names: Sequence[str] | None) -> Columns:
        """Return the names of the columns; ``names`` is None where there is no header."""

        def name(index: int) -> str:
            return names[index] if names else f"column {index + 1}"

        optional = (None if i is None else name(i) for i in (self.rating, self.time))
        return Columns(name(self.user), name(self.item), *optional)


def usual_role(name: str) -> str | None:
    """Return the role that a column of this name usually has, or None."""
    plain = _plain(name)
    return next((role for role, names in USUAL_NAMES.items() if plain in names), None)


def choose_columns(
    source: str,
    names: Sequence[str] | None,
    width: int,
    options: ColumnOptions,
    sample: Sequence[Sequence[str]] = (),
) -> ColumnIndices:
    """Find the columns: by option, then by usual name, then by position.

    Args:
        source: Name of the file or frame, for messages.
        names: Names of the columns, or None where there is no header.
        width: Number of columns.
        options: Columns that the caller asks for.
        sample: Some rows as text, to tell ratings from times where names do not.

    Returns:
        The positions.

    Raises:
        InputError: A column that was asked for is not there, user or item cannot be told, or both
            are one.
    """
    if width < 2:
        only = f" ({names[0]!r})" if names else ""
        raise InputError(
            f"{source} has one column{only}, but an interaction needs a user and an item: "
            "separate the columns by comma, tab, semicolon, | or ::"
        )
    chosen: dict[str, int] = {}
    for role in USUAL_NAMES:
        asked = getattr(options, role)
        if asked is not None:
            chosen[role] = _asked_column(source, names, width, asked, role)
    for role in USUAL_NAMES:
        found = _usual_column(names or (), role)
        if role not in chosen and found is not None and found not in chosen.values():
            chosen[role] = found
    _fill_by_position(names, width, sample, chosen)
    for role in ("user", "item"):
        if role not in chosen:
            raise InputError(
                f"{source}: cannot tell which column holds the {role}s; {_listing(names, width)}. "
                f"Name it with --{role}-col ({role}_col= in Python)"
            )
    if chosen["user"] == chosen["item"]:
        raise InputError(f"{source}: the same column was asked for as user and as item")
    return ColumnIndices(**chosen)


def _plain(name: str) -> str:
    return re.sub(r"[\s_\-.]+", "", name).casefold()


def _listing(names: Sequence[str] | None, width: int) -> str:
    if not names:
        return f"it has {width} columns and no header, so count them from 1"
    return "its columns are: " + ", ".join(names)


def _asked_column(
    source: str, names: Sequence[str] | None, width: int, asked: str, role: str
) -> int:
    """Find a column by exact name, by name without case and punctuation, or by position."""
    for match in (str, _plain):
        hits = [i for i, name in enumerate(names or ()) if match(name) == match(asked)]
        if hits:
            return hits[0]
    if asked.isdecimal() and 1 <= int(asked) <= width:
        return int(asked) - 1
    raise InputError(
        f"{source} has no column {asked!r} (asked for as {role}); {_listing(names, width)}"
    )


def _usual_column(names: Sequence[str], role: str) -> int | None:
    plain = [_plain(name) for name in names]
    return next((plain.index(usual) for usual in USUAL_NAMES[role] if usual in plain), None)


def _fill_by_position(
    names: Sequence[str] | None,
    width: int,
    sample: Sequence[Sequence[str]],
    chosen: dict[str, int],
) -> None:
    """Fill open roles from the left: user, item, then rating and time by their values."""
    left = [
        index
        for index in range(width)
        if index not in chosen.values() and not (names and usual_role(names[index]))
    ]
    open_roles = [role for role in ("user", "item") if role not in chosen]
    if width > 4 or (len(open_roles) == 1 and len(left) != 1 and names):
        return
    for role in open_roles:
        if left:
            chosen[role] = left.pop(0)
    if open_roles:
        for index in left:
            seen = _role_of_values([row[index] for row in sample if index < len(row)])
            if seen is not None and seen not in chosen:
                chosen[seen] = index


def _role_of_values(values: Sequence[str]) -> str | None:
    """Return ``"rating"`` or ``"time"``, whichever most values look like, or None."""
    votes = [_role_of_value(value) for value in values]
    for role in ("rating", "time"):
        if votes.count(role) * 2 > len(votes):
            return role
    return None


def _role_of_value(value: str) -> str | None:
    try:
        number = float(value.replace(",", "."))
    except ValueError:
        try:
            datetime.fromisoformat(value.strip())
        except ValueError:
            return None
        return "time"
    if not isfinite(number):
        return None
    return "time" if number >= _EARLIEST_SECONDS else "rating"
