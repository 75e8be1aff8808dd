"""The exported page, in a real browser: the JavaScript reader gives the answers of the runtime."""

from __future__ import annotations

import base64
import shutil
import zlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sparserec_np import InputError, ModelFileError, load
from sparserec_np.modelfile.arrays import ModelArrays
from sparserec_np.modelfile.writer import encode
from sparserec_np.utils.atomic_write import write
from sparserec_np.vocabulary import from_values
from sparserec_np.web.export import export_web

Make = Callable[..., ModelArrays]
DATA = Path(__file__).parents[1] / "modelfile" / "frozen"
WEB = Path(__file__).resolve().parents[2] / "sparserec_np" / "web"

READ = """
async (encoded) => {
  const bytes = Uint8Array.from(atob(encoded), (c) => c.charCodeAt(0));
  window.model = await sparserec.load(bytes.buffer);
  return { ids: model.ids.map(String), labels: model.labels };
}
"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright")
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        pytest.skip("needs chromium (Debian: apt-get install chromium)")
    arguments = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
    with playwright.sync_playwright() as started:
        running = started.chromium.launch(executable_path=chromium, args=arguments)
        yield running
        running.close()


@pytest.fixture
def page(browser: Any) -> Iterator[Any]:
    """A phone-sized window; errors and requests that leave the disk fail the test."""
    opened = browser.new_page(viewport={"width": 390, "height": 844}, device_scale_factor=2)
    errors: list[str] = []
    requests: list[str] = []
    opened.on("pageerror", lambda error: errors.append(str(error)))
    opened.on("request", lambda request: requests.append(request.url))
    yield opened
    opened.close()
    assert not errors
    assert all(url.startswith(("file:", "about:", "data:")) for url in requests)


@pytest.fixture
def reader(page: Any) -> Any:
    page.goto("about:blank")
    page.add_script_tag(
        content=(WEB / "sparserec.js").read_text("utf-8") + "\nwindow.sparserec = sparserec;"
    )
    return page


def read(page: Any, data: bytes) -> dict[str, list[str]]:
    found: dict[str, list[str]] = page.evaluate(READ, base64.b64encode(data).decode())
    return found


@pytest.mark.parametrize("ids", ["range", "int", "str"])
@pytest.mark.parametrize("dim", [1, 16, 3000])
@pytest.mark.parametrize("value_bits", [1, 6, 8])
@pytest.mark.parametrize("neighbours", [0, 9])
def test_the_javascript_reader_ranks_alike(
    reader: Any, random_model: Make, ids: str, dim: int, value_bits: int, neighbours: int
) -> None:
    weighted = value_bits != 1
    power, recency = {1: (0.5, 0.0), 6: (0.875, 0.625), 8: (1.0, 1.0)}[value_bits]
    arrays = random_model(
        dim + value_bits,
        ids=ids,
        dim=dim,
        labels=True,
        weighted=weighted,
        value_bits=value_bits,
        power=power,
        recency=recency,
        neighbours=neighbours,
    )
    data = encode(arrays)
    model = load(data)
    names = model.item_ids.take(range(60))
    found = read(reader, data)
    assert found["ids"] == [str(name) for name in names]
    assert found["labels"] == arrays.labels
    for history in ([0], [5, 3, 59], [*range(0, 60, 4), 8]):
        hits = reader.evaluate("(history) => model.recommend(history, 10)", history)
        expected, scores = model.recommend(history=[names[i] for i in history], k=10)
        assert [names[hit["index"]] for hit in hits] == expected
        assert [hit["score"] for hit in hits] == pytest.approx(scores.tolist(), rel=1e-6)
        best = hits[0]["index"]
        reasons = reader.evaluate("([i, history]) => model.explain(i, history)", [best, history])
        explanation = model.explain(names[best], history=[names[i] for i in history])
        assert reasons["score"] == pytest.approx(explanation.score)
        shares = {names[part["index"]]: part["share"] for part in reasons["parts"]}
        assert shares == pytest.approx(dict(explanation.parts), abs=1e-12)


def test_the_javascript_reader_knows_wide_ids(reader: Any, random_model: Make) -> None:
    frozen = (DATA / "history-1.0.srec").read_bytes()
    names = load(frozen).item_ids.take(range(40))
    assert read(reader, frozen)["ids"] == [str(name) for name in names]
    few = [-(2**63), -(2**53) - 1, 0, 2**53 + 1, 2**63 - 1]
    model = replace(random_model(1, n_items=5), item_ids=from_values(few))
    assert read(reader, encode(model))["ids"] == [str(number) for number in few]


def test_the_javascript_reader_refuses_damage(reader: Any, random_model: Make) -> None:
    data = encode(random_model(1))
    for place in [0, 9, 300, len(data) // 2, len(data) - 1]:
        broken = bytearray(data)
        broken[place] ^= 4
        with pytest.raises(Exception, match="not a usable model: "):
            read(reader, bytes(broken))
    for cut in (0, 7, 200, len(data) - 1):
        with pytest.raises(Exception, match="not a usable model: "):
            read(reader, data[:cut])
    later = data.replace(b'"version":"1.0"', b'"version":"5.0"')
    with pytest.raises(Exception, match=r"format version 5.0, not 1.x to 4.x"):
        read(reader, later)
    good = encode(random_model(1, power=0.875, recency=0.5))
    for field in (rb"\"eighths\":7", rb"\"recency\":4"):
        bad = good.replace(field, field[:-1] + b"9")
        place = bad.find(b'"header_crc32":"') + 16
        end = 8 + int.from_bytes(bad[:8], "little")
        blank = bad[:place] + b"00000000" + bad[place + 8 : end]
        bad = bad[:place] + b"%08x" % zlib.crc32(blank) + bad[place + 8 :]
        with pytest.raises(Exception, match=r"is no integer from [01] to 8"):
            read(reader, bad)
    with pytest.raises(Exception, match="only history models"):
        read(reader, encode(random_model(1, "embedding")))


def test_the_page_recommends(page: Any, random_model: Make, tmp_path: Path) -> None:
    arrays = random_model(3, n_items=200, labels=True)
    labels = ["<b>Sœur & Cie</b>", "Été à Łódź", *arrays.labels[2:]]
    write(tmp_path / "m.srec", encode(replace(arrays, labels=labels)))
    model = load(tmp_path / "m.srec")
    written = export_web(tmp_path / "m.srec", tmp_path / "site" / "films", title="Films & more")
    assert {path.name for path in written} == {
        path.name for path in (tmp_path / "site" / "films").iterdir()
    }
    page.goto(written[0].as_uri())
    page.wait_for_selector("#results li")
    assert page.title() == page.inner_text("h1") == "Films & more"
    for query in ("ete a", "soeur", "film nº 77"):
        page.fill("#search", query)
        page.keyboard.press("Enter")
    names = model.item_ids.take([1, 0, 77])
    assert page.locator("#liked li").all_inner_texts() == [labels[1], labels[0], labels[77]]
    expected, _ = model.recommend(history=names, k=10, recency=0)
    places = model.item_ids.locate(expected).tolist()
    shown = page.eval_on_selector_all(
        "#results li", "all => all.map((li) => Number(li.dataset.index))"
    )
    assert shown == places
    assert page.locator("#results .title").all_inner_texts() == [labels[p] for p in places]
    reasons = dict(model.explain(expected[0], history=names).parts)
    best = max(reasons, key=lambda name: reasons[name])
    why = page.locator("#results li").first.inner_text()
    assert reasons[best] <= 0 or f"Because you like {model.labels_of([best])[0]}" in why
    shares = model.explain(expected[0], history=names, recency=0)
    larger = sum(share >= shares.bias for _, share in shares.parts)
    total = sum(share for share in (shares.bias, *dict(shares.parts).values()) if share > 0)
    popular = shares.bias > 0.05 * total and larger < 3
    assert ("popular with everybody" in why.lower()) == popular
    page.locator("#results button").first.click()  # liking a recommendation adds it
    assert page.locator("#liked li").count() == 4
    page.locator("#liked button").first.click()  # and a chip takes it away
    assert labels[1] not in page.locator("#liked li").all_inner_texts()
    page.evaluate("""() => {
      document.getElementById("popularity").value = 0.25;
      document.getElementById("diversity").value = 0.5;
    }""")
    page.locator("#results .not").first.click()  # what is not liked goes, and what is like it
    liked, disliked = page.evaluate("[window.page.liked, window.page.disliked]")
    wishes = {"popularity": 0.25, "diversity": 0.5, "dislikes": model.item_ids.take(disliked)}
    best = model.recommend(history=model.item_ids.take(liked), recency=0, **wishes)[0]
    shown = page.eval_on_selector_all(
        "#results li", "all => all.map((li) => Number(li.dataset.index))"
    )
    assert len(disliked) == 1 and model.item_ids.take(shown) == best
    link = page.url
    for action in (page.reload, lambda: page.goto(link.replace("index.html", "index.html?shared"))):
        action()  # the address has all that was picked
        page.wait_for_selector("#results li")
        assert page.evaluate("[window.page.liked, window.page.disliked]") == [liked, disliked]
        assert shown == page.eval_on_selector_all(
            "#results li", "all => all.map((li) => Number(li.dataset.index))"
        )
    page.goto(f"{written[0].as_uri()}#like=nothing")  # an id that the model does not have
    page.wait_for_selector("#results li")
    assert page.locator("#liked li").count() == 0
    width = page.evaluate("document.documentElement.scrollWidth")
    assert width <= 390, "nothing sticks out of a phone's window"


def test_the_reader_stands_alone() -> None:
    lines = (WEB / "sparserec.js").read_text("utf-8").splitlines()
    assert not any("import" in line or "require(" in line or "fetch(" in line for line in lines)


def test_what_cannot_be_exported_is_refused(random_model: Make, tmp_path: Path) -> None:
    path = tmp_path / "m.srec"
    write(path, encode(random_model(1, "embedding")))
    with pytest.raises(InputError, match="is an embedding model"):
        export_web(path, tmp_path / "site")
    data = bytearray(encode(random_model(1)))
    data[-1] ^= 1
    write(path, bytes(data))
    with pytest.raises(ModelFileError, match="checksum of the data"):
        export_web(path, tmp_path / "site")
    assert not (tmp_path / "site").exists()
    write(path, encode(random_model(1)))
    with pytest.raises(InputError, match="cannot be written"):
        export_web(path, path / "site")
