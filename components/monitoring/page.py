"""The page of drift: the answer, each measure with its threshold, and what it was in every window before.

html = page(history, dataset="demo")
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from components.monitoring.drift import MEANINGS
from components.monitoring.history import Record
from components.pages.render import render, whole

_SHOWN = 104
"""Windows of a picture: two years of weeks."""
_WIDTH, _HEIGHT = 640, 72


def page(history: Sequence[Record], *, dataset: str) -> str:
    """The newest window first. Raises `ValueError` where there is none."""
    if not history:
        raise ValueError("a page of drift needs a window")
    now = history[-1]
    drifted = now.drifted
    return render(
        "drift.html.jinja",
        title=f"Drift, {dataset}",
        eyebrow=f"{dataset}: {now.start} to {now.end}, against what version {now.version} was trained on",
        answer=_answer(now),
        tiles=_tiles(history),
        measures=[_measure(name, history) for name in sorted(MEANINGS, key=lambda name: name not in drifted)],
        windows=[_window(each) for each in reversed(history[-_SHOWN:])],
    )


def _answer(now: Record) -> dict[str, str]:
    figures = f"{whole(now.events)} interactions; a measure drifts where its effect and its test both say so."
    if not any(each["value"] is not None for each in now.measures.values()):
        return {"sentence": "There is too little to say anything.", "figures": figures, "kind": "level"}
    if not now.drifted:
        return {"sentence": "Nothing has drifted.", "figures": figures, "kind": "better"}
    names = ", ".join(_plain(name).lower() for name in now.drifted)
    return {"sentence": f"Drift: {names}.", "figures": figures, "kind": "worse"}


def _tiles(history: Sequence[Record]) -> list[dict[str, Any]]:
    now = history[-1]
    measured = [each for each in now.measures.values() if each["value"] is not None]
    alarms = [each for each in history if each.drifted]
    lines = [f"{_plain(name)}: {now.measures[name]['said']}." for name in now.drifted]
    since = [f"The last one before: {alarms[-2].end}."] if len(alarms) > 1 else []
    sent = "Sent to Prefect, which retrains." if now.emitted else "No event was sent."
    return [
        {"asks": "What has drifted?", "says": f"{len(now.drifted)} of {len(measured)}", "lines": lines},
        {"asks": "How often so far?", "says": f"{len(alarms)} of {len(history)} windows", "lines": since},
        {"asks": "What was done?", "says": "An event" if now.emitted else "Nothing", "lines": [sent]},
    ]


def _measure(name: str, history: Sequence[Record]) -> dict[str, Any]:
    now = history[-1].measures[name]
    kept = [(each.end, each.measures[name]) for each in history[-_SHOWN:] if each.measures[name]["value"] is not None]
    return {
        "id": name,
        "name": _plain(name),
        "kind": "worse" if now["drifted"] else "level" if now["value"] is None else "better",
        "says": "drifted" if now["drifted"] else "not measured" if now["value"] is None else "as before",
        "found": now["said"],
        "meaning": now["meaning"],
        "rule": "" if now["value"] is None else _against(now),
        "plot": _plot([each["value"] for _, each in kept], [each["drifted"] for _, each in kept], now["threshold"]),
        "alt": f"{_plain(name)} in {len(kept)} windows, {sum(each['drifted'] for _, each in kept)} of them drifted",
    }


def _against(now: dict[str, Any]) -> str:
    """An effect beside its threshold, and the test: `0.310, at least 0.2; p 4e-15`."""
    reaches = now["value"] >= now["threshold"]
    chance = ", which chance may give" if reaches and not now["drifted"] else ""
    test = "" if now["p"] is None else f"; p {now['p']:.2g}{chance}"
    return f"{now['value']:.3f}, {'at least' if reaches else 'below'} {now['threshold']:g}{test}"


def _plot(values: Sequence[float], drifted: Sequence[bool], threshold: float) -> dict[str, Any]:
    """Points of a line in a box of `_WIDTH` by `_HEIGHT`, and where the threshold lies."""
    top = max([threshold, *values, 1e-9]) * 1.1
    step = _WIDTH / max(len(values) - 1, 1)

    def high(value: float) -> float:
        return round(_HEIGHT - _HEIGHT * value / top, 1)

    points = [(round(number * step, 1), high(value)) for number, value in enumerate(values)]
    return {
        "width": _WIDTH,
        "height": _HEIGHT,
        "line": " ".join(f"{x},{y}" for x, y in points),
        "threshold": high(threshold),
        "points": [{"x": x, "y": y, "drifted": bad} for (x, y), bad in zip(points, drifted, strict=True)],
    }


def _window(record: Record) -> dict[str, str]:
    names = ", ".join(_plain(name).lower() for name in record.drifted) or "nothing"
    return {"end": record.end, "version": record.version, "events": whole(record.events), "drifted": names}


def _plain(name: str) -> str:
    words = name.replace("_", " ")
    return words[:1].upper() + words[1:]
