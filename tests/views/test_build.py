"""The stage `views`, on pictures drawn here whose colours are known: encoded once, resumed, spoilt on purpose."""

from __future__ import annotations

import io
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from components.data.canonical.views import MEDIA, RELATIONS
from components.data.clean.viewwords import added
from components.errors import BadInput
from components.media import pictures
from components.settings.params import Ingest
from components.settings.views import Media, Views
from components.storage import vectors
from components.storage.layout import Layout
from components.storage.vectors import Edges
from components.views.build import build
from components.views.encode import Cache
from tests.media.test_media import wav

COLOURS = {"red": (220, 20, 20), "blue": (20, 40, 220), "green": (20, 160, 40)}
ITEMS = [f"i{number:02}" for number in range(12)]
NAMES = list(COLOURS)


def colour_of(number: int) -> str:
    return NAMES[number % 3]


def drawn(number: int) -> bytes:
    to, draw = io.BytesIO(), np.random.default_rng(number)
    noise = draw.integers(-15, 15, (30, 30, 3)) + np.array(COLOURS[colour_of(number)])
    Image.fromarray(np.clip(noise, 0, 255).astype(np.uint8)).save(to, "PNG")
    return to.getvalue()


def shop(folder: Path, *, media: Sequence[dict[str, Any]] = (), triples: Sequence[tuple[str, str, str]] = ()) -> Layout:
    """A workspace with the tables of `ingest`: twelve items that users touched, and one that nobody did."""
    layout = Layout(folder, "shop")
    layout.interactions.parent.mkdir(parents=True)
    pq.write_table(pa.table({"item_id": ITEMS * 2}), layout.interactions)
    heads, relations, tails = zip(*triples, strict=True) if triples else ((), (), ())
    columns = [pa.array(each, pa.string()) for each in (heads, relations, tails)]
    pq.write_table(pa.table(columns, list(RELATIONS)), layout.relations)
    types = {"bytes": pa.int64(), "numbers": pa.list_(pa.float32()), "labels": pa.list_(pa.string())}
    schema = pa.schema([(name, types.get(name, pa.string())) for name in MEDIA])
    pq.write_table(pa.Table.from_pylist(list(media), schema=schema), layout.media)
    return layout


def pictured(folder: Path) -> Layout:
    """A picture of each item but the last two: one has none, one has a broken file."""
    files = folder / "raw" / "shots"
    files.mkdir(parents=True)
    rows = []
    for number, item in enumerate(ITEMS[:-1]):
        content = drawn(number) if number < 10 else drawn(number)[:200]
        (files / f"{item}.png").write_bytes(content)
        rows.append(
            {"view": "shot", "item_id": item, "kind": "picture", "file": f"{item}.png", "digest": f"{number:032}"}
        )
    return shop(folder, media=rows)


