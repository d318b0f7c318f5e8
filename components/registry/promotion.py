"""Moves the aliases of the registered model: promotion, refusal and rollback, one at a time across machines.

    with one_at_a_time(client, "idiom", who="ada@shop1") as refuse_if_lost:
        refuse_if_lost()
        promote(client, "idiom", "12", expected="11", tags={...})

The switch is one call, the last but the reading back: whatever fails before leaves the old champion, and after what
fails at it, or later, aliases, tags and description are put back. Decisions are made elsewhere
(components/evaluation/gates.py).
"""

from __future__ import annotations

import getpass
import json
import socket
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from components.errors import BadInput, first_line
from components.registry.champion import CHALLENGER, CHAMPION, DECISION, PROVISIONAL

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

PREVIOUS = "previous"
"""Alias of the version that was champion before; where a rollback goes."""
HISTORY = "idiom.champions"
"""Tag of the model: who moved the alias, when, from and to which version, and why; the newest first."""
_LOCK = "-promotion-lock"
_HOLDER = "idiom.holder"
_STALE_SECONDS = 6 * 3600
_MAX_CHARS = 4900
"""MLflow takes 5,000 characters in a tag and in a description."""


def aliases(client: MlflowClient, name: str) -> dict[str, str]:
    """Alias -> version. Raises `BadInput` where nothing was registered yet."""
    from mlflow.exceptions import MlflowException

    try:
        found = client.get_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        mend = "train and register a model first: idiom retrain"
        raise BadInput(f"there is no model {name!r}", where="MLflow", mend=mend) from error
    return {alias: str(version) for alias, version in found.aliases.items()}


def person() -> str:
    """Who is at work, for the record: user@machine."""
    return f"{getpass.getuser()}@{socket.gethostname()}"


@contextmanager
def one_at_a_time(client: MlflowClient, name: str, *, who: str) -> Iterator[Callable[[], None]]:
    """Let one process move the aliases of model `name` at a time, on whatever machine.

    A name of a registered model is unique in MLflow's store, so whoever creates `NAME-promotion-lock` has the lock: of
    two creations one is refused. Raises `BadInput` where another has it; one that is six hours old was left behind by a
    process that was killed, and is taken over. Two that take it over at once may both come in: what is yielded raises
    `BadInput` where the lock is another's by now, and is to be called right before anything is moved.
    """
    from mlflow.exceptions import MlflowException

    lock, token = f"{name}{_LOCK}", f"{who} {uuid.uuid4().hex[:12]}"

    def take() -> bool:
        try:
            client.create_registered_model(lock, tags={_HOLDER: token}, description="A promotion is at work.")
        except MlflowException as error:
            # MLflow looks a name up again that it has just refused, and by then it may have been given back.
            if error.error_code not in ("RESOURCE_ALREADY_EXISTS", "RESOURCE_DOES_NOT_EXIST"):
                raise
            return False
        return True

    while not take():
        try:
            held = client.get_registered_model(lock)
            age = time.time() - held.creation_timestamp / 1000
            if age > _STALE_SECONDS:
                client.delete_registered_model(lock)
                continue
        except MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise
            continue  # given back in between
        raise BadInput(
            f"another promotion is at work: {held.tags.get(_HOLDER, 'unknown')}, for {age / 60:.0f} minutes",
            where=f"model {name!r}",
            mend=f"wait for it; if it was killed, delete the registered model {lock!r} in MLflow",
        )

    def refuse_if_lost() -> None:
        if not _holds(client, lock, token):
            raise BadInput("another promotion took the lock over", where=f"model {name!r}", mend="run it again")

    try:
        refuse_if_lost()
        yield refuse_if_lost
    finally:
        try:
            if _holds(client, lock, token):  # one that was taken over is another's by now
                client.delete_registered_model(lock)
        except Exception as error:  # what was done stands; only the next one has to know
            print(f"WARNING: MLflow kept the lock {lock!r}, delete it there: {first_line(error)}", file=sys.stderr)


def _holds(client: MlflowClient, lock: str, token: str) -> bool:
    """Whether the lock is there, and is that of the process with this token."""
    from mlflow.exceptions import MlflowException

    try:
        return bool(client.get_registered_model(lock).tags.get(_HOLDER) == token)
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        return False


def promote(
    client: MlflowClient,
    name: str,
    version: str,
    *,
    expected: str | None,
    tags: Mapping[str, str],
    why: str,
    by: str | None = None,
    reasons: Sequence[str] = (),
) -> None:
    """Make `version` the champion and the old one `previous`; read the alias back.

    expected: the champion that it was compared with. by: who decided (None: who runs this). reasons: lines of the
    decision, put on top of the description. Raises `BadInput`, with all aliases, tags and texts as they were, where
    another is champion by now, or where MLflow says something else when it is asked again.
    """
    before = aliases(client, name)
    if before.get(CHAMPION) != expected:
        raise BadInput(
            f"the champion is version {before.get(CHAMPION)} by now, it was compared with {expected}",
            where=f"model {name!r}",
            mend="run it again, so that it is compared with the champion that there is",
        )
    _move(client, name, version, before, tags, why, by=by, reasons=reasons)


def roll_back(client: MlflowClient, name: str, version: str | None, *, why: str) -> tuple[str | None, str]:
    """Make `version` (None: the previous champion) the champion again; return (from, to), from None where there is no
    champion, as one that was deleted in MLflow takes its alias with it. Raises `BadInput`."""
    before = aliases(client, name)
    target = version or before.get(PREVIOUS)
    if target is None:
        mend = "name a version: idiom rollback VERSION"
        raise BadInput("there is no previous champion", where=f"model {name!r}", mend=mend)
    if target == before.get(CHAMPION):
        raise BadInput(f"version {target} is the champion", where=f"model {name!r}", mend="name another version")
    client.get_model_version(name, target)
    _move(client, name, target, before, {}, why)
    return before.get(CHAMPION), target


