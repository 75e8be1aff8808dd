"""Items by title: accents, case, punctuation and articles do not matter.

The exported page has the same rules (``web/sparserec.js``), so it finds the same.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

_LETTERS = str.maketrans(
    {"ß": "ss", "æ": "ae", "œ": "oe", "ø": "o", "ł": "l", "đ": "d", "ð": "d", "þ": "th"}
    | {"\u0131": "i", "'": "", "\u2019": "", "`": ""}
)  # letters that Unicode does not take apart, and apostrophes
_WORD = re.compile(r"[^\W_]+")
_BRACKETS = re.compile(r"\([^()]*\)|\[[^\[\]]*\]")
_ARTICLE_LAST = re.compile(
    r"^(.*), (the|a|an|la|le|les|l'|un|une|il|lo|gli|i|el|los|las|der|die|das|ein|eine|den|det|de)$"
)
_ARTICLES = ("the", "a", "an")


def folded(text: str) -> str:
    """Return a text in lower case and without accents.

    >>> folded("Été à Łódź")
    'ete a lodz'
    """
    import unicodedata  # 1 MB, and most programs never look for a title

    apart = unicodedata.normalize("NFKD", text)
    bare = "".join(c for c in apart if not unicodedata.category(c).startswith("M"))
    return bare.lower().translate(_LETTERS)


def words_of(text: str) -> list[str]:
    """Return the words of a text, folded.

    >>> words_of("You've Got Mail (1998)")
    ['youve', 'got', 'mail', '1998']
    """
    return _WORD.findall(folded(text))


def core_of(text: str) -> list[str]:
    """Return the words of a title that make it one: no brackets, no English article before it.

    >>> core_of("Matrix, The (1999)"), core_of("The Matrix")
    (['matrix'], ['matrix'])
    """
    bare = _BRACKETS.sub(" ", folded(text)).strip()
    moved = _ARTICLE_LAST.match(bare)
    words = _WORD.findall(f"{moved[2]} {moved[1]}" if moved else bare)
    return words[1:] if len(words) > 1 and words[0] in _ARTICLES else words


class Title(NamedTuple):
    """A title, folded: all words with blanks around each, and the same of its core."""

    whole: str
    core: str


def folded_title(text: str) -> Title:
    """Fold a title or what somebody looks for."""
    whole, core = (f" {' '.join(words)} " for words in (words_of(text), core_of(text)))
    return Title(whole, core)


def closeness(wanted: Title, title: Title) -> int:
    """Grade how well a title is what somebody looks for.

    Returns:
        4 the same words; 3 the same but for brackets and article; 2 begins with them; 1 has words
        that begin with each; 0 has each somewhere; -1 does not have them.
    """
    words = wanted.whole.split()
    if not words or not all(word in title.whole for word in words):
        return -1
    if wanted.whole == title.whole:
        return 4
    if wanted.core == title.core:
        return 3
    if title.core.startswith(wanted.core.rstrip()):
        return 2
    return int(all(f" {word}" in title.whole for word in words))


def find_titles(
    wanted: str, titles: Sequence[Title], popularity: Sequence[float]
) -> list[tuple[int, int]]:
    """Find the titles that have all words of a text.

    Args:
        wanted: The text.
        titles: Of all items.
        popularity: Of all items; among equally good ones the larger comes first.

    Returns:
        ``(index, closeness)``, the closest first.
    """
    looked_for = folded_title(wanted)
    found = [
        (index, grade)
        for index, title in enumerate(titles)
        if (grade := closeness(looked_for, title)) >= 0
    ]
    return sorted(found, key=lambda hit: (-hit[1], -popularity[hit[0]], hit[0]))
