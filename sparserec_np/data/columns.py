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

# Parts of a name that say no more than that it is one of an id.
_ID_WORDS = set(_words("id ids idx index key code no nr num number name hash fk sk uuid guid"))
# Ends of the edges of a graph, as Neo4j names them.
_GRAPH = {"startid": "user", "endid": "item"}

# In a column without a name, numbers from here on (in seconds: March 1973) are times; ratings,
# scores and play counts stay below.
_EARLIEST_SECONDS = 1e8
# Rows that tell a column of few values from one that happens to have few.
_ENOUGH = 20


@dataclass(frozen=True)
class ColumnOptions:
    """Columns that the caller asks for: a name, a position counted from 1, or None.

    Ratings and times may be ``"none"``: there is no such column.
    """

    user: str | None = None
    item: str | None = None
    rating: str | None = None
    time: str | None = None

    def names(self) -> list[str]:
        """Return the names among them."""
        asked = (self.user, self.item, self.rating, self.time)
        return [name for name in asked if name and not name.isdecimal() and name != "none"]

    def usual(self, name: str) -> str | None:
        """Return the role that a column of this name usually has, or None."""
        return usual_role(name)

    def named(self, names: Sequence[str]) -> bool:
        """Return True if some names are those of users and of items."""
        return {"user", "item"} <= {self.usual(name) for name in names}

    def choose(
        self,
        source: str,
        names: Sequence[str] | None,
        width: int,
        sample: Sequence[Sequence[str]] = (),
    ) -> ColumnIndices:
        """Find the columns; see :func:`choose_columns`."""
        return choose_columns(source, names, width, self, sample)


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
    for form in (_plain(name), _core(name)):
        for role, names in USUAL_NAMES.items():
            if form in names:
                return role
    return _GRAPH.get(_core(name, ids=True))


def same_name(one: str, other: str) -> bool:
    """Return True if two names of columns are the same but for case and punctuation."""
    return _plain(one) == _plain(other)


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
        InputError: A column that was asked for is not there, user or item cannot be told, both are
            one, or the values deny what the position says.
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
        if asked is not None and not _is_none(role, asked):
            chosen[role] = asked_column(source, names, width, asked, role)
    for role in USUAL_NAMES:
        if role in chosen or _is_none(role, getattr(options, role)):
            continue
        found = _usual_column(source, names or (), role, set(chosen.values()))
        if found is not None:
            chosen[role] = found
    by_position = _fill_by_position(names, width, sample, chosen, options)
    for role in ("user", "item"):
        if role not in chosen:
            raise InputError(
                f"{source}: cannot tell which column holds the {role}s; {_listing(names, width)}. "
                f"Name it with --{role}-col ({role}_col= in Python)"
            )
    if chosen["user"] == chosen["item"]:
        raise InputError(f"{source}: the same column was asked for as user and as item")
    for role in by_position:
        _check_ids(source, role, chosen[role], sample)
    return ColumnIndices(**chosen)


def _is_none(role: str, asked: str | None) -> bool:
    return role in ("rating", "time") and asked is not None and asked.casefold() == "none"


def _plain(name: str) -> str:
    return re.sub(r"[\s_\-.\"'#\ufeff]+", "", name).casefold()


