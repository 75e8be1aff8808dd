"""The race: what it tries, that it keeps its bounds, and that what it chooses is used."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sparserec_np import InputError, SparseRec
from sparserec_np.data import Interactions, from_pairs, select_users
from sparserec_np.data.synthetic import generate
from sparserec_np.training.config import Config
from sparserec_np.training.race import COST, best_of, epochs_of, is_estimate, next_trial
from sparserec_np.training.state import Chosen

NEIGHBOURS = ("neighbours", "neighbour_reg")


@pytest.fixture(scope="module")
def data() -> Interactions:
    everything = generate(seed=2).interactions
    return select_users(everything, np.arange(min(300, everything.n_users)))


@pytest.fixture(scope="module")
def raced(data: Interactions) -> SparseRec:
    return model().fit(data)


def model(**arguments: Any) -> SparseRec:
    return SparseRec(**{"dim": 32, "sweeps": 2, "max_size": "30KB", "patience": 2, **arguments})


def race(config: Config, fixed: set[str], scores: list[float], epochs: list[int]) -> list[Chosen]:
    """Run a race whose trials score as given."""
    tried: list[Chosen] = []
    while (trial := next_trial(config, fixed, tried)) is not None:
        n = len(tried)
        most = min(trial.epochs, trial.changes.get("epochs", config.epochs))
        tried.append(Chosen(1 + epochs[n] % most, scores[n], 0.0, changes=trial.changes))
        if n == 0:
            tried.append(Chosen(0, scores[-1], 0.0, 1.0, {"neighbours": 1.0, "neighbour_reg": 10}))
            tried.append(Chosen(0, scores[-2], 0.0, 4.0, {"neighbours": 0.3, "neighbour_reg": 10}))
    return tried


@settings(deadline=None)
@given(
    st.lists(st.floats(0, 1), min_size=60, max_size=60),
    st.lists(st.integers(0, 50), min_size=60, max_size=60),
    st.sets(st.sampled_from(["reg", "degree_exponent", "neighbours"])),
)
def test_a_race_ends_within_its_cost_and_leaves_alone_what_is_given(
    scores: list[float], epochs: list[int], fixed: set[str]
) -> None:
    config = Config()
    tried = race(config, fixed, scores, epochs)
    best, first = best_of(tried), tried[0]
    trained = [one for one in tried if one.epochs]
    assert first.changes == {}
    assert not any(name in one.changes for one in trained for name in fixed - {"neighbours"})
    unlike = [tuple(sorted(one.changes.items())) for one in tried if not is_estimate(one)]
    assert len(unlike) == len(set(unlike))
    assert not is_estimate(best)
    assert best.ndcg >= max(one.ndcg for one in tried if not is_estimate(one)) / 1.01**3 / 1.05
    by_formulas = epochs_of(config, first) + first.epochs
    # A best epoch near the end of what is left counts for some that were not run; the share of the
    # neighbours is tried whatever is left.
    beside = 20 + config.patience
    assert sum(epochs_of(config, one) for one in trained) <= COST * by_formulas + beside


def test_a_change_has_to_be_worth_it() -> None:
    assert (
        best_of([Chosen(5, 0.2, 0.0), Chosen(5, 0.2019, 0.0, changes={"reg": 1.0})]).changes == {}
    )
    assert best_of([Chosen(5, 0.2, 0.0), Chosen(5, 0.2021, 0.0, changes={"reg": 1.0})]).changes


@pytest.mark.parametrize(("alone", "goes_on"), [(0.23, False), (0.22, True)])
def test_neighbours_that_are_far_ahead_end_the_race(alone: float, goes_on: bool) -> None:
    tried = [Chosen(20, 0.2, 0.0), Chosen(0, alone, 0.0, 1.0, {"neighbours": 1.0})]
    assert (next_trial(Config(), set(), tried) is not None) == goes_on
    assert best_of(tried).changes


def test_what_is_chosen_is_used_and_said(data: Interactions, raced: SparseRec) -> None:
    info = raced.model_.info()
    assert info["bytes"] <= 30_000
    facts = info["facts"]
    assert facts["validation_ndcg@20"] >= facts["formula_ndcg@20"]
    assert facts["formula_ndcg@20"] > facts["popularity_ndcg@20"] > 0
    assert raced.changes_, "a data set where nothing is gained tests nothing"
    assert {name: info["config"][name] for name in raced.changes_} == raced.changes_
    stages = list(dict.fromkeys(one.stage for one in raced.epoch_metrics_))
    assert stages[0] == "choose"
    assert stages[1:-1] == [f"try {n}" for n in range(1, len(stages) - 1)]
    assert len(stages) >= 3


def test_fast_leaves_it_at_the_formulas(data: Interactions) -> None:
    quick = model(fast=True).fit(data)
    assert quick.changes_ == {}
    assert {one.stage for one in quick.epoch_metrics_} == {"choose", "train"}
    assert "formula_ndcg@20" not in quick.model_.info()["facts"]


def test_what_is_given_stays(data: Interactions) -> None:
    given = {"reg": 0.02, "degree_exponent": 0.3, "neighbours": 0.0}
    fitted = model(**given).fit(data)
    config = fitted.model_.info()["config"]
    assert {name: config[name] for name in ("reg", "degree_exponent")} == {
        "reg": 0.02, "degree_exponent": 0.3
    }  # fmt: skip
    assert fitted.model_.info()["neighbours"] == 0


def test_without_a_size_it_is_that_of_the_formulas(data: Interactions) -> None:
    quick = model(fast=True, max_size=None).fit(data)
    fitted = model(max_size=None).fit(data)
    assert len(fitted.to_bytes()) <= len(quick.to_bytes()) + 300  # it says more about itself


@pytest.mark.parametrize("users", ["history", "embedding"])
def test_threads_do_not_matter(data: Interactions, users: str) -> None:
    files = {model(users=users, threads=n, max_size="60KB").fit(data).to_bytes() for n in (1, 3)}
    assert len(files) == 1


@pytest.mark.parametrize("stage", ["choose", "try 1", "try 2"])
def test_a_race_can_be_resumed(
    data: Interactions, raced: SparseRec, tmp_path: Path, stage: str
) -> None:
    def stop(metrics: Any) -> None:
        if (metrics.stage, metrics.epoch) == (stage, 2):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        model().fit(data, checkpoint=tmp_path, on_epoch=stop)
    resumed = model().fit(data, checkpoint=tmp_path, resume=True)
    assert resumed.to_bytes() == raced.to_bytes()
    assert [one.stage for one in resumed.epoch_metrics_] == [
        one.stage for one in raced.epoch_metrics_
    ]


def test_with_validation_data_it_is_chosen_by_these(data: Interactions) -> None:
    from sparserec_np.data.splitting import hold_out

    learned, held = hold_out(data, fraction=0.2, seed=1)
    fitted = model().fit(learned, valid=held)
    assert {one.stage for one in fitted.epoch_metrics_} >= {"choose", "try 1", "train"}
    assert fitted.best_ndcg_ is not None
    assert fitted.interactions_ is learned


def test_what_is_chosen_is_said_in_words(
    data: Interactions, raced: SparseRec, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, logger="sparserec_np"):
        model().fit(data)
    (line,) = [one for one in caplog.messages if one.startswith("chosen on what was held out: ")]
    facts = raced.model_.info()["facts"]
    scores = [facts["validation_ndcg@20"], facts["formula_ndcg@20"]]
    assert line.endswith("NDCG@20 {:.4f}, by the formulas {:.4f}".format(*scores))
    assert ("neighbours" in raced.changes_) == ("neighbours" in line)
    assert not any(name in line for name in ("reg ", "_exponent"))


def test_noise_is_called_noise(caplog: pytest.LogCaptureFixture) -> None:
    rng = np.random.default_rng(0)
    noise = from_pairs(np.repeat(np.arange(200), 10), rng.zipf(1.7, 2_000) % 400)
    with caplog.at_level(logging.WARNING, logger="sparserec_np"):
        model().fit(noise)
    assert "no better than a ranking by popularity" in caplog.text


def test_a_size_too_small_for_rows_has_room_for_neighbours(data: Interactions) -> None:
    with pytest.raises(InputError, match="each row needs one"):
        model(max_size=4_000, epochs=2).fit(data)
    small = model(max_size=4_000).fit(data)
    info = small.model_.info()
    assert info["bytes"] <= 4_000
    assert info["weights"] == 0 < info["neighbours"]
    assert small.best_ndcg_ > info["facts"]["popularity_ndcg@20"]
