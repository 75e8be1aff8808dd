"""The budget: how many weights a model may store, fixed before training and never exceeded."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from sparserec_np.data import Interactions
from sparserec_np.errors import InputError
from sparserec_np.modelfile.layout import MAX_NNZ
from sparserec_np.modelfile.size_plan import SizePlan, text_bytes
from sparserec_np.training.config import Config
from sparserec_np.training.model_arrays import has_history_weights, model_facts
from sparserec_np.training.state import Chosen
from sparserec_np.utils.log import logger
from sparserec_np.utils.sizes import parse_size

_log = logger(__name__)

WEIGHTS_A_ROW = 12
"""Mean number of weights a row where neither size nor sparsity is given."""

SCALES = (0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0)
"""Factors of the neighbours to choose from, where there are weights beside them."""

MOST_DENSE = 0.25
"""Largest share of the entries that a budget from a size uses, but for the one that each row needs:
beyond that a table is not sparse, and more weights no longer help."""


class SizeLimit(NamedTuple):
    """A limit on the size of a model; without both values the data decides."""

    sparsity: float | None = None
    """Share of the entries that are not stored, from 0 to below 1."""
    max_bytes: int | None = None
    """Most bytes of the file."""
    given: str = f"the default of {WEIGHTS_A_ROW} weights a row"
    """The limit in the words in which it was given."""

    @classmethod
    def parse(cls, *, sparsity: Any = None, max_size: Any = None) -> SizeLimit:
        """Check a limit as a person gives it.

        Args:
            sparsity: Share of the entries that are not stored, or None.
            max_size: Bytes of the file at most: a number, or a text like ``"500KB"``; or None.

        Raises:
            InputError: Both are given, or one is out of range.
        """
        if sparsity is not None and max_size is not None:
            raise InputError("give either sparsity or max_size, not both: each sets the budget")
        if sparsity is not None:
            number = isinstance(sparsity, (int, float)) and not isinstance(sparsity, bool)
            if not number or not 0 <= sparsity < 1:
                raise InputError(f"sparsity must be a number from 0 to below 1, not {sparsity!r}")
            return cls(sparsity=sparsity, given=f"sparsity {sparsity:g}")
        if max_size is not None:
            size = f"{max_size:,} bytes" if isinstance(max_size, int) else max_size
            return cls(max_bytes=parse_size(max_size), given=f"a file of {size}")
        return cls()


class Budget(NamedTuple):
    """Numbers of weights; never exceeded."""

    item_nnz: int
    """Weights of the item embeddings."""
    user_nnz: int
    """Weights of the user embeddings; 0 for the history model."""
    neighbour_nnz: int = 0
    """Entries of the neighbours."""


def plan_budget(
    interactions: Interactions,
    config: Config,
    limit: SizeLimit,
    labels: Sequence[str] | None = None,
    *,
    races: bool = False,
) -> Budget:
    """Turn a size or a sparsity into numbers of weights.

    Args:
        interactions: Interactions to learn from.
        config: Hyperparameters.
        limit: How large the model may be.
        labels: Texts that the file will hold, or None.
        races: Whether the file will say what a race has found.

    Raises:
        InputError: There are fewer weights than rows.
    """
    n_items = interactions.n_items
    n_rows = n_items + (0 if config.users == "history" else interactions.n_users)
    dim = config.dim
    most = max(n_rows, int(MOST_DENSE * n_rows * dim))
    given = limit.given
    if limit.sparsity is not None:
        total = round((1.0 - limit.sparsity) * n_rows * dim)
        given += f" of {n_rows:,} rows x {dim} columns"
    elif limit.max_bytes is not None:
        plan = _size_plan(interactions, config, labels, races)
        free = limit.max_bytes - plan.encoded_size(0)
        own = limit.max_bytes - round(config.neighbours * max(free, 0))
        total = min(plan.budget_for(own), most)
        if config.neighbours > 0:  # the least that rows need comes first
            total = max(total, min(plan.budget_for(limit.max_bytes), n_rows))
    else:
        total = min(WEIGHTS_A_ROW * n_rows, most)
    total = min(total, n_rows * dim)
    if config.neighbours == 1 and total < n_rows:
        total = n_rows  # stands for the size; none of them is stored
    if total < n_rows:
        raise InputError(
            f"{given} leaves {total:,} weights for {n_rows:,} rows, and each row needs one: "
            "allow more, or leave out rare users and items with --min-user-interactions and "
            "--min-item-interactions"
        )
    item_nnz = -(-total * n_items // n_rows)
    _log.debug(
        "budget: %s: %s weights in %s rows x %d columns", given, f"{total:,}", f"{n_rows:,}", dim
    )
    if config.neighbours > 0:
        return _with_neighbours(
            item_nnz, config, limit, _size_plan(interactions, config, labels, races)
        )
    return Budget(item_nnz, total - item_nnz)


def limit_in_bytes(
    interactions: Interactions, config: Config, labels: Sequence[str] | None
) -> SizeLimit:
    """Return the size of a model without a limit as a limit, for all trials of a race alike."""
    item_nnz, user_nnz, _ = plan_budget(interactions, config, SizeLimit(), labels, races=True)
    plan = _size_plan(interactions, config, labels, races=True)
    return SizeLimit(max_bytes=plan.encoded_size(item_nnz, user_nnz))


def _with_neighbours(item_nnz: int, config: Config, limit: SizeLimit, plan: SizePlan) -> Budget:
    """Give neighbours their share of the size.

    Within a size given in bytes the share is one of what ids and biases leave; else neighbours
    come on top of the item weights, as many bytes as make it their share.

    Args:
        item_nnz: Weights of the item embeddings.
        config: Hyperparameters.
        limit: How large the model may be.
        plan: Of the file.

    Raises:
        InputError: There is no room for a single one.
    """
    share, empty = config.neighbours, plan.encoded_size(0)
    own = plan.encoded_size(item_nnz) - empty
    if share == 1:
        item_nnz = 0
    if limit.max_bytes is not None:
        free = limit.max_bytes - empty
        room = min(limit.max_bytes, plan.encoded_size(item_nnz) + round(share * free))
    else:
        added = own if share == 1 else round(own * share / (1 - share))
        room = plan.encoded_size(item_nnz, neighbours=1) + added
    most = min(plan.n_items * config.neighbour_candidates, MAX_NNZ)
    neighbours = plan.neighbours_for(room, item_nnz, most)
    if neighbours is None:
        raise InputError(
            f"{limit.given} leaves no room for neighbours: allow more, or set their share "
            "(--neighbours, neighbours=) to 0"
        )
    _log.debug(
        "budget: of these %s item weights; %s neighbours", f"{item_nnz:,}", f"{neighbours:,}"
    )
    return Budget(item_nnz, 0, neighbours)


def _size_plan(
    interactions: Interactions, config: Config, labels: Sequence[str] | None, races: bool
) -> SizePlan:
    """Plan the largest file that a model of these hyperparameters can become."""
    history = config.users == "history"
    scale = config.neighbour_scale or max(SCALES, key=lambda scale: len(repr(scale)))
    longest = Chosen(10_000, 0.123456, 0.0, scale if config.neighbours > 0 else 0.0)
    if races:
        longest = longest._replace(formula_ndcg=0.123456, popularity_ndcg=0.123456)
    longest_facts = model_facts(interactions, longest)
    recency = config.recency
    if recency is None:  # whatever is chosen takes no more bytes than 1
        recency = float(interactions.has_times)
    return SizePlan(
        users=config.users,
        dim=config.dim,
        item_ids=interactions.item_ids,
        user_ids=None if history else interactions.user_ids,
        labels=labels,
        history_exponent=config.history_exponent if history else 0.0,
        history_power=config.history_power if history else 1.0,
        history_recency=recency if history else 0.0,
        has_history_weights=has_history_weights(config),
        value_bits=config.value_bits,
        text_room=text_bytes(config.to_dict(), longest_facts),
    )
