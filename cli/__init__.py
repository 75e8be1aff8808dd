"""The command line: a thin layer over the package, without any maths of its own.

Installed as ``sparserec_np.cli``. At their top the modules import only click, the errors, the
hyperparameters (:mod:`sparserec_np.training.config`) and each other; a command imports everything
else when it runs, so that ``--help`` is quick.
"""

from __future__ import annotations

import io
import signal
import sys
from collections.abc import Sequence

from sparserec_np.errors import missing_extra


def main(args: Sequence[str] | None = None) -> int:
    """Run the command ``sparserec-np``.

    Args:
        args: Arguments after the program's name; None for those of the process.

    Returns:
        The exit code: 0 done, 2 usage or bad input, 130 interrupted, 1 anything else.
    """
    try:
        import click  # noqa: F401
    except ModuleNotFoundError:
        print(f"error: {missing_extra('click', 'train', 'the command line')}", file=sys.stderr)
        return 2
    from .app import run
    from .terminal import open_standard_streams

    for stream in (sys.stdout, sys.stderr):  # titles are shown on terminals of any encoding
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    if args is not None:
        return run(list(args))
    open_standard_streams()
    code = run(sys.argv[1:])
    if code == 130:  # a further Ctrl-C while Python shuts down prints no traceback
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    return code
