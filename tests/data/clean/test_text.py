"""Text cleaning: what a person would read aloud stays, everything else goes, and doing it twice changes nothing."""

from __future__ import annotations

import html
import re
import unicodedata

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.data.clean.itemtext import aliases, scrub_columns, with_text
from components.data.clean.text import cut, scrub
from components.errors import BadInput
from components.settings import params

CASES = {
    "Soap &amp; Water": "Soap & Water",
    "Soap &amp;amp; Water": "Soap & Water",
    "Caf&eacute; &#39;n&#x27; tea": "Café 'n' tea",
    "2&nbsp;oz": "2 oz",
    "&lt;b&gt;bold&lt;/b&gt; text": "bold text",
    "one<br/>two<p>three</p>": "one two three",
    "H<sub>2</sub>O": "H2O",
    "<script>alert('x')</script>Soap<style>p {color: red}</style>": "Soap",
    "Soap <!-- internal: do not ship -->bar": "Soap bar",
    "Soap <script>never closed": "Soap",
    "size < 5 and > 3, I <3 it": "size < 5 and > 3, I <3 it",
    "zero\u200bwidth\ufeff soft\u00adhyphen": "zerowidth softhyphen",
    "tab\tline\r\nnull\x00end": "tab line null end",
    "ﬁne ＡＢＣ": "fine ABC",
    "Clarisonic™ Mia®": "Clarisonic Mia®",
    "  many   spaces\u3000here ": "many spaces here",
    "cafe\u0301": "café",
    "CafÃ© stays mojibake": "CafÃ© stays mojibake",
    "N/A": None,
    "n/a.": None,
    "None": None,
    " - ": None,
    "&nbsp;": None,
    "<p></p>": None,
    "Unknown": None,
    "No description available.": None,
    "": None,
    "Unknown Pleasures": "Unknown Pleasures",
    "肥皂": "肥皂",
}


@pytest.mark.parametrize("dirty", CASES, ids=range(len(CASES)))
def test_scrub_known_answers(dirty: str) -> None:
    """Each line is a kind of dirt seen in product feeds; the last ones are text that only looks like dirt."""
    assert scrub(pl.Series([dirty])).to_list() == [CASES[dirty]]


_ESCAPES = ["&amp;", "&lt;", "&gt;", "amp;", "&", "lt;", "&nbsp;", "&#60;", "＜", "＆"]
_MARKUP = ["<b>", "</b>", "<br/>", "<script>", "</script>", "<!--", "-->", "<", ">"]
_LETTERS = ["\u200b", "\x00", " ", "é", "e\u0301", "ﬁ", "™", "N/A", "3", "soap", "-"]
_PIECES = st.sampled_from([*_ESCAPES, *_MARKUP, *_LETTERS])
# Characters that Python knows: Polars has a newer Unicode, and the two must agree on what a letter is.
_ASSIGNED = st.text(st.characters(exclude_categories=["Cs", "Cn"]), max_size=3)
_DIRTY = st.lists(_PIECES | _ASSIGNED, max_size=12).map("".join)


def _reference(text: str) -> str | None:
    """The same in plain Python, one value at a time, with Python's own regular expressions."""
    before = None
    while text != before:
        before = text
        text = html.unescape(text)
        text = re.sub(
            r"(?is)<!--.*?(?:-->|\Z)|<script\b.*?(?:</script\s*>|\Z)|<style\b.*?(?:</style\s*>|\Z)", " ", text
        )
        text = re.sub(
            r"(?i)</?(?:a|abbr|b|big|em|font|i|mark|small|span|strong|sub|sup|tt|u)(?:\s[^<>]*)?/?>", "", text
        )
        text = re.sub(r"</?[A-Za-z][^<>]*>|<![A-Za-z][^<>]*>", " ", text)
        text = "".join(" " if unicodedata.category(c) == "Cc" else c for c in text)
        text = "".join(c for c in text if unicodedata.category(c) != "Cf" and c not in "™℠")
        text = " ".join(unicodedata.normalize("NFKC", text).split())
    words = any(unicodedata.category(c)[0] in "LN" for c in text)
    empty = ("n/a", "na", "n.a.", "none", "null", "nil", "nan", "unknown", "tbd", "tba")
    return text if words and re.sub(r"^\W+|\W+$", "", text.lower()) not in empty else None


@settings(max_examples=300, deadline=None, derandomize=True)
@given(st.lists(_DIRTY, min_size=1, max_size=5))
def test_scrub_equals_the_slow_reference(texts: list[str]) -> None:
    """Prevents a step of the column path from missing what the other one uncovers (`&amp;lt;b&amp;gt;`)."""
    assert scrub(pl.Series(texts)).to_list() == [_reference(text) for text in texts]