def _core(name: str, *, ids: bool = False) -> str:
    """Return the noun in a decorated name: ``user`` of ``t.user_id:token``, ``:ID(User)``...

    Args:
        name: The name.
        ids: Keep the words that say no more than that it is an id.
    """
    name = re.sub(r"\(.*\)", "", name).strip(" \"'#\ufeff").strip(":")
    name = name.split(":")[0].rsplit(".", 1)[-1]
    words = [w.lower() for w in re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|[^\W_A-Za-z]+", name)]
    if not ids:
        words = [word for word in words if word not in _ID_WORDS]
    return "".join(words)


def _listing(names: Sequence[str] | None, width: int) -> str:
    if not names:
        return f"it has {width} columns and no header, so count them from 1"
    return "its columns are: " + ", ".join(names)


def asked_column(
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


def _usual_column(source: str, names: Sequence[str], role: str, taken: set[int]) -> int | None:
    """Find the column of a role by its exact name, else by the noun in its name."""
    forms = [(_plain(name), _core(name)) for name in names]
    for column in (0, 1):
        for usual in USUAL_NAMES[role]:
            hits = [i for i, form in enumerate(forms) if form[column] == usual and i not in taken]
            if len(hits) > 1 and role in ("user", "item"):
                raise InputError(
                    f"{source}: several columns may hold the {role}s: "
                    f"{', '.join(names[hit] for hit in hits)}. Say which by its number: "
                    f"--{role}-col {hits[0] + 1} ({role}_col= in Python)"
                )
            if hits:
                return hits[0]
    graph = [i for i, name in enumerate(names) if _GRAPH.get(_core(name, ids=True)) == role]
    return graph[0] if len(graph) == 1 else None


def _fill_by_position(
    names: Sequence[str] | None,
    width: int,
    sample: Sequence[Sequence[str]],
    chosen: dict[str, int],
    options: ColumnOptions,
) -> list[str]:
    """Fill open roles from the left: user, item, then rating and time by their values.

    With names, only where there is no other column that user or item could be.

    Returns:
        Those of user and item that were filled.
    """
    if names and all(name.isdecimal() for name in names):
        names = None  # a frame's numbers
    left = [
        index
        for index in range(width)
        if index not in chosen.values()
        and not (names and (usual_role(names[index]) or not _plain(names[index])))
    ]
    open_roles = [role for role in ("user", "item") if role not in chosen]
    if width > 4 or (names and len(left) != len(open_roles)):
        return []
    filled = [role for role, _ in zip(open_roles, left, strict=False)]
    for role in filled:
        chosen[role] = left.pop(0)
    if open_roles:
        for index in left:
            seen = _role_of_values([row[index] for row in sample if index < len(row)])
            if seen and seen not in chosen and not _is_none(seen, getattr(options, seen)):
                chosen[seen] = index
    return filled


def _check_ids(source: str, role: str, index: int, sample: Sequence[Sequence[str]]) -> None:
    """Check that a column, chosen by its position, does not look like times or ratings.

    Raises:
        InputError: It does.
    """
    values = [row[index].strip() for row in sample if index < len(row)]
    others = range(max(map(len, sample), default=0))
    distinct = [len({row[i] for row in sample if i < len(row)}) for i in others]
    later = sum(n > 2 * distinct[index] for n in distinct[index + 1 :])
    in_order = values == sorted(values, key=lambda value: (len(value), value))
    few = (
        len(values) >= _ENOUGH
        and all(re.fullmatch(r"10|[0-9]", value) for value in values)
        # Of few users, in no order, two more columns of many values would be items and what?
        and (later > 0 if role == "item" else later > 1 and not in_order)
    )
    looks = None
    if sum(map(_is_moment, values)) * 2 > len(values):
        looks = "times"
    elif few or any(re.fullmatch(r"\d+[.,]0*[1-9]\d*", value) for value in values):
        looks = "ratings"
    if looks:
        raise InputError(
            f"{source}: column {index + 1}, where {role}s are expected, looks like {looks} (such "
            f"as {values[0]!r}). Name the columns with --user-col and --item-col (user_col=, "
            "item_col= in Python)"
        )


def _is_moment(value: str) -> bool:
    """Return True for a date, or for seconds or milliseconds of 1990 to 2040."""
    if re.fullmatch(r"\d{9,10}(\.0+)?|\d{12,13}", value):
        number = float(value)
        return 6.3e8 <= (number / 1000 if number > 1e11 else number) <= 2.21e9
    return re.match(r"\d{4}-\d\d?-\d\d?|\d\d?[./-]\d\d?[./-]\d{4}", value) is not None


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
            return "time" if _is_moment(value.strip()) else None
        return "time"
    if not isfinite(number):
        return None
    return "time" if number >= _EARLIEST_SECONDS else "rating"
