"""Exceptions: one family, each message says what is wrong, where, and what to do.

Everything that this package raises on purpose derives from :class:`SparseRecError`, so a program
that embeds it needs one ``except``. The command line turns :class:`SparseRecError` into one line on
stderr and exit code 2.
"""

from __future__ import annotations


class SparseRecError(Exception):
    """Base of all errors that this package raises on purpose."""


class InputError(SparseRecError, ValueError):
    """Data, options or arguments that cannot be used as given."""


class UnknownIdError(InputError, KeyError):
    """An id that the model or the data does not know."""

    def __str__(self) -> str:  # KeyError would show the repr of the message
        return str(self.args[0]) if self.args else ""


class UnknownIdWarning(UserWarning):
    """Some ids of a request are unknown to the model and do not count."""


class ModelFileError(SparseRecError, ValueError):
    """A model file that is damaged, not a model, or of a version that this reader does not know."""


class MissingExtraError(SparseRecError, ImportError):
    """An optional dependency is not installed; the message holds the ``pip install`` line."""


class ClusterError(SparseRecError):
    """A cluster fell apart while it was at work; what was kept until then is not lost."""


def missing_extra(package: str, extra: str, purpose: str) -> MissingExtraError:
    """Build the error for an absent optional dependency.

    Its ``pip`` line adds the extra to what is installed, from a checkout, a wheel or an index: pip
    takes the installed package, and looks in an index only for what the extra needs.

    Args:
        package: Name of the package that failed to import, for example ``"numba"``.
        extra: The extra of this project that brings it, for example ``"train"``.
        purpose: What needs it, as the subject of a sentence: ``"training"``.

    Returns:
        The error, ready to be raised ``from`` the original ``ImportError``.
    """
    return MissingExtraError(
        f"{purpose} needs the package {package!r}, which is not installed: "
        f"pip install 'sparserec-np[{extra}]'"
    )
