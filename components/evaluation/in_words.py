"""What `evaluate` found, read back from its artifacts: as Markdown for Prefect and MLflow, as text for a terminal."""

from __future__ import annotations

import polars as pl

from components.evaluation import trust_box
from components.evaluation.examples import as_text, pick
from components.evaluation.metrics_file import read_metrics
from components.evaluation.summary import markdown, sentences, ties
from components.storage import parquet
from components.storage.layout import Layout


def findings_as_markdown(layout: Layout) -> str:
    """Sentences and the result table."""
    return markdown(read_metrics(layout.metrics))


def findings_as_text(layout: Layout, *, seed: int) -> str:
    """Whether the model beats each baseline, whether that can be trusted, and three users with their histories and
    recommendations."""
    titles, words, users = (
        pl.DataFrame(parquet.read(path, columns))
        for path, columns in (
            (layout.items_clean, ["item_id", "title"]),
            (layout.id_table, ["item_id", "words"]),
            (layout.per_user, None),
        )
    )
    examples = pick(users, dict(titles.iter_rows()), dict(words.iter_rows()), seed=seed)
    metrics = read_metrics(layout.metrics)
    trust = f"Can this be trusted? {' '.join(trust_box.in_words(metrics))}"
    return "\n".join([*sentences(metrics), ties(metrics), trust, "", as_text(examples)]).rstrip()
