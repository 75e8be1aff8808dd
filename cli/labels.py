"""Titles of items, from a file such as MovieLens' ``movies.csv``."""

from __future__ import annotations

from pathlib import Path

from sparserec_np.errors import InputError, missing_extra


def read_labels(spec: str) -> list[tuple[str, str]]:
    """Read ids and titles, as text.

    Args:
        spec: ``FILE:ID,TITLE``: a CSV or TSV file with a header, also compressed, and the names of
            its two columns.

    Returns:
        One pair a row; rows without an id or a title are left out.

    Raises:
        InputError: ``spec`` is not of that form, or the file cannot be read or lacks a column.
    """
    try:
        import duckdb
    except ModuleNotFoundError as error:
        raise missing_extra("duckdb", "train", "reading titles") from error
    file, _, columns = spec.rpartition(":")
    id_column, _, title_column = columns.partition(",")
    if not (file and id_column and title_column):
        raise InputError(
            f"--labels {spec!r}: give a file and its two columns, as in movies.csv:movieId,title"
        )
    if not Path(file).is_file():
        raise InputError(f"--labels: there is no file {file}")
    try:
        with duckdb.connect() as connection:
            table = connection.read_csv(file, header=True, all_varchar=True)
            for column in (id_column, title_column):
                if column not in table.columns:
                    names = ", ".join(table.columns)
                    raise InputError(f"--labels: {file} has no column {column!r}, only: {names}")
            rows = table.select(
                duckdb.ColumnExpression(id_column), duckdb.ColumnExpression(title_column)
            ).fetchall()
    except duckdb.Error as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"--labels: {file} cannot be read as CSV: {reason}") from error
    return [(id_, title) for id_, title in rows if id_ is not None and title is not None]


def labels_by_id(rows: list[tuple[str, str]]) -> dict[int | str, str]:
    """Map ids to titles: each id as text and, if it can be one, as an integer."""
    from sparserec_np.vocabulary import RangeIds

    integers = RangeIds(0, 0)
    labels: dict[int | str, str] = {}
    for text, title in rows:
        labels[text] = title
        try:
            labels[integers.parse(text)] = title
        except InputError:
            continue
    return labels
