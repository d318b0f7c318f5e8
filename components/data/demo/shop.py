"""Products of the demo shop, built from brands, types and variants, and the order in which types are bought.

Everything here is true and clean; `demo_dirt` spoils the texts afterwards, `demo_customers` does the shopping.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components.errors import BadInput


@dataclass(frozen=True)
class Product:
    """One product: a variant of a type of a brand."""

    item_id: str
    second_id: str | None
    """The id under which the same product stands in the catalogue again."""
    brand: str
    step: int
    """Place of its type in the brand's routine (two departments, one after the other)."""
    variant: str
    big_pack: bool
    """The refill: the bigger pack of a consumable."""
    title: str
    categories: tuple[str, ...]
    description: str
    price: float
    weight: float
    """How popular it is among the variants of its type."""

    @property
    def ids(self) -> tuple[str, ...]:
        return (self.item_id,) if self.second_id is None else (self.item_id, self.second_id)


@dataclass(frozen=True)
class Shop:
    """The assortment and the settings that it was built from."""

    settings: dict[str, Any]
    products: tuple[Product, ...]
    shelves: dict[tuple[str, int], tuple[Product, ...]]
    """(brand, step of the routine) -> the products there; for a consumable the small pack, then the big one."""
    by_id: dict[str, Product]
    brand_weights: dict[str, float]
    steps: dict[str, int]
    """Brand -> length of its routine."""

    def refill(self, product: Product) -> Product | None:
        """The bigger pack of the same product; None for gear and for what is the bigger pack already."""
        shelf = self.shelves[product.brand, product.step]
        return shelf[-1] if shelf[-1].big_pack and not product.big_pack else None

    def following(self, product: Product, ahead: int) -> tuple[Product, ...]:
        """The products of the type `ahead` steps further in the routine of the same brand."""
        return self.shelves[product.brand, (product.step + ahead) % self.steps[product.brand]]


def load(path: Path) -> Shop:
    """Read shop.yaml and build the shop; the same file gives the same shop. Raises `BadInput`."""
    import yaml

    mend = "start from the data/demo/shop.yaml of the repository, or delete it and get it back with git"
    try:
        settings = yaml.safe_load(path.read_text(encoding="utf-8"))
        _check(settings)
        return build(settings)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise BadInput(f"not readable as YAML: {error}", where=str(path), mend=mend) from error
    except KeyError as error:
        raise BadInput(f"{error} is missing or unknown", where=str(path), mend=mend) from error
    except (TypeError, AttributeError, ValueError, IndexError) as error:
        raise BadInput(f"does not describe a shop: {error}", where=str(path), mend=mend) from error


def build(settings: dict[str, Any]) -> Shop:
    """Every type of every brand in every variant, with ids that say nothing about it."""
    rng = random.Random(f"{settings['seed']} assortment")  # a text seed does not depend on PYTHONHASHSEED
    codes = [f"P{code}" for code in rng.sample(range(10_000, 99_999), 2_000)]
    products: list[Product] = []
    shelves: dict[tuple[str, int], tuple[Product, ...]] = {}
    steps: dict[str, int] = {}
    for brand in settings["brands"]:
        routine = [(name, kind) for name in brand["departments"] for kind in settings["departments"][name]["routine"]]
        steps[brand["name"]] = len(routine)
        for step, (department, kind) in enumerate(routine):
            path = (*settings["departments"][department]["path"], kind["shelf"])
            shelf = _shelf(settings, rng, codes, brand["name"], step, department, kind, path)
            shelves[brand["name"], step] = shelf
            products.extend(shelf)
    flatness = settings["customers"]["brand_flatness"]
    weights = {brand["name"]: 1 / (rank + 1 + flatness) for rank, brand in enumerate(settings["brands"])}
    by_id = {code: product for product in products for code in product.ids}
    return Shop(settings, tuple(products), shelves, by_id, weights, steps)


def _shelf(
    settings: dict[str, Any],
    rng: random.Random,
    codes: list[str],
    brand: str,
    step: int,
    department: str,
    kind: dict[str, Any],
    path: tuple[str, ...],
) -> tuple[Product, ...]:
    quality = rng.choice(kind["properties"])
    description = _description(rng.choice(settings["descriptions"]), brand, department, kind, quality)
    variants = kind.get("packs") or kind["choices"]
    shelf = []
    for place, variant in enumerate(variants):
        big = "packs" in kind and place == len(variants) - 1
        shelf.append(
            Product(
                item_id=codes.pop(),
                second_id=codes.pop() if rng.random() < settings["dirt"]["second_id"] else None,
                brand=brand,
                step=step,
                variant=variant,
                big_pack=big,
                title=f"{brand} {quality.title()} {kind['type']}, {variant}" + (" Refill Pack" if big else ""),
                categories=path,
                description=description,
                price=round(kind["price"] * (0.9 + 0.4 * rng.random()) * (3.2 if big else 1.0), 2),
                weight=1.0 if "packs" in kind else 0.6 + 0.8 * rng.random(),
            )
        )
    return tuple(shelf)


def _description(form: str, brand: str, department: str, kind: dict[str, Any], quality: str) -> str:
    benefit = kind["benefit"]
    return form.format(
        brand=brand,
        department=department,
        type=kind["type"].lower(),
        property=quality,
        property_capital=quality.capitalize(),
        benefit=benefit,
        benefit_capital=benefit[0].upper() + benefit[1:],
    )


def _check(settings: Any) -> None:
    """Raise `BadInput` for numbers out of bounds; a missing key shows by its name when it is used."""
    if not isinstance(settings, dict):
        raise ValueError(f"holds a {type(settings).__name__}, not a mapping")
    customers, dirt = settings["customers"], settings["dirt"]
    shares = {name: customers[name] for name in ("chance", "refill", "skip", "big_pack")} | dict(dirt)
    for name, share in shares.items():
        if not 0 <= share <= 1:
            raise ValueError(f"{name} is {share}, a share lies between 0 and 1")
    if customers["number"] < 1 or customers["days"] < 1 or customers["pause_days"] <= 0:
        raise ValueError("customers: number, days and pause_days must be positive")
    low, high = customers["history"]
    if not 1 <= low <= high:
        raise ValueError(f"customers.history is [{low}, {high}], give the shorter length first, at least 1")
