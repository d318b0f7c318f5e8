"""The knobs of training: the section `train` of `params.yaml`, with those of its two phases.

    Train(rounds=3, generator=GeneratorTraining(epochs=2))

Standard library only, as the other sections (`params.py`); what is out of bounds, or cannot go together, is a
`ValueError`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Literal

from components.settings.bounds import MOST_BEAMS, Section, bounded, inside
from components.settings.sizes import parse_size

_DEVICE = re.compile(r"auto|cpu|cuda(:\d+)?")
_HOST_PORT = re.compile(r"[^\s:]+:\d{1,5}|\[[0-9a-fA-F:]+\]:\d{1,5}")

Family = Literal["encoder-decoder", "decoder-only"]
IdSource = Literal["generated", "imported", "titles", "random"]


@dataclass(frozen=True)
class GeneratorTraining(Section):
    """The ID generator: its cold start and its phase of the alternation."""

    cold_start_steps: int = bounded(3000, low=0)
    """Steps of text -> its most distinctive words, before the first round (scratch only; 0: none). They are made in
    whole passes over the catalogue, rounded up; of one that is longer than that only so many batches are read."""
    cold_start_lr: float | None = bounded(None, low=0.0)
    """Peak learning rate of the cold start (null: 0.002 up to a width of 128, then less: 0.0011 at 192, 0.0004 at
    384)."""
    epochs: int = bounded(1, low=0)
    """Epochs of the generator phase in every round after the first; 0 switches the phase off."""
    lr: float = bounded(1e-4, low=0.0)
    """Peak learning rate of the generator phase."""
    batch_size: int = bounded(16, low=1)
    """Users a step in the generator phase; the cold start takes twice as many items."""
    micro_batch: int = bounded(0, low=0)
    """Users that go through the models at a time on each rank; their gradients add up to those of the step (0: the
    rank's whole share). The cold start takes twice as many items. Halved where the memory does not suffice."""
    max_history: int = bounded(5, low=1)
    """Most recent items of a history that get soft IDs; earlier ones keep hard IDs."""
    samples: int = bounded(2000, low=0)
    """Users seen per epoch of the generator phase (0: all)."""
    soft: bool = True
    """The recommender reads probabilities x embeddings. false: it reads the chosen words, as it will later, and the
    gradient passes the choice straight through, as if it had read the probabilities (ablation)."""


@dataclass(frozen=True)
class RecommenderTraining(Section):
    """The recommender phase of the alternation."""

    epochs: int = bounded(8, low=1)
    """Epochs in each round."""
    lr: float = bounded(2e-3, low=0.0)
    """Peak learning rate."""
    batch_size: int = bounded(64, low=1)
    """Samples a step (of all ranks together); of a decoder-only model, whose samples are whole histories, histories."""
    micro_batch: int = bounded(0, low=0)
    """Samples that go through the model at a time on each rank; their gradients add up to those of the step (0: the
    rank's whole share). Halved, and said so, where the memory does not suffice."""
    batch_tokens: int = bounded(0, low=0)
    """Padded prompt tokens a step (of all ranks together), instead of `batch_size` rows: short histories then come in
    larger batches, and no step is larger than this. 0: by rows. A row alone may be longer."""
    warmup_share: float = bounded(0.05, low=0.0, high=1.0)
    """Share of a round's steps over which the rate rises; then it falls along a cosine."""
    weight_decay: float = bounded(0.01, low=0.0)
    """AdamW weight decay."""
    loss: Literal["vocabulary", "trie"] = "vocabulary"
    """Over what the probability of a token is taken: all tokens, or those with which an ID can go on, which is what
    `trie` scores are (recommender/loss/trie_loss.py). trie is further after the first epochs and costs less, the more
    so the larger the vocabulary is; trained to the end it was a little behind (docs/log.md)."""
    label_smoothing: float = bounded(0.0, low=0.0, high=0.9)
    """Mass of the target distribution that is spread over all tokens of the loss."""
    id_word_dropout: float = bounded(0.0, low=0.0, high=0.9)
    """Share of the items in training prompts that are written by another wording: their ID without some of its words,
    or with other words of their own text in these places (textid/words/wordings.py). What is taught is the ID; a
    decoder-only model, which reads what it is taught, is not taught such an item there. 0: always the ID."""
    grad_clip: float = bounded(1.0, low=0.0)
    """Largest gradient norm (0: not clipped)."""
    prefixes: Literal["all", "one"] = "all"
    """all: every prefix of a history is a sample; one: one sampled prefix per user and epoch. decoder-only: `all`
    costs hardly more than `one`, as one row teaches every item of a history."""
    valid_users: int = bounded(500, low=1)
    """Users whose validation target is decoded after each epoch, to choose the best state."""
    valid_beams: int = bounded(10, low=1, high=MOST_BEAMS)
    """Beams of that decoding."""
    patience: int = bounded(0, low=0)
    """Stop a round after this many epochs without a better validation NDCG@10 (0: never)."""


@dataclass(frozen=True)
class ContinualTraining(Section):
    """How a training goes on from a trained pair (`train.start`). Every new item is taught, whatever
    `recommender.prefixes` says."""

    rate: float = bounded(1.0, low=0.0)
    """Peak learning rate, as a share of `recommender.lr`."""
    epochs: int = bounded(4, low=1)
    """Epochs, instead of `recommender.epochs`; the best one on validation is kept, or none."""
    replay: float = bounded(0.2, low=0.0, high=1.0)
    """Samples replayed in an epoch, as a share of those that the pair has learned: half of them are the newest of drawn
    users, half drawn from all. Nothing is replayed where nothing is new."""
    kl: float = bounded(0.1, low=0.0)
    """Weight of the divergence from the pair's own probabilities, token by token, beside the loss (0: none)."""


@dataclass(frozen=True)
class MetaLearning(Section):
    """Reptile in the recommender phase (`train.schedule: reptile`): tasks are the catalogues and, in each, clusters of
    users by the texts of what they took."""

    inner: int = bounded(8, low=2)
    """Steps on one task, of which one after the other is taken."""
    step: float = bounded(0.5, low=0.0, high=1.0)
    """Share of the way that is kept after them; 1: what `alternation` does, in blocks of a task."""
    clusters: int = bounded(4, low=1)
    """Clusters of users in each catalogue."""


@dataclass(frozen=True)
class Distillation(Section):
    """What a voice knows, taught to the recommender as soft targets (recommender/batches/soft_targets.py)."""

    voice: str | None = None
    """The voice that teaches, with its default settings, such as graph_text; one that is built without training. null:
    nobody."""
    weight: float = bounded(0.3, low=0.0, high=1.0)
    """Its part of the labels; the item that was taken has the rest."""
    items: int = bounded(20, low=1)
    """Its best items at each place of a history that have a part."""
    sharpness: float = bounded(1.0, low=0.0)
    """An item's part goes as its score to this power; 0: all alike."""
    folds: int = bounded(4, low=2)
    """The voice that teaches a user's history was built from those of the other folds of users, so that it knows
    neither the target nor what came after it."""


@dataclass(frozen=True)
class Neighbours(Section):
    """Words of an item's neighbours behind its ID in every prompt (recommender/prompts/neighbours.py); they are read
    and never taught."""

    voice: str | None = None
    """The voice whose best items after an item alone are its neighbours, with its default settings, such as graph or
    graph_text; one that is built without training. null: no such words."""
    items: int = bounded(2, low=1)
    """Neighbours of an item, the best ones."""
    words: int = bounded(4, low=1)
    """Most words of each: its ID or, of a longer one, the words that stand in the fewest IDs, in their order."""
    dropout: float = bounded(0.2, low=0.0, high=0.95)
    """Share of the items in training prompts that stand without such words, as a new item will."""
    folds: int = bounded(4, low=2)
    """The voice that names the neighbours in a user's training prompts was built from those of the other folds of
    users, so that it does not know what this user took next. Where the model is asked, everybody's histories count."""


@dataclass(frozen=True)
class Train(Section):
    """Clean items and histories -> the trained pair: ID generator and recommender."""

    backbone: str = "scratch"
    """`scratch`, or a Hugging Face name or local folder of a model of the family below (recommender)."""
    generator_backbone: str = "scratch"
    """The same for the ID generator, always an encoder-decoder; a tag-generation checkpoint where `backbone` is
    pretrained. It must have the tokenizer of `backbone`; `scratch` fits any."""
    family: Family = "encoder-decoder"
    """Family of the recommender. encoder-decoder: T5 (as in the paper), mT5, BART or mBART. decoder-only: Llama, Qwen
    or GPT-2 (from scratch a Llama); one forward over a whole history teaches every item in it, which is several times
    as many targets a second. docs/backbones.md lists them."""
    lora_rank: int = bounded(0, low=0)
    """Rank of LoRA adapters on every linear layer of the pretrained models, which alone are then trained and at the end
    merged into the weights; 0 trains all weights. A model from scratch is trained whole. Needs the extra `lora`."""
    lora_alpha: int = bounded(16, low=1)
    """What an adapter adds is multiplied by lora_alpha / lora_rank."""
    size: str = "tiny"
    """Size of a scratch model: micro, tiny, small, base, or "d_model=128,layers=2,heads=4,d_ff=512" (any of them).
    `layers` are those of the encoder and as many of the decoder; of a decoder-only model all that it has."""
    vocabulary_size: int = bounded(4096, low=256)
    """Largest vocabulary of the tokenizer trained on the catalogue (scratch only), tokens. Some 190 of them spell any
    text; with fewer than 256 IDs are spelt in letters and do not fit into `index.max_tokens`."""
    trim_vocabulary: bool = True
    """Keep only the pieces that item texts, IDs and prompts use, with special tokens and single characters, so that any
    new text can still be written. The output layer costs as much as the vocabulary is large: mT5 has 250,000 pieces."""
    word_vectors: str | None = None
    """Static word vectors from which the token embeddings of a recommender from scratch start, so that words of like
    meaning begin near to each other: `wordllama` (the package of the extra `words`), or a folder with tokenizer.json
    and one matrix of token vectors as safetensors. null: they start at random."""
    dropout: float = bounded(0.1, low=0.0, high=0.9)
    """Dropout of a recommender from scratch. A generator from scratch has none, as it must learn to copy words."""
    device: str = "auto"
    """auto, cpu, cuda or cuda:N."""
    ranks: int = bounded(1, low=1)
    """Processes on this machine (on each, where there are several), for training and for writing the IDs of new items
    in `index`; more than one are started with torchrun."""
    nodes: int = bounded(1, low=1)
    """Machines that train together, each with `ranks` processes. Run the stage `train` on each of them; node 0 runs the
    rest of the graph. The workspace must be one folder that all of them see (processes/nodes.py)."""
    node_rank: int | None = bounded(None, low=0)
    """Which of them this one is, from 0. null: as the environment says, IDIOM_NODE_RANK, NODE_RANK or SLURM_NODEID."""
    rendezvous: str | None = None
    """Where they meet: "host:port" of node 0, a port that is free there. null: MASTER_ADDR and MASTER_PORT of the
    environment."""
    precision: Literal["auto", "float32", "bf16"] = "auto"
    """auto: bf16 where the GPU has it, float32 on CPU."""
    compile: Literal["auto", "on", "off"] = "auto"
    """torch.compile of the trained model's forward, for all shapes at once. auto: on a GPU, and without where it fails,
    which is said; not on CPU. on: an error where it fails. A resumed run is then equal up to rounding only."""
    schedule: Literal["alternation", "reptile"] = "alternation"
    """How the recommender goes through its samples: all mixed, or in blocks of one task after which it goes back a part
    of the way (`meta`), so that it becomes a start that adapts in few steps. docs/foundation.md says what that is
    worth."""
    rounds: int = bounded(2, low=1)
    """Rounds of the alternation; the first has no generator phase, as there is no trained recommender yet."""
    max_item_tokens: int = bounded(64, low=1)
    """Tokens of an item text that the generator reads."""
    max_history: int = bounded(20, low=1)
    """Most recent items of a history that the recommender reads. decoder-only: a longer history is cut into windows of
    this many items and one more, each item being taught once, with at least half as many before it."""
    user_id: bool = False
    """Begin prompts with an ID of the user, made from the items before the target alone
    (recommender/prompts/user_ids.py)."""
    refit: bool = False
    """With the settings chosen on validation, train once more on training + validation items."""
    ids: IdSource = "generated"
    """generated: the generator writes the IDs, anew in every round. The others are rules that stand still, for
    comparison: the generator is neither trained nor asked, and `index` names new items by the same rule. imported: the
    table of `imported_ids`; titles: item titles, cut to `index.max_tokens`; random: words drawn from the catalogue."""
    imported_ids: str | None = None
    """Table `item_id<TAB>words` (.tsv, .tsv.gz, with header) in the workspace. With `ids: generated` it is the IDs of
    the first round and what the cold start teaches; with `ids: imported` the IDs of all rounds. DVC does not watch it:
    after an edit of the file give it another name, or force `train`."""
    views: list[str] = field(default_factory=list)
    """Views whose vectors the recommender reads where an item ends in a prompt, through a linear layer each
    (docs/views.md): pictures, sounds, numbers, vectors, and `relations_svd` with views.relations: svd."""
    view_dropout: float = bounded(0.3, low=0.0, high=0.95)
    """Share of the views of the items that are dropped in training, so that a missing one is normal."""
    start: str | None = None
    """A trained pair or a bundle in the workspace from which this training goes on: tokenizer, generator, prompts and
    weights are its own, its items keep their IDs, others get theirs from its generator, and the recommender learns what
    is new to it as `continual` says. There is no cold start and no generator phase, whatever `rounds` says. `idiom
    retrain --from champion` brings the champion's bundle and writes its folder here, named by its content: DVC sees
    this name, and not what lies in a folder of another name. null: from the beginning."""
    start_elsewhere: bool = False
    """The pair of `start` is of another shop: none of its IDs, items and users is taken over, even where ids are the
    same here. `idiom adapt` sets it."""
    soft_prompt: int = bounded(0, low=0, high=200)
    """Learned vectors in front of every prompt, which alone are trained (recommender/soft_prompt.py); the weights of
    `start` stay as they are. 0: none."""
    checkpoint_seconds: float = bounded(60.0, low=0.0)
    """At most this many seconds of work are lost by a kill; one is written at every phase boundary as well."""
    generator: GeneratorTraining = field(default_factory=GeneratorTraining)
    """The ID generator: its cold start and its phase."""
    recommender: RecommenderTraining = field(default_factory=RecommenderTraining)
    """The recommender phase."""
    continual: ContinualTraining = field(default_factory=ContinualTraining)
    """How a training goes on from `start`."""
    meta: MetaLearning = field(default_factory=MetaLearning)
    """What `schedule: reptile` does."""
    distil: Distillation = field(default_factory=Distillation)
    """A voice that teaches the recommender. Off."""
    neighbours: Neighbours = field(default_factory=Neighbours)
    """Words of each item's neighbours in the prompt. Off."""

    @property
    def pretrained(self) -> list[str]:
        """Names of the models that are not from scratch, the recommender's first."""
        return [name for name in (self.backbone, self.generator_backbone) if name != "scratch"]

    def __post_init__(self) -> None:
        super().__post_init__()
        if not _DEVICE.fullmatch(self.device):
            raise ValueError(f"device is {self.device!r}; auto, cpu, cuda or cuda:N")
        if self.rendezvous is not None and not _HOST_PORT.fullmatch(self.rendezvous):
            raise ValueError(f"rendezvous is {self.rendezvous!r}; write host:port, such as trainer-0:29500")
        shape = parse_size(self.size)
        if self.family == "decoder-only" and shape["d_model"] // shape["heads"] % 2:
            raise ValueError(
                f"size is {self.size} and family is decoder-only, whose positions turn pairs of numbers in each head, "
                f"of which a head of {shape['d_model'] // shape['heads']} has no whole number; choose other heads"
            )
        if self.imported_ids is not None:
            inside(self.imported_ids, key="train.imported_ids")
        if self.start is not None:
            inside(self.start, key="train.start")
        if (self.ids == "imported" and self.imported_ids is None) or (
            self.ids in ("titles", "random") and self.imported_ids is not None
        ):
            needed = "must name a table" if self.ids == "imported" else "must be null, as it would not be read"
            raise ValueError(f"imported_ids {needed}, where ids is {self.ids}")
        self._check_start()
        self._check_mixture()

    def _check_start(self) -> None:
        """What can only be asked of a training that goes on, or cannot."""
        if self.schedule == "reptile" and (self.start or self.refit or self.recommender.prefixes == "one"):
            raise ValueError(
                "schedule is reptile, which makes a start from all prefixes of all histories: leave out start, refit "
                "and recommender.prefixes, or set schedule to alternation"
            )
        for name, asked in (("start_elsewhere", self.start_elsewhere), ("soft_prompt", self.soft_prompt)):
            if asked and self.start is None:
                raise ValueError(f"{name} is {asked} and start is null: there is no pair to adapt; leave {name} out")
        if self.soft_prompt:
            others = {"lora_rank": self.lora_rank, "user_id": self.user_id, "continual.kl": self.continual.kl}
            for name, value in others.items():
                if value:
                    raise ValueError(
                        f"soft_prompt is {self.soft_prompt} and {name} is {value}: a soft prompt stands first and "
                        f"learns alone, while the weights stay as they are; set one of the two to its least"
                    )

    def _check_mixture(self) -> None:
        """Settings that cannot go together, refused before any stage runs."""
        if self.views and (self.lora_rank or self.start):
            other = "lora_rank" if self.lora_rank else "start"
            raise ValueError(
                f"views are {', '.join(self.views)} and {other} is {getattr(self, other)}: vectors of views are "
                f"learned with the whole model, from the beginning; set views to [], or {other} to its default"
            )
        if self.word_vectors is not None and self.backbone != "scratch":
            raise ValueError(
                f"word_vectors is {self.word_vectors} and backbone is {self.backbone}, which brings its own; "
                "set word_vectors to null, or backbone to scratch"
            )
        if self.user_id and self.family == "decoder-only":
            raise ValueError(
                "user_id is true and family is decoder-only, of which one forward teaches all items of a history, "
                "while a user ID is made per item; set user_id to false, or family to encoder-decoder"
            )
        if self.backbone == "scratch" and self.generator_backbone != "scratch":
            raise ValueError(
                f"generator_backbone is {self.generator_backbone} and backbone is scratch, whose tokenizer is trained "
                "on the catalogue, so that the two would read and write other words; set backbone to a checkpoint with "
                "the generator's tokenizer, or generator_backbone to scratch"
            )
        if self.ranks > 1 and self.device.startswith("cuda:"):
            raise ValueError(
                f"device is {self.device} and ranks is {self.ranks}, of which each needs a GPU of its own; "
                "set device to auto or cuda"
            )
        if self.lora_rank and self.backbone == "scratch" and self.start is None:
            raise ValueError(
                f"lora_rank is {self.lora_rank} and backbone is scratch: adapters change what a model has learnt, and "
                "it has learnt nothing; set lora_rank to 0, or backbone to a pretrained model, or start to a pair"
            )
