"""``SparseRec``: fit, recommend, save, in the style of scikit-learn."""

from __future__ import annotations

import inspect
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from sparserec_np.data import align
from sparserec_np.distributed import backend_for
from sparserec_np.errors import InputError, UnknownIdError
from sparserec_np.evaluation.evaluate import rank, ranking_scorer
from sparserec_np.runtime import load
from sparserec_np.runtime.results import Recommendation
from sparserec_np.runtime.taste import checked_taste
from sparserec_np.training.budget import SizeLimit
from sparserec_np.training.checkpoint import Checkpointing
from sparserec_np.training.config import HYPERPARAMETERS, described
from sparserec_np.training.epoch_log import epoch_line
from sparserec_np.training.fit import fit
from sparserec_np.training.state import EpochMetrics
from sparserec_np.utils import atomic_write
from sparserec_np.vocabulary import Id, IdSequence

_ALWAYS = ("users", "seed")  # hyperparameters that are never left to the data
_DOCS = {
    "sparsity": "        sparsity: Share of the embeddings' entries that is not stored, in [0, 1).",
    "max_size": """\
        max_size: Bytes of the saved file at most: a number, or a text like ``"500KB"``. At most one
            of ``sparsity`` and ``max_size`` is given; without both, the data decides.""",
    **{name: described(name, " " * 8) for name in HYPERPARAMETERS},
    "fast": """\
        fast: Leave hyperparameters that are None at what formulas say, and choose the epoch alone:
            a third of the time.""",
    "threads": """\
        threads: Number of threads; None for all cores. The file does not depend on it.""",
}
_ARGUMENTS: dict[str, Any] = {
    name: HYPERPARAMETERS[name].default if name in _ALWAYS else False if name == "fast" else None
    for name in dict.fromkeys(("users", "dim", *_DOCS))
}
"""Arguments of the estimator and their defaults."""


