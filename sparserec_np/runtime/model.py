"""The light runtime: load a model file and recommend, with numpy alone.

>>> import sparserec_np                                       # doctest: +SKIP
>>> model = sparserec_np.load("movies.srec")                  # doctest: +SKIP
>>> ids, scores = model.recommend(history=[1, 260], k=10)     # doctest: +SKIP

A request costs the weights that it touches, not items x dim. Scores are exact: what the file
holds, summed in float64 in the fixed order of ``FORMAT.md``.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from sparserec_np.errors import InputError, UnknownIdError
from sparserec_np.modelfile.layout import Layout, UsersLayout
from sparserec_np.modelfile.reader import ModelFile, open_model
from sparserec_np.runtime.history import (
    NO_ITEMS,
    History,
    take_history,
    warn_unknown,
    with_dislikes,
)
from sparserec_np.runtime.item_index import ItemIndex, Query, sum_by
from sparserec_np.runtime.neighbours import NOTHING, Additions, NeighbourIndex
from sparserec_np.runtime.results import Recommendation, html_row
from sparserec_np.runtime.signed_power import signed_power, signed_power_ratio
from sparserec_np.runtime.taste import checked_taste, diversify
from sparserec_np.runtime.titles import Title, find_titles, folded_title
from sparserec_np.runtime.top_k import top_k
from sparserec_np.vocabulary import Id, Ids, IdSequence, StrIds, listed

if TYPE_CHECKING:
    import numpy.typing as npt

    from sparserec_np.modelfile.arrays import Neighbours, Table
    from sparserec_np.runtime.item_index import FloatArray, IntArray
    from sparserec_np.runtime.sparse_rows import GatheredRows

_LISTED = 8  # titles in a message


class Explanation(NamedTuple):
    """A score taken apart: ``score == bias + sum of all shares``, up to rounding in float64."""

    score: float
    bias: float
    parts: list[tuple[Any, float]]
    """``(id, share)`` for each known item of the history, or ``(dimension, share)`` for a user of
    an embedding model; largest share first, equal ones in the order of the ids."""


def load(
    source: str | os.PathLike[str] | bytes, *, verify: bool = False, copy: bool = False
) -> Model:
    """Open a model.

    The file is mapped: processes share its pages. Its header is always checked, the rest when used.
    Put a new model in its place by renaming it over the old one, as ``save`` and ``fit`` do: a
    mapped file that is overwritten or cut in place ends the process (SIGBUS) at the next request.

    Args:
        source: Path of a model file, or its bytes.
        verify: Read the whole file, compare its checksum, and check every part, too.
        copy: Read the file into memory instead of mapping it. Whatever happens to it then, the
            model stays as it is; each process has its own copy.

    Returns:
        The model.

    Raises:
        ModelFileError: The file is missing, damaged, or of an unknown version.
        InputError: ``source`` is neither a path nor bytes.
    """
    return Model(open_model(checked_source(source), verify=verify, copy=copy))


def checked_source(source: Any) -> str | os.PathLike[str] | bytes:
    """Return the source of a model as :func:`open_model` takes it.

    Raises:
        InputError: It is neither a path nor bytes.
    """
    if isinstance(source, (bytearray, memoryview)):
        return bytes(source)
    if not isinstance(source, (str, bytes, os.PathLike)):
        raise InputError(
            f"a model is loaded from a path or from bytes, not from a {type(source).__name__}"
        )
    if isinstance(source, str) and "\0" in source:
        raise InputError(f"the path {source!r} holds a NUL character, and no file has such a name")
    return source


class Model:
    """A model to ask for recommendations. Thread-safe; nothing ever changes the file.

    Args:
        file: The opened file; see :func:`load`.
    """

    def __init__(self, file: ModelFile) -> None:
        self._file = file

    def __getstate__(self) -> bytes:
        """Return the bytes of the file: a model is copied and pickled by them."""
        return self._file.to_bytes()

    def __setstate__(self, data: bytes) -> None:
        self._file = open_model(data)

    def __len__(self) -> int:
        """The number of items."""
        return self._file.layout.items.n_rows

    def _facts(self) -> dict[str, str]:
        layout = self._file.layout
        titles = "no titles" if layout.labels is None else "titles"
        return {
            "users": f"{layout.users} model",
            "items": f"{len(self):,} with {titles}",
            "size": f"{self._file.size:,} bytes, {self.dim:,} dimensions",
        }

    def __repr__(self) -> str:
        kind, items, size = self._facts().values()
        return f"<sparserec_np.Model: {kind}, {items}, {size}>".replace(" with", " items with")

    def _repr_html_(self) -> str:
        return f"<table>{''.join(html_row(row) for row in self._facts().items())}</table>"

    @property
    def users(self) -> str:
        """The user model: ``"history"`` or ``"embedding"``."""
        return self._file.layout.users

    @property
    def dim(self) -> int:
        """Columns of the tables."""
        return self._file.layout.items.dim

    @cached_property
    def item_ids(self) -> Ids:
        """Ids of the items; an item's index is its position here."""
        return self._file.item_ids()

    @cached_property
    def user_ids(self) -> Ids | None:
        """Ids of the users; None for a history model."""
        return self._file.user_ids()

    @property
    def item_bias(self) -> npt.NDArray[np.float32]:
        """Item biases, float32 array of shape [n_items]."""
        return self._items.bias

    @property
    def history_weights(self) -> npt.NDArray[np.float32] | None:
        """History weights, float32 array of shape [n_items], made anew; None if all are 1."""
        return self._file.history_weights()

    @property
    def history_exponent(self) -> float:
        """The ``alpha`` of a history model; 0 for an embedding model."""
        side = self._file.layout.user_side
        return 0.0 if isinstance(side, UsersLayout) else side.exponent

    @property
    def history_power(self) -> float:
        """The ``p`` of a history model, a multiple of 1/8; 1 for an embedding model."""
        side = self._file.layout.user_side
        return 1.0 if isinstance(side, UsersLayout) else side.power

    @property
    def history_recency(self) -> float:
        """The ``e`` of a history model, a multiple of 1/8 from 0 to 1; 0: order means nothing."""
        side = self._file.layout.user_side
        return 0.0 if isinstance(side, UsersLayout) else side.recency

    def neighbours(self) -> Neighbours | None:
        """Decode what the items of a history add to the scores of others; None if nothing."""
        return self._file.neighbours()

    def items_table(self) -> Table:
        """Decode the item rows: a table of n_items rows, its values float32."""
        return self._file.item_table()

    def users_table(self) -> Table:
        """Decode the user rows of an embedding model: a table of n_users rows.

        Raises:
            InputError: It is a history model.
        """
        if self.users == "history":
            raise InputError("a history model has no user rows")
        return self._file.user_table()

    def recommend(
        self,
        user: Id | IdSequence | None = None,
        history: IdSequence | None = None,
        k: int = 10,
        exclude: IdSequence | None = None,
        candidates: IdSequence | None = None,
        *,
        popularity: float = 1.0,
        diversity: float = 0.0,
        recency: float | None = None,
        dislikes: IdSequence | None = None,
    ) -> Recommendation:
        """Find the best items for a user.

        Args:
            user: Id of a user of an embedding model. A history may stand here, too.
            history: Items that a user of a history model has, the latest last: known ones count,
                each once, unknown ones are ignored as long as one is known, with an
                :class:`UnknownIdWarning`. The order matters only to a model whose
                ``history_recency`` is above 0.
            k: How many items, at most.
            exclude: Items to leave out. None leaves out the history; a list leaves out exactly
                its items, so ``[]`` lets items of the history come back. An embedding model does
                not know which items a user has: pass them here.
            candidates: Rank these items alone. Unknown ones are ignored, with a warning, and in
                ``exclude`` without one.
            popularity: Factor of what is popular with everybody, the item biases: 1 as learned, 0
                not at all. Less shows rarer items, and finds a little less.
            diversity: From 0, the best items, to 1, items as unlike each other as can be; see
                :func:`sparserec_np.runtime.taste.diversify`.
            recency: How fast the items of a history lose weight with age, a multiple of 1/8 from 0,
                not at all, to 1; None: as learned (``history_recency``).
            dislikes: Items not to be recommended, nor what is like them. They are no part of the
                history, even where they are listed there; unknown ones are ignored, with a warning.

        Returns:
            Ids, best first, equal scores in the order of the ids, and float32 scores. Fewer than
            ``k`` where not so many are left. With diversity in the order of choice, so that scores
            need not fall.

        Raises:
            UnknownIdError: The user, or every item of the history, is unknown.
            InputError: ``user`` where the model needs a ``history`` or the other way round, an
                empty history, ids that are no list or of another type than the model's, ``k``
                below 1, or a wish that is out of its range.
            ModelFileError: The file turns out to be damaged.
        """
        _check_k(k)
        taste = checked_taste(popularity, diversity, recency, self.users)
        user, history = self._as_history(user, history)
        known = self._known_history(user, history, taste.recency, dislikes)
        excluded = known.items
        if exclude is not None:
            excluded = np.concatenate((known.disliked(), self._located(exclude, "exclude")))
        if candidates is not None:
            others = np.ones(len(self.item_ids), dtype=np.bool_)
            others[self._located(candidates, "candidates")] = False
            excluded = np.concatenate((excluded, np.flatnonzero(others)))
        n_ranked = taste.n_ranked(int(k), len(self.item_ids))
        best, scores = self._best(user, known, excluded, n_ranked, taste.popularity)
        if taste.diversity:
            best, scores = self._diversify(best, scores, int(k), taste.diversity)
        return self._result(best, scores)

    def recommend_batch(
        self,
        users: IdSequence | None = None,
        histories: Sequence[IdSequence] | None = None,
        k: int = 10,
        exclude: Sequence[IdSequence | None] | None = None,
        *,
        skip_unknown: bool = False,
        **wishes: Any,
    ) -> list[Recommendation]:
        """Recommend for many users, one after the other.

        Args:
            users: Ids of users of an embedding model; for a history model the histories may stand
                here.
            histories: Or one history for each user of a history model.
            k: How many items a user, at most.
            exclude: For each user what :meth:`recommend` takes.
            skip_unknown: Return nothing for a user who is unknown, or whose history is empty or
                unknown, rather than raise an error.
            wishes: ``popularity``, ``diversity``, ``recency``, ``dislikes`` and ``candidates`` of
                :meth:`recommend`, the same for all.

        Returns:
            A list with what :meth:`recommend` returns for each.

        Raises:
            UnknownIdError: A user, or every item of a history, is unknown; the message says which.
            InputError: As :meth:`recommend`, or the lists differ in length.
        """
        if users is not None and histories is None and self.users == "history":
            users, histories = None, users
        requests = users if users is not None else histories
        if requests is None or (users is not None and histories is not None):
            raise InputError("give users (embedding model) or histories (history model)")
        excluded = [None] * len(requests) if exclude is None else exclude
        if len(excluded) != len(requests):
            raise InputError(f"{len(excluded)} lists to exclude for {len(requests)} users")
        name = "user" if users is not None else "history"
        found: list[Recommendation] = []
        for number, (request, skip) in enumerate(zip(requests, excluded, strict=True)):
            try:
                found.append(self.recommend(**{name: request}, k=k, exclude=skip, **wishes))
            except UnknownIdError as error:
                if not skip_unknown:
                    raise UnknownIdError(f"{name} {number} of {len(requests)}: {error}") from None
                found.append(self._result(NO_ITEMS, np.empty(0)))
        return found

    def similar_items(self, item: Id, k: int = 10) -> Recommendation:
        """Find the items whose rows point the same way and, with neighbours, that go together.

        Args:
            item: Id of an item.
            k: How many items, at most.

        Returns:
            Ids, most similar first, and the cosines of their rows with the item's, float32; where
            the model has neighbours, the mean of the cosine and of what the two add to each other,
            relative to the most that any does. Only items where it is positive, without the item
            itself.

        Raises:
            UnknownIdError: The item is unknown.
            InputError: ``k`` is below 1.
        """
        _check_k(k)
        index = _index(self.item_ids, item, "item")
        rows = self._items.rows(np.array([index]))
        vector = sum_by(rows.dims, rows.values, self.dim)
        lengths = self._items.lengths
        products = lengths * lengths[index]
        dots = self._items.dots(vector)
        cosines = np.divide(dots, products, out=np.zeros_like(dots), where=products > 0)
        if self._neighbours is not None:
            cosines += self._neighbours.both_ways(index)
            cosines /= 2
        cosines[cosines <= 0] = -np.inf
        cosines[index] = -np.inf
        best = top_k(cosines, min(k, len(cosines)))
        return self._result(best, cosines[best])

    def explain(
        self,
        item: Id,
        user: Id | IdSequence | None = None,
        history: IdSequence | None = None,
        *,
        popularity: float = 1.0,
        recency: float | None = None,
        dislikes: IdSequence | None = None,
    ) -> Explanation:
        """Take the score of an item apart.

        For a history model each known item ``j`` has the share ``L^-alpha`` times the sum over
        ``d`` of ``w_j r_j v_jd v_id z_d / y_d`` (``FORMAT.md``, "Scores"), and, where there are
        neighbours, ``r_j B_ji``; for an embedding model
        each dimension ``d`` of both has ``x_ud v_id``. Bias and shares sum to the score.

        Args:
            item: Id of the item that was, or might be, recommended.
            user: As for :meth:`recommend`.
            history: As for :meth:`recommend`.
            popularity: As for :meth:`recommend`; the bias is multiplied by it.
            recency: As for :meth:`recommend`.
            dislikes: As for :meth:`recommend`; these have shares, too, most of them below 0.

        Returns:
            The score and what it is made of.

        Raises:
            UnknownIdError: The item is unknown, or as :meth:`recommend`.
            InputError: As :meth:`recommend`.
        """
        taste = checked_taste(popularity, 0, recency, self.users)
        user, history = self._as_history(user, history)
        known = self._known_history(user, history, taste.recency, dislikes)
        index = _index(self.item_ids, item, "item")
        row = self._items.rows(np.array([index]))
        target = sum_by(row.dims, row.values, self.dim)
        if user is None:
            rows = self._items.rows(known.items)
            values = self._weighted(rows, known)
            target *= signed_power_ratio(sum_by(rows.dims, values, self.dim), self.history_power)
            target *= self._scale(known)
            shares = sum_by(rows.owners, values * target[rows.dims], len(known.items))
            if self._neighbours is not None:
                shares += self._neighbours.to_item(known, index)
            names: list[Any] = self.item_ids.take(known.items)
        else:
            shares = self._user_vector(user, known) * target
            names = np.flatnonzero(shares).tolist()
            shares = shares[names]
        bias = float(self.item_bias[index]) * taste.popularity
        order = np.argsort(-shares, kind="stable").tolist()
        parts = [(names[place], float(shares[place])) for place in order]
        return Explanation(float(shares.sum()) + bias, bias, parts)

    def labels_of(self, ids: IdSequence) -> list[str | None]:
        """Return the labels of items; None where an item is unknown or has no label."""
        if self.labels is None:
            return [None] * len(ids)
        found = self.item_ids.locate(ids)
        texts = iter(self.labels.take(found[found >= 0]))
        return [(next(texts) or None) if position >= 0 else None for position in found.tolist()]

    def find(self, text: str, k: int = 10) -> list[tuple[Any, str]]:
        """Find items whose titles have all words of a text, or parts that are as these words.

        Accents, case and punctuation do not matter: ``"the matrix"`` finds "Matrix, The (1999)".

        Args:
            text: Some words of a title.
            k: How many items, at most.

        Returns:
            ``(id, title)`` of each, the same titles first, then those that begin so, then others;
            equally good ones by popularity.

        Raises:
            InputError: The model has no titles, or ``k`` is below 1.
        """
        _check_k(k)
        hits = self._hits(text)[:k]
        ids = self.item_ids.take([index for index, _ in hits])
        return [(id_, self._title(index)) for id_, (index, _) in zip(ids, hits, strict=True)]

    def resolve(self, text: str) -> Any:
        """Return the item that somebody means by an id or by a title.

        Args:
            text: An id; or a title, without its year and article where these are not needed; or a
                part of one that no other title has, no number where ids are numbers.

        Returns:
            Its id.

        Raises:
            UnknownIdError: There is no such item.
            InputError: There are several; the message lists them.
        """
        try:
            id_ = self.item_ids.parse(text)
        except InputError:
            id_ = None
        if id_ is not None and self.item_ids.locate([id_])[0] >= 0:
            return id_
        if self.labels is None and self.item_ids.kind == "int":
            known = "has no titles (fit with --labels)"
            raise UnknownIdError(f"the model does not know the item {text!r}, and {known}")
        hits = self._hits(text)
        for least in (4, 3, 0) if id_ is None or self.item_ids.kind == "str" else (4, 3):
            chosen = [index for index, grade in hits if grade >= least]
            if len(chosen) == 1:
                return self.item_ids.take(chosen)[0]
            if chosen:
                break
        if not chosen:
            lack = (
                "" if self.labels is not None else "; the model has no titles (fit with --labels)"
            )
            raise UnknownIdError(f"no item has the id or the title {text!r}{lack}")
        ids = self.item_ids.take(chosen[:_LISTED])
        listed = "; ".join(
            f"{id_} {self._title(index)}" for id_, index in zip(ids, chosen, strict=False)
        )
        more = f"; and {len(chosen) - _LISTED:,} more" if len(chosen) > _LISTED else ""
        raise InputError(f"{text!r} may be several items, give one's id: {listed}{more}")

    def info(self) -> dict[str, Any]:
        """Describe the model, after comparing the checksum of the whole file.

        Returns:
            ``users``, ``dim``, ``n_users`` (rows of the user table; for a history model those of
            its training if known, or None), ``n_items``, ``weights`` (stored, of both tables),
            ``neighbours`` (entries), ``sparsity`` (share not stored), ``bytes``,
            ``format_version``, ``value_bits``, ``history_power``, ``history_recency``, ``labels``
            (whether there are any), ``config``, ``facts``, and ``parts``: bytes of the header and
            of each tensor, which sum to ``bytes``.

        Raises:
            ModelFileError: The checksum differs.
        """
        self._file.verify()
        layout, facts = self._file.layout, self._file.facts
        tables = [layout.items]
        n_users = facts.get("users")
        if isinstance(layout.user_side, UsersLayout):
            tables.append(layout.user_side.table)
            n_users = layout.user_side.table.n_rows
        weights = sum(table.nnz for table in tables)
        return {
            "users": layout.users,
            "dim": layout.items.dim,
            "n_users": n_users,
            "n_items": layout.items.n_rows,
            "weights": weights,
            "neighbours": _n_neighbours(layout),
            "sparsity": 1 - weights / sum(table.n_rows * table.dim for table in tables),
            "bytes": self._file.size,
            "format_version": self._file.version,
            "value_bits": layout.items.value_bits,
            "history_power": self.history_power,
            "history_recency": self.history_recency,
            "labels": layout.labels is not None,
            "config": self._file.config,
            "facts": facts,
            "parts": self._file.tensor_bytes(),
        }

    @cached_property
    def _items(self) -> ItemIndex:
        return ItemIndex(self._file)

    @cached_property
    def _neighbours(self) -> NeighbourIndex | None:
        stored = self._file.neighbour_codes()
        return None if stored is None else NeighbourIndex(stored)

    @cached_property
    def labels(self) -> StrIds | None:
        """Titles or other texts, by index of the item, empty where there is none; or None."""
        return self._file.labels()

    @cached_property
    def _titles(self) -> list[Title]:
        everything = np.arange(len(self.item_ids))
        if self.labels is None:
            if self.item_ids.kind == "int":
                raise InputError("the model has no titles: fit with labels (--labels)")
            return [folded_title(text) for text in self.item_ids.take(everything)]
        ids = self.item_ids.take(everything)
        texts = zip(self.labels.take(everything), ids, strict=True)
        return [folded_title(text or str(id_)) for text, id_ in texts]

    def _title(self, index: int) -> str:
        text = self.labels.take([index])[0] if self.labels is not None else ""
        return text or str(self.item_ids.take([index])[0])

    def _hits(self, text: str) -> list[tuple[int, int]]:
        if not isinstance(text, str):
            raise InputError(f"a title is a text, not {text!r:.40}")
        return find_titles(text, self._titles, self.item_bias.tolist())

    @cached_property
    def _history_codes(self) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.float32]] | None:
        return self._file.history_codes()

    def _weighted(self, rows: GatheredRows, known: History) -> FloatArray:
        """The values of a history's rows, times the items' weights."""
        weights: npt.NDArray[np.floating] | None = known.weights
        if self._history_codes is not None:
            codes, levels = self._history_codes
            own = levels[codes[known.items]]
            weights = own if weights is None else own * weights
        return rows.values if weights is None else rows.values * weights[rows.owners]

    def _result(self, items: IntArray, scores: FloatArray) -> Recommendation:
        titles = None if self._file.layout.labels is None else self.labels_of
        return Recommendation(self.item_ids.take(items), scores.astype(np.float32), titles)

    def _located(self, items: IdSequence, name: str) -> IntArray:
        """Indices of the known items, in any order."""
        found = self.item_ids.locate(listed(items, name, self.item_ids))
        if name in ("candidates", "dislikes"):
            warn_unknown(int(np.count_nonzero(found < 0)), len(found), name)
        return found[found >= 0]

    def _as_history(
        self, user: Any, history: IdSequence | None
    ) -> tuple[Id | None, IdSequence | None]:
        """Take a list in the place of the user for the history that it is."""
        is_list = hasattr(user, "__iter__") and not isinstance(user, (str, bytes))
        if is_list and history is None and self.users == "history":
            return None, user
        return user, history

    def _known_history(
        self,
        user: Id | None,
        history: IdSequence | None,
        recency: float | None,
        dislikes: IdSequence | None,
    ) -> History:
        """Check that the request fits the model; an embedding model has dislikes alone."""
        disliked = NO_ITEMS if dislikes is None else self._located(dislikes, "dislikes")
        if self.users == "embedding":
            if user is None or history is not None:
                raise InputError(
                    "this is an embedding model: give the id of a user, not a history; for new "
                    "users train one with users='history'"
                )
            return with_dislikes({}, 0.0, disliked)
        if history is None or user is not None:
            raise InputError(
                "this is a history model and knows no users: give the history, a list of item ids"
            )
        recency = self.history_recency if recency is None else recency
        return take_history(history, self.item_ids, recency, disliked)

    def _best(
        self, user: Id | None, known: History, excluded: IntArray, k: int, popularity: float
    ) -> tuple[IntArray, FloatArray]:
        """Rank all items but those left out: at most ``k`` indices, best first, and scores."""
        if user is not None:
            query = Query(self._user_vector(user, known), 1.0, popularity)
            return self._items.best(query, excluded, k)
        rows = self._items.rows(known.items)
        vector = signed_power(
            sum_by(rows.dims, self._weighted(rows, known), self.dim), self.history_power
        )
        query = Query(vector, self._scale(known), popularity)
        return self._items.best(query, excluded, k, self._additions(known))

    def _diversify(
        self, items: IntArray, scores: FloatArray, k: int, diversity: float
    ) -> tuple[IntArray, FloatArray]:
        """Choose ``k`` of the best items; see :func:`sparserec_np.runtime.taste.diversify`."""
        if self._file.layout.items.nnz or self._neighbours is None:
            return diversify(self._items, items, scores, k, diversity)
        return diversify(self._neighbours, items, scores, k, diversity)

    def _additions(self, known: History) -> Additions:
        return NOTHING if self._neighbours is None else self._neighbours.additions(known)

    def _scale(self, known: History) -> float:
        return float(known.length**-self.history_exponent)

    def _user_vector(self, user: Id, known: History) -> FloatArray:
        """The row of a user, less those of what the user dislikes."""
        dims, values = self._user_row(_index(self.user_ids, user, "user"))
        vector = np.zeros(self.dim)
        vector[dims] = values
        if len(known.items):
            rows = self._items.rows(known.items)
            vector -= sum_by(rows.dims, rows.values, self.dim)
        return vector

    def _user_row(self, user: int) -> tuple[IntArray, npt.NDArray[np.float32]]:
        return self._file.user_row(user)


def _check_k(k: Any) -> None:
    if isinstance(k, bool) or not isinstance(k, (int, np.integer)) or k < 1:
        raise InputError(f"k must be a whole number, 1 or more, but is {k!r}")


def _n_neighbours(layout: Layout) -> int:
    side = layout.user_side
    if isinstance(side, UsersLayout) or side.neighbours is None:
        return 0
    return side.neighbours.nnz


def _index(ids: Ids | None, id_: Id, kind: str) -> int:
    assert ids is not None
    index = int(ids.locate([id_])[0])
    if index < 0:
        raise UnknownIdError(f"the model does not know the {kind} {id_!r}")
    return index
