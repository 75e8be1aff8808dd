"""Files of every dialect, written from known interactions, are read as these or refused.

The interactions are never others: not one silent mistake. ``SPARSEREC_DIALECTS=5000`` says how many
files are tried.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from support.interactions import pairs_of

from sparserec_np.data import read
from sparserec_np.errors import InputError
from sparserec_np.vocabulary import canonical

pytest.importorskip("duckdb")

FILES = int(os.environ.get("SPARSEREC_DIALECTS", "200"))
DELIMITERS = (",", "\t", ";", "|", "::", " ", "aligned", ", ")
ENDINGS = (".csv", ".tsv", ".txt", ".dat", ".inter", "")
NAMES = {
    "usual": ("userId", "movieId", "rating", "timestamp", "title"),
    "snake": ("user_id", "item_id", "rating", "timestamp", "title"),
    "RecBole": ("user_id:token", "item_id:token", "rating:float", "timestamp:float", "title:token"),
    "table": ("r.user_id", "r.item_id", "r.rating", "r.time", "m.title"),
    "nouns": ("customer_name", "product_idx", "score", "date", "note"),
    "Neo4j": (":START_ID", ":END_ID", "rating:float", "time", "note"),
    "shouting": ("USER_ID", "ITEM_ID", "RATING", "TIME", "TITLE"),
    "blanks": (" User ID ", " Item ID ", " Rating ", " Time ", " Title "),
    "unusual": ("who", "what", "mark", "when", "words"),
}
WORDS = st.text("abcxyz", min_size=1, max_size=4)
NUMBERS = st.integers(0, 400).map(str)
IDS = {
    "numbers": NUMBERS,
    "floats": NUMBERS.map(lambda n: f"{n}.0"),
    "mixed numbers": st.one_of(NUMBERS, NUMBERS.map(lambda n: f"{n}.0")),
    "patterns": st.integers(0, 400).map(lambda n: f"x{n}"),
    "words": WORDS,
    "with delimiters": st.tuples(WORDS, st.sampled_from(",;|: -"), WORDS).map("".join),
    "with quotes": st.tuples(WORDS, st.just('"'), WORDS).map("".join),
    "accents": st.text("aéüñ", min_size=1, max_size=4),
    "large numbers": st.integers(2**53, 2**63 - 1).map(str),
    "padded": NUMBERS.map(lambda n: f" {n} "),
    "zeros before": NUMBERS.map(lambda n: n.zfill(5)),
}
EXTRAS = {
    "rating": st.sampled_from(["1", "2.5", "5", "3,5", "", "0.5"]),
    "time": st.sampled_from(["978300760", "2020-01-02", "2020-01-02 10:00:00", "13/01/2020", ""]),
    "note": st.sampled_from(
        ["A|B", "a, b", "x::y", "it's", 'say "x"', "a;b", "1,234", "", "plain"]
    ),
}


class Written(NamedTuple):
    """A file, and what is in it."""

    name: str
    content: bytes
    pairs: set[tuple[str, str]]
    options: dict[str, object]


@st.composite
def files(draw: st.DrawFn) -> Written:
    kinds = [draw(st.sampled_from(list(IDS))) for _ in range(2)]
    pair = st.tuples(*(IDS[kind] for kind in kinds))
    pairs = draw(st.lists(pair, min_size=2, max_size=30))
    extras = draw(st.permutations(list(EXTRAS)))[: draw(st.integers(0, 3))]
    order = [0, 1, *(2 + list(EXTRAS).index(extra) for extra in extras)]
    if draw(st.booleans()):
        order = draw(st.permutations(order))
    header = draw(st.sampled_from([None, *NAMES]))
    if order.index(0) > order.index(1) or max(order.index(0), order.index(1)) > 1:
        assume(header not in (None, "unusual"))  # nothing tells which column is which
    delimiter = draw(st.sampled_from(DELIMITERS))
    quoting = draw(st.sampled_from(["needed", "all", "none", "backslash"]))
    values = [(*pair, *(draw(EXTRAS[extra]) for extra in EXTRAS)) for pair in pairs]
    rows = [[row[column] for column in order] for row in values]
    if header is not None:
        rows.insert(0, [NAMES[header][column] for column in order])
        if draw(st.integers(0, 5)) == 0:
            rows.insert(draw(st.integers(1, len(rows))), list(rows[0]))
    quoted = [[quote(value, delimiter, quoting) for value in row] for row in rows]
    assume(all(value is not None for row in quoted for value in row))
    lines = join(quoted, delimiter)
    lines = draw(st.sampled_from([[], [], [], ["# from the shop"], ["Ratings of 2020"]])) + lines
    end = draw(st.sampled_from(["\n", "\r\n", "\r", "mixed"]))
    ends = ["\n\r"[n % 2] if end == "mixed" else end for n in range(len(lines))]
    ends = ["\r\n" if e == "\r" and end == "mixed" else e for e in ends]
    text = "".join(map("".join, zip(lines, ends, strict=True)))
    text = text if draw(st.booleans()) else text.removesuffix(ends[-1])
    encoding = draw(st.sampled_from(["utf-8", "utf-8", "utf-8-sig", "utf-16", "latin-1"]))
    options: dict[str, object] = {}
    if encoding == "latin-1" and draw(st.booleans()):
        options["encoding"] = "latin-1"
    if draw(st.integers(0, 3)) == 0 and delimiter not in ("aligned", ", "):
        options["delimiter"] = delimiter
    if draw(st.integers(0, 3)) == 0 and lines[0][:1] not in ("#", "R"):
        options["header"] = header is not None
    options["with_times"] = draw(st.sampled_from([False, None]))
    name = "a" + draw(st.sampled_from(ENDINGS))
    return Written(name, text.encode(encoding), set(pairs), options)


def quote(value: str, delimiter: str, how: str) -> str | None:
    """Write a value; None where the dialect cannot."""
    needs = '"' in value or (delimiter.strip(" ") in value and delimiter.strip(" ") != "")
    needs = needs or (delimiter in (" ", "aligned") and (" " in value or value == ""))
    if delimiter in ("::", "aligned") or how == "none":
        # Without quotes a value with a quote is itself, where it does not begin or end with one.
        breaks = delimiter != "::" and value.startswith('"')
        return None if (needs and not ('"' in value and delimiter == "\t")) or breaks else value
    if how == "needed" and not needs:
        return value
    return '"' + value.replace('"', '\\"' if how == "backslash" else '""') + '"'


def join(rows: list[list[str]], delimiter: str) -> list[str]:
    if delimiter != "aligned":
        return [delimiter.join(row) for row in rows]
    widths = [max(map(len, column)) + 2 for column in zip(*rows, strict=True)]
    padded = ([v.ljust(w) for v, w in zip(row, widths, strict=True)] for row in rows)
    return ["".join(row).rstrip() for row in padded]


@settings(
    deadline=None,
    max_examples=FILES,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
@given(written=files())
def test_a_file_is_read_exactly_or_refused(
    tmp_path_factory: pytest.TempPathFactory, written: Written
) -> None:
    path: Path = tmp_path_factory.getbasetemp() / written.name
    path.write_bytes(written.content)
    try:
        found = read(path, **written.options)
    except InputError as error:
        assert "\n" not in str(error)
        return
    expected = {(canonical(user), canonical(item)) for user, item in written.pairs}
    assert {(str(user), str(item)) for user, item in pairs_of(found)} == expected