@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.lists(_DIRTY | st.none(), min_size=1, max_size=5))
def test_scrub_twice_is_scrub_once_and_order_is_kept(texts: list[str | None]) -> None:
    """A second nightly run over cleaned text must not change it, and values must not swap rows."""
    values = pl.Series("text", texts, dtype=pl.String)
    once = scrub(values)
    assert scrub(once).to_list() == once.to_list()
    assert once.to_list() == [scrub(pl.Series([text], dtype=pl.String))[0] for text in texts]


@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.text("ab é ", max_size=30).map(lambda text: " ".join(text.split())), st.integers(1, 12))
def test_cut_ends_at_the_last_word_that_fits(text: str, chars: int) -> None:
    """Prevents half words ("clarison") and texts over the limit; a first word over it is cut itself."""
    result = pl.DataFrame({"text": [text]}).select(cut(pl.col("text"), chars)).item()
    words, fitting = text.split(" "), []
    while words and len(" ".join([*fitting, words[0]])) <= chars:
        fitting.append(words.pop(0))
    assert result == (" ".join(fitting) if fitting else text[:chars])
    assert len(result) <= chars


def test_boilerplate_sentences_go_and_others_stay() -> None:
    """The shop's slogan would be in every textual ID; a sentence that two products share by chance would not."""
    ends = ["Red as wine.", "Blue! Holds 1.5 oz.", "Green.", "Green. Really."]
    items = pl.DataFrame(
        {
            "item_id": list("abcde"),
            "description": [*(f"Free shipping on all orders. {end}" for end in ends), "Free shipping on all orders."],
        }
    )
    cleaned, report = scrub_columns(items, 0.6)
    assert cleaned["description"].to_list() == [*ends, None]
    assert report["boilerplate"] == {"Free shipping on all orders.": 5}
    kept, report = scrub_columns(items, 1.0)
    assert kept["description"].to_list() == items["description"].to_list()
    assert report["boilerplate"] == {}


def test_lists_keep_distinct_parts_in_order() -> None:
    """Category paths repeat their root; an empty part ("", "N/A") is not a category."""
    items = pl.DataFrame({"item_id": ["a", "b"], "categories": [["Beauty", "Skin &amp; Hair", "", "Beauty"], ["N/A"]]})
    cleaned, _ = scrub_columns(items, 1.0)
    assert cleaned["categories"].to_list() == [["Beauty", "Skin & Hair"], None]


def test_item_text_follows_the_template_and_falls_back() -> None:
    """An item whose named fields are empty keeps its place in the catalogue, with other text or its id."""
    items = pl.DataFrame(
        {
            "item_id": ["a", "b", "c"],
            "title": ["Soap", None, None],
            "categories": [["Bath", "Bar"], None, None],
            "material": ["olive", "steel", None],
        },
        schema_overrides={"categories": pl.List(pl.String)},
    )
    texts, origin = with_text(items, params.Clean())
    assert texts["text"].to_list() == ["title: Soap, categories: Bath, Bar", "material: steel", "item c"]
    assert origin == {"named_fields": 1, "other_columns": 1, "item_id": 1}
    plain, _ = with_text(items, params.Clean(text_fields=["title"], text_template="{value}", max_field_chars=3))
    assert plain["text"].to_list()[0] == "Soa"


def test_no_text_in_the_named_fields_says_where_there_is_some() -> None:
    """A typo in text_fields must not silently train on item codes."""
    items = pl.DataFrame({"item_id": ["a"], "titel": ["Soap"]})
    with pytest.raises(BadInput, match="titel"):
        with_text(items, params.Clean(text_fields=["title"]))
    with pytest.raises(BadInput, match="text_template"):
        with_text(items, params.Clean(text_template="{field}"))


def test_a_field_that_the_items_lack_is_refused() -> None:
    """Prevents what a preset for Amazon Sports once did: it named categories, which that catalogue calls attributes,
    and trained on titles alone. The default fields are those of any shop, of which few have all."""
    items = pl.DataFrame({"item_id": ["a"], "title": ["Soap"], "attributes": [["Acorn"]], "price": [2.5]})
    for wrong in (["title", "categories"], ["categories", "attributes"]):
        with pytest.raises(BadInput, match=r"(?s)no column 'categories'.*title, attributes"):
            with_text(items, params.Clean(text_fields=wrong))
    assert with_text(items, params.Clean())[0]["text"].to_list() == ["title: Soap"]
    said, _ = with_text(items, params.Clean(text_fields=["attributes", "price"]))
    assert said["text"].to_list() == ["attributes: Acorn, price: 2.5"]


def test_items_with_equal_text_fall_to_the_smallest_id_but_textless_ones_stay_apart() -> None:
    """Merging all items without text into one would make it the most popular item of the shop."""
    items = pl.DataFrame({"item_id": ["a", "b", "c", "d"], "title": ["Soap", None, "Soap", None]})
    assert dict(aliases(items).iter_rows()) == {"c": "a"}
