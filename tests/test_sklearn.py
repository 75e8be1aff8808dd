"""``SparseRec`` among the tools of scikit-learn: its checks, pickling, searches, scorers."""

from __future__ import annotations

import copy
import io
import pickle
import pickletools
from functools import partial

import joblib
import numpy as np
import pandas as pd
import polars as pl
import pytest
import scipy.sparse
import scipy.stats
from reference import interactions
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV, RandomizedSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.utils import get_tags
from sklearn.utils.estimator_checks import estimator_checks_generator
from sklearn.utils.validation import check_is_fitted

from sparserec_np import InteractionSplit, SparseRec, evaluate, ranking_scorer
from sparserec_np.data import from_any
from sparserec_np.errors import InputError

FAST = {"dim": 8, "epochs": 2, "sweeps": 1, "sparsity": 0.5}


class OnMatrix(SparseRec):
    """Reads the dense arrays of scikit-learn's checks as matrices of users x items."""

    def fit(self, X, y=None):
        return super().fit(self._sparse(X), y)

    def score(self, X, y=None):
        return super().score(self._sparse(X), y)

    @staticmethod
    def _sparse(X):
        return scipy.sparse.csr_array(X) if isinstance(X, np.ndarray) and X.ndim == 2 else X


CHECKED = {
    "check_do_not_raise_errors_in_init_or_set_params",
    "check_complex_data",
    "check_dict_unchanged",
    "check_dont_overwrite_parameters",
    "check_estimator_cloneable",
    "check_estimator_repr",
    "check_estimator_sparse_array",
    "check_estimator_sparse_matrix",
    "check_estimator_sparse_tag",
    "check_estimator_tags_renamed",
    "check_estimators_dtypes",
    "check_estimators_fit_returns_self",
    "check_estimators_nan_inf",
    "check_estimators_overwrite_params",
    "check_estimators_pickle",
    "check_estimators_unfitted",
    "check_f_contiguous_array_estimator",
    "check_fit1d",
    "check_fit2d_1feature",
    "check_fit2d_1sample",
    "check_fit2d_predict1d",
    "check_fit_check_is_fitted",
    "check_fit_idempotent",
    "check_fit_non_negative",
    "check_fit_score_takes_y",
    "check_get_params_invariance",
    "check_methods_sample_order_invariance",
    "check_methods_subset_invariance",
    "check_mixin_order",
    "check_no_attributes_set_in_init",
    "check_parameters_default_constructible",
    "check_pipeline_consistency",
    "check_positive_only_tag_during_fit",
    "check_readonly_memmap_input",
    "check_set_params",
    "check_valid_tag_types",
}
NOT_MEANT = {
    "check_array_api_input": "arrays of other libraries come in as frames or DLPack exports, and "
    "scikit-learn checks it with SCIPY_ARRAY_API set only",
    "check_dtype_object": "a sparse matrix cannot hold objects; columns of ids can, see "
    "test_interactions.py",
    "check_estimators_empty_data_messages": "empty data is refused, but a matrix has items and not "
    "features to be named in the message",
    "check_n_features_in": "columns are items, known by their ids; their number binds nobody",
    "check_n_features_in_after_fitting": "as check_n_features_in",
}


def name_of(check) -> str:
    while isinstance(check, partial):
        check = check.func
    return check.__name__


@pytest.fixture(scope="module")
def generated():
    """The checks of the installed scikit-learn, by name."""
    with pytest.warns(UserWarning, match="does not inherit"):  # it would cost a second to import
        return [(name_of(c), e, c) for e, c in estimator_checks_generator(OnMatrix(**FAST))]


def test_every_check_of_scikit_learn_is_done_or_named_with_the_reason(generated):
    assert {name for name, _, _ in generated} <= CHECKED | set(NOT_MEANT)


@pytest.mark.parametrize("name", sorted(CHECKED))
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.SkipTestWarning")
def test_check_of_scikit_learn(generated, name):
    found = [(estimator, check) for known, estimator, check in generated if known == name]
    if not found:
        pytest.skip("the installed scikit-learn has no such check")
    for estimator, check in found:
        check(clone(estimator))


