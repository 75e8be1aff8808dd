"""The package's log, shown on stderr."""

from __future__ import annotations

import logging
import warnings
from typing import Any

from sparserec_np.errors import UnknownIdWarning

from .terminal import echo

log = logging.getLogger("sparserec_np.cli")

_PACKAGE_LOG = logging.getLogger("sparserec_np")


class _StderrHandler(logging.Handler):
    """Writes to ``sys.stderr`` as it is at that moment: a progress bar may have replaced it."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Leave out the lines of epochs, which have a display of their own."""
        return record.name != "sparserec_np.epochs"

    def emit(self, record: logging.LogRecord) -> None:
        prefix = f"{record.levelname.lower()}: " if record.levelno >= logging.WARNING else ""
        echo(prefix + self.format(record), err=True)


def log_to_stderr(level: int) -> None:
    """Show records of the package from this level on."""
    _PACKAGE_LOG.handlers = [_StderrHandler()]
    _PACKAGE_LOG.setLevel(level)
    shown = warnings.showwarning

    def show(message: Any, category: type[Warning], *where: Any, **more: Any) -> None:
        if issubclass(category, UnknownIdWarning):
            _PACKAGE_LOG.warning("%s", message)
        else:
            shown(message, category, *where, **more)

    warnings.showwarning = show


def is_quiet() -> bool:
    """Return True if only warnings and errors are shown, as with ``-q``."""
    return not _PACKAGE_LOG.isEnabledFor(logging.INFO)


def is_verbose() -> bool:
    """Return True if everything is shown, as with ``-v``."""
    return _PACKAGE_LOG.isEnabledFor(logging.DEBUG)


def silence_dask() -> None:
    """Silence Dask's own messages: our errors say what is wrong with a cluster."""
    import distributed  # noqa: F401  (sets its loggers' levels when it is imported)

    for name in ("asyncio", "distributed", "distributed.client", "tornado", "tornado.application"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
