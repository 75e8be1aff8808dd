"""Files behind URLs: read like those of a disk, and one sentence where they cannot be."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pytest

from sparserec_np import InputError, MissingExtraError, SparseRec
from sparserec_np.cli.app import run
from sparserec_np.data import Interactions, list_files, read
from sparserec_np.data.files import remote
from sparserec_np.distributed import recommend_all

fsspec = pytest.importorskip("fsspec")

PAIRS = [(1, 10), (1, 20), (2, 10), (3, 30)]
FORMATS = {
    "a.csv": "",
    "a.tsv": "DELIMITER '\t'",
    "a.csv.gz": "",
    "a.csv.zst": "",
    "a.parquet": "",
    "a.jsonl": "FORMAT json",
}


@pytest.fixture
def memory() -> Iterator[Any]:
    """A store in the memory of this process, empty."""
    store = fsspec.filesystem("memory")
    store.store.clear()
    yield store
    store.store.clear()


def write(path: Path, options: str = "", pairs: list[tuple[int, int]] = PAIRS) -> Path:
    values = ", ".join(map(str, pairs))
    table = f"SELECT * FROM (VALUES {values}) AS t(userId, movieId)"
    duckdb.sql(f"COPY ({table}) TO '{path}'" + (f" ({options})" if options else ""))
    return path


def same(one: Interactions, other: Interactions) -> bool:
    return all(
        np.array_equal(*both)
        for both in (
            (one.indptr, other.indptr),
            (one.items, other.items),
            (one.user_ids.take(range(one.n_users)), other.user_ids.take(range(other.n_users))),
            (one.item_ids.take(range(one.n_items)), other.item_ids.take(range(other.n_items))),
        )
    )


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_is_read_as_from_a_disk(memory, tmp_path, name):
    path = write(tmp_path / name, FORMATS[name])
    memory.pipe(f"/shop/{name}", path.read_bytes())
    found = read(f"memory://shop/{name}")
    assert same(found, read(path))
    assert found.report.files == (f"memory://shop/{name}",)
    assert same(read(path.as_uri()), found)


def test_a_pattern_gives_its_files_in_the_order_of_their_names(memory, tmp_path):
    names = ["b.csv", "a.csv", "c[1]?.csv"]  # the last is a pattern only where none is meant
    for user, name in enumerate(names):
        memory.pipe(f"/shop/{name}", f"user,item\n{user},1\n{user},2\n".encode())
    memory.pipe("/shop/deep/er.csv", b"user,item\n9,1\n")
    found = read(["memory://shop/*.csv", "memory://shop/deep/er.csv"])
    in_order = [f"memory:///shop/{name}" for name in ("a.csv", "b.csv", "c[1]?.csv")]
    assert found.report.files == (*in_order, "memory://shop/deep/er.csv")
    assert found.nnz == 7
    listed = list_files(["memory://shop/c[1]?.csv", write(tmp_path / "x.csv")])
    assert listed == [
        ("memory://shop/c[1]?.csv", 18),
        (str(tmp_path / "x.csv"), (tmp_path / "x.csv").stat().st_size),
    ]


def test_a_parquet_file_of_many_row_groups_is_read_by_many_threads(memory, tmp_path):
    rows = "SELECT range % 5000 AS user, range // 7 % 900 AS item, 'x' || range AS text"
    duckdb.sql(f"COPY ({rows} FROM range(200000)) TO '{tmp_path}/a.parquet' (ROW_GROUP_SIZE 4096)")
    path = tmp_path / "a.parquet"
    memory.pipe("/a.parquet", path.read_bytes())
    for url in (path.as_uri(), "memory://a.parquet"):
        assert same(read(url, threads=4), read(path))


def test_a_shared_file_has_a_position_for_each_thread_and_one_for_all(tmp_path, monkeypatch):
    path = tmp_path / "a"
    data = bytes(range(256)) * 256
    path.write_bytes(data)
    opened = []
    disk = fsspec.get_filesystem_class("file")
    open_local = disk.open

    def keep(*args: Any, **options: Any) -> Any:
        opened.append(open_local(*args, **options))
        return opened[-1]

    monkeypatch.setattr(disk, "open", keep)
    file = remote.SharedFile(path.as_uri())

    def read_at(start: int) -> bool:
        file.seek(start)
        return file.read(97) == data[start : start + 97]

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(read_at, range(0, len(data), 7)))
        assert file.seek(0) == 0
        # Without a seek of their own, threads go on where the last of them was.
        assert pool.submit(file.read, 5).result() == data[:5]
        assert (file.tell(), file.read(3), file.tell()) == (0, data[:3], 3)
        assert file.seek(-2, os.SEEK_END) == len(data) - 2
        assert file.seek(1, os.SEEK_CUR) == len(data) - 1
        assert (file.read(), file.read()) == (data[-1:], b"")
    file.close()
    assert len(opened) > 1 and all(own.closed for own in opened)


def test_a_bad_row_is_named(memory):
    memory.pipe("/shop/a.csv", b"user,item\n1,2\n3\n")
    with pytest.raises(InputError, match=r"^memory://shop/a\.csv, line 3: 1 column instead of 2"):
        read("memory://shop/a.csv")


def test_the_command_fits_from_a_url(tmp_path):
    pairs = [(user, item) for user in range(12) for item in range(user % 5, user % 5 + 4)]
    path = write(tmp_path / "a.parquet", pairs=pairs)
    outputs = []
    for name in (str(path), f"{tmp_path.as_uri()}/*.parquet"):
        assert run(["fit", name, "-o", str(tmp_path / "m.srec"), "--epochs", "2", "-q"]) == 0
        outputs.append((tmp_path / "m.srec").read_bytes())
    assert outputs[0] == outputs[1] == SparseRec(epochs=2).fit(path.as_uri()).to_bytes()


def test_the_command_serves_everybody_into_a_store(memory, tmp_path, capsys):
    saved = str(tmp_path / "m.srec")
    for part in range(3):
        pairs = [(user, item) for user in range(9) for item in range(part, 12, user % 4 + 2)]
        write(tmp_path / f"{part}.parquet", pairs=pairs)
    SparseRec(epochs=2).fit(f"{tmp_path}/*.parquet").save(saved)
    line = ["recommend", saved, "--all-users", "--interactions", f"{tmp_path}/?.parquet", "-k", "2"]
    assert run([*line, "-o", str(tmp_path / "out")]) == 0
    assert run([*line, "-o", "memory://shop/out/"]) == 0
    files = sorted((tmp_path / "out").iterdir())
    assert {file.name for file in files} == {f"part-0000{n}.parquet" for n in range(3)}
    assert memory.find("/shop") == [f"/shop/out/{file.name}" for file in files]  # and no others
    for file in files:
        assert memory.cat(f"/shop/out/{file.name}") == file.read_bytes()
    capsys.readouterr()
    assert run([*line, "-o", "memory://shop/out"]) == 2
    assert "memory://shop/out: there are files in it" in capsys.readouterr().err


def test_a_store_that_may_not_be_written_to(memory, tmp_path, monkeypatch, capsys):
    def denied(*_: Any) -> None:
        raise PermissionError("Access Denied")

    monkeypatch.setattr(memory, "pipe_file", denied)
    line = ["recommend", str(tmp_path / "m.srec"), "--all-users", "--interactions", "x.csv"]
    SparseRec(epochs=1).fit(np.array(PAIRS)).save(line[1])
    assert run([*line, "-o", "memory://shop/other"]) == 2
    said = capsys.readouterr().err
    assert said == "error: memory://shop/other cannot be written to: Access Denied\n"


# Bad input


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("memory://none/a.csv", "there is no memory://none/a.csv: check the bucket"),
        ("memory://none/*.csv", "no file matches memory://none/*.csv: check the bucket"),
        (
            "memory://shop",
            "memory://shop is a folder: name the files in it, such as memory://shop/",
        ),
        ("memory://shop/empty.csv", "memory://shop/empty.csv is empty"),
        ("memory://shop/cut.csv.gz", "memory://shop/cut.csv.gz is damaged or cut short"),
        ("memory://shop/cut.csv.zst", "memory://shop/cut.csv.zst is cut short"),
        ("memory://shop/no.parquet", "memory://shop/no.parquet cannot be read: "),
        ("nix://shop/a.csv", "nix://shop/a.csv cannot be read: Protocol not known: nix"),
    ],
)
def test_what_cannot_be_read_is_said_in_one_sentence(memory, tmp_path, capsys, url, says):
    memory.pipe("/shop/empty.csv", b"")
    memory.pipe("/shop/no.parquet", b"PAR1 and nothing else of the kind PAR1")
    for name in ("cut.csv.gz", "cut.csv.zst"):
        whole = write(tmp_path / name, pairs=[(n, n * n) for n in range(100)]).read_bytes()
        memory.pipe(f"/shop/{name}", whole[:-20])
    assert run(["fit", url, "-o", str(tmp_path / "m.srec")]) == 2
    (said,) = capsys.readouterr().err.splitlines()
    assert said.startswith(f"error: {says}")
    assert "sparserec://" not in said
    assert not (tmp_path / "m.srec").exists()


def test_a_pipe_is_no_file_for_others(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(InputError, match=r"pipe can be read only once, and here alone: give files"):
        list_files(tmp_path / "pipe")


@pytest.mark.parametrize("package", ["fsspec", "s3fs"])
def test_what_is_not_installed_is_named(monkeypatch, package):
    for name in (package, f"{package}.core"):
        monkeypatch.setitem(sys.modules, name, None)
    says = r"'sparserec-np\[remote\]'" if package == "fsspec" else r"s3fs.*pip install"
    with pytest.raises(MissingExtraError, match=f"^s3://shop/a.csv needs .*{says}"):
        read("s3://shop/a.csv")


def test_a_connection_that_breaks_is_one_sentence(memory, monkeypatch):
    content = b"user,item\n" + b"".join(b"%d,%d\n" % (n, n % 99) for n in range(1_000_000))

    class Breaking(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            data = super().read(size)
            if self.tell() > len(content) // 2:
                raise PermissionError("the token has expired")
            return data

    memory.pipe("/shop/a.csv", content)
    # On the class: fsspec has an instance for each thread, and DuckDB reads in its own.
    monkeypatch.setattr(type(memory), "open", lambda *_, **__: Breaking(content))
    says = r"^memory://shop/a.csv cannot be read: the token has expired$"
    with pytest.raises(InputError, match=says):
        read("memory://shop/a.csv")


# An object store


@pytest.fixture
def bucket(monkeypatch) -> Iterator[str]:
    """A bucket on a server of this machine that speaks S3."""
    pytest.importorskip("moto")
    s3fs = pytest.importorskip("s3fs")
    port = 5000 + os.getpid() % 5000
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{port}")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
        try:
            for _ in range(100):
                try:
                    s3fs.S3FileSystem(skip_instance_cache=True).mkdir("shop")
                    break
                except Exception:
                    time.sleep(0.2)
            yield "s3://shop"
        finally:
            s3fs.S3FileSystem.clear_instance_cache()
            server.kill()


@pytest.mark.s3
def test_s3(bucket, tmp_path, monkeypatch):
    store = fsspec.filesystem("s3")
    pairs = [(n % 500, n // 3 % 200) for n in range(20_000)]
    for number, name in enumerate(FORMATS):
        path = write(tmp_path / name, FORMATS[name], pairs[number::6])
        store.pipe(f"{bucket}/{name}", path.read_bytes())
    assert same(read(f"{bucket}/a.*"), read(f"{tmp_path}/a.*"))
    saved = tmp_path / "m.srec"
    SparseRec(epochs=1).fit(f"{bucket}/a.*").save(saved)
    written = recommend_all(saved, f"{bucket}/a.*", f"{bucket}/out")
    assert written == recommend_all(saved, f"{tmp_path}/a.*", tmp_path / "out")
    for file in sorted((tmp_path / "out").iterdir()):
        assert store.cat(f"{bucket}/out/{file.name}") == file.read_bytes()
    assert len(store.find(f"{bucket}/out")) == 6
    with pytest.raises(InputError, match=r"^there is no s3://nowhere/out: check the bucket"):
        recommend_all(saved, f"{bucket}/a.*", "s3://nowhere/out")
    with pytest.raises(InputError, match="no file matches s3://nowhere"):
        read("s3://nowhere/*.csv")
    with pytest.raises(InputError, match="there is no s3://nowhere"):
        read("s3://nowhere/a.csv")
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    store.clear_instance_cache()
    with pytest.raises(InputError, match=r"s3://shop/a\.csv cannot be read: .*credentials"):
        read(f"{bucket}/a.csv")
