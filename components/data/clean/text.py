"""Cleans product text: entities, markup, control characters, Unicode forms. Pure functions on columns.

scrub(pl.Series(["Soap &amp;amp; <b>Water</b>\\u200b 2&nbsp;oz"]))  ->  ["Soap & Water 2 oz"]
"""

from __future__ import annotations

import html

import polars as pl

_SILENT = r"(?is)<!--.*?(?:-->|\z)|<script\b.*?(?:</script\s*>|\z)|<style\b.*?(?:</style\s*>|\z)"
"""Comments, scripts and styles: never shown, so what stands between their tags goes too."""
_INLINE = r"(?i)</?(?:a|abbr|b|big|em|font|i|mark|small|span|strong|sub|sup|tt|u)(?:\s[^<>]*)?/?>"
"""Tags that stand inside a word as well (`H<sub>2</sub>O`): removed without a gap."""
_TAG = r"</?[A-Za-z][^<>]*>|<![A-Za-z][^<>]*>"
"""Any other tag separates words. A `<` before a digit or a space is no tag: "size < 5", "I <3 it"."""
_UNSEEN = r"\p{Cf}"
"""Zero-width spaces and joiners, soft hyphens, byte order marks, direction marks."""
_CONTROL = r"\p{Cc}"
_MARKS = "[™℠]"
"""NFKC would glue these marks to the word as letters ("ClarisonicTM")."""
_WORDS = r"[\p{L}\p{N}]"
_NOTHING = (
    "n/?a|n\\.a\\.|none|null|nil|nan|undefined|unknown|unbranded|generic unknown|not (?:available|applicable|specified)"
    "|no (?:description|title|brand|name|data|info|information)(?: available)?|tbd|tba|to be (?:determined|announced)"
)
_EMPTY = rf"(?i)^\W*(?:{_NOTHING})\W*$"
"""What people write when there is nothing to write."""


def scrub(values: pl.Series) -> pl.Series:
    """Unescape, strip markup, normalise, and make empty fields null: the same length and order as `values`.

    Runs to a fixed point, because one step uncovers work for another ("&amp;lt;b&amp;gt;"): scrub(scrub(x)) = scrub(x).
    Every distinct value is worked on once; brands and categories repeat thousands of times.
    """
    distinct = values.drop_nulls().unique()
    done, old, new = [], distinct, distinct
    while len(old):
        again = _pass(new)
        settled = again == new
        done.append(pl.DataFrame({"value": old.filter(settled), "clean": again.filter(settled)}))
        old, new = old.filter(~settled), again.filter(~settled)
    if not done:
        return values
    table = pl.concat(done).with_columns(clean=pl.when(~is_empty("clean")).then("clean"))
    return (
        values.to_frame("value").join(table, on="value", how="left", maintain_order="left")["clean"].alias(values.name)
    )


def is_empty(column: str) -> pl.Expr:
    """True where a text says nothing: null, no letter or digit at all, or a word for nothing such as "N/A"."""
    text = pl.col(column)
    return text.is_null() | ~text.str.contains(_WORDS) | text.str.contains(_EMPTY)


def _pass(texts: pl.Series) -> pl.Series:
    """Scrub once: each round undoes one level of escaping. Rounds end, as no step makes a text longer for ever."""
    texts = _unescape(texts)
    return (
        texts.to_frame("text")
        .select(
            pl.col("text")
            .str.replace_all(_SILENT, " ")
            .str.replace_all(_INLINE, "")
            .str.replace_all(_TAG, " ")
            .str.replace_all(_CONTROL, " ")
            .str.replace_all(_UNSEEN, "")
            .str.replace_all(_MARKS, "")
            .str.normalize("NFKC")
            .str.replace_all(r"\s+", " ")
            .str.strip_chars()
        )
        .to_series()
    )


def _unescape(texts: pl.Series) -> pl.Series:
    """Resolve HTML entities by Python's own table, of texts that have an ampersand."""
    if not texts.str.contains("&", literal=True).any():
        return texts
    return pl.Series([html.unescape(text) if "&" in text else text for text in texts], dtype=pl.String)


def cut(text: pl.Expr, chars: int) -> pl.Expr:
    """At most `chars` characters, ended at the last word that fits; a first word that is longer is cut itself."""
    head = text.str.head(chars + 1)
    words = head.str.replace(r" [^ ]*$", "")
    fitting = pl.when(head.str.contains(" ", literal=True)).then(words).otherwise(text.str.head(chars))
    return pl.when(text.str.len_chars() > chars).then(fitting).otherwise(text)
