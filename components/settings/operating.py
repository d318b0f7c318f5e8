"""Settings of what is decided outside the graph: promotion of versions, drops of new data, drift."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from components.settings.bounds import Section, bounded


@dataclass(frozen=True)
class Promote(Section):
    """What a version has to show before it becomes the champion. Both are judged on the same users, whose targets
    neither was taught."""

    automatic: bool = True
    """Whether `idiom retrain` decides on a version that it has registered; else `idiom promote` by hand."""
    approval_hours: float | None = bounded(None, low=0.01)
    """Hours for which a flow waits until a reviewer approves, in Prefect's page, what the rules accept (null: rules
    alone decide). Nobody in time: the version stays the challenger."""
    metric: Literal["ndcg", "recall", "mrr"] = "ndcg"
    """What decides, at the headline cut-off."""
    min_users: int = bounded(100, low=30)
    """Fewer users to judge by refuse every version."""
    min_quality: float = bounded(0.0, low=0.0, high=1.0)
    """Least value of the metric, whatever the champion has."""
    confidence: float = bounded(0.95, low=0.5, high=0.9999)
    """Level of the two-sided intervals of paired differences whose lower bounds decide."""
    margin: float = bounded(0.0, low=0.0, high=1.0)
    """Share of the champion's value that the lower bound may lie below it: at 0 the version must be clearly better, at
    0.02 it must clearly be no more than 2 % worse."""
    added_margin: float = bounded(0.02, low=0.0, high=1.0)
    """The same for a version that is the champion with more items (`idiom add-items`): it cannot be better."""
    slices: dict[str, float] = field(default_factory=dict)
    """Protected slices -> margin in each, a share of the champion's value there: `{"target: cold (not in training)":
    0.1}`. As several looks at the same data they are corrected together (Holm)."""
    beat_baselines: bool = True
    """Refuse a version that is clearly behind a baseline, which learns by counting."""
    max_over_validation: float | None = bounded(2.0, low=1.0)
    """Most times its best value on validation that a version may have here: more smells of targets that it was taught
    (null: any)."""
    max_latency_ms: float | None = bounded(None, low=0.0)
    """Most milliseconds for one user (median; null: any)."""
    max_latency_ratio: float | None = bounded(None, low=0.0)
    """Most times the champion's latency, measured in one sitting (null: any)."""
    max_bundle_mb: float | None = bounded(None, low=0.0)
    """Largest bundle in MB (null: any)."""
    max_memory_mb: float | None = bounded(None, low=0.0)
    """Most memory of a process that serves it, in MB (null: any)."""
    max_churn: float | None = bounded(None, low=0.0, high=1.0)
    """Largest share of the items of both ID tables whose ID changed (null: any)."""
    min_own_words: float = bounded(0.5, low=0.0, high=1.0)
    """Least share of the words of the IDs that stand in their item's own text: with `index.faithful` it is near 1, in a
    table whose IDs belong to other items near what chance gives (0: any)."""
    known_tables: bool = True
    """Refuse a version whose language model or ranker learned from other histories than those of its evaluation, or
    does not say from which: nobody can tell whether it was taught the targets."""


@dataclass(frozen=True)
class Drops(Section):
    """When a drop of new data (`idiom ingest --append`) is refused, judged against the history. Thresholds alone: they
    change nothing that is stored."""

    max_unknown_items: float = bounded(0.2, low=0.0, high=1.0)
    """Largest accepted share of its interactions with items that neither the catalogue nor the drop describes."""
    max_volume_ratio: float = bounded(10.0, low=1.0)
    """Most times as many new interactions a day as the history has a day."""
    min_volume_ratio: float = bounded(0.1, low=0.0, high=1.0)
    """Fewer than this share of the history's interactions a day is warned of."""
    max_shift: float = bounded(0.5, low=0.0)
    """Largest accepted population stability index of its items, by popularity, against the newest history."""
    max_repeats: float = bounded(0.5, low=0.0, high=1.0)
    """Largest accepted share of its interactions that one item, or one user, has."""
    max_gap_days: float = bounded(30.0, low=0.0)
    """Days between the newest interaction of the history and the first of a drop that are warned of."""
    max_future_hours: float = bounded(24.0, low=0.0)
    """Hours by which a time may lie after now."""


@dataclass(frozen=True)
class Monitor(Section):
    """When what happens now has drifted from what the champion was trained on (`idiom monitor`). An effect has to reach
    its threshold, and a test has to say that chance does not give as much."""

    window_days: float = bounded(7.0, low=1.0)
    """Days up to the newest interaction that are looked at."""
    reference_days: float = bounded(180.0, low=7.0)
    """Days before the end of the champion's training data with which they are compared."""
    min_events: int = bounded(200, low=30)
    """Fewer interactions in either say nothing."""
    confidence: float = bounded(0.999, low=0.5, high=0.999999)
    """Level of all tests of a window together."""
    max_items_shift: float = bounded(0.1, low=0.0)
    """Population stability index of items by popularity, less chance: 0.1 is some shift, 0.25 a large one."""
    max_categories_shift: float = bounded(0.1, low=0.0)
    """The same of categories."""
    max_text_shift: float = bounded(0.1, low=0.0, high=1.0)
    """Largest difference of the cumulative distributions of text lengths (Kolmogorov and Smirnov)."""
    max_session_shift: float = bounded(0.1, low=0.0, high=1.0)
    """The same of how many items a user takes in a day."""
    max_popularity_shift: float = bounded(0.1, low=0.0, high=1.0)
    """Difference of the share of events that the most popular hundredth of the items has."""
    max_coverage_lost: float = bounded(0.05, low=0.0, high=1.0)
    """Share of events that are no longer with items that have an ID."""
    max_hits_lost: float = bounded(0.3, low=0.0, high=1.0)
    """Share of the champion's hits, by its evaluation, that are lost."""
    asked_users: int = bounded(500, low=0)
    """Users of the window whom the champion is asked about, for its hits (0: none; the model is not loaded then)."""
