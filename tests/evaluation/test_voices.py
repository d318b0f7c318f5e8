"""What is said of the ranker and the voices beside the model: who answers, and what the others have alone."""

from __future__ import annotations

import numpy as np
import pytest

from components.evaluation.voices import HYBRID, beside, rows, sentences


@pytest.mark.parametrize(
    ("mode", "said", "not_said"),
    [
        ("rank", "which alone has Recall@10 .2500, NDCG@10 .2500", ".7500"),
        ("generate", "which does without it, has Recall@10 .7500, NDCG@10 .7500", ".2500"),
        ("hybrid", "the ranker alone has Recall@10 .7500, NDCG@10 .7500, the language model Recall@10 .2500", None),
    ],
)
def test_the_reader_is_told_who_answers(mode: str, said: str, not_said: str | None) -> None:
    """Prevents a report that calls a ranker without any language model "the model", and says no more."""
    ranker, generate, graph = (np.array([1] * hits + [0] * (200 - hits)) for hits in (150, 50, 100))
    model = {"rank": ranker, "generate": generate, "hybrid": ranker}[mode]
    found = {HYBRID: ranker, "graph": graph} | ({} if mode == "generate" else {"generate": generate})
    voices = beside({"masked": found, "unmasked": found}, model, "masked", 10, 17) | {"mode": mode}
    figures = {"recall_at_10": float((model > 0).mean()), "ndcg_at_10": float((model > 0).mean())}
    metrics = {"protocol": {"headline": "masked", "headline_k": 10}, "masked": {"model": figures}, "voices": voices}
    (sentence,) = sentences(metrics)
    assert said in sentence and f"(mode {mode})" in sentence
    assert not_said is None or not_said not in sentence
    assert sentences({**metrics} | {"voices": voices}) and not sentences({"protocol": metrics["protocol"]})
    names = [name for name, _ in rows(metrics)]
    assert names.index("graph") > names.index("ranker")
    gain = dict(rows(metrics))["graph"][-1]
    assert gain.text == "+.2500" and gain.interval.startswith("+.")
