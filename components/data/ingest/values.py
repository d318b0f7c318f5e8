"""What stands in a cell of an item table -> texts and prices: lists however they were printed, records, currencies."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

_NAMES = ("name", "title", "label", "value", "text")
"""Of a record in a list, the entry that is its text: `[{"id": 18, "name": "Drama"}]`."""
_LITERAL = re.compile(
    r"""\s*(?:(?P<text>[uUbB]?(?:'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*"))"""
    r"""|(?P<word>array|list|tuple|set|dtype\s*=\s*[\w.'<>]+|None|nan|NaN|null|True|False)"""
    r"""|(?P<number>[+-]?\d[\w.+-]*)"""
    r"""|(?P<cut>\.\.\.)"""
    r"""|(?P<mark>[\[\](){},]))""",
    re.DOTALL,
)
_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])|_+")
_FALSE = ("", "false", "none", "no", "0", "nan", "null")

_FEW = 3
# "$1,299.00", "from 14.99", "12.99 EUR"; a price cell that begins with other text (2018 metadata hold CSS) is no price.
_SPACES = "\\s\u00a0\u202f\u2009"
_PRICE = re.compile(
    rf"^\s*(?:from\s+|ab\s+|ca\.?\s+)?(?P<before>[^\d\s.,{{'’+-]{{0,4}}(?:\.(?=\s))?)[{_SPACES}]*"
    rf"(?P<digits>[.,]?\d+(?:[{_SPACES}.,'’]\d+)*)",
    re.IGNORECASE,
)
_CURRENCY = re.compile(
    r"[$€£¥₹₽₩₺₪฿]|\b(?:EUR|USD|GBP|CHF|JPY|CNY|INR|SEK|NOK|DKK|PLN|CZK|CAD|AUD|BRL|RUB)\b|\b(?:kr|zł|Kč)", re.I
)


def flat(value: Any, separator: str | None) -> list[str]:
    """The texts of a (nested) list in order, each once; text that holds a list is read, other text is split."""
    return list(dict.fromkeys(text for text in (part.strip() for part in _texts(value, separator)) if text))


def joined(value: Any) -> str | None:
    """One text: a list of paragraphs is joined, an empty text is a missing one."""
    text = value if isinstance(value, str) and as_list(value) is None else " ".join(filter(None, _texts(value, None)))
    return text if text and not text.isspace() else None


def _texts(value: Any, separator: str | None) -> Iterator[str]:
    if isinstance(value, str):
        if (listed := as_list(value)) is not None:
            yield from _texts(listed, None)
        elif (record := as_record(value)) is not None:
            yield from _of_record(record)
        else:
            yield from value.split(separator) if separator else [value]
    elif isinstance(value, Mapping):
        yield from _of_record(value)
    elif isinstance(value, Iterable):
        for part in value:
            yield from _texts(part, None)
    elif value is not None:
        yield str(value)


def as_list(text: str) -> list[Any] | None:
    """The list that `text` spells: as JSON, as Python (`['A', 'B']`, what pandas writes), as numpy (`['A' 'B']`)."""
    stripped = text.strip()
    if not stripped.startswith(("[", "(", "array(", "{'", '{"')) or not stripped.endswith(("]", ")", "}")):
        return None
    if stripped.startswith("["):
        try:
            value = json.loads(stripped)
        except (ValueError, RecursionError):
            pass
        else:
            return value if isinstance(value, list) else None
    if stripped.startswith("[") and "{" in stripped:
        return _literally(stripped, list)
    if stripped.startswith("{") and as_record(stripped) is not None:
        return None
    return _printed(stripped)


def as_record(text: str) -> dict[str, Any] | None:
    """The record that `text` spells, as JSON or as Python."""
    stripped = text.strip()
    if not (stripped.startswith("{") and stripped.endswith("}")):
        return None
    try:
        value = json.loads(stripped)
    except (ValueError, RecursionError):
        return _literally(stripped, dict)
    return value if isinstance(value, dict) else None


def _literally(text: str, kind: type) -> Any:
    try:
        value = ast.literal_eval(text)
    except (ValueError, SyntaxError, RecursionError, MemoryError):
        return None
    return value if isinstance(value, kind) else None


