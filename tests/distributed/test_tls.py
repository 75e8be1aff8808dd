"""A cluster with certificates: workers talk by TLS, and who has none is told so in one sentence."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import dask
import pytest
from distributed import Client, LocalCluster, Security
from distributed.comm import tcp
from reference import interactions

from sparserec_np import InputError, SparseRec
from sparserec_np.cli.app import run
from sparserec_np.distributed import cluster as connecting


@pytest.fixture(scope="module")
def security() -> Security:
    """Certificates made for these tests."""
    return Security.temporary()


@pytest.fixture(scope="module")
def client(security) -> Iterator[Client]:
    """Client, with certificates, of a cluster of two worker processes that asks for them."""
    with (
        LocalCluster(
            n_workers=2,
            threads_per_worker=1,
            processes=True,
            security=security,
            dashboard_address=":0",
            silence_logs=logging.CRITICAL,
        ) as cluster,
        Client(cluster) as client,
    ):
        yield client


def test_workers_talk_by_tls(client):
    def refuse_plain_connections(dask_worker: Any) -> None:  # within the test: sent by value
        async def refuse(*args: Any, **how: Any) -> None:
            raise OSError("not encrypted")

        tcp.TCPConnector.connect = refuse

    data = interactions.random_interactions(3, n_users=60, n_items=30, mean=6)
    expected = SparseRec(dim=16, epochs=2).fit(data).to_bytes()
    client.run(refuse_plain_connections)
    assert SparseRec(dim=16, epochs=2).fit(data, dask=client).to_bytes() == expected


def test_certificates_come_from_the_configuration_of_dask(client, security):
    tls = security.get_tls_config_for_role("client")
    configured = {
        "distributed.comm.tls.ca-file": tls["ca_file"],
        "distributed.comm.tls.client.cert": tls["cert"],
        "distributed.comm.tls.client.key": tls["key"],
    }
    pairs = [1, 1, 2, 2, 3, 3], [1, 2, 1, 3, 2, 3]
    address = client.scheduler.address
    with dask.config.set(configured):
        sent = SparseRec(dim=16, epochs=2).fit(pairs, dask=address)
    assert sent.to_bytes() == SparseRec(dim=16, epochs=2).fit(pairs).to_bytes()


def test_a_client_without_certificates_is_told_in_one_sentence(client, tmp_path, capsys):
    file = tmp_path / "data.csv"
    file.write_text("user,item\n1,1\n1,2\n2,1\n")
    address = client.scheduler.address
    assert address.startswith("tls://")
    assert run(["fit", str(file), "-o", str(tmp_path / "m.srec"), "--dask", address]) == 2
    said = capsys.readouterr().err
    assert said.startswith(f"error: no Dask scheduler answers at {address}: set the cluster's cert")
    assert said.count("\n") == 1
    with dask.config.set({"distributed.comm.tls.ca-file": "no such file"}):
        assert run(["fit", str(file), "-o", str(tmp_path / "m.srec"), "--dask", address]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_an_address_without_tls_of_a_cluster_with_it(client, monkeypatch):
    monkeypatch.setattr(connecting, "_CONNECT", 1.0)
    address = client.scheduler.address.replace("tls", "tcp")
    with pytest.raises(InputError, match=r"tls:// if the cluster has certificates"):
        SparseRec(epochs=1).fit(([1, 2], [1, 2]), dask=address)
