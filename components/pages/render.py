"""Renders a page from its template as one self-contained HTML file: the stylesheet and scripts are in it.

    html = render("comparison.html.jinja", scripts=["comparison.js"], title="...", **values)

A page asks nothing of any server: its content security policy forbids it. Values are escaped by Jinja.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

_HERE = Path(__file__).parent


def render(template: str, *, scripts: Sequence[str] = (), **values: Any) -> str:
    """The page. `scripts` are files of this folder; `title` has to be among the values."""
    style = Markup(stylesheet("style.css"))
    code = [Markup((_HERE / name).read_text(encoding="utf-8")) for name in scripts]
    return _environment().get_template(template).render(style=style, scripts=code, **values)


def markdown(template: str, **values: Any) -> str:
    """A Markdown file; values that go through the filter `md` stay text, also in a cell of a table."""
    return _environment(html=False).get_template(template).render(**values)


def stylesheet(name: str) -> str:
    """A stylesheet of this folder."""
    return (_HERE / name).read_text(encoding="utf-8")


@cache
def _environment(*, html: bool = True) -> Environment:
    made = Environment(
        loader=FileSystemLoader(_HERE),
        autoescape=html,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    made.filters |= {"ticked": ticked, "number": number, "signed": signed, "whole": whole, "p": p_value, "md": _plain}
    return made


def ticked(text: str) -> Markup:
    """`clean` between backticks as code, everything else as text."""
    return Markup(re.sub(r"`([^`]+)`", r"<code>\1</code>", str(escape(text))))


def _plain(text: object) -> str:
    """Text that Markdown takes for nothing else: one line, no table, no HTML."""
    return re.sub(r"([\\|<>\[\]*`])", r"\\\1", " ".join(str(text).split()))


def number(value: float, digits: int = 4) -> str:
    """.0784: figures of one kind have the same digits, and no zero that says nothing."""
    text = f"{abs(value):.{digits}f}"
    return ("−" if value < 0 and float(text) else "") + (text[1:] if text.startswith("0.") else text)


def signed(value: float, digits: int = 4) -> str:
    """+.0059, −.0059, .0000."""
    text = number(value, digits)
    return f"+{text}" if value > 0 and float(text) else text


def amount(value: float) -> str:
    """1,234 and 0.56: seconds, MiB, Wh; two digits below ten."""
    return f"{value:,.0f}" if abs(value) >= 9.5 else f"{value:.2g}"


def whole(value: int) -> str:
    """22,363."""
    return f"{value:,}"


def p_value(value: float) -> str:
    """.012, or below .001, where more digits would claim more than the draws can tell."""
    return "below .001" if value < 0.001 else number(value, 3)
