"""Settings of the voices, a class each; the field of `Voices` under which one stands is the voice's name.

    voices:                     # in params.yaml; what is not named has its default
      graph: {power: 1.0}

A voice without knobs (`popularity`, `item_graph`, `item_graph_text`) has no entry. Standard library only. Defaults were
chosen on validation targets (docs/log.md, 2026-11-30).
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from typing import Any, ClassVar, Literal, get_args

from components.settings.bounds import Section, bounded

VIEW = "view"
"""`view:NAME` is the voice of the view NAME."""
WITHOUT_SETTINGS = ("popularity", "item_graph", "item_graph_text")
"""Voices that have no entry in params.yaml."""


@dataclass(frozen=True, kw_only=True)
class Knobs(Section):
    """What the settings of any voice have."""

    FILE: ClassVar[str]
    """The file in components/voices that holds the voice."""


@dataclass(frozen=True, kw_only=True)
class Fading(Knobs):
    """How much an item of a history still counts: age_decay ** steps * exp(-days / age_days), both counted back from
    the newest. Where times are unknown, steps alone count."""

    age_decay: float = bounded(0.5, low=0.0, high=1.0)
    """What a step back is worth."""
    age_days: float | None = bounded(None, low=0.01)
    """Days back after which an item counts 1/e (null: days do not matter)."""
    same_day_step: float = bounded(1.0, low=0.0, high=1.0)
    """How much of a step lies between two items of one day, whose order is often not known."""


@dataclass(frozen=True, kw_only=True)
class Graph(Fading):
    """Items near each other in histories, by direction, distance, days and day."""

    FILE = "graph"

    age_days: float | None = bounded(60.0, low=0.01)
    same_day_step: float = bounded(0.5, low=0.0, high=1.0)
    reach: int = bounded(50, low=1)
    """Steps between two items of a history that are still a pair."""
    distance_decay: float = bounded(0.9, low=0.0, high=1.0)
    """What each further step between two items leaves of their weight."""
    pair_days: float | None = bounded(365.0, low=0.01)
    """Days between two items after which their weight is halved (null: days do not matter)."""
    same_day: float = bounded(1.5, low=0.0)
    """What two items of one day weigh, in items of different days."""
    backward: float = bounded(0.3, low=0.0)
    """Share of a pair's weight from the later item to the earlier one."""
    same_day_both_ways: bool = False
    """Whether two items of one day weigh alike in both directions."""
    power: float = bounded(1.0, low=0.1, high=5.0)
    """Exponent of the summed weights: above 1 pairs that occur often gain."""
    source_discount: float = bounded(0.3, low=0.0, high=2.0)
    """Exponent of the count of the history's item that weights are divided by."""
    candidate_discount: float = bounded(0.1, low=0.0, high=2.0)
    """Exponent of the count of the candidate that weights are divided by."""


@dataclass(frozen=True, kw_only=True)
class DirectedGraph(Graph):
    """The best single graph: what was bought after what."""

    power: float = bounded(1.2, low=0.1, high=5.0)


@dataclass(frozen=True, kw_only=True)
class EvenGraph(Graph):
    """Two items of one day count alike in both directions and as one step: no order within a day is read."""

    same_day_step: float = bounded(0.0, low=0.0, high=1.0)
    same_day_both_ways: bool = True


@dataclass(frozen=True, kw_only=True)
class FlatGraph(Graph):
    """What stands in one history, whatever order and distance."""

    age_decay: float = bounded(0.85, low=0.0, high=1.0)
    age_days: float | None = bounded(None, low=0.01)
    same_day_step: float = bounded(1.0, low=0.0, high=1.0)
    distance_decay: float = bounded(1.0, low=0.0, high=1.0)
    pair_days: float | None = bounded(None, low=0.01)
    same_day: float = bounded(1.0, low=0.0)
    backward: float = bounded(1.0, low=0.0)
    source_discount: float = bounded(0.5, low=0.0, high=2.0)
    candidate_discount: float = bounded(0.3, low=0.0, high=2.0)


@dataclass(frozen=True, kw_only=True)
class Text(Fading):
    """TF-IDF of item texts, summed over the history; a vector an item, of length 1."""

    FILE = "text"

    age_decay: float = bounded(0.6, low=0.0, high=1.0)
    words: list[str] = field(default_factory=lambda: ["title", "brand", "categories", "attributes"])
    """Item columns that are read as words; those that the items have count."""
    whole: list[str] = field(default_factory=list)
    """Item columns each value of which is one feature, however many words it has."""
    pairs: bool = False
    """Two neighbouring words of a value are a feature as well (2-grams)."""
    min_items: int = bounded(1, low=1)
    """A word of fewer items is no feature."""


@dataclass(frozen=True, kw_only=True)
class LastText(Text):
    """The newest item of a history alone."""

    age_decay: float = bounded(0.0, low=0.0, high=1.0)


@dataclass(frozen=True, kw_only=True)
class RichText(Text):
    """Words and pairs of words of titles and brands; brands, categories and attributes as they are too."""

    age_days: float | None = bounded(365.0, low=0.01)
    words: list[str] = field(default_factory=lambda: ["title", "brand"])
    whole: list[str] = field(default_factory=lambda: ["brand", "categories", "attributes"])
    pairs: bool = True
    min_items: int = bounded(2, low=1)


Step = Literal["graph", "near", "text"]


