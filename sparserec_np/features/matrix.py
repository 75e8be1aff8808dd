"""Features as a sparse matrix: categories, numbers in bins, words; made by scikit-learn."""

from __future__ import annotations

import re
import warnings
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix, hstack

from sparserec_np.errors import InputError, missing_extra
from sparserec_np.features.item_features import ItemFeatures
from sparserec_np.utils.log import logger

_log = logger(__name__)

MOST_FEATURES = 2048
"""Columns of the matrix, about: the most frequent ones are kept."""

_BINS = 10
_FEW_NUMBERS = 20  # different numbers of a column, at most, that are categories
_MOSTLY = 0.9  # share of numbers from which on a column is one of numbers
_REPEATS = 5  # mean number of items of a category, at least
_SEPARATORS = ("|", ";", ",")
_CODE = re.compile(r"(id|code|category|cat|class)s?$", re.IGNORECASE)
_YEAR = re.compile(r"\b(1[89]|20)(\d)(\d)\b")


class _Column(NamedTuple):
    """A column as tokens."""

    kind: str
    """How it was understood, for messages."""
    tokens: list[list[str]]
    """Tokens of each item."""


def feature_matrix(features: ItemFeatures, known: NDArray[np.bool_]) -> csr_matrix:
    """Make a matrix of features; which ones there are is learned from known items.

    Each column of the features is a block of TF-IDF values whose rows have length 1; the last
    column of the matrix is 1 everywhere. Features of a single known item are left out. Memory is
    ``O(tokens)``.

    Args:
        features: Features of n items.
        known: Items that the model knows, bool array of shape [n].

    Returns:
        float32 matrix of shape [n, p].

    Raises:
        InputError: A column of numbers holds text, or no column tells items apart.
        MissingExtraError: scikit-learn is not installed.
    """
    try:
        from sklearn.feature_extraction.text import TfidfVectorizer
    except ImportError as error:
        raise missing_extra("scikit-learn", "train", "learning from item features") from error
    rows = np.flatnonzero(known)
    blocks, useless = [], []
    for name, cells in features.columns.items():
        column = _as_tokens(name, cells)
        if not any(column.tokens):
            useless.append(f"{name!r} has no value")
            continue
        vectorizer = TfidfVectorizer(
            analyzer=_same,
            min_df=min(2, len(rows)),
            max_features=max(MOST_FEATURES // len(features.columns), 1),
            sublinear_tf=True,
            dtype=np.float32,
        )
        try:
            fitted = vectorizer.fit_transform([column.tokens[row] for row in rows])
        except ValueError:  # no feature is left
            useless.append(f"{name!r} has a value of its own for each item that the model knows")
            continue
        if fitted.shape[1] == 1 and fitted.nnz == len(rows):
            useless.append(f"{name!r} is the same everywhere")
            continue
        _log.info("item features: %s: %s, %s of them", name, column.kind, f"{fitted.shape[1]:,}")
        blocks.append(vectorizer.transform(column.tokens))
    if not blocks:
        why = "; ".join(useless) or "there is no column but the ids"
        raise InputError(f"the item features do not tell items apart: {why}")
    for reason in useless:
        _log.warning("item features: the column %s, and is left out", reason)
    ones = csr_matrix(np.ones((len(known), 1), np.float32))
    return hstack([*blocks, ones], format="csr", dtype=np.float32)


def _same(tokens: list[str]) -> list[str]:
    """Return the tokens of an item, which are made beforehand."""
    return tokens


def _as_tokens(name: str, cells: Sequence[Any]) -> _Column:
    """Understand a column."""
    there = [cell for cell in cells if cell is not None]
    if any(isinstance(cell, list) for cell in there):
        return _Column("categories", [_listed(cell) for cell in cells])
    numbers = [_number(cell) for cell in cells]
    n_numbers = len(numbers) - numbers.count(None)
    if n_numbers and n_numbers >= _MOSTLY * len(there):
        if n_numbers < len(there):
            wrong = next(
                c for c, n in zip(cells, numbers, strict=True) if n is None and c is not None
            )
            raise InputError(
                f"item features: the column {name!r} has numbers, but {wrong!r} is none (and "
                f"{len(there) - n_numbers - 1:,} more): correct or empty such cells, or leave the "
                "column out by naming the others"
            )
        return _from_numbers(name, cells, numbers)
    texts = ["" if cell is None else str(cell) for cell in cells]
    for separator in _SEPARATORS:
        parts = [[p.strip() for p in text.split(separator) if p.strip()] for text in texts]
        split = sum(len(some) > 1 for some in parts)
        if split * _BINS >= len(there) and _repeat(parts):
            return _Column(f"categories separated by {separator!r}", parts)
    whole = [[text] if text else [] for text in texts]
    if _repeat(whole):
        return _Column("categories", whole)
    return _Column("words", [_words(text) for text in texts])


def _listed(cell: Any) -> list[str]:
    return [] if cell is None else cell if isinstance(cell, list) else [str(cell)]


def _repeat(parts: list[list[str]]) -> bool:
    """Tell whether values occur often enough to be categories."""
    every = [part for some in parts for part in some]
    return len(every) >= _REPEATS * len(set(every))


def _words(text: str) -> list[str]:
    """Return the words of a text; years with their decade and the years beside them."""
    years = [
        token
        for century, decade, year in _YEAR.findall(text)
        for token in (
            f"{century}{decade}0s",
            *(f"about {int(century + decade + year) + step}" for step in (-1, 0, 1)),
        )
    ]
    return [word for word in re.findall(r"\w+", text.casefold()) if len(word) > 1] + years


def _number(cell: Any) -> float | None:
    """Return the number of a cell, or None; infinities are none."""
    try:
        number = float(cell)
    except (TypeError, ValueError):
        return None
    return number if np.isfinite(number) and "_" not in str(cell) else None


def _from_numbers(name: str, cells: Sequence[Any], numbers: list[float | None]) -> _Column:
    """Make tokens of numbers: of each value if these are few or codes, else of bins.

    A number is in its bin and in two of double width that overlap it, so that near ones are alike.
    """
    there = [row for row, number in enumerate(numbers) if number is not None]
    values = np.array([numbers[row] for row in there])
    distinct = np.unique(values)
    tokens: list[list[str]] = [[] for _ in numbers]
    if len(distinct) <= _FEW_NUMBERS or _CODE.search(name):
        yes_or_no = set(distinct.tolist()) == {0.0, 1.0}
        for row, value in zip(there, values.tolist(), strict=True):
            if value or not yes_or_no:
                tokens[row] = [repr(value)]
        return _Column("yes or no" if yes_or_no else "categories", tokens)
    from sklearn.preprocessing import KBinsDiscretizer

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of bins that fall together, and of defaults to come
        bins = KBinsDiscretizer(_BINS, encode="ordinal", strategy="quantile", subsample=None)
        binned = bins.fit_transform(values[:, None])[:, 0].astype(int).tolist()
    for row, at in zip(there, binned, strict=True):
        tokens[row] = [f"{at}", f"{at - 1} to {at}", f"{at} to {at + 1}"]
    return _Column(f"numbers in {len(set(binned))} bins", tokens)
