"""A RecTools model, for RecTools' ``cross_validate`` and metrics.

RecTools defines ``Recall``, ``HitRate`` and ``MRR`` as we do, and ``NDCG`` with
``divide_by_achievable=True``; by default it divides by the DCG of k hits, however many test items a
user has.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from sparserec_np.data import Interactions, from_pairs
from sparserec_np.errors import UnknownIdError, missing_extra
from sparserec_np.estimator import SparseRec

try:
    from rectools import Columns
    from rectools.models.base import ModelBase, ModelConfig
except ModuleNotFoundError as error:
    raise missing_extra(error.name or "rectools", "rectools", "the adapter to RecTools") from error

_Triplet = tuple[NDArray[Any], NDArray[Any], NDArray[Any]]


class SparseRecModelConfig(ModelConfig):
    """Config of a :class:`SparseRecModel`."""

    estimator: dict[str, Any] = {}  # noqa: RUF012 -- pydantic copies it
    """Arguments of ``SparseRec``."""


class SparseRecModel(ModelBase[SparseRecModelConfig]):
    """A ``SparseRec`` that RecTools can train and evaluate.

    It learns the external ids, so ``model.estimator.save(path)`` writes a file to ship. A history
    model takes the histories from the dataset given to ``recommend``, in the order of their times.
    Every interaction counts as liked, whatever its weight.

    Args:
        estimator: The estimator to train, ``SparseRec()`` if None.
        verbose: Argument of RecTools; nothing is printed here.
    """

    recommends_for_warm = False
    recommends_for_cold = False
    config_class = SparseRecModelConfig

    def __init__(self, estimator: SparseRec | None = None, verbose: int = 0) -> None:
        super().__init__(verbose=verbose)
        self.estimator = SparseRec() if estimator is None else estimator

    def _get_config(self) -> SparseRecModelConfig:
        given = {n: v for n, v in self.estimator.get_params().items() if v is not None}
        return SparseRecModelConfig(cls=type(self), estimator=given, verbose=self.verbose)

    @classmethod
    def _from_config(cls, config: SparseRecModelConfig) -> SparseRecModel:
        return cls(SparseRec(**config.estimator), verbose=config.verbose)

    def _fit(self, dataset: Any) -> None:
        self.estimator.fit(_interactions(dataset))

    def _recommend_u2i(
        self,
        user_ids: NDArray[Any],
        dataset: Any,
        k: int,
        filter_viewed: bool,
        sorted_item_ids_to_recommend: NDArray[Any] | None,
    ) -> _Triplet:
        external = dataset.item_id_map.convert_to_external
        allowed = sorted_item_ids_to_recommend
        candidates = None if allowed is None else external(allowed)
        known, model = _interactions(dataset), self.estimator.model_
        found = []
        for user, name in zip(
            user_ids, dataset.user_id_map.convert_to_external(user_ids), strict=True
        ):
            (position,) = known.user_ids.locate([name])
            liked = known.item_ids.take(known.items_of(position))
            request = {"history": liked} if model.users == "history" else {"user": name}
            exclude = liked if filter_viewed else []
            try:
                best = model.recommend(**request, k=k, exclude=exclude, candidates=candidates)
            except UnknownIdError:  # not in the training data: no recommendations
                continue
            found.append((user, *best))
        return _triplet(found, dataset)

    def _recommend_i2i(
        self,
        target_ids: NDArray[Any],
        dataset: Any,
        k: int,
        sorted_item_ids_to_recommend: NDArray[Any] | None,
    ) -> _Triplet:
        external = dataset.item_id_map.convert_to_external
        allowed = external(
            dataset.item_id_map.internal_ids
            if sorted_item_ids_to_recommend is None
            else sorted_item_ids_to_recommend
        )
        wanted = set(allowed.tolist())
        model = self.estimator.model_
        found = []
        for target, name in zip(target_ids, external(target_ids).tolist(), strict=True):
            ids, cosines = model.similar_items(name, len(model.item_ids))
            # RecTools expects the item itself in front, and removes it where it is not wanted.
            pairs = [(name, 1.0), *zip(ids, cosines.tolist(), strict=True)]
            best = [pair for pair in pairs if pair[0] in wanted][:k]
            found.append((target, [i for i, _ in best], np.array([c for _, c in best], np.float32)))
        return _triplet(found, dataset)


def _interactions(dataset: Any) -> Interactions:
    """Return the interactions of a dataset, with external ids."""
    table = dataset.interactions.df
    users = dataset.user_id_map.convert_to_external(table[Columns.User].to_numpy())
    items = dataset.item_id_map.convert_to_external(table[Columns.Item].to_numpy())
    times = table[Columns.Datetime].to_numpy("datetime64[us]").astype(np.int64) / 1e6
    return from_pairs(users, items, times)


def _triplet(found: list[tuple[int, list[Any], NDArray[np.float32]]], dataset: Any) -> _Triplet:
    """Concatenate lists of ``(target, ids, scores)``, with internal numbers for the ids."""
    targets = [target for target, items, _ in found for _ in items]
    ids = [item for _, items, _ in found for item in items]
    scores = np.concatenate([np.empty(0, np.float32), *(s for _, _, s in found)])
    return np.array(targets, np.int64), dataset.item_id_map.convert_to_internal(ids), scores
