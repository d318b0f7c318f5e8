"""Settings of a foundation ranker: which lists teach it, and how. Standard library only."""

from __future__ import annotations

from dataclasses import dataclass, field

from components.settings.bounds import Section, bounded


@dataclass(frozen=True, kw_only=True)
class Foundation(Section):
    """A ranker over features that know no item and no word, taught on several catalogues for others."""

    candidates: int = bounded(60, low=1)
    """Best items of each voice that are candidates."""
    newest: int = bounded(20, low=1)
    """Newest items of a history whose single links, brands and categories are read."""
    most_users: int = bounded(10_000, low=1)
    """Users of each source whose lists are learned from, chosen by the seed; about a third have their target in it."""
    thinned: list[int] = field(default_factory=lambda: [30, 300, 3000])
    """Each source teaches once more as if so many of its users were known, for shops that are young; all of these
    together have as many lists as the whole source."""
    standard_users: int = bounded(1_000, low=1)
    """Users by whose candidates a catalogue's features are standardised; no target is needed."""
    hidden: list[int] = field(default_factory=lambda: [96, 48])
    """Widths of the network's layers."""
    dropout: float = bounded(0.1, low=0.0, high=0.95)
    """Share of the states that is dropped in training."""
    drop_groups: float = bounded(0.15, low=0.0, high=0.95)
    """Chance of each group of features, the texts' apart, to be missing in a step."""
    epochs: int = bounded(9, low=1)
    """Times that every list is read; the rate falls to 0 over them in a line, and the last state is kept: there is no
    validation on a shop that nobody has seen."""
    batch_users: int = bounded(64, low=1)
    """Lists a step, of all sources and tiers."""
    lr: float = bounded(0.002, low=0.0)
    """Rate of AdamW at the beginning."""
    weight_decay: float = bounded(0.001, low=0.0)
    """Weight decay of AdamW."""
    half: int = bounded(300, low=0)
    """Lists of a shop's own that count as much as all that sources taught: its own ranker weighs n / (n + half)."""
    young: float = bounded(0.03, low=0.0)
    """Events an item of a young shop at which its stream counts as much as its texts alone, in the ranker of its own:
    the stream weighs d / (d + young)."""
    encoder: str | None = None
    """Reads the items' texts, as in `rank.encoders`: a folder, or `wordllama`, the package of the extra `words`. Its
    vectors are a voice more in each tier; what is saved holds a copy. None: words alone."""
    encoder_dims: int = bounded(256, low=2)
    """Numbers of a vector, at most; of a small catalogue a quarter of its items, as of n items n whitened numbers say
    nothing of likeness."""
    networks: int = bounded(1, low=1)
    """Networks from several starts, whose scores are averaged."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if any(users < 1 for users in self.thinned):
            raise ValueError(f"thinned is {self.thinned}, the smallest number of users is 1")
