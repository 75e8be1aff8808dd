"""Our model in Cornac and RecTools, and their metrics against ours, on MovieLens-like data.

Both libraries are the real ones. They are imported where they are used, because they are installed
in an environment of their own (see ``.ci/run``): the marker keeps these tests out of all others.
"""

from __future__ import annotations

import pickle

import numpy as np
import pytest

from sparserec_np import SparseRec, evaluate, hold_out, load
from sparserec_np.data import Interactions, from_pairs
from sparserec_np.data.synthetic import generate
from sparserec_np.errors import InputError

pytestmark = pytest.mark.adapters

K = 20


@pytest.fixture(scope="module")
def parts() -> tuple[list[tuple[str, int]], list[tuple[str, int]]]:
    """Return training and test pairs of 400 film fans; all test items are in the training data."""
    data = generate().interactions
    train, test = hold_out(data, fraction=0.2, seed=0)
    known = set(pairs_of(train, 400))
    items = {item for _, item in known}
    return sorted(known), [pair for pair in pairs_of(test, 400) if pair[1] in items]


def pairs_of(data: Interactions, n_users: int) -> list[tuple[str, int]]:
    entries = slice(int(data.indptr[n_users]))
    users = [f"u{user}" for user in data.user_ids.take(data.user_of_entry()[entries])]
    return list(zip(users, data.item_ids.take(data.items[entries]), strict=True))


def ours(model: SparseRec, parts, k: int = K) -> dict[str, float]:
    train, test = (from_pairs(*zip(*part, strict=True)) for part in parts)
    metrics = evaluate(model.model_, train, test, k=k)
    assert 0.1 < metrics["recall"] <= 1
    return metrics


@pytest.fixture(scope="module", params=["history", "embedding"])
def estimator(request) -> SparseRec:
    return SparseRec(users=request.param, dim=32, sparsity=0.6, epochs=4, sweeps=3)


# Cornac


@pytest.fixture(scope="module")
def cornac_split(parts):
    from cornac.eval_methods import BaseMethod

    rated = [[(user, item, 1.0) for user, item in part] for part in parts]
    return BaseMethod.from_splits(train_data=rated[0], test_data=rated[1], seed=0)


@pytest.fixture(scope="module")
def in_cornac(estimator, cornac_split):
    from sparserec_np.adapters.cornac import SparseRecRecommender

    return SparseRecRecommender(estimator).clone().fit(cornac_split.train_set)


def test_cornac_trains_the_same_model(in_cornac, estimator, parts, tmp_path):
    plain = SparseRec(**estimator.get_params()).fit(tuple(zip(*parts[0], strict=True)))
    plain.save(tmp_path / "plain")
    in_cornac.estimator.save(tmp_path / "cornac")
    assert (tmp_path / "plain").read_bytes() == (tmp_path / "cornac").read_bytes()
    user = parts[0][0][0]
    assert (
        in_cornac.recommend(user, k=5, remove_seen=True, train_set=in_cornac.train_set)
        == (plain.recommend(user, k=5)[0])
    )


def test_cornac_metrics_agree(in_cornac, cornac_split, parts):
    from cornac.eval_methods.base_method import ranking_eval
    from cornac.metrics import MRR, NDCG, HitRatio, Recall

    metrics = [Recall(k=K), NDCG(k=K), HitRatio(k=K), MRR()]
    theirs, _ = ranking_eval(
        in_cornac, metrics, cornac_split.train_set, cornac_split.test_set, verbose=False
    )
    mine = ours(in_cornac.estimator, parts)
    expected = [mine["recall"], mine["ndcg"], mine["hit_rate"]]
    # Cornac's MRR looks at the whole ranking.
    expected.append(ours(in_cornac.estimator, parts, k=cornac_split.train_set.num_items)["mrr"])
    assert theirs == pytest.approx(expected, abs=1e-9)


