"""Writes report.html: one self-contained page without scripts, light and dark."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

from components.evaluation import repeats, summary, voices
from components.evaluation.contenders import CONTENDERS, labels
from components.evaluation.examples import Example, Item
from components.evaluation.metrics import LEAST_USERS

_STYLE = """
:root { color-scheme: light dark; --line: #d5d9de; --soft: #f4f6f8; --good: #137333; --bad: #b3261e; }
@media (prefers-color-scheme: dark) {
  :root { --line: #3c4248; --soft: #22262a; --good: #7ddc98; --bad: #ff9d94; }
  body { background: #16191c; color: #e6e8ea; }
  img { filter: invert(0.92) hue-rotate(180deg); }
}
body { font: 15px/1.5 system-ui, sans-serif; max-width: 62rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.6rem; margin-bottom: 0; } h2 { font-size: 1.15rem; margin-top: 2.2rem; }
table { border-collapse: collapse; margin: .6rem 0; font-variant-numeric: tabular-nums; }
th, td { text-align: left; padding: .22rem .8rem .22rem 0; border-bottom: 1px solid var(--line); vertical-align: top; }
.scroll { overflow-x: auto; } .soft { opacity: .75; font-size: .9em; }
.verdict { background: var(--soft); border-left: 4px solid var(--line); padding: .6rem 1rem; margin: 1rem 0; }
.verdict p { margin: .2rem 0; } .hit { color: var(--good); font-weight: 600; }
.bad { color: var(--bad); font-weight: 600; }
.user { border: 1px solid var(--line); border-radius: .5rem; padding: .2rem 1rem .7rem; margin: .8rem 0; }
.user li { margin: .1rem 0; } .words { font-family: ui-monospace, monospace; font-size: .92em; }
img { max-width: 100%; height: auto; }
"""

_READING = f"""
<p>Every user's list is ranked against the whole catalogue; there is one target per user, so recall@k is the hit rate.
<b>Masked</b>: items that the user has already are left out of the lists; <b>unmasked</b>: they may come back.
<b>Strict</b>: model and baselines learned from the training histories alone, and a validation item is only part of the
test prompt; <b>refit</b>: both were built once more with the validation items. Figures of different protocols must not
be compared. Intervals: 95 %, percentile bootstrap over users. A model is called better or worse than a baseline only
where the interval of the paired difference leaves out zero, and never with fewer than {LEAST_USERS} test users: an
interval of a few is too narrow. <b>Ties</b>: where times are days, the order within a day is that of the file, which
often is that of the product codes, or drawn, or unknown; a model that learns the direction of codes is paid for it only
in the first case. Baselines are built anew for the other order; the model is not trained again, and is judged where no
target of the other order was in its training. The item graph is a count of which items follow each other in histories;
it takes seconds and no training, and published deep models often do not beat it.</p>
"""


def page(
    metrics: Mapping[str, Any], examples: Sequence[Example], pictures: Mapping[str, bytes], *, dataset: str
) -> str:
    """The whole page. pictures: caption -> PNG bytes."""
    protocol = metrics["protocol"]
    asked = (
        f"all {protocol['test_users']:,} test users"
        if protocol["test_users"] == protocol["all_test_users"]
        else f"{protocol['test_users']:,} of {protocol['all_test_users']:,} test users, chosen by a hash"
    )
    body = [
        f"<h1>Idiom on {escape(dataset)}</h1>",
        f"<p class=soft>{asked}, {protocol['catalogue_items']:,} items; "
        f"protocol <b>{escape(protocol['training'])}</b>, headline figures <b>{escape(protocol['headline'])}</b>, "
        f"ties <b>{escape(protocol['ties'])}</b>; "
        f"{protocol['beams']} beams, {escape(protocol['scores'])} scores</p>",
        "<div class=verdict>" + "".join(_verdict(line) for line in summary.sentences(metrics)) + "</div>",
        "<h2>Figures</h2>",
        _table(("", *labels().values()), _cells(summary.rows(metrics))),
        _table(("", *labels().values()), _cells(summary.breadth_rows(metrics))),
        *_repeats(metrics),
        *_voices(metrics),
        f"<h2>Order of ties</h2><p>{escape(summary.ties(metrics))}</p>",
        *([_table(("", *labels().values()), _cells(ties))] if (ties := summary.ties_rows(metrics)) else []),
        *(_picture(caption, content) for caption, content in pictures.items()),
        "<h2>Where it is good</h2>",
        *(_slices(slicing, groups, protocol["headline_k"]) for slicing, groups in metrics["slices"].items()),
        f"<h2>{len(examples)} example users</h2>",
        *(_example(example) for example in examples),
        "<h2>How to read this</h2>",
        _READING,
        "<h2>Data and model</h2>",
        _table(("", ""), sorted(_flat({**metrics["facts"], "protocol": protocol}))),
        "<p class=soft>Beside this page: metrics.json, per_user.parquet (one row a user, with all ranks), plots/. "
        "The ID table, the losses and the versions of the data are in MLflow (<code>make ui</code>); the checks of the "
        "data are in validate/data_docs.</p>",
    ]
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>Idiom on {escape(dataset)}</title><style>{_STYLE}</style></head><body>\n"
        + "\n".join(body)
        + "\n</body></html>\n"
    )


def _repeats(metrics: Mapping[str, Any]) -> list[str]:
    """What is bought again beside what is new, where people buy again."""
    rows = repeats.rows(metrics)
    return ["<h2>Bought again, and new</h2>", _table(("", *labels().values()), _cells(rows))] if rows else []


def _voices(metrics: Mapping[str, Any]) -> list[str]:
    """The voices and the ranker that hears them, where there are any."""
    if "voices" not in metrics:
        return []
    table = _table(voices.head(metrics), voices.rows(metrics))
    return [f"<h2>Voices, and the ranker that hears them ({voices.HYBRID})</h2>", table]


def _verdict(line: str) -> str:
    return f'<p class="bad">{escape(line)}</p>' if "LOSES" in line else f"<p>{escape(line)}</p>"


def _cells(rows: Iterable[tuple[str, Mapping[str, str]]]) -> list[tuple[str, ...]]:
    return [(name, *(cells[who] for who in CONTENDERS)) for name, cells in rows]


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = ["<tr>" + "".join(f"<th>{escape(cell)}</th>" for cell in head) + "</tr>"] if any(head) else []
    lines += ["<tr>" + "".join(f"<td>{escape(str(cell))}</td>" for cell in row) + "</tr>" for row in rows]
    return f"<div class=scroll><table>{''.join(lines)}</table></div>"


def _picture(caption: str, content: bytes) -> str:
    return f'<img alt="{escape(caption)}" src="data:image/png;base64,{base64.b64encode(content).decode()}">'


def _slices(slicing: str, groups: Mapping[str, Any], k: int) -> str:
    rows = [
        (name, f"{group['users']:,}", *(f"{group[who][f'recall_at_{k}']:.4f}" for who in CONTENDERS))
        for name, group in groups.items()
    ]
    return _table((slicing.capitalize(), "users", *(f"{name}, recall@{k}" for name in labels().values())), rows)


def _example(example: Example, history: int = 8) -> str:
    earlier = len(example.history) - history
    had = [f"<li class=soft>{earlier} earlier items</li>"] if earlier > 0 else []
    had += [f"<li>{_item(item)}</li>" for item in example.history[-history:]]
    said = [
        f"<li>{_item(item)}{' <span class=hit>hit</span>' if item.hit else ''}</li>" for item in example.recommended
    ]
    where = f"<span class=hit>rank {example.rank}</span>" if example.rank else "<span class=bad>not in the list</span>"
    return (
        f"<div class=user><p><b>User {escape(example.user_id)}</b> <span class=soft>({escape(example.why)})</span></p>"
        f"History<ul>{''.join(had)}</ul>Recommended<ol>{''.join(said)}</ol>"
        f"Took next: {_item(example.target)}: {where}</div>"
    )


def _item(item: Item) -> str:
    title = item.title if len(item.title) <= 100 else item.title[:99] + "…"
    words = f"<span class=words>{escape(item.words)}</span> " if item.words else ""
    return f"{words}<span class=soft>{escape(title)}</span>"


def _flat(value: Mapping[str, Any], prefix: str = "") -> Iterable[tuple[str, str]]:
    for key, each in value.items():
        name = f"{prefix}{key}".replace("_", " ")
        if isinstance(each, Mapping):
            yield from _flat(each, f"{name}: ")
        else:
            yield name, str(each)
