"""Tables on stdout: drawn for a person at a terminal, tab-separated for a pipe."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import click


def print_table(
    columns: Sequence[str], rows: Sequence[Sequence[object]], *, title: str | None = None
) -> None:
    """Print rows under a header.

    Args:
        columns: Names of the columns.
        rows: Rows of as many cells as there are columns; floats are shown with four decimals, other
            cells by ``str``.
        title: Shown above the table at a terminal, not in a pipe.
    """
    cells = [[_text(cell) for cell in row] for row in rows]
    if not sys.stdout.isatty():
        for line in (columns, *cells):
            click.echo("\t".join(line))
        return
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(
        title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, pad_edge=False
    )
    for column, values in zip(columns, zip(*rows, strict=True) if rows else (), strict=False):
        numeric = all(isinstance(value, (int, float)) for value in values)
        table.add_column(column, justify="right" if numeric else "left")
    for line in cells:
        table.add_row(*map(Text, line))
    Console().print(table)


def _text(cell: object) -> str:
    return f"{cell:.4f}" if isinstance(cell, float) else str(cell)


def print_facts(facts: Sequence[tuple[str, object]], *, title: str | None = None) -> None:
    """Print names and values, one pair a line, in two columns."""
    width = max(len(name) for name, _ in facts)
    if title:
        click.secho(title, bold=True)
    for name, value in facts:
        click.echo(f"{click.style(name.ljust(width), dim=True)}  {value}")


def kilobytes(n_bytes: int) -> str:
    """Format a size for people: bytes up to 9,999, then kB, then MB.

    >>> kilobytes(950), kilobytes(45_300), kilobytes(3_456_789)
    ('950 bytes', '45.3 kB', '3.46 MB')
    """
    if n_bytes < 10_000:
        return f"{n_bytes:,} bytes"
    if n_bytes < 1_000_000:
        return f"{n_bytes / 1000:.1f} kB"
    return f"{n_bytes / 1_000_000:.2f} MB"
