"""The demonstration: invented film fans, and the whole job on what they watched.

The data is made here from a seed and looks like real ratings in what matters: most films are
watched by few and a few by many, most users watch little and a few a lot, and each user is fond of
a few kinds of films. Titles tell the kind, so recommendations can be judged by reading them.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from sparserec_np.data import Interactions, from_pairs
from sparserec_np.data.splitting import hold_out
from sparserec_np.estimator import SparseRec
from sparserec_np.evaluation.evaluate import evaluate, rank_by_popularity, score
from sparserec_np.runtime.model import load

if TYPE_CHECKING:
    from sparserec_np.runtime.model import Model
    from sparserec_np.training.trainer import EpochRecord

N_USERS = 3000
N_ITEMS = 1080

# kind of film -> (first words, second words, places), to be combined into titles
_KINDS = {
    "space": (
        "Silent Distant Frozen Second Hollow Orphan Burning Last",
        "Orbit Nebula Signal Airlock Moon Comet Station Horizon",
        "Europa Titan Vega Ceres Sirius Andromeda",
    ),
    "western": (
        "Dusty Crooked Lonesome Red Bitter Iron Forgotten Two-Dollar",
        "Saddle Sheriff Canyon Revolver Outlaw Stagecoach Mustang Ranch",
        "Laredo Tombstone Abilene Cheyenne Yuma Deadwood",
    ),
    "romance": (
        "Tender Borrowed Secret Endless Paper Autumn Careless Sweet",
        "Kiss Letters Promise Wedding Summer Waltz Hearts Valentine",
        "Verona Paris Lisbon Vienna Capri Notting-Hill",
    ),
    "noir": (
        "Crooked Cold Midnight Velvet Nameless Rainy Double Smoky",
        "Alibi Detective Alley Cigarette Witness Blackmail Informer Neon",
        "Harbour-Street Pier-Nine Bunker-Hill Union-Station Skid-Row Fifth-and-Main",
    ),
    "horror": (
        "Screaming Rotten Sleepless Whispering Blood Crawling Pale Wicked",
        "Cellar Coffin Doll Asylum Séance Fangs Graveyard Scarecrow",
        "Ravenmoor Blackwood Hollow-Lake Saint-Agnes Gallows-Hill Mirefield",
    ),
    "kitchen": (
        "Salted Caramel Burnt Secret Golden Peppered Slow Hungry",
        "Soufflé Bakery Recipe Chef Dumpling Saucepan Banquet Truffle",
        "Lyon Naples Oaxaca Kyoto San-Sebastián Bologna",
    ),
    "sport": (
        "Final Muddy Underdog Golden Extra Broken Rookie Triple",
        "Innings Striker Marathon Knockout Penalty Coach Relay League",
        "Wembley Maracanã Fenway Roland-Garros Lambeau Anfield",
    ),
    "animals": (
        "Clumsy Brave Tiny Runaway Muddy Purple Singing Sleepy",
        "Hedgehog Penguin Otter Puppy Badger Donkey Squirrel Duckling",
        "Maple-Farm Pebble-Beach Acorn-Wood Puddle-Lane Honey-Hill Clover-Creek",
    ),
    "heist": (
        "Perfect Million Hidden Crooked Quick Inside Diamond Thirteenth",
        "Vault Getaway Safecracker Jackpot Blueprint Forgery Tunnel Decoy",
        "Monaco Zurich Macau Las-Vegas Antwerp Geneva",
    ),
    "music": (
        "Electric Lost Broken Acoustic Velvet Loud Blue Final",
        "Encore Chorus Vinyl Guitar Rehearsal Drummer Ballad Amplifier",
        "Memphis Nashville Motown Abbey-Road Havana Seattle",
    ),
    "sea": (
        "Drowned Salt Northern Ghostly Sunken Endless Stormy Captain's",
        "Lighthouse Harpoon Anchor Galleon Tide Mutiny Lagoon Compass",
        "Cape-Horn Tortuga Nantucket Trafalgar Zanzibar Bergen",
    ),
    "magic": (
        "Enchanted Seventh Crystal Shadow Forbidden Elder Silver Wandering",
        "Dragon Wand Sorcerer Amulet Kingdom Grimoire Prophecy Throne",
        "Eldermoor Wyvernhall Thornkeep Mistral Avalon Silverglen",
    ),
}
KINDS = tuple(_KINDS)

_STRAY = 0.02  # fondness of a kind that is not a user's own; the fondest has up to 1
_DAY = 86_400.0


@dataclass(frozen=True, eq=False)
class DemoData:
    """Who watched what, and what the films are called.

    Films have the ids 1 to ``N_ITEMS``, users 1 to ``N_USERS``.
    """

    interactions: Interactions
    """With times."""
    titles: dict[int, str]
    """Film id -> title."""
    kinds: dict[int, str]
    """Film id -> kind, one of ``KINDS``."""
    tastes: npt.NDArray[np.float64]
    """float64[N_USERS, len(KINDS)]: how fond each user is of each kind; rows sum to 1."""


def generate(seed: int = 0) -> DemoData:
    """Make the demonstration's data; same seed, same data."""
    rng = np.random.default_rng(seed)
    kind_of_item = np.arange(N_ITEMS) % len(KINDS)
    tastes = _tastes(rng)
    # A film's appeal is long-tailed within its kind; the tail exponent is that of MovieLens.
    appeal = (1.0 + np.arange(N_ITEMS) // len(KINDS)) ** -0.9 * rng.lognormal(0, 0.3, N_ITEMS)
    liking = np.log(appeal) + np.log(tastes[:, kind_of_item] + _STRAY)
    # The best of Gumbel-perturbed log weights are a sample without replacement by weight.
    order = np.argsort(-(liking + rng.gumbel(size=liking.shape)), axis=1)
    watched = np.clip(rng.lognormal(3.1, 0.7, N_USERS), 8, 200).astype(np.int64)
    users = np.repeat(np.arange(N_USERS), watched)
    items = np.concatenate([row[:n] for row, n in zip(order, watched, strict=True)])
    first_day = rng.uniform(0, 1500, N_USERS)
    times = _DAY * (20_000 - first_day[users] * rng.random(len(users)))
    numbers = rng.permutation(N_ITEMS) + 1  # so that the id tells neither kind nor appeal
    titles = _titles(rng)
    return DemoData(
        interactions=from_pairs(users + 1, numbers[items], times),
        titles={int(n): titles[i] for i, n in enumerate(numbers)},
        kinds={int(n): KINDS[kind_of_item[i]] for i, n in enumerate(numbers)},
        tastes=tastes,
    )


def _tastes(rng: np.random.Generator) -> npt.NDArray[np.float64]:
    """Each user is fond of one to three kinds of film."""
    fond = np.argsort(rng.random((N_USERS, len(KINDS))), axis=1)[:, :3]
    strength = rng.dirichlet([0.6, 0.6, 0.6], N_USERS)
    tastes = np.zeros((N_USERS, len(KINDS)))
    np.put_along_axis(tastes, fond, strength, axis=1)
    return tastes


def _titles(rng: np.random.Generator) -> list[str]:
    """One title an item, all different; item ``i`` is of the kind ``i % len(KINDS)``."""
    per_kind = -(-N_ITEMS // len(KINDS))
    choices = []
    for words in _KINDS.values():
        firsts, seconds, places = (line.split() for line in words)
        titles = [f"{first} {second}" for first in firsts for second in seconds]
        titles += [
            f"The {second} of {place.replace('-', ' ')}" for second in seconds for place in places
        ]
        choices.append(rng.permutation(titles)[:per_kind])
    years = rng.integers(1951, 2025, N_ITEMS)
    return [f"{choices[i % len(KINDS)][i // len(KINDS)]} ({years[i]})" for i in range(N_ITEMS)]


def run(
    path: Path,
    *,
    seed: int = 0,
    threads: int | None = None,
    on_epoch: Callable[[EpochRecord], None] | None = None,
) -> dict[str, Any]:
    """Do the whole job: generate, hold out, fit, save, load the file, evaluate, recommend.

    Args:
        path: Where to write the model file.
        seed: Of the data, the split and the training.
        threads: Number of threads; None for all cores.
        on_epoch: Called after each epoch of the training.

    Returns:
        A summary that JSON can hold: counts of the data, the file, its weights and bytes, the
        metrics of the model and of a popularity ranking on the held-out part, and for two users
        what they watched and what the model recommends.
    """
    data = generate(seed)
    train, test = hold_out(data.interactions, fraction=0.2, seed=seed)
    started = time.perf_counter()
    SparseRec(seed=seed, threads=threads).fit(train, labels=data.titles, on_epoch=on_epoch).save(
        path
    )
    fit_seconds = time.perf_counter() - started
    model = load(path)
    popular = rank_by_popularity(train, k=20)
    return {
        "interactions": data.interactions.nnz,
        "users": N_USERS,
        "items": N_ITEMS,
        "held_out": test.nnz,
        "fit_seconds": fit_seconds,
        "model": str(path),
        "model_bytes": path.stat().st_size,
        "weights": model.info()["weights"],
        "metrics": evaluate(model, train, test, k=20, threads=threads),
        "popularity": score(popular, test, test.user_degrees()),
        "examples": [_example(model, data, train, test, user) for user in _two_users(data, train)],
    }


def _two_users(data: DemoData, train: Interactions) -> tuple[int, int]:
    """The user with the plainest taste and the one with the most mixed, among the active ones."""
    active = np.flatnonzero(train.user_degrees() >= 20)
    strongest = data.tastes[active].max(axis=1)
    return int(active[strongest.argmax()]), int(active[strongest.argmin()])


def _example(
    model: Model, data: DemoData, train: Interactions, test: Interactions, user: int
) -> dict[str, Any]:
    def films(part: Interactions) -> list[int]:
        return part.item_ids.take(part.items[part.indptr[user] : part.indptr[user + 1]])

    (user_id,) = train.user_ids.take([user])
    if model.users == "history":
        ids, scores = model.recommend(history=films(train), k=8)
    else:
        ids, scores = model.recommend(user=user_id, k=8, exclude=films(train))
    held = set(films(test))
    return {
        "user": user_id,
        "fond_of": _main_tastes(data, user),
        "watched": [_film(data, film) for film in films(train)],
        "recommended": [
            {**_film(data, film), "score": float(score), "held_out": film in held}
            for film, score in zip(ids, scores, strict=True)
        ],
    }


def _main_tastes(data: DemoData, user: int) -> dict[str, float]:
    """Share of each kind that is worth naming, the fondest first."""
    shares = {KINDS[kind]: round(float(data.tastes[user, kind]), 2) for kind in range(len(KINDS))}
    named = sorted(shares.items(), key=lambda share: -share[1])
    return {kind: share for kind, share in named if share >= 0.05}


def _film(data: DemoData, film: int) -> dict[str, Any]:
    return {"id": film, "title": data.titles[film], "kind": data.kinds[film]}
