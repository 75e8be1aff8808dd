"""A history model holds no user ids and no interactions: its bytes are searched for them."""

from __future__ import annotations

import json
import zlib

import numpy as np
import pytest
from click.testing import CliRunner

from sparserec_np import SparseRec
from sparserec_np.cli.app import app
from sparserec_np.data import Interactions, from_pairs
from sparserec_np.modelfile.reader import open_model

N_USERS, PER_USER = 300, 12


@pytest.fixture(scope="module")
def data() -> Interactions:
    """Users with addresses that nothing else in a file looks like, and some items each."""
    rng = np.random.default_rng(0)
    letters = rng.integers(ord("a"), ord("z") + 1, (N_USERS, 12)).astype(np.uint8)
    names = [f"{row.tobytes().decode()}@mail.example" for row in letters]
    users = np.repeat(names, PER_USER).tolist()
    return from_pairs(users, rng.integers(0, 400, len(users)).tolist())


def file_of(users: str, data: Interactions, tmp_path) -> bytes:
    path = tmp_path / f"{users}.srec"
    SparseRec(users=users, dim=32, sparsity=0.8, epochs=2).fit(data).save(path)
    return path.read_bytes()


def searchable(stored: bytes) -> bytes:
    """The file, and once more each of its tensors that can be inflated."""
    length = int.from_bytes(stored[:8], "little")
    data = stored[8 + length :]
    parts = [stored]
    for name, tensor in json.loads(stored[8 : 8 + length]).items():
        if name != "__metadata__":
            first, last = tensor["data_offsets"]
            try:
                parts.append(zlib.decompress(data[first:last]))
            except zlib.error:
                continue
    return b"".join(parts)


def traces(data: Interactions, stored: bytes) -> list[str]:
    """Users whose ids show; their first letters may be shared with the id before, and left out."""
    content = searchable(stored)
    names = data.user_ids.take(range(data.n_users))
    return [name for name in names if name[5:12].encode() in content]


def forms(values: np.ndarray) -> list[bytes]:
    """How a list of numbers might stand in a file: in any common width, or as text."""
    kinds = ("<u2", ">u2", "<i4", ">i4", "<i8", ">i8", "<f4", "<f8")
    texts = [sign.join(map(str, values.tolist())).encode() for sign in (",", ", ", " ")]
    return [values.astype(kind).tobytes() for kind in kinds] + texts


def test_no_user_id_is_in_a_history_model(data, tmp_path):
    stored = file_of("history", data, tmp_path)
    assert traces(data, stored) == []
    assert b"mail" not in searchable(stored)


def test_the_search_does_find_all_of_them_in_an_embedding_model(data, tmp_path):
    assert len(traces(data, file_of("embedding", data, tmp_path))) == N_USERS


def test_no_history_is_in_a_history_model(data, tmp_path):
    """Not even four items of one user in a row, by number or by id, in any common coding."""
    stored = searchable(file_of("history", data, tmp_path))
    ids = np.array(data.item_ids.take(range(data.n_items)))
    for user in range(data.n_users):
        items = data.items[data.indptr[user] : data.indptr[user + 1]]
        for four in (items[:4], items[-4:], ids[items[:4]], ids[items[-4:]]):
            assert not [form for form in forms(four) if form in stored]


def test_nothing_in_the_file_has_one_entry_a_user_or_an_interaction(data, tmp_path):
    file_of("history", data, tmp_path)
    arrays = open_model(tmp_path / "history.srec").arrays()
    assert arrays.user_ids is None
    assert arrays.user_rows is None
    n_items = data.n_items
    assert len(arrays.items) == len(arrays.item_bias) == len(arrays.history_weights) == n_items


def test_not_a_byte_depends_on_the_names_of_the_users(data, tmp_path):
    renamed = Interactions(
        data.indptr,
        data.items,
        from_pairs([f"p{n:05d}" for n in range(data.n_users)], [0] * data.n_users).user_ids,
        data.item_ids,
    )
    assert file_of("history", data, tmp_path) == file_of("history", renamed, tmp_path)


def test_info_says_so(data, tmp_path):
    file_of("history", data, tmp_path)
    shown = CliRunner().invoke(app, ["info", str(tmp_path / "history.srec")])
    assert "no user is in the file, and no interaction" in shown.stdout
