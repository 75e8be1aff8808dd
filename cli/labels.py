"""Titles of items, from a file such as MovieLens' ``movies.csv``."""

from __future__ import annotations

from pathlib import Path

from sparserec_np.errors import InputError, missing_extra


def read_labels(spec: str | None) -> dict[int | str, str]:
    """Read titles by item id.

    Args:
        spec: ``FILE:ID,TITLE``: a CSV or TSV file with a header, also compressed, and the names of
            its two columns. None for no titles.

    Returns:
        Titles by id: each id as text and, if it can be one, as an integer. Rows without an id or a
        title are left out.

    Raises:
        InputError: ``spec`` is not of that form, or the file cannot be read or lacks a column.
    """
    from sparserec_np.vocabulary import RangeIds

    integers = RangeIds(0, 0)
    labels: dict[int | str, str] = {}
    for text, title in _read_rows(spec) if spec else []:
        if text is None or title is None:
            continue
        labels[text] = title
        try:
            labels[integers.parse(text)] = title
        except InputError:
            continue
    return labels


def _read_rows(spec: str) -> list[tuple[str | None, str | None]]:
    try:
        import duckdb
    except ModuleNotFoundError as error:
        raise missing_extra("duckdb", "train", "reading titles") from error
    file, _, names = spec.rpartition(":")
    id_column, _, title_column = names.partition(",")
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
                    there = ", ".join(table.columns)
                    raise InputError(f"--labels: {file} has no column {column!r}, only: {there}")
            columns = (duckdb.ColumnExpression(id_column), duckdb.ColumnExpression(title_column))
            rows: list[tuple[str | None, str | None]] = table.select(*columns).fetchall()
            return rows
    except duckdb.Error as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"--labels: {file} cannot be read as CSV: {reason}") from error
