"""Settings of the ranker. Standard library only. Defaults were chosen on validation targets (docs/log.md)."""

from __future__ import annotations

from dataclasses import dataclass, field

from components.settings.bounds import Section, bounded, inside
from components.settings.decoding import Decoding, Mode
from components.settings.views import check_names
from components.settings.voices import VIEW, Voices


@dataclass(frozen=True, kw_only=True)
class Rank(Section):
    """Voices that propose, what is read of their candidates, and the network that ranks them."""

    voices: list[str] = field(
        default_factory=lambda: ["graph", "graph_even", "graph_twice", "graph_then_text", "text_then_graph", "text"]
    )
    """Voices that propose candidates and whose scores are features."""
    candidates: int = bounded(60, low=1)
    """Best items of each voice that are candidates."""
    evidence: list[str] = field(default_factory=lambda: ["graph", "graph_even", "text"])
    """Voices whose links between single items are features: graphs and texts among `voices`."""
    shared: list[str] = field(default_factory=list)
    """VIEW.RELATION whose shared tails are features; filled in from the views that are there."""
    encoders: dict[str, str] = field(default_factory=dict)
    """NAME -> a text encoder: folder or hub name of a pretrained one, a folder with static vectors of tokens, or
    `generator`, the encoder of the trained ID generator. What it makes of the items' texts is the voice `view:NAME`.
    Off: beside TF-IDF it adds little (docs/voices.md). DVC does not watch the folder."""
    encoder_dims: int = bounded(128, low=2, high=4096)
    """Numbers of such a vector: that many principal components, whitened."""
    newest: int = bounded(20, low=1)
    """Newest items of a history whose single links, brands and categories are read."""
    similar: int = bounded(200, low=1)
    """Neighbours of an item whose cosines are kept for `evidence` of texts."""
    hidden: list[int] = field(default_factory=lambda: [96, 48])
    """Widths of the network's layers."""
    dropout: float = bounded(0.1, low=0.0, high=0.95)
    """Share of the states that is dropped in training."""
    epochs: int = bounded(9, low=1)
    """Times that every list is read; the best one on validation is kept."""
    batch_users: int = bounded(64, low=1)
    """Lists a step."""
    lr: float = bounded(0.002, low=0.0)
    """Rate of AdamW at the beginning; it falls to 0 in a line."""
    weight_decay: float = bounded(0.001, low=0.0)
    """Weight decay of AdamW."""
    holdouts: int = bounded(1, low=1)
    """How many of the last events of a training history are learned from, each with voices that know none of them."""
    hidden_items: float = bounded(0.0, low=0.0, high=0.5)
    """Share of the items that are also learned from as if nobody had taken them yet: what the ranker does with an item
    that `add-items` brings. Voices are built once more, without any event of these items."""
    mode: Mode | None = None
    """Who answers where nobody says who: generate, rank or hybrid. null: as validation chooses. It cannot where the
    language model was trained on the validation items too (`train.refit`): then the language model answers."""
    judged_users: int = bounded(1000, low=1)
    """Users by whom that is chosen."""
    decoding: Decoding = field(default_factory=Decoding)
    """How all of them are asked then. Settings of its own: what `evaluate` asks, and whom, decides nothing here."""
    networks: int = bounded(1, low=1)
    """Networks from several starts, whose scores are averaged."""
    foundation: str | None = None
    """Folder in the workspace that `idiom foundation` saved: that ranker and the one taught here answer as one, with
    its voices and features, for a shop of few users. DVC does not watch the folder."""
    most_users: int = bounded(40_000, low=1)
    """Users whose lists are learned from and validated on, chosen by the seed: each takes about 30 kB of memory."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_names(self.encoders, key="encoders")
        self._check_voices()
        if self.foundation is not None:
            inside(self.foundation, key="rank.foundation")

    def _check_voices(self) -> None:
        """Voices that there are, each once, and links of those that have some."""
        if not self.voices:
            raise ValueError("voices is empty; name one at least, such as graph")
        for key, given, known in (
            ("voices", self.voices, Voices.names()),
            ("evidence", self.evidence, [name for name in Voices.linked() if name in self.voices]),
        ):
            own = [name for name in given if not name.startswith(f"{VIEW}:")]
            if wrong := [name for name in own if name not in known]:
                what = "is no voice" if key == "voices" else "is no graph or text among `voices`"
                raise ValueError(
                    f"{key}: {wrong[0]!r} {what}; take it out, or name one of {', '.join(known) or 'none'}"
                )
            if len(set(given)) < len(given):
                raise ValueError(f"{key} is {given}; name each voice once")


@dataclass(frozen=True, kw_only=True)
class Hybrid(Section):
    """What a saved hybrid was built with."""

    rank: Rank = field(default_factory=Rank)
    voices: Voices = field(default_factory=Voices)


@dataclass(frozen=True, kw_only=True)
class Fusion(Section):
    """What a saved sum of voices was built with."""

    weights: dict[str, float] = field(default_factory=dict)
    """Voice -> its weight in the sum."""
    shares: list[str] = field(default_factory=lambda: ["popularity", "recent"])
    """Voices whose scores grow with the shop: the share of the user's largest one counts."""
    voices: Voices = field(default_factory=Voices)