def provisional(client: MlflowClient, name: str, version: str) -> bool:
    """Whether `register` took this version as champion for want of another, and nobody has served it yet."""
    return bool(client.get_model_version(name, version).tags.get(DECISION) == PROVISIONAL)


def confirm(client: MlflowClient, name: str, version: str, *, accepted: bool, tags: Mapping[str, str]) -> None:
    """Let a champion that was taken for want of another stay, or make it the challenger where there is no newer one.

    tags: what is said of it, and why."""
    if not accepted:
        if CHALLENGER not in aliases(client, name):
            client.set_registered_model_alias(name, CHALLENGER, version)
        client.delete_registered_model_alias(name, CHAMPION)
    for key, value in tags.items():
        client.set_model_version_tag(name, version, key, value)


def refuse(client: MlflowClient, name: str, version: str, *, tags: Mapping[str, str]) -> None:
    """Record why `version` was refused; it stays, or becomes, the challenger unless it is the champion, or a newer one
    was registered meanwhile and waits for its own decision."""
    for key, value in tags.items():
        client.set_model_version_tag(name, version, key, value)
    found = aliases(client, name)
    if found.get(CHAMPION) != version and not _waits(client, name, found.get(CHALLENGER), version):
        client.set_registered_model_alias(name, CHALLENGER, version)


def _waits(client: MlflowClient, name: str, challenger: str | None, version: str) -> bool:
    """Whether the challenger is newer than `version`, and nobody has decided on it: without its alias nobody would."""
    if challenger is None or int(challenger) <= int(version):
        return False
    return DECISION not in client.get_model_version(name, challenger).tags


def describe(client: MlflowClient, name: str, version: str, decision: str, lines: Sequence[str]) -> None:
    """Put a decision on top of the version's description, in place of an earlier one."""
    mark = "\n\n---\n\n"
    before = client.get_model_version(name, version).description or ""
    before = before.partition(mark)[2] if before.startswith("**Promotion") else before
    reasons = "\n".join(f"- {line}" for line in lines)
    client.update_model_version(name, version, f"**Promotion {decision}**\n\n{reasons}{mark}{before}"[:_MAX_CHARS])


def _move(
    client: MlflowClient,
    name: str,
    version: str,
    before: Mapping[str, str],
    tags: Mapping[str, str],
    why: str,
    by: str | None = None,
    reasons: Sequence[str] = (),
) -> None:
    old, shown = before.get(CHAMPION), client.get_model_version(name, version)
    history = client.get_registered_model(name).tags.get(HISTORY, "[]")
    entry = {
        "at": f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S}",
        "by": (by or person())[:80],
        "from": old,
        "to": version,
        "why": why[:300],
    }
    try:
        for key, value in tags.items():
            client.set_model_version_tag(name, version, key, value)
        if reasons:
            describe(client, name, version, tags[DECISION], reasons)
        client.set_registered_model_tag(name, HISTORY, _with(entry, history))
        if before.get(CHALLENGER) == version:
            client.delete_registered_model_alias(name, CHALLENGER)
        if old is not None:
            client.set_registered_model_alias(name, PREVIOUS, old)
        client.set_registered_model_alias(name, CHAMPION, version)
        found = str(client.get_model_version_by_alias(name, CHAMPION).version)
        if found != version:
            raise BadInput(f"MLflow says that the champion is version {found}, not {version}", where=f"model {name!r}",
                           mend="run it again; if it stays, look at the aliases in MLflow")  # fmt: skip
    except BaseException:  # Ctrl-C as well: a tag that says "accepted" would keep the version from being judged again
        _put_back(client, name, before, history)
        _say_as_before(client, name, shown, tags)
        raise


def _with(entry: Mapping[str, str | None], history: str) -> str:
    """The history with one more entry, and without the oldest that do not fit."""
    entries = [entry, *json.loads(history)]
    while len(json.dumps(entries)) > _MAX_CHARS:
        entries.pop()
    return json.dumps(entries)


def _put_back(client: MlflowClient, name: str, before: Mapping[str, str], history: str) -> None:
    """Give every alias its version again, the champion first; what cannot be put back is said."""
    steps = [(alias, before.get(alias)) for alias in (CHAMPION, PREVIOUS, CHALLENGER)]
    for alias, version in steps:
        try:
            if version is not None:
                client.set_registered_model_alias(name, alias, version)
            elif alias in aliases(client, name):
                client.delete_registered_model_alias(name, alias)
        except Exception as error:
            print(f"WARNING: alias {alias} of {name} was not put back: {first_line(error)}", file=sys.stderr)
    try:
        client.set_registered_model_tag(name, HISTORY, history)
    except Exception as error:
        print(f"WARNING: the tag {HISTORY} of {name} was not put back: {first_line(error)}", file=sys.stderr)


def _say_as_before(client: MlflowClient, name: str, before: ModelVersion, tags: Mapping[str, str]) -> None:
    """Give a version the tags and the description again that it had; what cannot be put back is said."""
    try:
        for key in tags:
            if key in before.tags:
                client.set_model_version_tag(name, before.version, key, before.tags[key])
            elif key in client.get_model_version(name, before.version).tags:
                client.delete_model_version_tag(name, before.version, key)
        client.update_model_version(name, before.version, before.description or "")
    except Exception as error:
        print(f"WARNING: tags of {name} {before.version} were not put back: {first_line(error)}", file=sys.stderr)