def _printed(text: str) -> list[str] | None:
    """The texts of a list as Python or numpy print it, nested or not; None for text that is no such list.

    Neighbours without a comma are two texts: `ast.literal_eval` makes one word of `['a' 'b']`.
    """
    found: list[str] = []
    place, depth, quoted = 0, 0, False
    while place < len(text):
        token = _LITERAL.match(text, place)
        if token is None:
            return None if text[place:].strip() else (found if quoted or not found else None)
        place = token.end()
        if token["text"] is not None:
            literal = _literally(token["text"].strip().lstrip("uUbB"), str)
            if literal is None or not depth:
                return None
            found.append(literal)
            quoted = True
        elif token["number"] is not None:
            found.append(token["number"])
        elif token["mark"] in ("[", "(", "{"):
            depth += 1
        elif token["mark"] in ("]", ")", "}"):
            depth -= 1
        if depth < 0:
            return None
    opened = text.startswith(("[", "array("))
    return found if depth == 0 and (quoted or opened) else None


def is_cut(text: str) -> bool:
    """Whether a printed list was shortened: numpy writes `...` for what it leaves out."""
    return bool(re.search(r"[\s\[]\.\.\.(?:\s|,|\])", text)) and as_list(text) is not None


def _of_record(record: Mapping[Any, Any]) -> Iterator[str]:
    """A record in words: its name if it has one; else flags that are true by their key, and other values behind it.

    `{"RestaurantsTakeOut": "True", "WiFi": "u'free'", "Parking": {"lot": false, "street": true}}` gives
    `Restaurants Take Out`, `Wi Fi: free`, `Parking: street`.
    """
    for name in _NAMES:
        if isinstance(record.get(name), str):
            yield record[name]
            return
    for key, value in record.items():
        yield from _of_entry(words(str(key)), value)


def _of_entry(key: str, value: Any) -> Iterator[str]:
    if isinstance(value, str):
        value = re.sub(r"^[uU]?(['\"])(.*)\1$", r"\2", value.strip())
        inner = as_record(value) or as_list(value)
        if inner is not None:
            value = inner
    if isinstance(value, Mapping):
        for inner_key, inner_value in value.items():
            for text in _of_entry(words(str(inner_key)), inner_value):
                yield f"{key}: {text}"
    elif isinstance(value, Sequence) and not isinstance(value, str):
        yield from (f"{key}: {text}" for text in flat(value, None))
    elif value is True or (isinstance(value, str) and value.lower() in ("true", "yes")):
        yield key
    elif value is not None and value is not False and str(value).lower() not in _FALSE:
        yield f"{key}: {value}"


def words(key: str) -> str:
    """`RestaurantsTakeOut` and `restaurants_take_out` in words."""
    return " ".join(_CAMEL.sub(" ", key).split())


def price_reader(texts: Iterable[str]) -> Callable[[str], float | None]:
    """How the prices of one column are read: a mark before two digits is decimal, one before three is told by others.

    `12,5 €` is 12.5 and `1.299,00 €` is 1299; `1.299` is 1299 where the column has decimal commas elsewhere, else
    1.299.
    """
    commas = points = thousands = 0
    for text in texts:
        digits = _digits(text)
        if digits is None:
            continue
        mark = _decimal_mark(digits)
        commas += mark == ","
        points += mark == "."
        thousands += mark is None and digits.count(".") == 1
    # Prices of exactly three decimals throughout are prices without any.
    return lambda text: _price(text, comma=commas > points or (not points and thousands >= _FEW))


def currencies(text: str) -> set[str]:
    """Signs and codes of currencies in a price."""
    return {found.group().upper() for found in _CURRENCY.finditer(text)}


def _digits(text: str) -> str | None:
    found = _PRICE.match(text)
    if found is None or "-" in text[: found.start("digits")]:
        return None
    return re.sub(rf"[{_SPACES}'’]", "", found["digits"])


def _decimal_mark(digits: str) -> str | None:
    """The decimal mark of a number that shows it; None where nothing does."""
    last = max(digits.rfind(","), digits.rfind("."))
    if last < 0:
        return None
    mark, other = digits[last], "," if digits[last] == "." else "."
    if other in digits:
        return mark if digits.count(mark) == 1 else None
    if digits.count(mark) > 1 or (len(digits) - last - 1 == 3 and not digits.startswith("0")):
        return None
    return mark


def _price(text: str, *, comma: bool) -> float | None:
    if re.fullmatch(r"\s*\d+(\.\d+)?[eE][+-]?\d+\s*", text):
        return float(text)
    digits = _digits(text)
    if digits is None:
        return None
    mark = _decimal_mark(digits)
    if mark is None and digits.count(".") + digits.count(",") == 1:
        one = "." if "." in digits else ","
        # A single mark before three digits: thousands, unless it is a point and the column has no decimal commas.
        mark = one if one == "." and not comma else None
    whole, _, rest = digits.rpartition(mark) if mark else (digits, "", "0")
    return float(f"{re.sub('[.,]', '', whole) or '0'}.{rest or '0'}")
