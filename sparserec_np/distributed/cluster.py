"""Connections to a cluster, and checks of its workers."""

from __future__ import annotations

import gc
from asyncio import TimeoutError as AsyncTimeoutError
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.metadata import version
from typing import Any

from sparserec_np.errors import ClusterError, InputError, missing_extra
from sparserec_np.utils.log import logger

try:
    from distributed import Client, Lock
except ImportError as error:
    raise missing_extra("distributed", "dask", "work on a Dask cluster") from error

_log = logger(__name__)

_CONNECT = 10.0  # seconds for the scheduler to answer
_WORKERS = 30.0  # seconds for the first worker to come
_LOOK = 2.0  # seconds between two looks at whether the scheduler is still there
_PACKAGES = ("sparserec-np", "numpy", "numba")  # the bytes of a model depend on them


@contextmanager
def connected(dask: Any) -> Iterator[Client]:
    """Connect to a cluster whose workers are fit for the work, and use it alone.

    The tasks of a fit wait for each other. Those of two fits, started in another order on one
    worker than on the next, would all wait for ever; so the second fit waits here.

    Args:
        dask: Address of the scheduler, or a ``distributed.Client``, which stays open.

    Raises:
        InputError: No scheduler answers, there is no worker, or a worker has other versions.
    """
    if isinstance(dask, Client):
        client, own = dask, False
    else:
        client, own = _client(str(dask)), True
    try:
        check_workers(client)
        with _exclusive(client):
            yield client
    finally:
        if own:
            client.close(timeout=2)


def _client(address: str) -> Client:
    try:
        return Client(address, timeout=_CONNECT, set_as_default=False)
    except (OSError, ValueError, TypeError, AssertionError) as error:  # the last: TLS is wanted
        reason = type(error).__name__
    gc.collect()  # frees what is left of the client, which would stop another one in its start
    hint = (
        "start one with 'dask scheduler' and workers with 'dask worker ADDRESS', or check the "
        "address (tls:// if the cluster has certificates)"
    )
    if address.startswith("tls:"):
        hint = (
            "set the cluster's certificates in Dask's configuration, distributed.comm.tls.ca-file, "
            "client.cert and client.key, or pass a distributed.Client that has them"
        )
    raise InputError(f"no Dask scheduler answers at {address}: {hint} ({reason})")


@contextmanager
def _exclusive(client: Client) -> Iterator[None]:
    """Wait for the end of other work on the cluster; if its client dies, for half a minute.

    Raises:
        ClusterError: The scheduler is lost.
    """
    lock = Lock("sparserec-np", scheduler_rpc=client.scheduler, loop=client.loop)
    try:
        acquired = lock.acquire(timeout=_LOOK)
        if not acquired:
            where = _address(client)
            _log.warning("another fit or batch is going on at %s: waiting for its end", where)
        while not acquired:
            acquired = lock.acquire(timeout=_LOOK)
    except Exception as error:  # of many kinds, by the moment at which the connection breaks
        raise lost_scheduler(client) from error
    try:
        yield
    finally:
        if client.status == "running":
            with suppress(Exception):  # of a connection that breaks; Dask then frees it by itself
                lock.release()


def check_workers(client: Client) -> None:
    """Check that there are workers, and that they have the same versions as this process.

    Raises:
        InputError: There is none, or one has other versions.
    """
    try:
        client.wait_for_workers(1, timeout=_WORKERS)
    except (TimeoutError, AsyncTimeoutError):  # one and the same since Python 3.11
        raise InputError(
            f"the Dask scheduler at {_address(client)} has no workers: start some with "
            "'dask worker ADDRESS'"
        ) from None
    here = versions()
    for address, found in client.run(versions, on_error="return").items():
        if isinstance(found, ModuleNotFoundError):
            raise InputError(
                f"the Dask worker at {address} lacks the package {found.name!r}: install what is "
                "installed here on every worker, pip install 'sparserec-np[dask]'"
            )
        if isinstance(found, BaseException):
            continue  # it died while it was asked; the next call to it will fail
        for name in _PACKAGES:
            if found[name] != here[name]:
                raise InputError(
                    f"the Dask worker at {address} has {name} {found[name]}, and here is "
                    f"{here[name]}: install the same version on all of them"
                )


def versions() -> dict[str, str]:
    """Return the installed versions that the bytes of a model depend on."""
    from sparserec_np._version import __version__

    return {name: __version__ if name == "sparserec-np" else version(name) for name in _PACKAGES}


def workers(client: Client) -> list[str]:
    """Return the addresses of the workers, one a process, in a fixed order.

    Raises:
        ClusterError: The scheduler is lost.
    """
    try:
        alive = sorted(client.nthreads())
        if len(alive) > 1 and any(address.startswith("inproc") for address in alive):
            alive = alive[:1]  # compiled code runs once at a time in a process
        return alive
    except Exception as error:  # of many kinds, by the moment at which the connection breaks
        raise lost_scheduler(client) from error


def lost_scheduler(client: Client) -> ClusterError:
    """Build the error for a scheduler that does not answer any more."""
    return ClusterError(
        f"the Dask scheduler at {_address(client)} is lost: start it and its workers again, or go "
        "on without --dask; with checkpoints, --resume continues from the last one"
    )


def _address(client: Client) -> str:
    return str(getattr(client.scheduler, "address", "its address"))