def made(layout: Layout, **settings: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    ingest = Ingest(media={"shot": Media(files="shots")})
    report = build(Views(**settings), ingest, layout.workspace / "raw", layout, seed=5)
    return report, vectors.load(layout.views, ITEMS)


def test_pictures_of_one_colour_are_alike_and_a_broken_one_is_named(tmp_path: Path) -> None:
    report, views = made(pictured(tmp_path), words=["shot"])
    found = views["shot"]
    lengths = np.linalg.norm(found, axis=1)
    assert np.allclose(lengths[:10], 1, atol=1e-5) and (lengths[10:] == 0).all()
    cosines = found[:10] @ found[:10].T
    same = np.array([[colour_of(a) == colour_of(b) for b in range(10)] for a in range(10)])
    assert cosines[same].min() > 0.9 > 0.3 > cosines[~same].max()
    assert report["views"]["shot"]["refused"] == {"broken": 1} and "i10.png" in report["in_words"][0]
    words = pq.read_table(Layout(tmp_path, "shop").view_words).to_pylist()
    assert [row["words"] for row in words] == [[colour_of(number)] for number in range(10)]


def test_a_picture_is_decoded_once_and_a_killed_run_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Prevents: a night of encoding for each new picture, and for each crash."""
    layout, decode, seen = pictured(tmp_path), pictures.decode, list[int]()

    def counted(content: bytes, **bounds: Any) -> Any:
        seen.append(len(content))
        if len(seen) == 5:
            raise KeyboardInterrupt
        return decode(content, **bounds)

    monkeypatch.setattr(pictures, "decode", counted)
    with pytest.raises(KeyboardInterrupt):
        made(layout, batch=2)
    assert not layout.views.exists()
    first = made(layout, batch=2)[1]
    assert len(seen) == 5 + 11 - 4  # two whole batches were kept
    seen.clear()
    again = made(layout, batch=3)[1]
    assert len(seen) == 1  # the broken one is tried anew
    assert np.array_equal(first["shot"], again["shot"])


def test_a_stray_sound_does_not_make_pictures_sounds(tmp_path: Path) -> None:
    """Prevents: all pictures refused as `another kind`, because the first item has a sound there."""
    layout = pictured(tmp_path)
    (tmp_path / "raw" / "shots" / "i00.wav").write_bytes(wav(np.sin(np.arange(4000.0))))
    rows = pq.read_table(layout.media).to_pylist()
    rows[0] |= {"kind": "sound", "file": "i00.wav", "digest": "other"}
    pq.write_table(pa.Table.from_pylist(rows, schema=pq.read_schema(layout.media)), layout.media)
    about = made(layout)[0]["views"]["shot"]
    assert about["kind"] == "picture" and about["items"] == 9 and about["refused"] == {"another kind": 1, "broken": 1}


def test_two_runs_fill_one_cache(tmp_path: Path) -> None:
    """Prevents: pictures of `add-items` in place of those that `views` encodes at the same time."""
    one, other = Cache(tmp_path, "key", 1), Cache(tmp_path, "key", 1)
    for number, cache in enumerate((one, other)):
        cache.add(f"digest{number}", np.full(1, number, np.float32))
        cache.flush()
    for cache, digests, right in ((one, ["digest0"], [0]), (Cache(tmp_path, "key", 1), ["digest0", "digest1"], [0, 1])):
        found = np.full((len(digests), 1), -1, np.float32)
        cache.fill(digests, found)
        assert found[:, 0].tolist() == right


def test_controls_keep_who_has_a_view_and_lose_what_it_says(tmp_path: Path) -> None:
    layout = pictured(tmp_path)
    real, mixed = made(layout)[1]["shot"], made(layout, control={"shot": "shuffled"}, words=["shot"])[1]["shot"]
    assert {row.tobytes() for row in real} == {row.tobytes() for row in mixed}
    assert not (real[:10] == mixed[:10]).all(axis=1).any() and (mixed[10:] == 0).all()
    spoken = {row["item_id"]: row["words"] for row in pq.read_table(layout.view_words).to_pylist()}
    of = {row.tobytes(): colour_of(number) for number, row in enumerate(real[:10])}
    assert spoken == {ITEMS[number]: [of[mixed[number].tobytes()]] for number in range(10)}  # words go with vectors
    report, views = made(layout, control={"shot": "constant"})
    assert len({row.tobytes() for row in views["shot"][:10]}) == 1
    assert "control" in report["in_words"][-1]


TRIPLES = [(item, "maker", f"m{number % 4}") for number, item in enumerate(ITEMS)]
TRIPLES += [(item, "colour", colour_of(number)) for number, item in enumerate(ITEMS)] + [("away", "maker", "m0")]


def test_relations_weigh_rare_tails_more_and_become_words(tmp_path: Path) -> None:
    layout = shop(tmp_path, triples=TRIPLES)
    report = build(Views(words=["maker"], relations="svd", dims=3), Ingest(), tmp_path, layout, seed=5)
    views = vectors.load(layout.views, [*ITEMS, "new"])
    edges = views["relations"]
    assert (
        isinstance(edges, Edges)
        and edges.names == ("colour", "maker")
        and np.diff(edges.indptr).tolist() == [2] * 12 + [0]
    )
    assert report["views"]["relations"]["edges"] == {"colour": 12, "maker": 12}
    own = {edges.names[edges.kinds[tail]]: edges.data[at] for at, tail in enumerate(edges.indices[:2])}
    assert own["maker"] > own["colour"] and np.isclose(sum(each**2 for each in own.values()), 1)
    assert views["relations_svd"].shape == (13, 3) and np.allclose(
        np.linalg.norm(views["relations_svd"][:12], axis=1), 1
    )
    import polars as pl

    items, columns = added(pl.DataFrame({"item_id": ["i05", "new"]}), layout.view_words)
    assert columns == ["maker"] and items["maker"].to_list() == [["m1"], None]
    with pytest.raises(BadInput, match="already"):
        added(pl.DataFrame({"item_id": ["i05"], "maker": ["x"]}), layout.view_words)


def test_a_rewired_relation_keeps_every_degree_and_leaves_the_others_alone(tmp_path: Path) -> None:
    def edges(**settings: Any) -> Edges:
        layout = shop(tmp_path / str(len(list(tmp_path.iterdir()))), triples=TRIPLES)
        build(Views(**settings), Ingest(), tmp_path, layout, seed=5)
        found = vectors.load(layout.views, ITEMS)["relations"]
        assert isinstance(found, Edges)
        return found

    real, rewired = edges(), edges(control={"maker": "rewired"})
    assert np.array_equal(real.indptr, rewired.indptr)
    assert np.array_equal(np.bincount(real.indices), np.bincount(rewired.indices))
    of_colour = [each.indices[each.kinds[each.indices] == 0] for each in (real, rewired)]
    assert np.array_equal(*of_colour) and not np.array_equal(real.indices, rewired.indices)


def test_sounds_that_beat_alike_are_alike(tmp_path: Path) -> None:
    files, rows, moments = tmp_path / "raw" / "tones", [], np.arange(16_000) / 8000
    files.mkdir(parents=True)
    for number, item in enumerate(ITEMS):
        beat = (moments * (2 if number % 2 else 6)) % 1 < 0.3
        tone = 0.5 * beat * np.sin(2 * np.pi * (300 + 20 * number) * moments)
        (files / f"{item}.wav").write_bytes(wav(tone))
        rows.append(
            {"view": "tone", "item_id": item, "kind": "sound", "file": f"{item}.wav", "digest": f"{number:032}"}
        )
    layout = shop(tmp_path, media=rows)
    build(Views(dims=8), Ingest(media={"tone": Media(files="tones")}), tmp_path / "raw", layout, seed=5)
    found = vectors.load(layout.views, ITEMS)["tone"]
    assert isinstance(found, np.ndarray)
    cosines = found @ found.T
    same = np.equal.outer(np.arange(12) % 2, np.arange(12) % 2) & ~np.eye(12, dtype=bool)
    assert cosines[same].mean() > 0.3 > cosines[~same & ~np.eye(12, dtype=bool)].mean()


@pytest.mark.parametrize(
    ("settings", "said"),
    [({"only": ["poster"]}, "'poster'"), ({"control": {"shot": "rewired"}}, "no relations"), ({"words": ["x"]}, "'x'")],
)
def test_a_setting_that_names_no_view_is_refused(tmp_path: Path, settings: dict[str, Any], said: str) -> None:
    with pytest.raises(BadInput, match=said):
        made(pictured(tmp_path), **settings)


def test_without_views_nothing_is_imported_and_the_outputs_are_empty(tmp_path: Path) -> None:
    """Prevents: seconds of imports in a graph that has no picture."""
    layout = shop(tmp_path)
    code = f"""
import sys
from pathlib import Path
from components.settings.params import Ingest
from components.settings.views import Views
from components.storage.layout import Layout
from components.views.build import build
from components.views.encode import Cache
build(Views(), Ingest(), Path(), Layout(Path({str(tmp_path)!r}), "shop"), seed=1)
assert not {{"torch", "PIL", "scipy"}} & set(sys.modules), sorted(sys.modules)
"""
    subprocess.run([sys.executable, "-c", code], check=True)
    assert vectors.load(layout.views, ITEMS) == {} and pq.read_table(layout.view_words).num_rows == 0
    with pytest.raises(BadInput, match="there are none"):
        build(Views(words=["genre"]), Ingest(), tmp_path, layout, seed=1)