class SparseRec:
    """Recommender with sparse embeddings, trained by BPR with dynamic sparse training.

    Source: SparseRec, arXiv 2411.12205.

    Hyperparameters that are None are chosen: by formulas of the data, and, unless ``epochs`` or
    ``fast`` is given, by a few trials (:mod:`sparserec_np.training.race`) on a held-out part:
    ``valid`` if it is given to :meth:`fit`, else a tenth of each user's interactions. The model is
    then trained anew on everything.

    Args:
        {arguments}

    Attributes:
        model_: The fitted model, :class:`sparserec_np.Model`, read back from the bytes of the file.
        epoch_metrics_: One :class:`sparserec_np.training.state.EpochMetrics` an epoch, of all
            stages.
        best_epoch_: Number of epochs that the model was trained for.
        recency_: Recency of the model, chosen or given.
        best_ndcg_: NDCG@20 on the validation part at that epoch, or None.
        changes_: Hyperparameters that trials chose other than the formulas, by name.
        interactions_: What was learned from.

    Raises:
        TypeError: There is no such argument.
    """

    def __init__(self, **arguments: Any) -> None:
        for name in arguments:
            if name not in _ARGUMENTS:
                raise TypeError(f"SparseRec() got an unexpected keyword argument {name!r}")
        for name, default in _ARGUMENTS.items():
            setattr(self, name, arguments.get(name, default))

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Return the arguments by name; ``deep`` is there for scikit-learn and changes nothing."""
        return {name: getattr(self, name) for name in _ARGUMENTS}

    def set_params(self, **params: Any) -> SparseRec:
        """Change arguments.

        Args:
            params: New values by name.

        Returns:
            The estimator.

        Raises:
            InputError: There is no such argument.
        """
        known = self.get_params()
        for name, value in params.items():
            if name not in known:
                raise InputError(f"SparseRec has no argument {name!r}; it has: {', '.join(known)}")
            setattr(self, name, value)
        return self

    def fit(
        self,
        X: Any,
        y: Any = None,
        *,
        valid: Any = None,
        labels: Mapping[Any, str] | None = None,
        item_features: Any = None,
        on_epoch: Callable[[EpochMetrics], None] | None = None,
        checkpoint: str | Path | None = None,
        checkpoint_every: int | str = 1,
        resume: bool = False,
        warm_start: str | Path | None = None,
        dask: Any = None,
        verbose: bool = False,
    ) -> SparseRec:
        """Learn from interactions.

        Args:
            X: :class:`sparserec_np.Interactions`, or anything that
                :func:`sparserec_np.data.from_any` takes: a scipy matrix, a pair of arrays
                ``(users, items)``, an array of two columns, a pandas, polars or Arrow frame, paths
                of files. Times that are there, as in ``(users, items, times)`` or a column of a
                frame or file, tell what is recent.
            y: Not used; scikit-learn's tools hand it over.
            valid: Interactions to choose the best epoch by, of the same kinds; without it and
                ``epochs``, a tenth of each user's is held out, the latest where times are known.
            labels: Titles or other texts to store with the items, by item id.
            item_features: What the items are: a frame, or a file as
                ``"movies.csv:movieId,genres,title"``. Items of it without interactions are added,
                their rows predicted from their features; see :func:`sparserec_np.extend`.
            on_epoch: Called after each epoch.
            checkpoint: Folder to keep the state of the fit in while it runs.
            checkpoint_every: How often: a number of epochs, or a time like ``"30s"`` or ``"5min"``.
            resume: Go on from the last checkpoint in the folder, if there is one. The model is the
                same to the byte as without the interruption.
            warm_start: A model file to continue from. Its ids stay, its hyperparameters hold where
                nothing else is given, and few epochs are enough; see
                :mod:`sparserec_np.training.warm_start`.
            dask: Train on a cluster, by the address of its scheduler or a ``distributed.Client``;
                see :mod:`sparserec_np.distributed`. The model is the same to the byte. Paths in
                ``X`` are then read by the workers, and ``interactions_`` has no histories.

            verbose: Print a line an epoch on stderr. The log has it in any case, at the level INFO.

        Returns:
            The estimator.

        Raises:
            InputError: Data or arguments cannot be used, or the training diverged; the message says
                why.
            KeyboardInterrupt: As it came; the last state is in the folder of checkpoints.
            ClusterError: The cluster is lost; the last state is there as well.
        """
        given = {name: _plain(value) for name, value in self.get_params().items()}
        limit = SizeLimit.parse(sparsity=given.pop("sparsity"), max_size=given.pop("max_size"))
        threads, fast = given.pop("threads"), given.pop("fast")
        checkpointing = Checkpointing.parse(checkpoint, every=checkpoint_every, resume=resume)
        with backend_for(dask, threads) as backend:
            result = fit(
                X,
                {name: value for name, value in given.items() if value is not None},
                limit=limit,
                valid=valid,
                labels=labels,
                item_features=item_features,
                warm_start=warm_start,
                fast=fast,
                checkpointing=checkpointing,
                on_epoch=_printing(on_epoch) if verbose else on_epoch,
                backend=backend,
            )
        self._file = result.file
        self.model_ = load(self._file)
        self.interactions_ = result.interactions
        self.epoch_metrics_ = result.metrics
        chosen = result.chosen
        self.best_epoch_, self.best_ndcg_, self.recency_ = (
            chosen.epochs,
            chosen.ndcg,
            chosen.recency,
        )
        self.changes_ = dict(chosen.changes)
        return self

    def to_bytes(self) -> bytes:
        """Return the bytes of the model file.

        Raises:
            InputError: The estimator is not fitted.
        """
        self._check_fitted()
        return self._file

    def save(self, path: str | Path | BinaryIO) -> None:
        """Write the model file, at once or not at all.

        Args:
            path: The file, or a binary file object to write to.

        Raises:
            InputError: The path cannot be written, or the estimator is not fitted.
        """
        if not isinstance(path, (str, os.PathLike)):
            if not hasattr(path, "write") or hasattr(path, "encoding"):
                raise InputError(f"save takes a path or a binary file object, not {path!r:.80}")
            path.write(self.to_bytes())
            return
        atomic_write.write(path, self.to_bytes())

    def recommend(
        self,
        user: Id | None = None,
        *,
        history: IdSequence | None = None,
        k: int = 10,
        exclude: IdSequence | None = None,
        candidates: IdSequence | None = None,
        **wishes: Any,
    ) -> Recommendation:
        """Recommend items to a user of the training data, or to anyone by what they had.

        Args:
            user: Id of a user of the training data.
            history: Item ids (history models only); exactly one of ``user`` and ``history``.
            k: Items at most.
            exclude: Item ids to leave out; None: what the user had.
            candidates: Rank these items alone; None: all.
            wishes: ``popularity``, ``diversity``, ``recency`` and ``dislikes``, as
                :meth:`sparserec_np.Model.recommend` takes them.

        Returns:
            Ids, best first, and their scores: float32 array of the same length.

        Raises:
            InputError: Neither or both of ``user`` and ``history`` are given, or the model cannot
                serve it.
            UnknownIdError: The user is not in the training data.
        """
        self._check_fitted()
        how: dict[str, Any] = {"k": k, "exclude": exclude, "candidates": candidates} | wishes
        if user is None:
            return self.model_.recommend(history=history, **how)
        if history is not None:
            raise InputError("give either user or history, not both")
        recency = wishes.get("recency")
        had = self._items_of(user, ordered=(self.recency_ if recency is None else recency) > 0)
        if self.model_.users == "history":
            return self.model_.recommend(history=had, **how)
        return self.model_.recommend(
            user=user, **how | ({"exclude": had} if exclude is None else {})
        )

    def recommend_batch(
        self, users: IdSequence | None = None, k: int = 10, **wishes: Any
    ) -> list[Recommendation]:
        """Recommend items to many users of the training data, none that they had; compiled.

        Args:
            users: Their ids; None: all of them, in the order of ``interactions_.user_ids``.
            k: Items a user, at most.
            wishes: ``popularity``, ``diversity`` and ``recency``, as
                :meth:`sparserec_np.Model.recommend` takes them.

        Returns:
            What :meth:`recommend` returns for each; scores are rounded to float32 on the way, so
            that almost equal ones may change places.

        Raises:
            InputError: ``k`` is below 1, or the estimator is not fitted.
            UnknownIdError: A user is not in the training data.
        """
        self._check_fitted()
        if k < 1:
            raise InputError(f"k must be a whole number, 1 or more, but is {k!r}")
        model, data = self.model_, self.interactions_
        given = {"popularity": 1.0, "diversity": 0.0, "recency": None} | wishes
        taste = checked_taste(**given, users=model.users)
        known = align(data, model.user_ids, model.item_ids).interactions
        users = data.user_ids.take(np.arange(data.n_users)) if users is None else users
        rows = known.user_ids.locate(users)
        if (rows < 0).any():
            self._items_of(users[int(np.argmin(rows))], ordered=False)  # says who is unknown
        k = min(k, len(model))
        threads = self.get_params()["threads"]
        items, scores = rank(model, known, rows, k=k, taste=taste, threads=threads)
        found = (items >= 0).sum(axis=1).tolist()
        return [
            Recommendation(model.item_ids.take(own[:n]), values[:n], model.labels_of)
            for own, values, n in zip(items, scores, found, strict=True)
        ]

    def similar_items(self, item: Id, k: int = 10) -> Recommendation:
        """Find the items whose rows point most nearly the same way.

        Args:
            item: Id of an item.
            k: Items at most.

        Returns:
            Ids, most similar first, and their cosines: float32 array of the same length.

        Raises:
            InputError: ``k`` is below 1, or the estimator is not fitted.
            UnknownIdError: The item is unknown.
        """
        self._check_fitted()
        return self.model_.similar_items(item, k)

    def score(self, X: Any, y: Any = None) -> float:
        """Compute NDCG@20 on interactions that were not learned from.

        Args:
            X: What is to be predicted, of the kinds that :meth:`fit` takes. What was learned from
                is left out of the rankings, and is the histories of a history model.
            y: Not used, as in :meth:`fit`.

        Returns:
            The mean over the users of ``X``; see :func:`sparserec_np.evaluation.evaluate.evaluate`.

        Raises:
            InputError: The estimator is not fitted, or ``X`` cannot be used.
        """
        return ranking_scorer()(self, X)

    def _items_of(self, user: Id, ordered: bool) -> list[Any]:
        data = self.interactions_
        (position,) = data.user_ids.locate([user])
        if position < 0:
            raise UnknownIdError(
                f"user {user!r} is not in the training data: for someone new give history=[...]"
            )
        return data.item_ids.take(data.items_of(position, ordered=ordered))

    def _check_fitted(self) -> None:
        if not hasattr(self, "model_"):
            raise InputError("this SparseRec is not fitted yet: call fit first")

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "model_")

    def __sklearn_tags__(self) -> Any:
        # Asked for by scikit-learn only, which takes a second to import: training does without it.
        from sklearn.utils import InputTags, Tags, TargetTags

        inputs = InputTags(sparse=True, string=True, positive_only=True)
        return Tags(estimator_type=None, target_tags=TargetTags(required=False), input_tags=inputs)

    def __getstate__(self) -> dict[str, Any]:
        """Return arguments, arrays and the bytes of the file; the opened model is left out."""
        return {name: value for name, value in vars(self).items() if name != "model_"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        if "_file" in state:
            self.model_ = load(self._file)

    def __repr__(self) -> str:
        changed = [
            f"{name}={value!r}"
            for name, value in self.get_params().items()
            if value != _ARGUMENTS[name]
        ]
        return f"SparseRec({', '.join(changed)})"


def _signature() -> inspect.Signature:
    """Return the signature of ``SparseRec()``, as help and editors show it."""

    def annotation(name: str) -> str:
        kind = HYPERPARAMETERS[name].type if name in HYPERPARAMETERS else _TYPES[name]
        plain = name in (*_ALWAYS, "fast") or "None" in str(kind)
        return str(kind) if plain else f"{kind} | None"

    keyword = inspect.Parameter.KEYWORD_ONLY
    return inspect.Signature(
        [
            inspect.Parameter("self", inspect.Parameter.POSITIONAL_OR_KEYWORD),
            *(
                inspect.Parameter(name, keyword, default=default, annotation=annotation(name))
                for name, default in _ARGUMENTS.items()
            ),
        ],
        return_annotation="None",
    )


_TYPES = {"sparsity": "float", "max_size": "int | str", "fast": "bool", "threads": "int"}
SparseRec.__init__.__signature__ = _signature()  # type: ignore[attr-defined]
SparseRec.__doc__ = str(SparseRec.__doc__).format(
    arguments="\n".join(_DOCS[name] for name in _ARGUMENTS).lstrip()
)


def _printing(then: Callable[[EpochMetrics], None] | None) -> Callable[[EpochMetrics], None]:
    """Return a function that prints an epoch, then calls another one if there is one."""

    def show(metrics: EpochMetrics) -> None:
        print(epoch_line(metrics), file=sys.stderr, flush=True)
        if then is not None:
            then(metrics)

    return show


def _plain(value: Any) -> Any:
    """Turn a number of NumPy's, as the searches of scikit-learn hand over, into Python's own."""
    return value.item() if isinstance(value, np.generic) else value
