"""How many weights a model may store, and the file that they go into."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sparserec_np.data import Interactions
from sparserec_np.errors import InputError
from sparserec_np.modelfile import writer
from sparserec_np.modelfile.arrays import ModelArrays, Table
from sparserec_np.modelfile.writer import SizePlan
from sparserec_np.training.checkpoint import file_checksum, identity
from sparserec_np.training.config import Config
from sparserec_np.training.kernels.arrays import Embeddings
from sparserec_np.training.trainer import Parameters
from sparserec_np.utils.log import logger
from sparserec_np.utils.sizes import parse_size

_log = logger(__name__)

WEIGHTS_A_ROW = 12
"""Mean number of weights a row where neither size nor sparsity is given."""

MOST_DENSE = 0.25
"""Largest share of the entries that a budget from a size uses, but for the one that each row needs:
beyond that a table is not sparse, and more weights no longer help."""


@dataclass(frozen=True)
class Budget:
    """A dimension and numbers of weights, fixed before training."""

    config: Config
    dim: int
    """Columns of the tables."""
    weights: tuple[int, int]
    """Weights of the item and of the user table; never exceeded."""

    def facts(self, interactions: Interactions, epochs: int, ndcg: float | None) -> dict[str, Any]:
        """What the file says about data and result; no ids and no interactions are in it."""
        return {
            "users": interactions.n_users,
            "items": interactions.n_items,
            "interactions": interactions.nnz,
            "epochs": epochs,
            "validation_ndcg@20": None if ndcg is None else round(ndcg, 6),
        }

    def identity(
        self,
        interactions: Interactions,
        held: Interactions | None,
        choose: bool,
        warm_start: str | Path | None,
    ) -> dict[str, Any]:
        """What a checkpoint must be of, to go on from; see :mod:`sparserec_np.training.checkpoint`."""
        old = None if warm_start is None else file_checksum(warm_start)
        named = {
            **self.config.to_dict(),
            "dim": self.dim,
            "item weights": self.weights[0],
            "user weights": self.weights[1],
            "epochs found by validation": choose,
            "checksum of the model to continue": old,
        }
        return identity(named, interactions, held)

    def arrays(
        self,
        tables: Parameters,
        interactions: Interactions,
        labels: Sequence[str] | None,
        facts: dict[str, Any],
        recency: float = 0.0,
    ) -> ModelArrays:
        """Bring trained tables into the form that is encoded."""
        history = self.config.users == "history"
        return ModelArrays(
            users=self.config.users,
            dim=self.dim,
            item_ids=interactions.item_ids,
            items=_table(tables.items.rows, self.dim),
            item_bias=tables.items.bias,
            history_weights=tables.items.weight if _weighs(self.config) else None,
            history_exponent=self.config.history_exponent if history else 0.0,
            history_power=self.config.history_power if history else 1.0,
            history_recency=recency if history else 0.0,
            user_ids=None if history else interactions.user_ids,
            user_rows=None if history else _table(tables.users, self.dim),
            labels=labels,
            value_bits=self.config.value_bits,
            config=self.config.to_dict(),
            facts=facts,
        )


def plan_budget(
    interactions: Interactions,
    config: Config,
    *,
    sparsity: float | None,
    max_size: int | str | None,
    labels: Sequence[str] | None,
) -> Budget:
    """Turn a size or a sparsity into numbers of weights.

    Args:
        interactions: What is learned from.
        config: Hyperparameters.
        sparsity: Share of the entries not stored, or None.
        max_size: Bytes of the file at most, or None.
        labels: Texts that the file will hold, or None.

    Returns:
        The budget.

    Raises:
        InputError: Both are given, one is out of range, or there are fewer weights than rows.
    """
    history = config.users == "history"
    n_items, n_users = (
        interactions.n_items,
        0 if config.users == "history" else interactions.n_users,
    )
    rows = n_items + n_users
    dim = config.dim
    most = max(rows, int(MOST_DENSE * rows * dim))
    if sparsity is not None and max_size is not None:
        raise InputError("give either sparsity or max_size, not both: each sets the budget")
    if sparsity is not None:
        if not 0 <= sparsity < 1:
            raise InputError(f"sparsity must be at least 0 and below 1, not {sparsity:g}")
        total = round((1.0 - sparsity) * rows * dim)
        asked = f"sparsity {sparsity:g} of {rows:,} rows x {dim} columns"
    elif max_size is not None:
        empty = Budget(config, dim, (0, 0))
        longest = empty.facts(interactions, 10_000, 0.123456)
        plan = SizePlan(
            users=config.users,
            dim=dim,
            item_ids=interactions.item_ids,
            user_ids=None if history else interactions.user_ids,
            labels=labels,
            history_exponent=config.history_exponent if history else 0.0,
            history_power=config.history_power if history else 1.0,
            history_recency=_longest_recency(interactions, config),
            has_history_weights=_weighs(config),
            value_bits=config.value_bits,
            text_room=writer.text_bytes(config.to_dict(), longest),
        )
        total = min(plan.budget_for(parse_size(max_size)), most)
        asked = (
            f"a file of {max_size:,} bytes"
            if isinstance(max_size, int)
            else f"a file of {max_size}"
        )
    else:
        total = min(WEIGHTS_A_ROW * rows, most)
        asked = f"the default of {WEIGHTS_A_ROW} weights a row"
    total = min(total, rows * dim)
    if total < rows:
        raise InputError(
            f"{asked} leaves {total:,} weights for {rows:,} rows, and each row needs one: "
            "allow more, or leave out rare users and items with --min-user-interactions and "
            "--min-item-interactions"
        )
    item_weights = -(-total * n_items // rows)
    _log.debug(
        "budget: %s: %s weights in %s rows x %d columns", asked, f"{total:,}", f"{rows:,}", dim
    )
    return Budget(config, dim, (item_weights, total - item_weights))


def _longest_recency(interactions: Interactions, config: Config) -> float:
    """A recency that takes as many bytes as the one that will be, or more."""
    if config.users == "embedding":
        return 0.0
    return float(interactions.has_times) if config.recency is None else config.recency


def _weighs(config: Config) -> bool:
    return config.users == "history" and config.degree_exponent > 0


def _table(rows: Embeddings, dim: int) -> Table:
    return Table(rows.indptr, rows.dims, rows.values, dim)
