"""The recipe for Spark: its functions, given what Spark gives them; and Spark itself, if there."""

from __future__ import annotations

import re
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from reference import interactions

import sparserec_np
from sparserec_np import SparseRec


@pytest.fixture(scope="module")
def recipe(project: Path) -> dict[str, Any]:
    text = (project / "docs" / "spark.md").read_text(encoding="utf-8")
    names: dict[str, Any] = {}
    for block in re.findall(r"^```python\n(.*?)^```", text, flags=re.DOTALL | re.MULTILINE):
        exec(compile(block, "spark.md", "exec"), names)
    return names


@pytest.fixture(scope="module")
def saved(tmp_path_factory) -> str:
    path = tmp_path_factory.mktemp("spark") / "movies.srec"
    data = interactions.random_interactions(2, n_users=40, n_items=30, mean=6)
    SparseRec(dim=8, epochs=2).fit(data).save(path)
    return str(path)


HISTORIES = [(7, [1, 2, 3]), (8, [999]), (9, [4]), (10, [1, 28])]


def expected(path: str, k: int) -> list[tuple[int, int, int, float]]:
    model = sparserec_np.load(path)
    rows = []
    for user, items in HISTORIES:
        if items != [999]:
            found = zip(*model.recommend(history=items, k=k), strict=True)
            rows += [(user, n + 1, id_, float(score)) for n, (id_, score) in enumerate(found)]
    return rows


def test_map_in_pandas(recipe, saved):
    frames = [
        pd.DataFrame({"user": [u for u, _ in part], "items": [np.array(i) for _, i in part]})
        for part in (HISTORIES[:2], HISTORIES[1:2], HISTORIES[2:])
    ]
    made = list(recipe["recommender"](lambda: saved, k=4)(iter(frames)))
    assert len(made) == 3
    rows = pd.concat(made)
    assert list(rows.columns) == ["user", "rank", "item", "score"]
    assert list(rows.itertuples(index=False, name=None)) == expected(saved, 4)


def test_map_in_arrow(recipe, saved):
    batches = [
        pa.record_batch({"user": [u for u, _ in part], "items": [i for _, i in part]})
        for part in (HISTORIES[:2], HISTORIES[1:2], HISTORIES[2:])
    ]
    made = list(recipe["arrow_recommender"](lambda: saved, k=4)(iter(batches)))
    assert [batch.schema for batch in made] == [recipe["SCHEMA"]] * 3
    rows = pa.Table.from_batches(made).to_pylist()
    assert [tuple(row.values()) for row in rows] == expected(saved, 4)


def test_within_spark(recipe, saved, tmp_path, monkeypatch):
    monkeypatch.setenv("PYSPARK_PYTHON", sys.executable)
    sql = pytest.importorskip("pyspark.sql", reason="pyspark is not installed")
    if shutil.which("java") is None:
        pytest.skip("Spark needs Java")
    builder = sql.SparkSession.builder.master("local[1]").config("spark.ui.enabled", "false")
    session = builder.config("spark.sql.warehouse.dir", str(tmp_path)).getOrCreate()
    try:
        frame = session.createDataFrame(HISTORIES, "user long, items array<long>")
        schema = "user long, rank int, item long, score float"
        for name, way in (("recommender", "mapInPandas"), ("arrow_recommender", "mapInArrow")):
            served = getattr(frame, way)(recipe[name](lambda: saved, k=4), schema)
            rows = sorted(map(tuple, served.collect()))
            assert rows == sorted(expected(saved, 4))
    finally:
        session.stop()
