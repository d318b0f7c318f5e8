"""Measures in a text, words that belong together: a number with its unit, "pack of" with its number.

    measures("Dove Cream Oil, 3.4 Ounce (Pack of 2)")      # [["3", "4", "ounce"], ["pack", "of", "2"]]

An ID that tells the small bottle from the large one says "60 ml", not "60".
"""

from __future__ import annotations

import re

from components.textid.words.normal import split

_UNITS = """
    oz ounce ounces fl fluid ml cl dl l liter liters litre litres g gr gram grams kg mg mcg lb lbs pound pounds
    mm cm m km inch inches ft foot feet yard yards w watt watts v volt volts mah gb mb tb hz
    count counts ct pc pcs piece pieces pack packs pk pair pairs sheet sheets sachet sachets tablet tablets capsule
    capsules speed month months year years
"""
_UNIT = "|".join(sorted(split(_UNITS), key=len, reverse=True))
_AMOUNT = r"(?<![\w.,])\d+(?:[.,/]\d+)?"
_MEASURE = re.compile(
    rf"(?:\b(?:pack|set|box|case|lot) of {_AMOUNT}\b)|(?:\bspf {_AMOUNT}\b)|"
    rf"(?:{_AMOUNT}[\s-]*(?:(?:fl|fluid)\b[\s.]*)?(?:{_UNIT})\b)"
)


def measures(text: str) -> list[list[str]]:
    """The measures that `text` names, as words in their normal form, in order, without those of one word."""
    found = (split(measure) for measure in _MEASURE.findall(text.lower()))
    return [words for words in found if len(words) > 1]
