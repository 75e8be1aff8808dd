"""The group of all commands, and the exit code and message of each kind of failure."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Sequence
from typing import Any

import click

from sparserec_np._version import __version__
from sparserec_np.errors import ClusterError, SparseRecError, missing_extra

from .completion import completion
from .demo import demo
from .doctor import doctor
from .evaluate import evaluate
from .export_web import export_web
from .extend import extend
from .fit import fit
from .info import info
from .recommend import recommend
from .report import report
from .search import search
from .similar import similar
from .split import split
from .terminal import OutputError, echo
from .tune import tune


class App(click.Group):
    """A group that ends in one line on stderr and an exit code, however a command fails."""

    def main(self, args: Sequence[str] | None = None, *more: Any, **extra: Any) -> Any:
        """Run like :meth:`click.Group.main`, then exit with the code that :func:`run` returns."""
        sys.exit(run(sys.argv[1:] if args is None else list(args)))


@click.group(
    cls=App,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Start with: sparserec-np demo. Help of a command: sparserec-np COMMAND --help.",
    commands=(
        split, fit, extend, tune, evaluate, recommend, similar, search, info, report, export_web,
        demo, doctor, completion,
    ),
)  # fmt: skip
@click.version_option(__version__, prog_name="sparserec-np")
def app() -> None:
    """Recommendations from a file of some hundred kilobytes.

    Train on a ratings file, then carry the model into any program that has NumPy.
    """


def run(args: list[str]) -> int:
    """Run the command that ``args`` name.

    Returns:
        0 done, 2 usage or bad input, 130 interrupted, 1 anything else.
    """
    debug = "--debug" in args
    try:
        code = click.Group.main(app, args, prog_name="sparserec-np", standalone_mode=False)
        return code if isinstance(code, int) else 0
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        return 2
    except click.ClickException as error:
        return _fail(_with_help(error), 2, debug)
    except SparseRecError as error:
        return _fail(str(error), 1 if isinstance(error, ClusterError) else 2, debug)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.startswith("sparserec_np"):
            raise
        extra = "dask" if error.name in ("dask", "distributed") else "train"
        return _fail(str(missing_extra(error.name, extra, "this command")), 2, debug)
    except OutputError as error:
        if isinstance(error.__cause__, BrokenPipeError):  # as of "| head": no reason for a word
            return 1
        return _fail(f"standard output cannot be written ({error})", 1, debug)
    except (click.Abort, KeyboardInterrupt):
        return _fail("interrupted", 130, debug)
    except MemoryError as error:
        detail = f" ({error})" if str(error) else ""
        message = f"out of memory{detail}: free some, or try a smaller --dim or --max-size"
        return _fail(message, 1, debug)
    except OSError as error:
        if error.filename is None:
            return _fail_unexpectedly(error, debug)
        return _fail(f"{error.filename}: {error.strerror}", 2, debug)
    except Exception as error:
        if any(cls.__module__ in ("duckdb", "_duckdb") for cls in type(error).__mro__):
            return _fail(str(error).partition("\n")[0], 2, debug)  # such as that the disk is full
        return _fail_unexpectedly(error, debug)


def _fail_unexpectedly(error: Exception, debug: bool) -> int:
    hint = "" if debug else "; run it again with --debug to see where"
    return _fail(f"unexpected {type(error).__name__}: {error}{hint}", 1, debug)


def _with_help(error: click.ClickException) -> str:
    message = error.format_message().removesuffix(".")
    context = getattr(error, "ctx", None)
    if not context:
        return message
    end = "" if message.endswith("?") else "."
    return f"{message}{end} Help: {context.command_path} --help"


def _fail(message: str, code: int, debug: bool) -> int:
    if debug:
        traceback.print_exc()
    echo(f"error: {message}", err=True)
    return code
