"""Validation during training: NDCG@20 of the current parameters on held-out interactions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from sparserec_np.data import Interactions, align, select_users
from sparserec_np.errors import InputError
from sparserec_np.evaluation.metrics import find_hits, ndcg
from sparserec_np.modelfile.arrays import Neighbours
from sparserec_np.modelfile.layout import EIGHTHS
from sparserec_np.retrieval.batch_top_k import ItemLists, UserRows, history_rows, model_top_k
from sparserec_np.runtime.model import Model
from sparserec_np.training.budget import SCALES
from sparserec_np.training.config import Config
from sparserec_np.training.kernels.arrays import Embeddings
from sparserec_np.training.kernels.ranking import HeldOut, HistoryShape, rank_items
from sparserec_np.training.parameters import Parameters
from sparserec_np.training.score_sums import ndcg_of_sums
from sparserec_np.utils.communicator import communicator
from sparserec_np.utils.csr import entries_of_rows, indptr_from_counts
from sparserec_np.utils.parallel import run_parallel
from sparserec_np.vocabulary import RangeIds

K = 20
MAX_USERS = 2_000
"""Users that are scored at most, drawn by the seed, the same ones after each epoch. The standard
error of a mean NDCG is then at most 0.011, and far less that of a difference between two epochs: on
seven data sets the epoch chosen is 0.07 to 0.3 % worse, on the average, than that of 6,000 users
(on one with little to tell epochs apart by 0.9 %). The cost does not grow with the data."""

RECENCIES = (0.0, 0.25, 0.5, 0.75, 1.0)
"""Recencies to choose from."""

NEARLY, PART_OF_GAIN = 0.95, 0.4
"""What a factor of neighbours must reach to be taken: of the best score, and of the gain."""

JUDGED_BY = (0.0, 0.75)
"""Recencies to score an epoch by, while one is to be chosen: the better one counts."""


class Validator:
    """NDCG@20 on held-out interactions, by the protocol of :mod:`sparserec_np.evaluation.evaluate`.

    Args:
        train: Interactions to learn from: the histories, which are left out of the rankings.
        held: Interactions to predict; users and items that ``train`` lacks are left out.
        config: Hyperparameters. Its seed draws the users, if there are more than ``MAX_USERS``.

    Attributes:
        chooses_recency: Whether the recency is to be chosen.

    Raises:
        InputError: No user of ``train`` has an item in ``held``, or a recency is given and
            ``train`` has no times.
    """

    def __init__(self, train: Interactions, held: Interactions, config: Config) -> None:
        comm = communicator()
        relevant = align(held, train.user_ids, train.item_ids).interactions
        users = np.flatnonzero((relevant.user_degrees() > 0) & (train.user_degrees() > 0))
        served, first = comm.all_reduce_count(users.size), comm.exclusive_scan(users.size)
        if served == 0:
            raise InputError(
                "nothing to validate on: no user of the training data has a known item in the "
                "validation data"
            )
        if served > MAX_USERS:
            drawn = np.random.default_rng([config.seed, served])
            places = np.sort(drawn.choice(served, MAX_USERS, replace=False)) - first
            users = users[places[(places >= 0) & (places < users.size)]]
        self._config = config
        self._comm = comm
        self._users = users
        self._known = of_all_workers(select_users(train, users))
        self._relevant = of_all_workers(select_users(relevant, users))
        history = config.users == "history"
        self.chooses_recency = history and config.recency is None and _tell_apart(train)
        self._recency = config.recency or 0.0
        exponent, eighths = config.history_exponent, EIGHTHS * config.history_power
        self._shape = HistoryShape(np.float32(exponent), np.int64(eighths))
        self._histories: tuple[UserRows | None, ...] = (None,)
        if history:
            judged_by = JUDGED_BY if self.chooses_recency else (self._recency,)
            self._histories = tuple(history_rows(self._known, recency) for recency in judged_by)

    def __call__(self, parameters: Parameters) -> float:
        """Score the parameters."""
        return max(self._score(parameters, known) for known in self._histories)

    def choose_recency(self, parameters: Parameters) -> tuple[float, float]:
        """Find the recency that suits the parameters best, if it is to be chosen.

        Returns:
            The recency, of equally good ones the smallest, and the score with it.
        """
        if not self.chooses_recency:
            return self._recency, self(parameters)
        scores = {e: self._score(parameters, history_rows(self._known, e)) for e in RECENCIES}
        best = max(scores, key=lambda recency: scores[recency])
        return best, scores[best]

    def with_neighbours(
        self, parameters: Parameters, *several: Neighbours
    ) -> list[tuple[float, float]]:
        """Find the factor with which each of several neighbours suits the parameters best.

        Args:
            parameters: Parameters.
            several: Neighbours, each fitted to stand beside them.

        Returns:
            Factor, of a few, chosen cautiously, and score, by the first of the recencies that
            epochs are judged by.
        """
        scales = (0.0, *self._scales(parameters)[::2])
        scores = self._sums(parameters, several, scales, self._histories[0])
        return [cautious(dict(zip(scales, one.tolist(), strict=True))) for one in scores]

    def choose_scale(
        self, parameters: Parameters, neighbours: Neighbours
    ) -> tuple[float, float, float]:
        """Find a factor of the neighbours that suits the parameters, then the recency.

        Args:
            parameters: Parameters.
            neighbours: What was fitted beside them.

        Returns:
            The recency, the factor, and the score with both.
        """
        scales = self._scales(parameters)
        some, history = (0.0, *scales[::2]), self._histories[0]
        (scores,) = self._sums(parameters, [neighbours], some, history).tolist()
        found = dict(zip(some, scores, strict=True))
        place = scales.index(max(scales[::2], key=lambda one: found[one]))
        near = [one for one in scales[max(place - 3, 0) : place + 2] if one not in found]
        if near:
            (scores,) = self._sums(parameters, [neighbours], near, history).tolist()
            found |= zip(near, scores, strict=True)
        scale, score = cautious(found)
        if not self.chooses_recency:
            return self._recency, scale, score
        low, high = JUDGED_BY
        by_age = {low: score}

        def judge(*recencies: float) -> None:
            for one in recencies:
                histories = history_rows(self._known, one)
                by_age[one] = self._sums(parameters, [neighbours], [scale], histories).item()

        judge(high)
        judge(*((0.25,) if by_age[low] > by_age[high] else (0.5, 1.0)))
        best = max(by_age, key=lambda recency: by_age[recency])
        return best, scale, by_age[best]

    def _scales(self, parameters: Parameters) -> tuple[float, ...]:
        """Return the factors of neighbours to choose from, ascending."""
        if self._config.neighbour_scale is not None:
            return (self._config.neighbour_scale,)
        return SCALES if parameters.nnz else (1.0,)

    def _sums(
        self,
        parameters: Parameters,
        several: Sequence[Neighbours],
        scales: Sequence[float],
        histories: UserRows | None,
    ) -> NDArray[np.float64]:
        assert histories is not None  # neighbours go with histories
        return ndcg_of_sums(parameters, self._config, histories, self._relevant, several, scales, K)

    def _score(self, parameters: Parameters, histories: UserRows | None) -> float:
        n, rank, size = self._known.n_users, self._comm.rank, self._comm.world_size
        own = slice(n * rank // size, n * (rank + 1) // size + 1)  # of this worker
        users = histories or _vectors_of(parameters.users, self._users)
        relevant, seen = self._relevant, self._known
        held = HeldOut(
            relevant.indptr[own],
            relevant.items,
            np.empty(relevant.nnz, np.float32),
            np.empty(relevant.nnz, np.int32),
        )
        run_parallel(
            rank_items,
            parameters.dim,
            parameters.items,
            users._replace(indptr=users.indptr[own]),
            None if histories is None else self._shape,
            ItemLists(seen.indptr[own], seen.items),
            held,
            K,
        )
        counts = np.diff(held.indptr)
        ranks = held.ranks[held.indptr[0] : held.indptr[-1]]
        row_of = np.repeat(np.arange(counts.size), counts)
        hits = np.zeros((counts.size, K), np.bool_)
        hits[row_of[ranks < K], ranks[ranks < K]] = True
        return float(self._comm.all_gather_concat(ndcg(hits, counts)).mean())

    def of_file(self, model: Model) -> float:
        """Score a model file of the same users and items, rounding included."""
        users = self._known if self._config.users == "history" else self._users
        hits = find_hits(model_top_k(model, users, exclude=self._known, k=K)[0], self._relevant)
        return float(ndcg(hits, self._relevant.user_degrees()).mean())


def cautious(scores: Mapping[float, float]) -> tuple[float, float]:
    """Choose the factor of neighbours: the smallest that is almost as good as the best one.

    What is held out at random lies between interactions that are learned from, and neighbours find
    it more easily than what a user takes next: on Gowalla the best factor for the held-out part is
    four times that for the test part. So a part of the gain is enough, unless much would be left.

    Args:
        scores: Score by factor, that of 0 among them.

    Returns:
        The factor, and its score.
    """
    best = max(score for scale, score in scores.items() if scale > 0)
    enough = min(best, max(NEARLY * best, scores[0.0] + PART_OF_GAIN * (best - scores[0.0])))
    scale = min(scale for scale, score in scores.items() if scale > 0 and score >= enough)
    return scale, scores[scale]


def _tell_apart(interactions: Interactions) -> bool:
    """Tell whether times are known and are not all the same."""
    times = interactions.times
    ends = np.zeros(0) if times is None or not times.size else np.array([times.min(), times.max()])
    return len(np.unique(communicator().all_gather_concat(ends))) > 1


def of_all_workers(interactions: Interactions) -> Interactions:
    """Gather the interactions of the users of all workers."""
    comm = communicator()
    degrees = comm.all_gather_concat(interactions.user_degrees())
    return Interactions(
        indptr_from_counts(degrees),
        comm.all_gather_concat(interactions.items),
        RangeIds(0, degrees.size),
        interactions.item_ids,
        None if interactions.times is None else comm.all_gather_concat(interactions.times),
    )


def _vectors_of(rows: Embeddings, users: NDArray[np.int64]) -> UserRows:
    """Gather the embeddings of the drawn users of all workers."""
    lengths = np.diff(rows.indptr)[users]
    entries, comm = entries_of_rows(rows.indptr, users), communicator()
    return UserRows(
        indptr_from_counts(comm.all_gather_concat(lengths)),
        comm.all_gather_concat(rows.dims[entries]).astype(np.int32),
        comm.all_gather_concat(rows.values[entries]),
    )