def test_cornac_experiment(estimator, cornac_split, tmp_path, capsys):
    import cornac
    from cornac.metrics import NDCG, Recall

    from sparserec_np.adapters.cornac import SparseRecRecommender

    models = [cornac.models.MostPop(), SparseRecRecommender(estimator, name="ours")]
    experiment = cornac.Experiment(
        cornac_split, models, [Recall(k=K), NDCG(k=K)], save_dir=str(tmp_path)
    )
    experiment.run()
    popular, mine = (result.metric_avg_results["NDCG@20"] for result in experiment.result)
    assert mine > popular > 0
    (file,) = (tmp_path / "ours").glob("*.pkl")
    again = SparseRecRecommender.load(str(file))
    assert again.score(3).tolist() == models[1].score(3).tolist()


def test_cornac_scores_and_unknown_ones(in_cornac, cornac_split):
    from cornac.exception import ScoreException

    scores = in_cornac.score(2)
    assert scores.shape == (cornac_split.train_set.num_items,)
    assert in_cornac.score(2, 7) == scores[7]
    ranked, of_chosen = in_cornac.rank(2, [5, 9, 7])
    assert of_chosen.tolist() == scores[[5, 9, 7]].tolist()
    assert scores[ranked].tolist() == sorted(of_chosen, reverse=True)
    for unknown in ((10**6,), (2, 10**6)):
        with pytest.raises(ScoreException):
            in_cornac.score(*unknown)
    assert len(in_cornac.rank(10**6)[0]) == len(scores)


def test_cornac_validation_data_choose_the_epoch(cornac_split):
    from sparserec_np.adapters.cornac import SparseRecRecommender

    model = SparseRecRecommender(SparseRec(dim=8, sparsity=0.5, sweeps=1, fast=True))
    model.fit(cornac_split.train_set, cornac_split.test_set)
    assert {record.stage for record in model.estimator.epoch_metrics_} == {"train"}
    assert model.estimator.best_ndcg_ > 0


# RecTools


def frame(pairs):
    import pandas as pd

    table = pd.DataFrame(pairs, columns=["user_id", "item_id"])
    return table.assign(weight=1.0, datetime=pd.Timestamp("2024-11-22"))


@pytest.fixture(scope="module")
def dataset(parts):
    from rectools.dataset import Dataset

    return Dataset.construct(frame(parts[0]))


@pytest.fixture(scope="module")
def in_rectools(estimator, dataset):
    from sparserec_np.adapters.rectools import SparseRecModel

    return SparseRecModel(SparseRec(**estimator.get_params())).fit(dataset)


def test_rectools_metrics_agree(in_rectools, dataset, parts):
    from rectools.metrics import MRR, NDCG, CatalogCoverage, HitRate, Recall, calc_metrics

    test = frame(parts[1])
    reco = in_rectools.recommend(test["user_id"].unique(), dataset, K, filter_viewed=True)
    theirs = calc_metrics(
        {
            "recall": Recall(K),
            "ndcg": NDCG(K, divide_by_achievable=True),
            "hit_rate": HitRate(K),
            "mrr": MRR(K),
            "coverage": CatalogCoverage(K, normalize=True),
        },
        reco,
        test,
        catalog=dataset.item_id_map.external_ids,
    )
    mine = ours(in_rectools.estimator, parts)
    assert theirs == pytest.approx({name: mine[name] for name in theirs}, abs=1e-9)


def test_rectools_recommends_what_we_do(in_rectools, dataset, parts):
    user = parts[0][0][0]
    model = in_rectools.estimator
    for viewed, exclude in ((True, None), (False, [])):
        reco = in_rectools.recommend([user], dataset, 5, filter_viewed=viewed)
        ids, scores = model.recommend(user, k=5, exclude=exclude)
        assert reco["item_id"].tolist() == ids
        assert reco["score"].tolist() == scores.tolist()
    few = sorted(model.recommend(user, k=30)[0])[:6]
    reco = in_rectools.recommend([user], dataset, 10, True, items_to_recommend=few)
    assert sorted(reco["item_id"]) == few


