"""Requests and batches for :mod:`peers`: how fast do ours and implicit's ALS recommend."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import common
import numpy as np
import rivals
from common import Result

from sparserec_np import SparseRec, load, load_compiled
from sparserec_np.data import select_users
from sparserec_np.retrieval.batch_top_k import model_top_k

REQUESTS = 300
LENGTH = 20  # items of the histories that are asked for: a part of real ones
K = 10


class Contestants:
    """Fitted models of both sides, and a request to each of them."""

    def __init__(self, data: str, params: Result, size: str, epochs: int) -> None:
        self.known, _ = common.load_for_test(data)
        self.x = rivals.matrix(self.known)
        fits = {
            users: SparseRec(users=users, max_size=size, epochs=epochs).fit(self.known)
            for users in ("embedding", "history")
        }
        self.models, self.compiled = {}, {}
        with tempfile.TemporaryDirectory() as folder:  # the files stay mapped without their names
            for name, fit in fits.items():
                path = Path(folder) / f"{name}.srec"
                fit.save(path)
                self.models[name], self.compiled[name] = load(path), load_compiled(path)
        self.peer = rivals.fit("als", 64, params, self.known)
        rng = np.random.default_rng(0)
        users = rng.choice(self.known.n_users, min(REQUESTS, self.known.n_users), replace=False)
        self.users = np.sort(users)
        part = select_users(self.known, self.users)
        self.rows = [self.x[user] for user in self.users]  # outside of what is measured
        self.had = np.split(part.items, part.indptr[1:-1])
        long = np.flatnonzero(self.known.user_degrees() >= LENGTH)
        bounds = self.known.indptr
        self.histories = [
            np.sort(rng.choice(self.known.items[bounds[u] : bounds[u + 1]], LENGTH, replace=False))
            for u in rng.choice(long, self.users.size)
        ]

    def requests(self) -> dict[str, Callable[[int], Any]]:
        """One request each, by number; ids are looked up, as a caller would."""
        embedding, history = self.models["embedding"], self.models["history"]
        fast = self.compiled
        user_ids = self.known.user_ids.take(self.users)
        had = [self.known.item_ids.take(items) for items in self.had]
        given = [self.known.item_ids.take(items) for items in self.histories]
        return {
            "implicit ALS 64": lambda n: self.peer.recommend(self.users[n], self.rows[n], N=K),
            "ours, embedding, numpy": lambda n: embedding.recommend(
                user=user_ids[n], exclude=had[n], k=K
            ),
            "ours, history of 20, numpy": lambda n: history.recommend(history=given[n], k=K),
            "ours, embedding, compiled": lambda n: fast["embedding"].recommend(
                user=user_ids[n], exclude=had[n], k=K
            ),
            "ours, history of 20, compiled": lambda n: fast["history"].recommend(
                history=given[n], k=K
            ),
        }

    def batches(self) -> dict[str, Callable[[], Any]]:
        """Recommendations for all users, on all cores; files are decoded on the way."""
        everyone = np.arange(self.known.n_users)
        return {
            "implicit ALS 64": lambda: self.peer.recommend(everyone, self.x, N=K),
            "ours, embedding, compiled": lambda: model_top_k(
                self.models["embedding"], everyone, exclude=self.known, k=K
            ),
            "ours, history, compiled": lambda: model_top_k(
                self.models["history"], self.known, exclude=self.known, k=K
            ),
        }


def latency(contestants: Contestants, repeats: int) -> Result:
    """Microseconds of a request for the ten best items, asked in turn."""
    requests = contestants.requests()
    seconds: dict[str, list[float]] = {name: [] for name in requests}
    for repeat in range(repeats + 1):
        for n in range(contestants.users.size):
            for name, request in requests.items():
                began = time.perf_counter()
                request(n)
                if repeat:  # the first round is the warm-up
                    seconds[name].append(time.perf_counter() - began)
    return {
        name: {"p50_us": 1e6 * np.percentile(times, 50), "p99_us": 1e6 * np.percentile(times, 99)}
        for name, times in seconds.items()
    }


def throughput(contestants: Contestants, repeats: int) -> Result:
    """Users a second when all users are served, in turn."""
    batches = contestants.batches()
    seconds: dict[str, list[float]] = {name: [] for name in batches}
    for repeat in range(repeats + 1):
        for name, batch in batches.items():
            began = time.perf_counter()
            batch()
            if repeat:
                seconds[name].append(time.perf_counter() - began)
    return {
        name: {"users_per_second": contestants.known.n_users / median(times)}
        for name, times in seconds.items()
    }
