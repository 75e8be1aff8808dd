"""Lines for the terminal: control characters escaped, and no surprise where a stream is closed."""

from __future__ import annotations

import os
import re
import sys
import textwrap

import click

# Control characters (C0, C1), separators of lines, bidirectional overrides, and what a file name
# has for bytes that are no UTF-8: each may do something to a terminal or to a table.
_ODD = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
_SHORT = {"\t": r"\t", "\n": r"\n", "\r": r"\r"}


class OutputError(Exception):
    """Standard output cannot be written to."""


def escape(text: str) -> str:
    r"""Show control characters as JSON does, whatever a file or its data has put there.

    >>> print(escape("Se7en\t\x1b[2J"))
    Se7en\t\u001b[2J
    """
    return _ODD.sub(lambda odd: _SHORT.get(odd[0], f"\\u{ord(odd[0]):04x}"), text)


def echo(*cells: str, err: bool = False) -> None:
    """Print a line of cells, escaped, with tabs between them.

    At a terminal, a line of text is broken between words, never within one.

    Args:
        cells: One for a line of text, more for a row of a table.
        err: Print to stderr, where a failure is no reason to end a command.

    Raises:
        OutputError: Standard output is full, or nobody reads it any more.
    """
    line = "\t".join(map(escape, cells))
    _write(wrap(line, err=err) if len(cells) == 1 else line, err=err)


def echo_command(text: str, command: str) -> None:
    """Print a text and a shell command, which stays one line, to be copied."""
    _write(f"{escape(text)} {escape(command)}", err=False)


def echo_styled(text: str, rest: str = "", **style: bool) -> None:
    """Print a line whose first part has a style; arguments of :func:`click.style`.

    What follows that part is broken between words, in a column of its own.
    """
    text = escape(text)
    line = wrap(text + escape(rest), indent=len(text) + 2 if rest else 0)
    _write(click.style(text, **style) + line[len(text) :], err=False)


def wrap(line: str, *, indent: int = 0, err: bool = False) -> str:
    """Break a line between words to the width of the terminal; leave it where there is none.

    Args:
        line: The text.
        indent: Blanks before each line but the first.
        err: It is printed to stderr.
    """
    stream = sys.stderr if err else sys.stdout
    try:
        width = os.get_terminal_size(stream.fileno()).columns
    except (OSError, ValueError, AttributeError):  # no terminal, or none with a number
        return line
    if len(line) <= width or width <= 2 * indent:
        return line
    return textwrap.fill(
        line,
        width,
        subsequent_indent=" " * indent,
        break_long_words=False,
        break_on_hyphens=False,
        drop_whitespace=True,
    )


def _write(line: str, *, err: bool) -> None:
    try:
        # Named, or click takes the file below a progress bar's stream, and writes into the bar.
        click.echo(line, file=sys.stderr if err else None)
    except (OSError, ValueError) as error:  # ValueError: the stream is closed
        discard(2 if err else 1)
        if not err:
            raise OutputError(getattr(error, "strerror", None) or str(error)) from error


def discard(number: int) -> None:
    """Send to nowhere what is still to be written to a standard stream."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, number)
    os.close(null)


def open_standard_streams() -> None:
    """Open on the null device those of the standard streams that are closed.

    Else the next file that is opened takes the number of one, and what is written to the stream
    goes into it.
    """
    for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free: this one
        if getattr(sys, name) is None:
            stream = open(number, mode, encoding="utf-8", closefd=False)  # noqa: SIM115
            setattr(sys, name, stream)
