"""Adds the faults of real catalogues (entities, tags, missing fields) to the demo's texts, at known rates."""

from __future__ import annotations

import html
import random
import unicodedata
from collections.abc import Callable
from typing import Any

from components.data.demo.shop import Product, Shop


def rows(shop: Shop) -> list[dict[str, Any]]:
    """One raw-looking row per id of the catalogue, in an order that says nothing (by id)."""
    found = []
    for product in shop.products:
        for item_id in product.ids:
            # Seeded by the id: a flaw stays with its item whatever else changes in the shop. Twins share what is
            # missing (else they would not be twins) and differ in how the same text is written.
            rng = random.Random(f"{shop.settings['seed']} dirt {item_id}")
            lacks = random.Random(f"{shop.settings['seed']} lacks {product.item_id}")
            found.append(_row(item_id, product, shop.settings, rng, lacks))
    return sorted(found, key=lambda row: str(row["item_id"]))


def _row(
    item_id: str, product: Product, settings: dict[str, Any], rng: random.Random, lacks: random.Random
) -> dict[str, Any]:
    dirt = settings["dirt"]
    description = product.description
    if lacks.random() < dirt["boilerplate"]:
        description = " ".join([description, *settings["boilerplate"]])
    if rng.random() < dirt["markup"]:
        description = _marked_up(description, rng)
    row: dict[str, Any] = {"item_id": item_id}
    texts = {"title": product.title, "brand": product.brand, "description": description}
    for name, text in texts.items():
        row[name] = None if lacks.random() < dirt[f"no_{name}"] else _written(text, dirt, rng)
    row["categories"] = [] if lacks.random() < dirt["no_categories"] else [list(product.categories)]
    row["price"] = None if lacks.random() < dirt["no_price"] else f"${product.price:.2f}"
    return row


def _written(text: str, dirt: dict[str, float], rng: random.Random) -> str:
    spoil: tuple[tuple[str, Callable[[str, random.Random], str]], ...] = (
        ("entities", _with_entities),
        ("odd_unicode", _with_odd_unicode),
        ("loose_space", _with_loose_space),
    )
    for name, function in spoil:
        if rng.random() < dirt[name]:
            text = function(text, rng)
    return text


def _marked_up(text: str, rng: random.Random) -> str:
    first, _, rest = text.partition(". ")
    return rng.choice(
        [f"<p><b>{first}.</b> {rest}</p>", f"{first}.<br /><br />{rest}", f"<ul><li>{first}.</li></ul>{rest}"]
    )


def _with_entities(text: str, rng: random.Random) -> str:
    named = {"é": "&eacute;", "ä": "&auml;", "'": "&#39;"}
    return "".join(named.get(letter, letter) for letter in html.escape(text, quote=False))


def _with_odd_unicode(text: str, rng: random.Random) -> str:
    """Other spellings of the same text: all but the zero-width space fall together under NFKC."""
    kind = rng.randrange(4)
    if kind == 0:
        return text.replace(" ", "\u00a0", 2)
    if kind == 1:
        return unicodedata.normalize("NFD", text)
    if kind == 2:
        first, _, rest = text.partition(" ")
        wide = "".join(chr(ord(letter) + 0xFEE0) if "!" <= letter <= "~" else letter for letter in first)
        return f"{wide} {rest}" if rest else wide
    return text.replace(" ", " \u200b", 1)


def _with_loose_space(text: str, rng: random.Random) -> str:
    return " " + text.replace(" ", "  ", 2) + " \n"