def test_the_checks_that_are_not_meant_do_fail(generated):
    for name, estimator, check in generated:
        if name in NOT_MEANT:
            with pytest.raises(Exception):  # noqa: B017 -- each fails, or is skipped, in its own way
                check(clone(estimator))


def test_check_is_fitted_and_tags(fitted):
    check_is_fitted(fitted)
    with pytest.raises(Exception, match="not fitted yet"):
        check_is_fitted(SparseRec())
    tags = get_tags(fitted)
    assert tags.input_tags.sparse
    assert not tags.target_tags.required


# Pickling


@pytest.fixture(scope="module", params=["history", "embedding"])
def fitted(request) -> SparseRec:
    data = interactions.checkerboard()
    pairs = [f"u{n}" for n in data.user_of_entry()], (data.items + 100).tolist()
    return SparseRec(users=request.param, **FAST).fit(pairs)


def by_joblib(model: SparseRec) -> SparseRec:
    file = io.BytesIO()
    joblib.dump(model, file)
    file.seek(0)
    return joblib.load(file)


COPIERS = {
    "pickle": lambda model: pickle.loads(pickle.dumps(model)),
    "oldest protocol": lambda model: pickle.loads(pickle.dumps(model, protocol=2)),
    "joblib": by_joblib,
    "deepcopy": copy.deepcopy,
}


@pytest.mark.parametrize("way", COPIERS)
def test_a_pickled_estimator_is_the_same(fitted, way):
    fitted.recommend("u3")  # caches of the opened model must not come along
    copied = COPIERS[way](fitted)
    assert copied.get_params() == fitted.get_params()
    assert copied.epoch_metrics_ == fitted.epoch_metrics_
    assert copied.to_bytes() == fitted.to_bytes()
    for answer in (lambda m: m.recommend("u3", k=5), lambda m: m.similar_items(104)):
        (ids, scores), (expected, expected_scores) = answer(copied), answer(fitted)
        assert ids == expected
        assert scores.tolist() == expected_scores.tolist()


@pytest.mark.parametrize("way", COPIERS)
def test_a_pickled_estimator_that_is_not_fitted_can_be_fitted(way):
    model = COPIERS[way](SparseRec(**FAST, seed=3))
    assert repr(model) == repr(SparseRec(**FAST, seed=3))
    with pytest.raises(InputError, match="not fitted"):
        model.recommend("u3")
    model.fit(([1, 1, 2], [1, 2, 2]))


def test_a_pickle_holds_arrays_bytes_and_numbers_alone(fitted):
    fitted.recommend("u3")
    named = [
        str(value) for op, value, _ in pickletools.genops(pickle.dumps(fitted, protocol=2))
        if op.name == "GLOBAL"
    ]  # fmt: skip
    own = {"SparseRec", "EpochMetrics", "Interactions", "IntIds", "StrIds"}
    assert {name.split()[1] for name in named if name.startswith("sparserec_np")} == own
    others = {name.split()[0].split(".")[0] for name in named} - {"sparserec_np"}
    assert others <= {"numpy", "_codecs", "__builtin__", "builtins", "copy_reg", "copyreg"}


def test_a_model_from_a_mapped_pickle_recommends(fitted, tmp_path):
    joblib.dump(fitted, tmp_path / "model.joblib")
    mapped = joblib.load(tmp_path / "model.joblib", mmap_mode="r")
    assert mapped.recommend("u3")[0] == fitted.recommend("u3")[0]
    assert mapped.score((["u3"], [100])) == fitted.score((["u3"], [100]))


# Searches


@pytest.fixture(scope="module")
def table() -> np.ndarray:
    """Interactions one a row, int64[n, 2]; tastes that a model of some epochs can tell apart."""
    data = interactions.checkerboard(n_users=60, n_items=40, each=10)
    return np.column_stack((data.user_of_entry(), data.items)).astype(np.int64)


