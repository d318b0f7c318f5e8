"""Music boxes of the demo shop, each one of a kind, and their collectors: a taste that no word and no count shows.

They are sold where `ingest.media` names pictures or tones of the demo shop. A collector keeps to one colour, which the
picture alone shows, and one rhythm, which the tone alone plays. A box is sold once, so that nobody else's purchases say
anything of it, and its text is that of every other box but for a number drawn at random. All else in the shop, its
purchases too, is as it is without boxes.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from components.data.demo.customers import Purchase
from components.data.demo.shop import Shop


@dataclass(frozen=True)
class Box:
    """One music box."""

    item_id: str
    number: int
    """What tells its title from others'; it says nothing."""
    colour: str
    rhythm: str

    def row(self, settings: dict[str, Any]) -> dict[str, Any]:
        """Its row of the raw item table."""
        texts = {"title": f"{settings['title']}, No. {self.number}", "description": settings["description"]}
        rest = {"brand": None, "categories": [settings["path"]], "price": settings["price"]}
        return {"item_id": self.item_id, **texts, **rest}


def sold(shop: Shop, others: Sequence[Purchase]) -> tuple[list[Box], list[Purchase]]:
    """All boxes by id, and the purchases by collectors, who are drawn from the customers of `others`."""
    settings = shop.settings["music_boxes"]
    rng = random.Random(f"{shop.settings['seed']} music boxes")
    spans: dict[str, list[int]] = {}
    for purchase in others:
        spans.setdefault(purchase.user_id, []).append(purchase.timestamp)
    customers = sorted(spans)
    low, high = settings["each"]
    collectors = rng.sample(customers, round(settings["collectors"] * len(customers)))
    counts = [rng.randint(low, high) for _ in collectors]
    codes, numbers = (rng.sample(range(100_000, 999_999), sum(counts)) for _ in range(2))
    boxes: list[Box] = []
    found: list[Purchase] = []
    for user_id, count in zip(collectors, counts, strict=True):
        taste = rng.choice(list(settings["colours"])), rng.choice(list(settings["rhythms"]))
        first, last = min(spans[user_id]), max(spans[user_id])
        for moment in rng.sample(range(first, last + (last - first) // 3 + count + 1), count):
            boxes.append(Box(f"M{codes.pop()}", numbers.pop(), *taste))
            found.append(Purchase(user_id, boxes[-1].item_id, moment))
    return sorted(boxes, key=lambda box: box.item_id), found


def right_boxes(boxes: Sequence[Box], history: Sequence[str]) -> list[str]:
    """Ids of the boxes that may follow `history` (item ids): those of the taste of the boxes in it, by id, all alike
    probable. None where it holds no box."""
    own = set(history)
    tastes = {(box.colour, box.rhythm) for box in boxes if box.item_id in own}
    return [box.item_id for box in boxes if box.item_id not in own and (box.colour, box.rhythm) in tastes]
