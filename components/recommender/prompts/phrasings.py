"""Prompt templates around a history of item IDs, filled in on token ids.

    prompts = Prompts()                                  # or Prompts.load(bundle / "prompts.json")
    pieces = prompts.tokenise(tokenizer)
    prompt = pieces.build(0, [ids of the oldest item, ..., ids of the newest], max_tokens=512)
    prompt.token_ids, prompt.spans                       # spans[i]: where item i stands, for soft IDs

Every piece is tokenised once, alone, and IDs are spliced between them by position. Text is never joined and tokenised
again: then a token could straddle two pieces, and an item would not stand in the prompt as the tokens of its ID.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from components.errors import BadInput
from components.settings.train import Family
from components.storage.artifacts import publish_json, read_json

TEMPLATES = (
    "a customer bought {history} what comes next",
    "after {history} the next purchase is",
    "purchases so far {history} predict the next item",
    "given the history {history} recommend one more item",
    "someone who likes {history} would also buy",
    "the shopping list reads {history} continue it",
)
"""Words only, as IDs are: a tokenizer trained on a catalogue can write them. The first one is used to decode."""

OPENINGS = (
    "a customer bought {history}",
    "after buying {history}",
    "purchases so far {history}",
    "given the history {history}",
    "someone who likes {history}",
    "the shopping list reads {history}",
)
"""The same for a decoder-only model: what it writes goes on where the history stops, so nothing stands between them."""


@dataclass(frozen=True)
class Prompt:
    """Token ids of one prompt, and where in it each item of the history stands."""

    token_ids: tuple[int, ...]
    spans: tuple[tuple[int, int], ...]
    """[start, end) of each item that was kept, oldest first; they are the last ones of the history given."""


@dataclass(frozen=True)
class Pieces:
    """The templates as token ids."""

    heads: tuple[tuple[int, ...], ...]
    """What stands before the history, per template."""
    tails: tuple[tuple[int, ...], ...]
    """What stands after it, per template; ends with the end token, or is empty where `closed`."""
    separator: tuple[int, ...]
    """Between two items, and between the words of a user and the head."""
    closed: bool = False
    """The separator follows every item, the last one too: any history is then the beginning of each longer one."""

    def __len__(self) -> int:
        return len(self.heads)

    def build(
        self,
        template: int,
        items: Sequence[Sequence[int]],
        *,
        max_tokens: int,
        max_items: int | None = None,
        user: Sequence[int] = (),
        behind: Sequence[Sequence[int]] | None = None,
    ) -> Prompt:
        """One prompt from the token ids of the history's items, oldest first, and of the user's words, if any.

        The oldest items are dropped until at most `max_items` are left and the prompt has at most `max_tokens` tokens.
        An empty history gives the prompt without items. behind: what is read behind each item and its separator, with
        a separator of its own (neighbours.py).
        """
        token_ids = [*user, *self.separator] if user else []
        token_ids += self.heads[template]
        room = max_tokens - len(token_ids) - len(self.tails[template])
        whole = list(zip(items, [()] * len(items) if behind is None else behind, strict=True))
        kept = whole if max_items is None else whole[max(0, len(whole) - max_items) :]
        open_end = 0 if self.closed else len(self.separator)
        while kept and sum(len(self.separator) + sum(map(len, each)) for each in kept) - open_end > room:
            kept.pop(0)
        spans = []
        for item, others in kept:
            spans.append((len(token_ids), len(token_ids) + len(item)))
            token_ids += [*item, *self.separator, *others]
        if kept and open_end:
            del token_ids[-open_end:]
        return Prompt((*token_ids, *self.tails[template]), tuple(spans))


@dataclass(frozen=True)
class Prompts:
    """The texts; they travel with the model as JSON."""

    templates: tuple[str, ...] = TEMPLATES
    """Each holds `{history}` once."""
    separator: str = ","
    """One token, between two items; where the tokenizer does not have it, the end token stands there instead."""
    open_ended: bool = False
    """The prompt is one long text without an end: the words of the template, then every item with its end token. What
    a decoder-only model reads and what it writes are then the same text. The separator is the end token."""
    soft: int = 0
    """So many end tokens stand in front of every prompt: a soft prompt (soft_prompt.py) is read in their place."""

    def __post_init__(self) -> None:
        for template in self.templates:
            if template.count("{history}") != 1:
                raise BadInput(
                    f"the template {template!r} does not hold {{history}} exactly once",
                    where="prompts",
                    mend="write {history} where the item IDs shall stand",
                )
            if self.open_ended and not template.endswith("{history}"):
                raise BadInput(
                    f"the template {template!r} goes on after {{history}}",
                    where="prompts",
                    mend="a decoder-only model writes right after the history: put all words before it",
                )
        if not self.templates:
            raise BadInput("there is no template", where="prompts", mend="give at least one")

    def texts(self) -> list[str]:
        """The words around the histories, for training a tokenizer that can write them in few tokens."""
        return [part.strip() for template in self.templates for part in template.split("{history}") if part.strip()]

    def tokenise(self, tokenizer: Any) -> Pieces:
        """Tokenise every piece once. `tokenizer` is a Hugging Face tokenizer with an end token."""

        def encode(text: str) -> tuple[int, ...]:
            return tuple(tokenizer.encode(text.strip(), add_special_tokens=False)) if text.strip() else ()

        if self.open_ended:
            begin = () if tokenizer.bos_token_id is None else (tokenizer.bos_token_id,)
            end = (tokenizer.eos_token_id,)
            soft = end * self.soft
            heads = tuple(
                (*soft, *begin, *encode(template.removesuffix("{history}")), *end) for template in self.templates
            )
            return Pieces(heads, tails=((),) * len(heads), separator=end, closed=True)
        # Looked up, not encoded: a comma encoded alone is two tokens, as T5 puts a space before it.
        separator = tokenizer.get_vocab().get(self.separator, tokenizer.eos_token_id)
        parts = [template.split("{history}") for template in self.templates]
        return Pieces(
            heads=tuple((*(tokenizer.eos_token_id,) * self.soft, *encode(head)) for head, _ in parts),
            tails=tuple((*encode(tail), tokenizer.eos_token_id) for _, tail in parts),
            separator=(separator,),
        )

    def save(self, path: Path) -> None:
        """Write as JSON, atomically."""
        publish_json(path, json.loads(json.dumps(asdict(self))))

    @classmethod
    def load(cls, path: Path) -> Prompts:
        """Read what `save` wrote. Raises `BadInput` if it is missing or not that."""
        value = read_json(path)
        try:
            how = bool(value.get("open_ended", False)), int(value.get("soft", 0))
            return cls(tuple(map(str, value["templates"])), str(value["separator"]), *how)
        except (KeyError, TypeError, ValueError) as error:
            raise BadInput(
                f"does not hold prompts: {error!r}", where=str(path), mend="restore the file, or train again"
            ) from error


def prompts_of(family: Family) -> Prompts:
    """The built-in phrasings. A decoder-only model writes right after the history: their words stand before it."""
    return Prompts(OPENINGS, open_ended=True) if family == "decoder-only" else Prompts()
