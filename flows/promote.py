"""`idiom promote [VERSION]` and `idiom rollback [VERSION]`: who is champion, by rule or by hand, always on record.

A promotion asks the champion anew on the users of the new version's evaluation, without those whose target it may
have been taught, and applies the rules of `promote:` in params.yaml (components/evaluation/gates.py). The decision with
every reason is a file, a page, tags and the description of the version.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from itertools import zip_longest
from pathlib import Path
from typing import Any

from components.errors import BadInput, first_line
from components.evaluation.comparison.alone import against_baselines, alone
from components.evaluation.comparison.compare import Comparison, compare
from components.evaluation.comparison.findings import findings
from components.evaluation.comparison.page import page
from components.evaluation.comparison.rescored import rescored, without_taught
from components.evaluation.comparison.sides import NotKept, Side, read
from components.evaluation.gates import Decision, Evidence, decide
from components.recommender.pair import drops_repeats
from components.registry import cost, promotion
from components.registry.bundle import decoding_of
from components.registry.champion import CHALLENGER, CHAMPION, DECISION, PROVISIONAL, version_bundle
from components.registry.comparable import comparable, find_version, log_page
from components.registry.evidence import Served, of_bundle, serve_once
from components.registry.extended import EXTENDS
from components.registry.requests import MAX_K
from components.registry.store import answering, connect
from components.sampling import hash_sample
from components.settings.params import Params
from components.storage.artifacts import publish_json, publishing
from components.storage.layout import Layout

_SERVED = 20
"""Users whose lists a clean process has to give again."""
_CHECKED = ("tables", "fresh", "served")
"""Rules that say whether the figures can be trusted; the page tells them there."""
_REASONS = "idiom.promotion_reasons"


@dataclass(frozen=True)
class Promotion:
    """What came of it."""

    version: str
    champion: str | None
    """The version that was champion before."""
    decision: Decision
    page: Path | None
    """The comparison of both; None for the first version."""
    shown: str
    """Where MLflow shows that page, after the address of its server; empty for the first version."""
    verb: str
    """What became of it: promoted, refused, ..."""


def undecided(workspace: Path, params: Params) -> str | None:
    """The challenger on which nobody has decided yet, else a champion that `register` took for want of another and that
    no clean process has served yet; None where there is no such version."""
    with answering(workspace):
        client, name = connect(workspace), params.register.model_name
        found = promotion.aliases(client, name)
        for alias, expected in ((CHALLENGER, None), (CHAMPION, PROVISIONAL)):
            number = found.get(alias)
            if number and client.get_model_version(name, number).tags.get(DECISION) == expected:
                return number
        return None


def promote(
    workspace: Path, params: Params, version: str | None = None, *, propose: bool = False, by: str | None = None
) -> Promotion:
    """Decide on `version` (number or alias; None: the challenger) and move the aliases as decided.

    propose: what is accepted waits for a person, and stays the challenger. by: who approved it. Raises `BadInput`
    where there is no such version, another promotion is at work, or the champion changed meanwhile; the old champion
    stays then.
    """
    workspace, name = workspace.resolve(), params.register.model_name
    with answering(workspace):
        client = connect(workspace)
        promotion.aliases(client, name)  # before a lock is made for a model that is not there
        with promotion.one_at_a_time(client, name, who=promotion.person()) as refuse_if_lost:
            now = promotion.aliases(client, name)
            asked = None if version is None else str(find_version(client, name, version, workspace).version)
            version, old = asked or now.get(CHALLENGER), now.get(CHAMPION)
            provisional = version is not None and version == old and promotion.provisional(client, name, version)
            if provisional:
                old = None  # it is judged as if nobody were champion yet
            if version is None or version == old:
                what = f"version {version} is the champion already" if version else "there is no challenger"
                raise BadInput(what, where=f"model {name!r}", mend="name a version: idiom promote VERSION")
            new = _side(workspace, params, version)
            found, evidence = _evidence(workspace, params, new, version, old)
            decision = decide(params.promote, evidence)
            made = _publish(workspace, params, found, decision, version, old)
            shown = ""
            if made is not None:
                run_id = str(client.get_model_version(name, version).run_id)
                # One training may have several versions, ranked or evaluated with other settings.
                shown = log_page(workspace, run_id, made, f"promotion-{old}-{version}.html")
            tags = _tags(decision, waits=propose and not provisional)
            reasons = tags[_REASONS].splitlines()
            refuse_if_lost()
            if decision.accepted and not propose and not provisional:
                why = next(each.text for each in decision.reasons if each.rule == "champion")
                promotion.promote(client, name, version, expected=old, tags=tags, why=why, by=by, reasons=reasons)
                _log_gain(client, name, version, evidence)
            else:
                promotion.describe(client, name, version, tags[DECISION], reasons)
                if provisional:
                    promotion.confirm(client, name, version, accepted=decision.accepted, tags=tags)
                else:
                    promotion.refuse(client, name, version, tags=tags)
    if not decision.accepted:
        verb = "is refused"
    elif provisional:
        verb = "stays champion"
    else:
        verb = "is accepted, and waits for approval" if propose else "is promoted"
    return Promotion(version, old, decision, made, shown, verb)


def _log_gain(client: Any, name: str, version: str, evidence: Evidence) -> None:
    """Log what a point of the metric cost. The version is champion by now: what fails here is said, and changes that no
    more."""
    if evidence.champion is None:
        return
    try:
        run_id = str(client.get_model_version(name, version).run_id)
        cost.log_promoted(client, run_id, evidence.champion.difference)
    except Exception as error:
        print(f"WARNING: what the gain cost was not logged: {first_line(error)}", file=sys.stderr)


def roll_back(workspace: Path, params: Params, version: str | None = None, *, why: str = "") -> tuple[str | None, str]:
    """Make `version` (number or alias; None: the previous champion) champion again, once it was loaded and asked;
    return (from, to), from None where there is no champion. Raises `BadInput` where there is no such version."""
    from components.ranking.load import load

    workspace, name = workspace.resolve(), params.register.model_name
    with answering(workspace):
        client = connect(workspace)
        promotion.aliases(client, name)
        with promotion.one_at_a_time(client, name, who=promotion.person()) as refuse_if_lost:
            target = version or promotion.aliases(client, name).get(promotion.PREVIOUS)
            if target is not None:
                target = str(find_version(client, name, target, workspace).version)
                bundle = version_bundle(workspace, params, target)
                recommender = load(bundle)
                history = [recommender.catalogue.table.item_ids[0]]
                if not recommender.recommend([history], 1, decoding_of(bundle))[0]:
                    raise BadInput("it recommends nothing", where=f"version {target}", mend="name another version")
            refuse_if_lost()
            return promotion.roll_back(client, name, target, why=why or "rolled back by hand")


def _side(workspace: Path, params: Params, version: str) -> Side:
    source = comparable(workspace, params, version)
    return read(source.folder, name=source.label, facts=source.facts)


def _evidence(
    workspace: Path, params: Params, new: Side, version: str, old: str | None
) -> tuple[Comparison | None, Evidence]:
    """The comparison with the champion, if there is one, and all that the rules ask for."""
    k = int(new.protocol["headline_k"])
    metric = f"{params.promote.metric}_at_{k}"
    bundle = version_bundle(workspace, params, version)
    champions_bundle = None if old is None else version_bundle(workspace, params, old)
    served, otherwise = _served(workspace, params, new, version)
    evidence = alone(
        new,
        metric=params.promote.metric,
        seed=params.seed,
        drop_repeats=drops_repeats(bundle),
        latency_ms=served.latency_ms,
        memory_mb=served.memory_mb,
        served_otherwise=otherwise,
        extends=old is not None and new.facts.get(EXTENDS) == old,
        **of_bundle(bundle, champions_bundle, metric=metric),
    )
    if old is None or champions_bundle is None:
        return None, evidence
    found, champion, taught = _against_champion(workspace, params, new, old, champions_bundle)
    (pair,) = found.pairs
    measured = params.promote.max_latency_ratio is not None
    return found, replace(
        evidence,
        users=len(found.users),
        value=pair.overall[metric].b,
        taught=taught,
        champion=pair.overall[metric],
        slices={f"{each.slicing}: {each.name}": each.found for each in pair.slices},
        baselines=against_baselines(new, found.users, metric, k, params.seed),
        champion_latency_ms=_served(workspace, params, champion, old)[0].latency_ms if measured else None,
    )


def _against_champion(
    workspace: Path, params: Params, new: Side, old: str, bundle: Path
) -> tuple[Comparison, Side, int | None]:
    """(the comparison on fresh users, the champion's side, how many users are left out as it may know their target)."""
    from components.ranking.load import load

    recommender = load(bundle)
    known = recommender.catalogue.row_of
    if not any(item in known for prompt in new.users["prompt"].to_list() for item in prompt):
        raise BadInput(
            f"the champion, version {old}, knows no item of these users: it is of another shop",
            where=f"model {params.register.model_name!r}",
            mend="give each shop a model of its own: register.model_name in params.yaml",
        )
    champion = rescored(recommender, decoding_of(bundle), like=new, name=f"version {old}")
    own = _own_evaluation(workspace, params, old)
    if own is not None:
        champion = replace(champion, facts=own.facts, voices=own.voices)
    sides, taught = without_taught([champion, new], own)
    if taught == len(new.users):
        raise BadInput(
            f"the champion, version {old}, may have been taught the targets of all {taught:,} users",
            where=new.name,
            mend="train and evaluate it on newer interactions than the champion's, which both can be judged by",
        )
    found = compare(sides, seed=params.seed, metric=params.promote.metric)
    left_out = {**found.left_out, "the champion may have been taught their target": taught}
    return replace(found, left_out=left_out), champion, None if own is None else taught


def _own_evaluation(workspace: Path, params: Params, version: str) -> Side | None:
    """What the version was evaluated on itself; None where it was registered before that was kept."""
    try:
        return _side(workspace, params, version)
    except NotKept:
        return None


def _served(workspace: Path, params: Params, side: Side, version: str) -> tuple[Served, str]:
    """(answers of a clean process to some users, what is different from the evaluation's lists)."""
    users = side.users["user_id"].to_list()
    chosen = side.users[sorted(hash_sample(users, _SERVED, f"served:{params.seed}:"))]
    prompts, times = chosen["prompt"].to_list(), chosen["times"].to_list()
    k = min(side.depth, MAX_K)  # an evaluation may look deeper than a server answers
    served = serve_once(workspace, params.register.model_name, version, prompts, times, k=k)
    lists = [row[:k] for row in chosen["recommended"].to_list()]
    for user, expected, answer in zip(chosen["user_id"], lists, served.lists, strict=True):
        if expected != answer:
            pairs = enumerate(zip_longest(answer, expected, fillvalue="nothing"), 1)
            place, (got, wanted) = next(each for each in pairs if each[1][0] != each[1][1])
            what = f"user {user!r} gets {got} at place {place}, not {wanted}"
            return served, f"a clean process serves other lists: {what}"
    return served, ""


def _publish(
    workspace: Path, params: Params, found: Comparison | None, decision: Decision, version: str, old: str | None
) -> Path | None:
    """decision.json, and the page where there are two to compare."""
    file = decision_file(workspace, params, version, old)
    folder = file.parent
    compared = {} if found is None else {"comparison": findings(found)}
    publish_json(file, {"version": version, "champion": old, **decision.plain(), **compared})
    if found is None:
        return None
    shown = {
        "accepted": decision.accepted,
        "reasons": [each.text for each in decision.refusals],
        "checked": [each.text for each in decision.reasons if each.passed and each.rule in _CHECKED],
    }
    text = page(found, dataset=params.dataset, decision=shown, provenance=[
        {"text": "Decided by the section promote: of params.yaml; made again by", "code": f"idiom promote {version}"}
    ])  # fmt: skip
    with publishing(folder / "promotion.html") as temporary:
        temporary.write_text(text, encoding="utf-8")
    return folder / "promotion.html"


def decision_file(workspace: Path, params: Params, version: str, old: str | None) -> Path:
    """Where the decision on a version lies, as JSON."""
    return Layout(workspace, params.dataset).root / "promote" / f"{old or 'none'}-{version}" / "decision.json"


def _tags(decision: Decision, *, waits: bool) -> dict[str, str]:
    lines = [f"{'passed' if each.passed else 'REFUSED'}: {each.text}" for each in decision.reasons]
    accepted = "accepted, waits for approval" if waits else "accepted"
    return {DECISION: accepted if decision.accepted else "refused", _REASONS: "\n".join(lines)[:4900]}
