"""Items that interactions lack: room is kept for them, and their rows are predicted at the end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from sparserec_np.data import Interactions
from sparserec_np.errors import InputError
from sparserec_np.features.extend import FACTS_ROOM, Extension, describe, extend_file
from sparserec_np.features.item_features import read_features
from sparserec_np.modelfile.reader import open_model
from sparserec_np.training.budget import Budget, SizeLimit


class NewItems:
    """Items that are added by their features once a model is trained.

    Args:
        source: What :func:`sparserec_np.features.item_features.read_features` takes.
        interactions: Interactions to learn from.
        texts: Titles of their items, or None.
        labels: Titles by id, or None.

    Attributes:
        interactions: The interactions, to plan by: their items and the new ones have ids in it.
        texts: Titles of all these items, or None.

    Raises:
        InputError: The features cannot be used; the message says why.
    """

    def __init__(
        self,
        source: Any,
        interactions: Interactions,
        texts: Sequence[str] | None,
        labels: Mapping[Any, str] | None,
    ) -> None:
        known = interactions.item_ids
        described = describe(read_features(source), known)
        self._described = described._replace(titles={**described.titles, **(labels or {})})
        every = known.union(described.ids)
        self._n_known, self._n_items = len(known), len(every)
        self.interactions = replace(interactions, item_ids=every)
        self.texts = None
        if texts is not None:
            places = known.positions_in(every).tolist()
            own = dict(zip(places, texts, strict=True))
            titles = self._described.titles
            ids = every.take(np.arange(len(every)))
            self.texts = [own.get(place, titles.get(id_, "")) for place, id_ in enumerate(ids)]

    def limit(self, limit: SizeLimit) -> SizeLimit:
        """Leave room for what the file will say about new items."""
        if limit.max_bytes is None:
            return limit
        if limit.max_bytes <= FACTS_ROOM:
            raise InputError(f"{limit.given} is no room for a model: allow more")
        return limit._replace(max_bytes=limit.max_bytes - FACTS_ROOM)

    def share(self, budget: Budget) -> Budget:
        """Return what the items of the interactions have of the budget of all."""
        items, users, neighbours = budget
        n, every = self._n_known, self._n_items
        return Budget(items * n // every, users, neighbours * n // every)

    def add(self, file: bytes) -> Extension:
        """Add the items to the trained model."""
        return extend_file(open_model(file), self._described)
