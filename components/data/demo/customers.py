"""Purchases of the demo shop: each follows from the one before by a rule, or is drawn at random.

After a product comes, with the shares set in shop.yaml: nothing to do with it (`chance`), else the bigger pack of a
consumable (`refill`), else the next type of the routine, or the one after it (`skip`), always of the same brand.
"""

from __future__ import annotations

import datetime
import math
import random
from collections.abc import Sequence
from dataclasses import dataclass

from components.data.demo.shop import Product, Shop


@dataclass(frozen=True)
class Purchase:
    """One row of the raw interactions."""

    user_id: str
    item_id: str
    timestamp: int
    """Epoch seconds."""


def purchases(shop: Shop) -> list[Purchase]:
    """All purchases in order of time, as an export of a shop's orders comes."""
    settings = shop.settings["customers"]
    rng = random.Random(f"{shop.settings['seed']} customers")
    codes = rng.sample(range(100_000, 999_999), settings["number"])
    found = [purchase for code in codes for purchase in _customer(f"C{code}", shop, rng)]
    return sorted(found, key=in_time)


def in_time(purchase: Purchase) -> tuple[int, str, str]:
    """The key that sorts purchases as an export of a shop's orders comes."""
    return purchase.timestamp, purchase.user_id, purchase.item_id


def next_products(shop: Shop, bought: Sequence[Product]) -> list[tuple[Product, float]]:
    """Products that may follow by rule, with probabilities that sum to 1 (empty if all of them are bought already)."""
    settings = shop.settings["customers"]
    last, owned = bought[-1], {product.item_id for product in bought}
    weights: dict[str, float] = {}
    refill = shop.refill(last)
    share_left = 1.0
    if refill is not None and refill.item_id not in owned:
        weights[refill.item_id] = settings["refill"]
        share_left -= settings["refill"]
    for ahead, share in ((1, 1 - settings["skip"]), (2, settings["skip"])):
        shelf = [product for product in shop.following(last, ahead) if product.item_id not in owned]
        kinds = [_appeal(product, settings["big_pack"]) for product in shelf]
        for product, kind in zip(shelf, kinds, strict=True):
            weights[product.item_id] = weights.get(product.item_id, 0.0) + share_left * share * kind / sum(kinds)
    total = sum(weights.values())
    return [(shop.by_id[item_id], weight / total) for item_id, weight in weights.items()]


def right_answers(shop: Shop, history: Sequence[str]) -> list[str]:
    """Item ids that follow `history` (item ids, oldest first) by rule, the most probable first; ties by id.

    A product that stands in the catalogue twice appears under its smaller id, the one that `clean` merges it into.
    """
    ranked = sorted(
        next_products(shop, [shop.by_id[item_id] for item_id in history]),
        key=lambda pair: (-pair[1], min(pair[0].ids)),
    )
    return [min(product.ids) for product, _ in ranked]


def _appeal(product: Product, big_pack: float) -> float:
    return product.weight * big_pack if product.big_pack else product.weight


def _customer(user_id: str, shop: Shop, rng: random.Random) -> list[Purchase]:
    settings = shop.settings["customers"]
    low, high = settings["history"]
    bought = [_any_product(shop, rng)]
    for _ in range(rng.randint(low, high) - 1):
        reasons = next_products(shop, bought)
        if rng.random() < settings["chance"] or not reasons:
            stray = _any_product(shop, rng)
            if stray not in bought:  # nobody buys the same product again: `clean` would drop the repeat
                bought.append(stray)
        else:
            products, shares = zip(*reasons, strict=True)
            bought.append(rng.choices(products, shares)[0])
    moments = _moments(len(bought), settings, rng)
    return [Purchase(user_id, rng.choice(p.ids), moment) for p, moment in zip(bought, moments, strict=True)]


def _any_product(shop: Shop, rng: random.Random) -> Product:
    brands = list(shop.brand_weights)
    brand = rng.choices(brands, [shop.brand_weights[name] for name in brands])[0]
    shelf = shop.shelves[brand, rng.randrange(shop.steps[brand])]
    return rng.choices(shelf, [_appeal(product, shop.settings["customers"]["big_pack"]) for product in shelf])[0]


def _moments(number: int, settings: dict, rng: random.Random) -> list[int]:
    """Rising epoch seconds within the shop's days; pauses are log-normal around their median."""
    day = 86_400
    pauses = [rng.lognormvariate(math.log(settings["pause_days"]), 0.7) for _ in range(number - 1)]
    room = settings["days"] - sum(pauses)
    if room < 1:  # a rare slow customer: squeezed into the time there is
        pauses = [pause * (settings["days"] - 1) / sum(pauses) for pause in pauses]
        room = 1.0
    first_day = settings["first_day"]
    opening = int(datetime.datetime(first_day.year, first_day.month, first_day.day, tzinfo=datetime.UTC).timestamp())
    moment = rng.random() * room
    moments = [moment]
    for pause in pauses:
        moment += pause
        moments.append(moment)
    return [opening + int(moment * day) + place for place, moment in enumerate(moments)]
