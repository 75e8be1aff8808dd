"""NumPy, compiled code, the standard library and JavaScript give the same answers to all wishes."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sparserec_np import load, load_compiled, runtime_stdlib
from sparserec_np.modelfile.arrays import ModelArrays
from sparserec_np.modelfile.writer import encode

Make = Callable[..., ModelArrays]
WEB = Path(__file__).resolve().parents[1] / "sparserec_np" / "web"

ANSWER = """
const cases = JSON.parse(require("fs").readFileSync(0, "utf-8"));
(async () => {
  const answers = [];
  for (const { file, requests } of cases) {
    const bytes = Uint8Array.from(Buffer.from(file, "base64"));
    const model = await sparserec.load(bytes.buffer);
    for (const { history, k, exclude, wishes } of requests) {
      const hits = model.recommend(history, k, exclude ?? undefined, wishes);
      const why = hits.length ? model.explain(hits[0].index, history, wishes) : null;
      answers.push({ hits, why });
    }
  }
  process.stdout.write(JSON.stringify(answers));
})();
"""


def in_node(cases: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Let the JavaScript reader answer."""
    node = shutil.which("node")
    if node is None:
        pytest.skip("needs node")
    script = (WEB / "sparserec.js").read_text("utf-8") + ANSWER
    answer = subprocess.run(
        [node, "-e", script], input=json.dumps(cases), capture_output=True, text=True, timeout=120
    )
    assert answer.returncode == 0, answer.stderr
    found: list[dict[str, Any]] = json.loads(answer.stdout)
    return found


def random_request(rng: np.random.Generator, n: int) -> dict[str, Any]:
    """A request in indices of items: some wishes, or none."""

    def some(most: int) -> list[int]:
        return rng.integers(0, n, rng.integers(0, most + 1)).tolist()

    wishes: dict[str, Any] = {
        "popularity": float(rng.choice([0, 0.25, 0.7, 1])),
        "diversity": float(rng.choice([0, 0.1, 0.5, 1])),
        "recency": float(rng.choice([0, 0.125, 0.5, 1])),
        "dislikes": some(4),
    }
    wishes = {name: wish for name, wish in wishes.items() if rng.random() < 0.6}
    own = {int(rng.integers(n)) for _ in range(1 + int(rng.integers(12)))}
    history = list(own - set(wishes.get("dislikes", []))) or [n]
    if history == [n]:  # all of it is disliked
        wishes["dislikes"], history = [], sorted(own)
    exclude = some(9) if rng.random() < 0.3 else None
    return {"history": history, "k": int(rng.integers(1, 70)), "exclude": exclude, "wishes": wishes}


def in_ids(request: dict[str, Any], ids: list[Any]) -> dict[str, Any]:
    """The same request in the model's own ids, as Python's readers take it."""
    named = {name: [ids[i] for i in request[name]] for name in ("history",)}
    if request["exclude"] is not None:
        named["exclude"] = [ids[i] for i in request["exclude"]]
    wishes = dict(request["wishes"])
    if "dislikes" in wishes:
        wishes["dislikes"] = [ids[i] for i in wishes["dislikes"]]
    return {**named, "k": request["k"], **wishes}


@pytest.mark.parametrize("dim", [4, 700])
def test_all_readers_rank_alike_with_every_wish(
    random_model: Make, rng: np.random.Generator, tmp_path: Path, dim: int
) -> None:
    cases, expected = [], []
    for seed in range(15):
        alone = seed >= 12
        arrays = random_model(
            seed,
            n_items=(60, 400, 3000)[seed % 3],
            dim=dim,
            power=(0.75, 1.0)[seed % 2],
            recency=(0.0, 0.5)[seed // 2 % 2],
            neighbours=(0, 7)[seed // 4 % 2] or 25 * alone,
            alone=alone,
            weighted=seed % 5 > 0,
        )
        data = encode(arrays)
        (tmp_path / "m.srec").write_bytes(data)
        model, compiled = load(data), load_compiled(data)
        stdlib = runtime_stdlib.load(tmp_path / "m.srec")
        n = len(model.item_ids)
        ids = model.item_ids.take(range(n))
        requests = [random_request(rng, n) for _ in range(12)]
        cases.append({"file": base64.b64encode(data).decode(), "requests": requests})
        for request in requests:
            named = in_ids(request, ids)
            got, scores = model.recommend(**named)
            assert len(got) == len(set(got)) and len(got) <= request["k"]
            also, compiled_scores = compiled.recommend(**named)
            assert also == got, named
            np.testing.assert_array_equal(compiled_scores, scores)
            plain, plain_scores = stdlib.recommend(**named)
            assert plain == got, named
            assert np.array(plain_scores, np.float32).tolist() == scores.tolist()
            why = None
            if got:
                asked = {key: named[key] for key in named if key in
                         ("history", "popularity", "recency", "dislikes")}  # fmt: skip
                why = model.explain(got[0], **asked)
                assert why.score == pytest.approx(float(scores[0]), rel=1e-5, abs=1e-6)
            expected.append((model, got, scores, why))
    for (model, got, scores, why), answer in zip(expected, in_node(cases), strict=True):
        hits = answer["hits"]
        assert model.item_ids.take([hit["index"] for hit in hits]) == got
        assert np.array([hit["score"] for hit in hits], np.float32).tolist() == scores.tolist()
        if why is not None:
            assert answer["why"]["score"] == pytest.approx(why.score)
            shares = {part["index"]: part["share"] for part in answer["why"]["parts"]}
            names = model.item_ids.take(list(shares))
            assert dict(zip(names, shares.values(), strict=True)) == pytest.approx(dict(why.parts))
