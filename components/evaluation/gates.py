"""Decides whether a version may become the champion: pure rules over evidence, every reason with how much was to spare.

    decision = decide(params.promote, Evidence(metric="ndcg_at_10", users=20_000, value=0.078, champion=paired(...)))
    decision.accepted, [reason.text for reason in decision.reasons]

Nothing here loads, scores or moves anything: components/registry/promotion.py gathers the evidence and acts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from components.evaluation.comparison.paired import Paired, holm
from components.evaluation.contenders import CONTENDERS, metric_label
from components.evaluation.metrics import LEAST_USERS
from components.settings.operating import Promote


@dataclass(frozen=True)
class Evidence:
    """What is known of a version and of the champion, from the same fresh users in one sitting."""

    metric: str
    """Such as `ndcg_at_10`."""
    users: int
    value: float
    """The version's own."""
    taught: int | None = None
    """Users left out, as the champion may have been taught their target; None: nobody knows what it was taught."""
    champion: Paired | None = None
    """The version minus the champion; None where there is no champion yet."""
    slices: Mapping[str, Paired] = field(default_factory=dict)
    """The same by slice (`target: cold (not in training)`); rules may protect some of them."""
    baselines: Mapping[str, Paired] = field(default_factory=dict)
    """The version minus each baseline, by its name in `contenders`."""
    validation: float | None = None
    """The metric on validation, of what answers: that of the ranker or the mixture when the modes were compared, the
    language model's best one while it was trained; None where that is not known."""
    latency_ms: float | None = None
    champion_latency_ms: float | None = None
    bundle_mb: float | None = None
    memory_mb: float | None = None
    broken_rules: Sequence[str] = ()
    """Rules of the ID table's contract that it breaks."""
    churn: float | None = None
    """Share of the items of both tables whose ID changed; None without a champion."""
    own_words: float | None = None
    """Share of the words of the IDs that stand in their item's text."""
    own_words_by_chance: float | None = None
    """The same of a table in which every ID is another item's."""
    other_tables: Sequence[str] | None = ()
    """Tables that it learned from and that are others than those it is judged by; None: it does not say."""
    in_history: int = 0
    """Users whose target stands in the history that they are asked with, where people take an item once."""
    extends: bool = False
    """Whether it is the champion's own model with more items: then it is not to be better, but hardly worse."""
    served_otherwise: str | None = None
    """What a clean process that loaded the registered model answered differently; empty: nothing, None: not tried."""


@dataclass(frozen=True)
class Reason:
    """One rule and what it found."""

    rule: str
    passed: bool
    text: str
    to_spare: float | None = None
    """How far the figure is inside its limit, in its own unit; negative: how much is missing."""


@dataclass(frozen=True)
class Decision:
    """The decision with the reason of every rule, refusals first."""

    accepted: bool
    reasons: tuple[Reason, ...]

    @property
    def refusals(self) -> tuple[Reason, ...]:
        """Why not; empty where it was accepted."""
        return tuple(reason for reason in self.reasons if not reason.passed)

    def plain(self) -> dict[str, Any]:
        """For a JSON artifact."""
        rows = [
            {"rule": each.rule, "passed": each.passed, "text": each.text}
            | ({} if each.to_spare is None else {"to_spare": round(each.to_spare, 6)})
            for each in self.reasons
        ]
        return {"accepted": self.accepted, "reasons": rows}


def decide(rules: Promote, found: Evidence) -> Decision:
    """Apply every rule, also after one has refused: a reader wants all reasons at once."""
    reasons = [
        _users(rules, found),
        _quality(rules, found),
        _fresh(found),
        _champion(rules, found),
        *_slices(rules, found),
        *_baselines(rules, found),
        *_untaught(rules, found),
        _too_good(rules, found),
        *_costs(rules, found),
        _contract(found),
        _limit("churn", "IDs changed", found.churn, most=_most_churn(rules, found), digits="{:.1%}"),
        _own_words(rules, found),
        _served(found),
    ]
    given = [reason for reason in reasons if reason is not None]
    return Decision(all(each.passed for each in given), tuple(sorted(given, key=lambda each: each.passed)))


