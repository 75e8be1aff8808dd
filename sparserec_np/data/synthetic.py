"""Synthetic interactions: invented film fans with tastes, and what they watched.

The data is made from a seed and looks like real ratings where it matters: most films are watched by
few and a few by many, most users watch little and a few a lot, and each user is fond of a few kinds
of films. Titles tell the kind, so recommendations can be judged by reading them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sparserec_np.data.from_arrays import from_pairs
from sparserec_np.data.interactions import Interactions

N_USERS = 3000
N_ITEMS = 1080

# Kind of film -> first words, second words, places; they are combined into titles.
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

# Fondness of a kind that is not one of the user's; that of the others is up to 1.
_STRAY = 0.02
_DAY = 86_400.0


@dataclass(frozen=True, eq=False)
class DemoData:
    """Interactions of users with films, the titles of the films, and the users' tastes.

    Films have the ids 1 to ``N_ITEMS``, users 1 to ``N_USERS``.
    """

    interactions: Interactions
    """With times."""
    titles: dict[int, str]
    """Film id -> title."""
    kinds: dict[int, str]
    """Film id -> kind, one of ``KINDS``."""
    tastes: npt.NDArray[np.float64]
    """Fondness of each user for each kind, float64[N_USERS, len(KINDS)]; rows sum to 1."""


def generate(seed: int = 0) -> DemoData:
    """Generate the demonstration's data; same seed, same data."""
    rng = np.random.default_rng(seed)
    kind_of_item = np.arange(N_ITEMS) % len(KINDS)
    tastes = _tastes(rng)
    # A film's appeal is long-tailed within its kind; the tail exponent is that of MovieLens.
    appeal = (1.0 + np.arange(N_ITEMS) // len(KINDS)) ** -0.9 * rng.lognormal(0, 0.3, N_ITEMS)
    liking = np.log(appeal) + np.log(tastes[:, kind_of_item] + _STRAY)
    # The largest of log weights plus Gumbel noise are a weighted sample without replacement.
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
    """Draw the tastes: up to three kinds of film a user."""
    fond = np.argsort(rng.random((N_USERS, len(KINDS))), axis=1)[:, :3]
    strength = rng.dirichlet([0.6, 0.6, 0.6], N_USERS)
    tastes = np.zeros((N_USERS, len(KINDS)))
    np.put_along_axis(tastes, fond, strength, axis=1)
    return tastes


def _titles(rng: np.random.Generator) -> list[str]:
    """Draw a title for each item, all different; item ``i`` is of the kind ``i % len(KINDS)``."""
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
