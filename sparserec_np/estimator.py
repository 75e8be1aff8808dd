"""``SparseRec``: fit, recommend, save, in the style of scikit-learn."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np

from sparserec_np.data import from_any
from sparserec_np.errors import InputError, UnknownIdError
from sparserec_np.evaluation.evaluate import ranking_scorer
from sparserec_np.modelfile import writer
from sparserec_np.modelfile.arrays import ModelArrays
from sparserec_np.runtime import load
from sparserec_np.runtime.model import Recommendation
from sparserec_np.training import warm_start as warm
from sparserec_np.training.budget import plan_budget
from sparserec_np.training.checkpoint import Checkpoints, check_folder, parse_every
from sparserec_np.training.config import Config
from sparserec_np.training.defaults import config_for
from sparserec_np.training.fit import Backend, Fit
from sparserec_np.training.trainer import EpochMetrics
from sparserec_np.utils.parallel import thread_count
from sparserec_np.vocabulary import Id, IdSequence


class SparseRec:
    """Recommender with sparse embeddings, trained by BPR with dynamic sparse training.

    Source: SparseRec, arXiv 2411.12205.

    Args:
        users: ``"history"``: a user is the items it had, so anyone is served and nothing personal
            is in the file. ``"embedding"``: each user has a row of weights of its own.
        dim: Columns of the embedding tables, 1 to 4,096; None: chosen from the data.
        sparsity: Share of the tables' entries that is not stored, in [0, 1).
        max_size: Bytes of the saved file at most: a number, or a text like ``"500KB"``. At most
            one of ``sparsity`` and ``max_size`` is given; without both, the data decides.
        epochs: Passes over the data. None: chosen by validation, on ``valid`` if it is given to
            :meth:`fit`, else on a tenth of each user's interactions; the model is then trained
            anew on everything.
        learning_rate: See :class:`sparserec_np.training.config.Config`, as for all that follow.
        reg: L2 penalty.
        candidates: Items that a negative is the best scored of.
        history_exponent: Scales a history of ``|H|`` items by ``|H|^-history_exponent``.
        history_power: Bends each dimension ``y`` of a summed history to ``sign(y) |y|^power``, so
            that many items that say the same count for less; a multiple of 1/8.
        recency: Weighs an item of a history that ``age`` others came after by
            ``(age + 1)^-recency``, a multiple of 1/8 from 0 to 1. None: chosen on what is held out
            where times are known, else 0.
        degree_exponent: Weighs an item of a history by ``degree^-degree_exponent``.
        initial_norm: Norm of the rows that training starts from.
        sweeps: Sweeps of the sparse NMF.
        exploration: Share of weights that the first exploration step moves.
        value_bits: Bits of a weight in the file, 1 to 8.
        seed: Same data, same arguments, same seed: same bytes of the file.
        threads: Number of threads; None for all cores. The file does not depend on it.

    Attributes:
        model_: The fitted model, :class:`sparserec_np.Model`, read back from the bytes of the file.
        epoch_metrics_: One :class:`sparserec_np.training.trainer.EpochMetrics` an epoch, of all stages.
        best_epoch_: Number of epochs that the model was trained for.
        recency_: Recency of the model, chosen or given.
        best_ndcg_: NDCG@20 on the validation part at that epoch, or None.
        interactions_: What was learned from.
    """

    def __init__(
        self,
        *,
        users: str = "history",
        dim: int | None = None,
        sparsity: float | None = None,
        max_size: int | str | None = None,
        epochs: int | None = None,
        learning_rate: float | None = None,
        reg: float | None = None,
        candidates: int | None = None,
        history_exponent: float | None = None,
        history_power: float | None = None,
        recency: float | None = None,
        degree_exponent: float | None = None,
        initial_norm: float | None = None,
        sweeps: int | None = None,
        exploration: float | None = None,
        value_bits: int | None = None,
        seed: int = 0,
        threads: int | None = None,
    ) -> None:
        self.users = users
        self.dim = dim
        self.sparsity = sparsity
        self.max_size = max_size
        self.epochs = epochs
        self.learning_rate = learning_rate
        self.reg = reg
        self.candidates = candidates
        self.history_exponent = history_exponent
        self.history_power = history_power
        self.recency = recency
        self.degree_exponent = degree_exponent
        self.initial_norm = initial_norm
        self.sweeps = sweeps
        self.exploration = exploration
        self.value_bits = value_bits
        self.seed = seed
        self.threads = threads

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Return the arguments by name; ``deep`` is there for scikit-learn and changes nothing."""
        names = list(inspect.signature(type(self).__init__).parameters)[1:]
        return {name: getattr(self, name) for name in names}

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
        on_epoch: Callable[[EpochMetrics], None] | None = None,
        checkpoint: str | Path | None = None,
        checkpoint_every: int | str = 1,
        resume: bool = False,
        warm_start: str | Path | None = None,
        dask: Any = None,
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
            on_epoch: Called after each epoch.
            checkpoint: Folder to keep the state of the fit in while it is on its way.
            checkpoint_every: How often: a number of epochs, or a time like ``"30s"`` or ``"5min"``.
            resume: Go on from the last checkpoint in the folder, if there is one. The model is the
                same to the byte as without the interruption.
            warm_start: A model file to continue from. Its ids stay, its hyperparameters hold where
                nothing else is given, and few epochs do; see :mod:`sparserec_np.training.warm_start`.
            dask: Train on a cluster, by the address of its scheduler or a ``distributed.Client``;
                see :mod:`sparserec_np.distributed`. The model is the same to the byte. Paths in
                ``X`` are then read by the workers, and ``interactions_`` has no histories.

        Returns:
            The estimator.

        Raises:
            InputError: Data or arguments cannot be used, or the training diverged; the message says
                why.
            KeyboardInterrupt: As it came; the last state is in the folder of checkpoints.
            ClusterError: The cluster is lost; the last state is there as well.
        """
        if dask is None:
            engine: AbstractContextManager[Backend] = nullcontext(Backend())
        else:
            from sparserec_np.distributed.training import training_on

            engine = training_on(dask, threads=_plain(self.threads))
        keep = checkpoint, checkpoint_every, resume
        with engine as there:
            return self._fit(there, X, valid, labels, on_epoch, keep, warm_start)

    def _fit(
        self,
        engine: Backend,
        X: Any,
        valid: Any,
        labels: Mapping[Any, str] | None,
        on_epoch: Callable[[EpochMetrics], None] | None,
        keep: tuple[str | Path | None, int | str, bool],
        warm_start: str | Path | None,
    ) -> SparseRec:
        checkpoint, checkpoint_every, resume = keep
        if resume and checkpoint is None:
            raise InputError("resume needs the folder of the checkpoints: give checkpoint as well")
        every = parse_every(checkpoint_every)
        folder = None if checkpoint is None else check_folder(checkpoint, resume=resume)
        if warm_start is not None and type(engine) is not Backend:
            raise InputError(
                "a warm start runs on one machine, in a fraction of a fit's time: leave out --dask "
                "(dask= in Python), or leave out --warm-start (warm_start=) and fit anew"
            )
        old = None if warm_start is None else self._read_old(warm_start)
        given = self._given(old)
        Config(**given)  # so that a value out of range is found before the data is read
        interactions = engine.take(X)
        if interactions.nnz == 0:
            raise InputError("nothing to learn from: there is no interaction in the data")
        if old is not None:
            interactions = warm.widen(interactions, old)
        held = None if valid is None else from_any(valid)
        config = config_for(interactions, given)
        texts = warm.texts_of(labels, interactions, old)
        sparsity, max_size = _plain(self.sparsity), _plain(self.max_size)
        if old is not None and sparsity is None and max_size is None:
            sparsity = warm.sparsity_of(old)
        plan = plan_budget(interactions, config, sparsity=sparsity, max_size=max_size, labels=texts)
        choose = held is None and self.epochs is None and old is None
        checkpoints = None
        if folder is not None:
            what = plan.identity(interactions, held, choose, warm_start)
            checkpoints = Checkpoints(folder, every, what)
        job = Fit(
            config,
            begin=(
                (lambda data: engine.start(data, config, plan.dim, plan.weights))
                if old is None
                else (lambda data: warm.continue_from(old, data, config, plan.weights))
            ),
            on_epoch=on_epoch,
            checkpoints=checkpoints,
            progress=checkpoints.load() if checkpoints is not None and resume else None,
            engine=engine,
        )
        self.epoch_metrics_ = job.records
        with thread_count(_plain(self.threads)):
            tables, chosen = job.run(interactions, held, choose=choose)
        self.interactions_ = interactions
        self.best_epoch_, self.best_ndcg_, self.recency_ = chosen
        facts = plan.facts(interactions, chosen.epochs, chosen.ndcg)
        arrays = plan.arrays(tables, interactions, texts, facts, chosen.recency)
        del tables  # and so Adagrad's sums, which the file does without
        self._bytes = writer.encode(arrays)
        self.model_ = load(self._bytes)
        return self

    def _read_old(self, path: str | Path) -> ModelArrays:
        return warm.read_old(path, users=self.users, dim=self.dim)

    def _given(self, old: ModelArrays | None) -> dict[str, Any]:
        """Hyperparameters that are set: as arguments, or by the model to continue from."""
        names = {field.name for field in fields(Config)}
        given = {
            name: _plain(value)
            for name, value in self.get_params().items()
            if name in names and value is not None
        }
        return {**(warm.hyperparameters(old) if old is not None else {}), **given}

    def save(self, path: str | Path) -> None:
        """Write the model file, at once or not at all.

        Args:
            path: The file.

        Raises:
            InputError: The path cannot be written, or the estimator is not fitted.
        """
        self._check_fitted()
        writer.write(path, self._bytes)

    def recommend(
        self,
        user: Id | None = None,
        *,
        history: IdSequence | None = None,
        k: int = 10,
        exclude: IdSequence | None = None,
        candidates: IdSequence | None = None,
    ) -> Recommendation:
        """Recommend items to a user of the training data, or to anyone by what they had.

        Args:
            user: Id of a user of the training data.
            history: Item ids (history models only); exactly one of ``user`` and ``history``.
            k: Items at most.
            exclude: Item ids to leave out; None: what the user had.
            candidates: Rank these items alone; None: all.

        Returns:
            Ids, best first, and their scores: float32 array of the same length.

        Raises:
            InputError: Neither or both of ``user`` and ``history`` are given, or the model cannot
                serve it.
            UnknownIdError: The user is not in the training data.
        """
        self._check_fitted()
        how: dict[str, Any] = {"k": k, "exclude": exclude, "candidates": candidates}
        if user is None:
            return self.model_.recommend(history=history, **how)
        if history is not None:
            raise InputError("give either user or history, not both")
        had = self._items_of(user)
        if self.model_.users == "history":
            return self.model_.recommend(history=had, **how)
        return self.model_.recommend(
            user=user, **how | ({"exclude": had} if exclude is None else {})
        )

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

    def _items_of(self, user: Id) -> list[Any]:
        data = self.interactions_
        (position,) = data.user_ids.locate([user])
        if position < 0:
            raise UnknownIdError(
                f"user {user!r} is not in the training data: for someone new give history=[...]"
            )
        return data.item_ids.take(data.items_of(position, ordered=self.recency_ > 0))

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
        if "_bytes" in state:
            self.model_ = load(self._bytes)

    def __repr__(self) -> str:
        defaults = inspect.signature(type(self).__init__).parameters
        changed = [
            f"{name}={value!r}"
            for name, value in self.get_params().items()
            if value != defaults[name].default
        ]
        return f"SparseRec({', '.join(changed)})"


def _plain(value: Any) -> Any:
    """Turn a number of NumPy's, as the searches of scikit-learn hand over, into Python's own."""
    return value.item() if isinstance(value, np.generic) else value