@dataclass(frozen=True, kw_only=True)
class Paths(EvenGraph):
    """Items two steps away; the inherited settings are of its graph, and of how a history fades."""

    FILE = "paths"

    steps: list[Step] = field(default_factory=lambda: ["near", "near"])
    """Step by step: `graph` all weights, `near` the strongest of each item with sum 1, `text` the items of most similar
    text, similarity squared, with sum 1."""
    near: int = bounded(40, low=1)
    """Neighbours of a step `near`."""
    similar: int = bounded(20, low=1)
    """Neighbours of a step `text`."""
    text: RichText = field(default_factory=RichText)
    """How texts are compared."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.steps or not set(self.steps) <= set(get_args(Step)):
            raise ValueError(f"steps is {self.steps}; give one or more of {', '.join(get_args(Step))}")


@dataclass(frozen=True, kw_only=True)
class GraphThenText(Paths):
    """Items whose text is like that of the graph's neighbours: reaches items that nobody has."""

    steps: list[Step] = field(default_factory=lambda: ["graph", "text"])


@dataclass(frozen=True, kw_only=True)
class TextThenGraph(Paths):
    """Neighbours of items with a text like the history's: reads items that nobody has."""

    steps: list[Step] = field(default_factory=lambda: ["text", "graph"])


@dataclass(frozen=True, kw_only=True)
class GraphText(Knobs):
    """A graph and text in one sum, without training."""

    FILE = "graph_text"

    text_weight: float = bounded(0.3, low=0.0)
    """Weight of the summed cosines beside the graph's score."""
    graph: DirectedGraph = field(default_factory=DirectedGraph)
    """Which graph."""
    text: Text = field(default_factory=Text)
    """How texts are compared."""


@dataclass(frozen=True, kw_only=True)
class View(Fading):
    """Items whose picture, sound, numbers or relations are like the history's; the voice `view:NAME` of each view."""

    FILE = "view"

    age_decay: float = bounded(0.8, low=0.0, high=1.0)
    of: str = ""
    """The view; filled in by the name of the voice."""


@dataclass(frozen=True, kw_only=True)
class Recent(Knobs):
    """What everybody took lately, up to the newest moment of the history that asks."""

    FILE = "recent"

    days: float = bounded(7.0, low=0.01)
    """An event so many days back counts 1/e. Without times every event counts 1."""


@dataclass(frozen=True, kw_only=True)
class Sequence(Knobs):
    """A causal transformer over items (SASRec), trained with the softmax over the whole catalogue."""

    FILE = "sequence"

    d_model: int = bounded(64, low=1)
    """Length of an item's vector and of all states."""
    layers: int = bounded(1, low=0)
    """Blocks of attention and feed-forward; without any the last item alone is read."""
    heads: int = bounded(1, low=1)
    """Heads of the attention; they divide `d_model`."""
    d_ff: int = bounded(64, low=1)
    """Width inside the feed-forward layer."""
    dropout: float = bounded(0.5, low=0.0, high=0.95)
    """Share of the states that is dropped; these histories are short and few, and less of it learns them by heart."""
    max_length: int = bounded(50, low=1)
    """Newest items of a history that are read."""
    epochs: int = bounded(60, low=1)
    """Times that every history is read; chosen on validation and kept when validation items are trained on too."""
    batch_size: int = bounded(64, low=1)
    """Histories a step; each teaches all its items."""
    lr: float = bounded(0.0005, low=0.0)
    """Rate of AdamW, the same in all steps."""
    weight_decay: float = bounded(0.0, low=0.0)
    """Weight decay of AdamW."""
    precision: Literal["float32", "bf16"] = "float32"
    """Of the products in training; bf16 is faster where the processor multiplies it."""
    save_minutes: float = bounded(2.0, low=0.0)
    """Minutes between two checkpoints."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.d_model % self.heads:
            raise ValueError(f"heads is {self.heads}, which does not divide d_model = {self.d_model}")


@dataclass(frozen=True, kw_only=True)
class Voices(Section):
    """The voices that have settings, by name."""

    recent: Recent = field(default_factory=Recent)
    graph: DirectedGraph = field(default_factory=DirectedGraph)
    graph_even: EvenGraph = field(default_factory=EvenGraph)
    graph_flat: FlatGraph = field(default_factory=FlatGraph)
    graph_twice: Paths = field(default_factory=Paths)
    graph_then_text: GraphThenText = field(default_factory=GraphThenText)
    text_then_graph: TextThenGraph = field(default_factory=TextThenGraph)
    text: RichText = field(default_factory=RichText)
    text_words: Text = field(default_factory=Text)
    text_last: LastText = field(default_factory=LastText)
    graph_text: GraphText = field(default_factory=GraphText)
    sequence: Sequence = field(default_factory=Sequence)
    view: View = field(default_factory=View)

    @classmethod
    def names(cls) -> list[str]:
        """All voices: those without settings and those with; those of views are named by what is there."""
        return [*WITHOUT_SETTINGS, *(spec.name for spec in fields(cls) if spec.name != VIEW)]

    @classmethod
    def linked(cls) -> list[str]:
        """Those of them that link single items: graphs and texts."""
        kinds = {spec.name: spec.default_factory for spec in fields(cls)}
        files = {name: getattr(kind, "FILE", None) for name, kind in kinds.items()}
        return ["item_graph", *(name for name, file in files.items() if file in (Graph.FILE, Text.FILE))]

    def reading(self, columns: list[str]) -> Voices:
        """These settings with more columns of whole values in every voice of text: words that views gave the items."""
        return _reading(self, columns) if columns else self


def _reading(section: Any, columns: list[str]) -> Any:
    changed: dict[str, Any] = {}
    for spec in fields(section):
        value = getattr(section, spec.name)
        if isinstance(value, Section):
            changed[spec.name] = _reading(value, columns)
    if isinstance(section, Text):
        changed["whole"] = list(dict.fromkeys([*section.whole, *columns]))
    return replace(section, **changed)