def as_kind(table: np.ndarray, kind: str):
    names = {"user": [f"u{n}" for n in table[:, 0]], "item": table[:, 1]}
    return {
        "array": table,
        "objects": np.array([[f"u{u}", i] for u, i in table], dtype=object),
        "pandas": pd.DataFrame(names),
        "polars": pl.DataFrame(names),
    }[kind]


GRID = {"reg": [1e-4, 100.0], "candidates": np.array([1, 4])}


@pytest.mark.parametrize("kind", ["array", "objects", "pandas", "polars"])
def test_grid_search_finds_what_learns(table, kind):
    X = as_kind(table, kind)
    model = SparseRec(users="embedding", dim=4, sparsity=0.0, epochs=20, sweeps=1)
    search = GridSearchCV(
        model, GRID, cv=InteractionSplit(n_splits=2), scoring=ranking_scorer("recall", k=10)
    ).fit(X)
    assert search.best_params_["reg"] == 1e-4
    scores = search.cv_results_["mean_test_score"]
    assert np.isfinite(scores).all()
    assert search.best_score_ == scores.max() > scores.min() + 0.1
    assert search.best_estimator_.interactions_.nnz == len(table)
    assert search.best_estimator_.recommend(3 if kind == "array" else "u3", k=2)[0]


def test_random_search_by_several_metrics_in_processes(table):
    search = RandomizedSearchCV(
        SparseRec(**FAST, users="embedding"),
        {"learning_rate": scipy.stats.loguniform(1e-3, 1), "epochs": scipy.stats.randint(1, 4)},
        n_iter=3,
        cv=InteractionSplit(),
        scoring={"ndcg": ranking_scorer(k=5), "coverage": ranking_scorer("coverage", k=5)},
        refit="ndcg",
        random_state=0,
        n_jobs=2,
        error_score="raise",
    ).fit(table)
    assert search.best_index_ == search.cv_results_["mean_test_ndcg"].argmax()
    assert (search.cv_results_["mean_test_coverage"] > 0).all()


def test_a_pipeline_ends_in_it(table):
    model = make_pipeline("passthrough", SparseRec(**FAST)).fit(table)
    assert model[-1].recommend(3)[0]


def test_the_score_is_that_of_evaluate_and_leaves_out_what_was_learned(table):
    ((train, test),) = InteractionSplit(fraction=0.3).split(table)
    model = SparseRec(**FAST).fit(table[train])
    expected = evaluate(model.model_, from_any(table[train]), from_any(table[test]), k=20)
    for metric in ("recall", "ndcg", "hit_rate", "mrr", "coverage"):
        assert ranking_scorer(metric)(model, table[test]) == expected[metric]
    assert model.score(table[test]) == expected["ndcg"] > 0
    assert model.score(table[train]) == 0


def test_scores_that_cannot_be_computed():
    with pytest.raises(InputError, match="no metric 'map': choose from recall, ndcg"):
        ranking_scorer("map")
    with pytest.raises(InputError, match="k must be at least 1"):
        ranking_scorer(k=0)
    with pytest.raises(InputError, match="only a fitted SparseRec"):
        SparseRec().score(([1], [2]))


def test_numbers_of_numpy_are_numbers():
    given = {"dim": np.int64(8), "sparsity": np.float64(0.5), "threads": np.int32(1)}
    model = SparseRec(**given, epochs=np.int64(1), seed=np.uint8(2)).fit(([1, 1, 2], [1, 2, 2]))
    plain = SparseRec(dim=8, sparsity=0.5, epochs=1, seed=2).fit(([1, 1, 2], [1, 2, 2]))
    assert model.model_.info() == plain.model_.info()


def test_there_must_be_something_to_learn_from():
    for nothing in (scipy.sparse.csr_array((3, 4)), ([], [])):
        with pytest.raises(InputError, match="no interaction in the data"):
            SparseRec().fit(nothing)
