"""Trained parameters as the arrays that a model file is encoded from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sparserec_np.data import Interactions
from sparserec_np.modelfile.arrays import ModelArrays, Table
from sparserec_np.training.config import Config
from sparserec_np.training.kernels.arrays import Embeddings
from sparserec_np.training.parameters import Parameters
from sparserec_np.training.state import Chosen


def model_arrays(
    parameters: Parameters,
    interactions: Interactions,
    config: Config,
    chosen: Chosen,
    labels: Sequence[str] | None,
) -> ModelArrays:
    """Bring trained parameters into the form that is encoded.

    Args:
        parameters: What was learned.
        interactions: What it was learned from: ids and counts go into the file, no interactions.
        config: Hyperparameters.
        chosen: Epochs, their quality, and recency.
        labels: A text for each item, or None.
    """
    history = config.users == "history"
    return ModelArrays(
        users=config.users,
        dim=parameters.dim,
        item_ids=interactions.item_ids,
        items=_table(parameters.items.rows, parameters.dim),
        item_bias=parameters.items.bias,
        history_weights=parameters.items.weight if has_history_weights(config) else None,
        history_exponent=config.history_exponent if history else 0.0,
        history_power=config.history_power if history else 1.0,
        history_recency=chosen.recency if history else 0.0,
        user_ids=None if history else interactions.user_ids,
        user_rows=None if history else _table(parameters.users, parameters.dim),
        labels=labels,
        value_bits=config.value_bits,
        config=config.to_dict(),
        facts=model_facts(interactions, chosen.epochs, chosen.ndcg),
    )


def model_facts(interactions: Interactions, epochs: int, ndcg: float | None) -> dict[str, Any]:
    """Return what the file says about data and result; no ids and no interactions are in it."""
    return {
        "users": interactions.n_users,
        "items": interactions.n_items,
        "interactions": interactions.nnz,
        "epochs": epochs,
        "validation_ndcg@20": None if ndcg is None else round(ndcg, 6),
    }


def has_history_weights(config: Config) -> bool:
    """Tell whether the items of a model have weights within a history."""
    return config.users == "history" and config.degree_exponent > 0


def _table(rows: Embeddings, dim: int) -> Table:
    return Table(rows.indptr, rows.dims, rows.values, dim)
