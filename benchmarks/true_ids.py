"""Do IDs say what is true, and do near twins get different words? With `index.faithful` and without, whole catalogues.

    python -m benchmarks.true_ids                                # the demo shop: a minute or two
    python -m benchmarks.true_ids demo amazon-beauty amazon-toys amazon-sports amazon-scientific   # an hour on a core
    python -m benchmarks.true_ids amazon-toys --steps 0          # random weights: a generator that would say anything

Prints one JSON line a catalogue: the figures of `components/textid/table/quality.py` for both tables, written by one
generator after its cold start. Real catalogues are those of ../shared/data, with the text fields of params/NAME.yaml
where there is one. `seconds`: of the writing.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.first_tables import first_tables
from benchmarks.machine import facts
from components.data.clean.clean import clean
from components.data.ingest.ingest import ingest
from components.data.ingest.sniff import suggest
from components.processes.environment import prepare
from components.settings.file import from_dict, load
from components.settings.params import Index, Params
from components.settings.train import GeneratorTraining, Train
from components.storage.artifacts import publish_json
from components.storage.layout import Layout

ROOT = Path(__file__).resolve().parents[1]
DATA = ROOT.parent / "shared" / "data"
FIGURES = (
    *("items", "own_word_share", "false_words", "false_id_share", "near_twins", "distinguished", "numbered"),
    *("last_resort", "first_choice_share", "mean_tokens", "mean_words", "distinctiveness", "seconds"),
)


def main() -> None:
    """Parse the arguments, write both tables of each catalogue, print a JSON line for each."""
    prepare()
    arguments = _arguments()
    generator = GeneratorTraining(cold_start_steps=arguments.steps)
    train = Train(size=arguments.size, vocabulary_size=arguments.vocabulary_size, generator=generator)
    for name in arguments.catalogues:
        with cleaned(name) as folder:
            tables = first_tables(folder, train, [Index(), Index(faithful=False)], seed=arguments.seed)
        reports = {how: report for how, (_, report) in zip(("faithful", "any_words"), tables, strict=True)}
        print(
            json.dumps(
                {
                    "benchmark": "true_ids",
                    "catalogue": name,
                    **{how: {key: report[key] for key in FIGURES} for how, report in reports.items()},
                    "steps": arguments.steps,
                    "size": arguments.size,
                    "vocabulary": arguments.vocabulary_size,
                    "seed": arguments.seed,
                    **facts(),
                }
            ),
            flush=True,
        )


@contextmanager
def cleaned(name: str) -> Iterator[Path]:
    """The output folder of `clean` for a catalogue: `demo`, or a folder of ../shared/data."""
    params, raw = settings_of(name)
    with tempfile.TemporaryDirectory() as workspace:
        layout = Layout(Path(workspace), params.dataset)
        ingest(params.ingest, raw, layout)
        publish_json(layout.verdict, {"passed": True})  # what is measured here does not hang on the order of events
        clean(params.clean, params.seed, layout)
        yield layout.items_clean.parent


def settings_of(name: str) -> tuple[Params, Path]:
    """The parameters and raw files of a catalogue."""
    if name == "demo":
        params = load(ROOT / "params.yaml")
        return params, ROOT / params.ingest.path
    preset = ROOT / "params" / f"{name}.yaml"
    if preset.is_file():
        return load(preset), DATA / name
    return from_dict({"dataset": name} | suggest(DATA / name)["params"]), DATA / name


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("catalogues", nargs="*", default=["demo"], help="demo, or folders of ../shared/data")
    parser.add_argument("--steps", type=int, default=1000, help="cold start steps; 0: random weights")
    parser.add_argument("--size", default="micro")
    parser.add_argument("--vocabulary-size", type=int, default=8192)
    parser.add_argument("--seed", type=int, default=17)
    return parser.parse_args()


if __name__ == "__main__":
    main()