def _most_churn(rules: Promote, found: Evidence) -> float | None:
    """None without a champion; a version that only takes in items leaves every ID as it is."""
    if found.champion is None:
        return None
    return 0.0 if found.extends else rules.max_churn


def _users(rules: Promote, found: Evidence) -> Reason:
    spare = found.users - rules.min_users
    if found.champion is None:  # nobody has to be told apart, and a first try of few users has to be served
        return Reason("users", True, f"{found.users:,} users to judge by")
    return Reason("users", spare >= 0, f"{found.users:,} users to judge by, at least {rules.min_users:,}", spare)


def _quality(rules: Promote, found: Evidence) -> Reason:
    spare = found.value - rules.min_quality
    text = f"{metric_label(found.metric)} {found.value:.4f}, at least {rules.min_quality:.4f}"
    return Reason("quality", spare >= 0, text, spare)


def _fresh(found: Evidence) -> Reason | None:
    if found.champion is None:
        return None
    if found.taught is None:
        text = "not known what the champion was taught: it was registered before its results were kept"
    else:
        text = f"{found.taught:,} users left out, whose target the champion may have been taught"
    return Reason("fresh", True, text)


def _champion(rules: Promote, found: Evidence) -> Reason:
    if found.champion is None:
        return Reason("champion", True, "there is no champion yet")
    each = found.champion
    margin = rules.added_margin if found.extends else rules.margin
    needed, low = 0.0 - margin * each.a, each.lower(rules.confidence)
    text = (
        f"{metric_label(found.metric)} {each.b:.4f} against the champion's {each.a:.4f}: difference "
        f"{each.difference:+.4f}, lower bound {low:+.4f} ({rules.confidence:.0%} interval), above {needed:+.4f} needed"
    )
    passed = low > needed or (found.extends and low >= needed)  # no user's list changed: the difference is 0
    return Reason("champion", passed, text, low - needed)


def _slices(rules: Promote, found: Evidence) -> list[Reason]:
    """Each protected slice: "worse by the margin or more" has to be rejected, in Holm's order; one of a handful of
    users, of whom two lucky ones could decide, is not passed."""
    if found.champion is None:
        return []
    known = {name: found.slices[name] for name in rules.slices if name in found.slices}
    if not found.extends:  # which changed no user's list
        known = {name: each for name, each in known.items() if each.users >= LEAST_USERS}
    bounds = {name: 0.0 - rules.slices[name] * each.a for name, each in known.items()}
    corrected = dict(zip(known, holm([known[name].p_not_above(bounds[name]) for name in known]), strict=True))
    alpha = (1 - rules.confidence) / 2
    reasons = []
    for name in rules.slices:
        if name not in known:
            few = (
                f"{found.slices[name].users} users are too few to tell" if name in found.slices else "no user is in it"
            )
            reasons.append(Reason(f"slice {name}", False, f"protected slice {name!r}: {few}"))
            continue
        each, p = known[name], corrected[name]
        text = (
            f"{name}: {each.b:.4f} against {each.a:.4f} ({each.users:,} users), difference {each.difference:+.4f}; "
            f"above {bounds[name]:+.4f} with p {p:.4f}, at most {alpha:.4f} needed"
        )
        reasons.append(Reason(f"slice {name}", p <= alpha, text, alpha - p))
    return reasons


