"""Titles of items, from a file such as MovieLens' ``movies.csv``."""

from __future__ import annotations

import os

from sparserec_np.errors import InputError

from .log import log


def read_labels(spec: str | None) -> dict[int | str, str]:
    """Read titles by item id.

    Args:
        spec: ``FILE`` or ``FILE:ID,TITLE``: a file and the names or numbers of its two columns.
            None for no titles.

    Returns:
        Titles by id: each id as text and, if it can be one, as an integer.

    Raises:
        InputError: ``spec`` is not of that form, or the file cannot be read or lacks a column.
    """
    if not spec:
        return {}
    from sparserec_np.data.files.titles import read_titles
    from sparserec_np.vocabulary import RangeIds

    file, _, names = spec.rpartition(":")
    id_column, _, title_column = names.partition(",")
    if os.path.isfile(os.path.expanduser(spec)):
        file, id_column, title_column = spec, "", ""
    elif not (file and id_column and title_column):
        raise InputError(
            f"--labels {spec!r}: there is no such file; give one, or a file and its two columns, "
            "as in movies.csv:movieId,title"
        )
    try:
        titles, notes = read_titles(file, id_column or None, title_column or None)
    except InputError as error:
        raise InputError(f"--labels: {error}") from error
    for note in notes:
        log.warning("--labels: %s", note)
    integers = RangeIds(0, 0)
    labels: dict[int | str, str] = {}
    labels.update(titles.items())
    for text, title in titles.items():
        try:
            labels[integers.parse(text)] = title
        except InputError:
            continue
    return labels
