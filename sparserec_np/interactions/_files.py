"""Interactions from files, read by DuckDB."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from sparserec_np.errors import missing_extra
from sparserec_np.interactions._core import Interactions
from sparserec_np.interactions._memory import from_pairs


def read(paths: Sequence[str | Path] | str | Path) -> Interactions:
    """Read user and item ids, the first two columns, from CSV files."""
    try:
        import duckdb
    except ImportError as error:
        raise missing_extra("duckdb", "train", "reading files") from error
    names = [str(paths)] if isinstance(paths, (str, Path)) else [str(path) for path in paths]
    with duckdb.connect() as connection:
        relation = connection.execute("SELECT * FROM read_csv(?)", [names])
        columns = list(relation.fetchnumpy().values())
    return from_pairs(columns[0], columns[1])
