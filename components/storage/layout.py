"""Paths of all artifacts of a dataset. Standard library only."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Layout:
    """Paths of one dataset's artifacts within a workspace (the folder with params.yaml and dvc.yaml)."""

    workspace: Path
    dataset: str

    @property
    def root(self) -> Path:
        return self.workspace / "artifacts" / self.dataset

    # ingest
    @property
    def items(self) -> Path:
        return self.root / "ingest" / "items.parquet"

    @property
    def interactions(self) -> Path:
        return self.root / "ingest" / "interactions.parquet"

    @property
    def relations(self) -> Path:
        """head, relation, tail; no row without relations."""
        return self.root / "ingest" / "relations.parquet"

    @property
    def media(self) -> Path:
        """Of every view and item its file, vector or labels; no row without media."""
        return self.root / "ingest" / "media.parquet"

    @property
    def ingest_report(self) -> Path:
        return self.root / "ingest" / "report.json"

    # validate
    @property
    def verdict(self) -> Path:
        return self.root / "validate" / "verdict.json"

    @property
    def data_docs(self) -> Path:
        return self.root / "validate" / "data_docs"

    @property
    def validation(self) -> Path:
        """The page of what was checked."""
        return self.root / "validate" / "report.html"

    # views
    @property
    def views(self) -> Path:
        """Vectors of every view (components/views/stored.py)."""
        return self.root / "views" / "vectors"

    @property
    def view_words(self) -> Path:
        """Words of the views that enter the item texts; no row without any."""
        return self.root / "views" / "words.parquet"

    @property
    def thumbnails(self) -> Path:
        """Small pictures of the items, for pages; no row without pictures."""
        return self.root / "views" / "thumbnails.parquet"

    @property
    def views_report(self) -> Path:
        return self.root / "views" / "report.json"

    # clean
    @property
    def items_clean(self) -> Path:
        return self.root / "clean" / "items_clean.parquet"

    @property
    def histories(self) -> Path:
        return self.root / "clean" / "histories.parquet"

    @property
    def valid_targets(self) -> Path:
        return self.root / "clean" / "valid_targets.parquet"

    @property
    def test_targets(self) -> Path:
        """Listed in dvc.yaml by `evaluate` alone; a test proves that nothing before it can see them."""
        return self.root / "clean" / "test_targets.parquet"

    @property
    def other_order(self) -> Path:
        """histories, valid_targets and test_targets of the users for whom the other order of ties (`clean.ties`) is
        another one; as secret as test_targets."""
        return self.root / "clean" / "other_order"

    @property
    def aliases(self) -> Path:
        """Item ids that `clean` merged away, and the id that stands for each."""
        return self.root / "clean" / "aliases.parquet"

    @property
    def clean_report(self) -> Path:
        return self.root / "clean" / "report.json"

    @property
    def taught_by_first(self) -> Path:
        """How much the clean tables hold; it stands beside what further catalogues teach, in a folder that `train`
        reads, so that this folder is there where there are none."""
        return self.root / "catalogues" / "taught" / f"{self.dataset}.json"

    def taught_by(self, catalogue: str) -> Path:
        """What a further catalogue teaches: its clean tables without test targets, weight and repeats."""
        return self.root / "catalogues" / "taught" / catalogue

    def judged_on(self, catalogue: str) -> Path:
        """The figures of a further catalogue, which the report of the first shows."""
        return self.root / "catalogues" / "judged" / f"{catalogue}.json"

    # train
    @property
    def pair(self) -> Path:
        """The trained pair: generator/, recommender/, tokenizer/, id_table.parquet, pair.json, training_log.jsonl."""
        return self.root / "train" / "pair"

    # index
    @property
    def id_table(self) -> Path:
        return self.root / "index" / "id_table.parquet"

    @property
    def index_report(self) -> Path:
        return self.root / "index" / "report.json"

    @property
    def index_docs(self) -> Path:
        return self.root / "index" / "data_docs"

    # rank
    @property
    def hybrid(self) -> Path:
        """The ranker and its voices as one recommender (components/ranking/hybrid.py)."""
        return self.root / "rank" / "hybrid"

    @property
    def rank_report(self) -> Path:
        """What validation said of the ranker, and the weights of its readable sum."""
        return self.root / "rank" / "report.json"

    @property
    def mode(self) -> Path:
        """Which mode answers by default, as validation chose (components/ranking/choosing.py)."""
        return self.root / "rank" / "mode.json"

    # evaluate
    @property
    def metrics(self) -> Path:
        return self.root / "evaluate" / "metrics.json"

    @property
    def adapted(self) -> Path:
        """Of a shop that a model of others was adapted to: what that was worth (`idiom adapt`)."""
        return self.root / "evaluate" / "adapted.json"

    @property
    def curve(self) -> Path:
        """Its adaptation curve, where `idiom adapt --curve` took one (components/evaluation/adaptation.py)."""
        return self.root / "evaluate" / "curve.json"

    @property
    def headline(self) -> Path:
        """The few figures of metrics.json that `dvc metrics` shows."""
        return self.root / "evaluate" / "headline.json"

    @property
    def voices(self) -> Path:
        """Voices, pairs and the ranker: what each adds, who found the hits, slices (evaluation/voice_figures.py)."""
        return self.root / "evaluate" / "voices.json"

    @property
    def curves(self) -> Path:
        """Learning curves as CSV, which `dvc plots` draws."""
        return self.root / "evaluate" / "curves"

    @property
    def per_user(self) -> Path:
        return self.root / "evaluate" / "per_user.parquet"

    @property
    def plots(self) -> Path:
        return self.root / "evaluate" / "plots"

    @property
    def report(self) -> Path:
        return self.root / "evaluate" / "report.html"

    # register
    @property
    def bundle(self) -> Path:
        """The model bundle: one directory = one atom (docs/data.md)."""
        return self.root / "register" / "bundle"

    @property
    def registration(self) -> Path:
        """Version and aliases of the bundle in the store that was used here. No output of the graph: another store has
        others, and a clone that pulls has none."""
        return self.root / "register" / "registration.json"

    @property
    def registered_report(self) -> Path:
        """The report, stamped with version, commit and date; no output of the graph either."""
        return self.root / "register" / "report.html"

    @property
    def registered_validation(self) -> Path:
        """The page of what was checked, stamped likewise."""
        return self.root / "register" / "validation.html"

    @property
    def model_card(self) -> Path:
        """The model card of the registered version; no output of the graph either."""
        return self.root / "register" / "model_card.md"

    def work(self, key: str) -> Path:
        """Scratch folder outside DVC's outputs, for checkpoints and progress; keyed by the hash of a stage's inputs."""
        return self.workspace / "work" / self.dataset / key
