"""Trained parameters as the arrays that a model file is encoded from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sparserec_np.data import Interactions
from sparserec_np.modelfile.arrays import ModelArrays, Neighbours, Table
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
    neighbours: Neighbours | None = None,
) -> ModelArrays:
    """Bring trained parameters into the form that is encoded.

    Args:
        parameters: What was learned.
        interactions: What it was learned from: ids and counts go into the file, no interactions.
        config: Hyperparameters.
        chosen: Epochs, their quality, and recency.
        labels: A text for each item, or None.
        neighbours: What items of a history add to the scores of others, scaled; or None.
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
        neighbours=neighbours,
        user_ids=None if history else interactions.user_ids,
        user_rows=None if history else _table(parameters.users, parameters.dim),
        labels=labels,
        value_bits=config.value_bits,
        config=config.to_dict(),
        facts=model_facts(interactions, chosen),
    )


def model_facts(interactions: Interactions, chosen: Chosen) -> dict[str, Any]:
    """Return what the file says about data and result; no ids and no interactions are in it."""
    facts = {
        "users": interactions.n_users,
        "items": interactions.n_items,
        "interactions": interactions.nnz,
        "epochs": chosen.epochs,
        "validation_ndcg@20": None if chosen.ndcg is None else round(chosen.ndcg, 6),
    }
    if chosen.formula_ndcg is not None and chosen.popularity_ndcg is not None:
        facts["formula_ndcg@20"] = round(chosen.formula_ndcg, 6)
        facts["popularity_ndcg@20"] = round(chosen.popularity_ndcg, 6)
    if chosen.neighbour_scale:
        facts["neighbour_scale"] = chosen.neighbour_scale
    return facts


def has_history_weights(config: Config) -> bool:
    """Tell whether the items of a model have weights within a history."""
    has_factors = config.neighbours < 1
    return config.users == "history" and config.degree_exponent > 0 and has_factors


def _table(rows: Embeddings, dim: int) -> Table:
    return Table(rows.indptr, rows.dims, rows.values, dim)