def test_rectools_similar_items(in_rectools, dataset):
    targets = dataset.item_id_map.external_ids[[9, 2]]
    reco = in_rectools.recommend_to_items(targets, dataset, 4)
    for target in targets:
        ids, cosines = in_rectools.estimator.similar_items(target, 4)
        mine = reco[reco["target_item_id"] == target]
        assert mine["item_id"].tolist() == ids
        assert mine["score"].tolist() == cosines.tolist()
    reco = in_rectools.recommend_to_items(targets, dataset, 2, filter_itself=False)
    assert reco["item_id"].tolist()[::2] == targets.tolist()
    allowed = in_rectools.estimator.similar_items(targets[0], 9)[0][-3:]
    reco = in_rectools.recommend_to_items(targets[:1], dataset, 5, items_to_recommend=allowed)
    assert reco["item_id"].tolist() == allowed


def test_rectools_configs_pickles_and_new_users(in_rectools, dataset):
    from rectools.dataset import Dataset

    from sparserec_np.adapters.rectools import SparseRecModel

    again = SparseRecModel.from_config(in_rectools.get_config(simple_types=True))
    assert again.estimator.get_params() == in_rectools.estimator.get_params()
    loaded = SparseRecModel.loads(in_rectools.dumps())
    user = dataset.user_id_map.external_ids[0]
    expected = in_rectools.recommend([user], dataset, 3, True)["item_id"].tolist()
    assert loaded.recommend([user], dataset, 3, True)["item_id"].tolist() == expected
    items = dataset.item_id_map.external_ids
    newcomer = Dataset.construct(frame([("new", items[0]), *(("all", item) for item in items)]))
    reco = in_rectools.recommend(["new"], newcomer, 3, True)
    assert len(reco) == (3 if in_rectools.estimator.users == "history" else 0)


def test_rectools_knows_what_is_recent(parts):
    import pandas as pd
    from rectools.dataset import Dataset

    from sparserec_np.adapters.rectools import SparseRecModel

    rows = frame(parts[0])
    days = np.random.default_rng(0).permutation(len(rows))
    rows["datetime"] += pd.to_timedelta(days, unit="D")
    model = SparseRecModel(SparseRec(dim=16, epochs=2, recency=1.0)).fit(Dataset.construct(rows))
    assert model.estimator.model_.history_recency == 1
    user = rows["user_id"].iloc[0]
    reco = model.recommend([user], Dataset.construct(rows), 5, filter_viewed=True)
    history = rows[rows["user_id"] == user].sort_values("datetime")["item_id"].tolist()
    assert reco["item_id"].tolist() == model.estimator.recommend(history=history, k=5)[0]
    assert reco["item_id"].tolist() == model.estimator.recommend(user, k=5)[0]


def test_rectools_cross_validation(dataset):
    from rectools.metrics import Recall
    from rectools.model_selection import LastNSplitter, cross_validate
    from rectools.models import PopularModel

    from sparserec_np.adapters.rectools import SparseRecModel

    model = SparseRecModel(SparseRec(dim=32, sparsity=0.5, epochs=4, sweeps=3))
    result = cross_validate(
        dataset,
        LastNSplitter(n=2, n_splits=1),
        metrics={"recall": Recall(K)},
        models={"popular": PopularModel(), "ours": model},
        k=K,
        filter_viewed=True,
    )
    recalls = {row["model"]: row["recall"] for row in result["metrics"]}
    assert recalls["ours"] > recalls["popular"] > 0


def test_the_file_of_an_adapter_is_read_by_the_light_runtime(in_cornac, tmp_path):
    path = tmp_path / "model.srec"
    in_cornac.estimator.save(path)
    assert load(path).item_ids.kind == "int"


def test_pickles_and_errors_come_through(in_cornac):
    assert pickle.loads(pickle.dumps(in_cornac)).estimator.save
    with pytest.raises(InputError, match="dim must be"):
        type(in_cornac)(SparseRec(dim=0)).fit(in_cornac.train_set)
    assert np.isfinite(in_cornac.score(0)).all()