def _baselines(rules: Promote, found: Evidence) -> list[Reason]:
    if not rules.beat_baselines or not found.baselines or found.extends:
        return []
    # The strongest is the one whose own value is highest; a version clearly behind any is behind it too.
    name, each = max(found.baselines.items(), key=lambda pair: pair[1].a)
    phrase, own = CONTENDERS[name].phrase, f"{each.b:.4f} against {each.a:.4f}"
    if each.users < LEAST_USERS:
        text = f"{each.users} users are too few to tell whether it is behind {phrase}"
        return [Reason("baseline", True, text)]
    if each.high < 0:
        text = f"a model without training would do better: {phrase}: {each.a:.4f}, this version {each.b:.4f}"
    elif each.difference < 0:
        text = f"not clearly behind the best baseline, {phrase}: {own}"
    else:
        text = f"not behind the best baseline, {phrase}: {own}"
    return [Reason("baseline", each.high >= 0, text, each.high)]


def _untaught(rules: Promote, found: Evidence) -> list[Reason]:
    """Whether it can have been taught the targets: by tables that hold them, or by a split that leaves them in."""
    reasons = []
    if found.in_history:
        text = f"the targets of {found.in_history:,} users stand in their own histories: it was taught them"
        reasons.append(Reason("taught", False, text, -found.in_history))
    if not rules.known_tables:
        return reasons
    if found.other_tables is None:
        text = "it does not say from which tables it learned, so it may have been taught the targets: train it again"
    elif found.other_tables:
        which = "; ".join(found.other_tables)
        text = f"it learned from other tables than it is judged by, which may hold the targets: {which}"
    else:
        text = "it learned from the tables that it is judged by, without their targets"
    return [*reasons, Reason("tables", found.other_tables is not None and not found.other_tables, text)]


def _too_good(rules: Promote, found: Evidence) -> Reason | None:
    if rules.max_over_validation is None or not found.validation or found.extends:
        return None
    times, most = found.value / found.validation, rules.max_over_validation
    text = f"{times:.2f} times its {found.validation:.4f} on validation, at most {most:.2f}"
    if times > most:
        text += ": was it taught the targets?"
    return Reason("too good", times <= most, text, most - times)


def _costs(rules: Promote, found: Evidence) -> list[Reason | None]:
    ratio = (
        found.latency_ms / found.champion_latency_ms
        if found.latency_ms is not None and found.champion_latency_ms
        else None
    )
    return [
        _limit("latency", "ms a user", found.latency_ms, rules.max_latency_ms),
        _limit("latency to champion", "times the champion's latency", ratio, rules.max_latency_ratio)
        if found.champion
        else None,
        _limit("size", "MB of bundle", found.bundle_mb, rules.max_bundle_mb),
        _limit("memory", "MB of memory", found.memory_mb, rules.max_memory_mb),
    ]


def _contract(found: Evidence) -> Reason:
    broken = ", ".join(found.broken_rules)
    return Reason(
        "ID table",
        not broken,
        f"the ID table breaks its contract: {broken}" if broken else "the ID table keeps its contract",
    )


def _served(found: Evidence) -> Reason | None:
    if found.served_otherwise is None:
        return None
    same = not found.served_otherwise
    return Reason("served", same, "a clean process serves the same lists" if same else found.served_otherwise)


def _limit(rule: str, what: str, value: float | None, most: float | None, digits: str = "{:,.1f}") -> Reason | None:
    """A figure that must not be above its limit; without a limit there is no rule, without the figure it is refused."""
    if most is None:
        return None
    if value is None:
        return Reason(rule, False, f"{what}: not measured, at most {digits.format(most)} allowed")
    text = f"{digits.format(value)} {what}, at most {digits.format(most)}"
    return Reason(rule, value <= most, text, most - value)


def _own_words(rules: Promote, found: Evidence) -> Reason | None:
    value, least = found.own_words, rules.min_own_words
    if not least:
        return None
    if value is None:
        text = f"words of IDs from their item's text: not measured, at least {least:.1%} needed; register it again"
        return Reason("own words", False, text)
    chance = "" if found.own_words_by_chance is None else f"; by chance {found.own_words_by_chance:.1%}"
    text = f"{value:.1%} of the words of the IDs stand in their item's text, at least {least:.1%}{chance}"
    if value < least:
        text = f"the IDs are not those of their items: {text}"
    return Reason("own words", value >= least, text, value - least)
