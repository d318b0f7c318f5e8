"""How fast are pictures encoded, in how much memory, beside a plain loop over the same model?

    python -m benchmarks.views                                 # 1,000 and 10,000 pictures, drawn here, 200 x 300 JPEG
    python -m benchmarks.views --counts 200 --pictures efficientnet

Prints one JSON line: `images_per_s.COUNT` of the stage's encoder with an empty cache, `loop_images_per_s` of a loop
that opens a picture, asks the model and keeps the vector (at most 1,000 pictures), `ratio_images_per_s` of the largest
count, `again_images_per_s` with a full cache, `peak_mib_COUNT` of a process of its own, with all its libraries.
`ratio_serving_cost`: CPU seconds of an answer by a ranker with a picture's view (64 numbers) over one without, one
history at a time, drawn histories of 5,000 items; medians of 200 answers each, by turns.
"""

from __future__ import annotations

import argparse
import io
import json
import resource
import subprocess
import sys
import tempfile
import time
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks import machine
from components.media.files import Source
from components.progress import Progress
from components.settings.views import Media, Views
from components.views.build import encoder_of
from components.views.encode import File, encoded

ROOT = Path(__file__).resolve().parents[1]
_LOOP = 1000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--counts", type=int, nargs="+", default=[1000, 10_000])
    parser.add_argument("--pictures", choices=("colours", "efficientnet"), default="colours")
    parser.add_argument("--alone", nargs=2, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.alone:
        print(json.dumps(alone(Path(chosen.alone[0]), int(chosen.alone[1]), chosen.pictures)))
        return
    with tempfile.TemporaryDirectory() as folder:
        archive = Path(folder) / "pictures.zip"
        draw(archive, max(chosen.counts))
        found = {count: in_process(archive, count, chosen.pictures) for count in chosen.counts}
        slow = loop(archive, min(_LOOP, max(chosen.counts)), chosen.pictures, Path(folder))
    rates = {str(count): each["images_per_s"] for count, each in found.items()}
    result = {
        "benchmark": "views",
        "pictures": chosen.pictures,
        "images_per_s": rates,
        "loop_images_per_s": slow,
        "ratio_images_per_s": round(rates[str(max(chosen.counts))] / slow, 3),
        "again_images_per_s": {str(count): each["again_images_per_s"] for count, each in found.items()},
        **{f"peak_mib_{count}": each["peak_mib"] for count, each in found.items()},
        "ratio_serving_cost": serving_cost(),
    }
    print(json.dumps(result | machine.facts()))


def draw(archive: Path, count: int) -> None:
    """Pictures of smooth noise, no two alike."""
    from PIL import Image

    with zipfile.ZipFile(archive, "w") as packed:
        for number in range(count):
            coarse = np.random.default_rng(number).integers(0, 255, (12, 8, 3), dtype=np.uint8)
            to = io.BytesIO()
            Image.fromarray(coarse).resize((200, 300), Image.Resampling.BICUBIC).save(to, "JPEG", quality=85)
            packed.writestr(f"{number}.jpg", to.getvalue())


def in_process(archive: Path, count: int, pictures: str) -> dict[str, Any]:
    command = [sys.executable, "-m", "benchmarks.views", "--pictures", pictures, "--alone", str(archive), str(count)]
    done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def alone(archive: Path, count: int, pictures: str) -> dict[str, Any]:
    settings, medium = Views(pictures=pictures), Media(files=archive.name)  # type: ignore[arg-type]
    with tempfile.TemporaryDirectory() as folder, Source.open(archive) as source:
        work = Path(folder)
        encoder = encoder_of(settings, work, work)
        files = [File(f"{number}.jpg", str(number)) for number in range(count)]
        seconds = []
        for _ in range(2):
            started = time.perf_counter()
            encoded(files, source, encoder, work, medium, settings, Progress(), "pictures")
            seconds.append(time.perf_counter() - started)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    first, again = (round(count / each, 1) for each in seconds)
    return {"images_per_s": first, "again_images_per_s": again, "peak_mib": round(peak, 1)}


def loop(archive: Path, count: int, pictures: str, work: Path) -> float:
    """What one would write: open, convert, resize, ask, keep."""
    from PIL import Image

    encoder = encoder_of(Views(pictures=pictures), work, work)  # type: ignore[arg-type]
    started = time.perf_counter()
    with zipfile.ZipFile(archive) as packed:
        vectors = []
        for number in range(count):
            picture = Image.open(io.BytesIO(packed.read(f"{number}.jpg"))).convert("RGB")
            pixels = np.asarray(picture.resize((encoder.side, encoder.side), Image.Resampling.BILINEAR))
            vectors.append(encoder.encode(pixels[None])[0])
    np.stack(vectors)
    return round(count / (time.perf_counter() - started), 1)


def serving_cost(items: int = 5000, users: int = 400, asked: int = 200) -> float:
    from components.ranking.hybrid import Hybrid
    from components.ranking.lists import Held
    from components.ranking.teaching import teach
    from components.ranking.views import with_views
    from components.recommender.catalogue import Catalogue
    from components.settings.decoding import Decoding
    from components.settings.ranking import Rank
    from components.settings.voices import Voices
    from components.storage.ragged import Ragged
    from components.textid.table.id_table import IdTable
    from components.voices.learned import Learned

    draw = np.random.default_rng(1)
    ids = tuple(f"i{number}" for number in range(items))
    catalogue = Catalogue(IdTable(ids, ids, tuple((number,) for number in range(items))))
    rows = [[int(start + step) % items for step in range(12)] for start in draw.integers(items, size=users)]
    histories = Ragged.of([row[:-1] for row in rows])
    titles = [f"word{number % 97} word{number % 89}" for number in range(items)]
    held = Held(histories, np.full(len(histories.values), np.nan), np.array([row[-1] for row in rows], np.int64))
    picture = draw.normal(size=(items, 64)).astype(np.float32)
    picture /= np.linalg.norm(picture, axis=1, keepdims=True)
    rank, hybrids = Rank(epochs=1), []
    for views in ({}, {"picture": picture}):
        learned = Learned(catalogue, Ragged.of(rows), None, {"title": titles}, views=views)
        taught = teach(learned, held, with_views(rank, views), Voices(), core=0)
        hybrids.append(Hybrid.of(taught.choice.ranker, taught.reader, catalogue, Voices()))
    seconds: list[list[float]] = [[], []]
    for number in range(asked + 5):
        history = [ids[item] for item in rows[number % users][:-1]]
        for which, hybrid in enumerate(hybrids):
            started = time.process_time()
            hybrid.recommend([history], 10, Decoding())
            seconds[which].append(time.process_time() - started)
    without, own = (float(np.median(each[5:])) for each in seconds)  # the first answers build what later ones share
    return round(own / without, 3)


if __name__ == "__main__":
    main()
