"""What a model server refuses before MLflow reads it, and what it leaves out of its answers: an ASGI middleware.

    app.add_middleware(Limits)           # served.py does it to the app of `mlflow models serve`
    request.scope[PARSED]                # in our own server: the body, read once

A body of more than `MAX_BYTES` is a 413. JSON that is broken, nested deeper than `MAX_DEPTH` or holds a number that
Python does not read is a 400; by itself MLflow answers 500 to brackets without end. What MLflow says of a bad request
holds the request, all of it, and a traceback: the caller gets the reason alone, at most `MAX_REASON` characters.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any

MAX_BYTES = 4 * 2**20
"""Of a request: a thousand histories of two hundred items are 3 MB. More users are for `idiom score`."""
MAX_DEPTH = 16
"""Lists and objects in each other; a request needs four."""
MAX_REASON = 500
PARSED = "idiom.json"
"""Key of a request's scope: the value of its JSON body. Requests of other types have none."""
_DRAINED_BYTES = 256 * 2**20
"""So much of a body that is too long is read and dropped, as many clients read no answer before they have sent all."""

_Message = MutableMapping[str, Any]
_Receive = Callable[[], Awaitable[_Message]]
_Send = Callable[[_Message], Awaitable[None]]


class Limits:
    """An app that hands on what another app can bear."""

    def __init__(self, app: Callable[[_Message, _Receive, _Send], Awaitable[None]]) -> None:
        self._app = app

    async def __call__(self, scope: _Message, receive: _Receive, send: _Send) -> None:
        if scope["type"] != "http" or scope["method"] != "POST":
            await self._app(scope, receive, send)
            return
        body = await _body(receive)
        if body is None:
            said = f"the body has more than {MAX_BYTES:,} bytes; send fewer rows at a time, or use `idiom score`"
            await _answer(send, 413, said)
            return
        if _is_json(scope):
            try:
                scope[PARSED] = await asyncio.to_thread(parsed, body)
            except ValueError as error:
                await _answer(send, 400, str(error))
                return
        messages = [{"type": "http.request", "body": body, "more_body": False}]

        async def again() -> _Message:
            return messages.pop() if messages else await receive()

        await self._app(scope, again, _Short(send))


def parsed(body: bytes) -> Any:
    """The value of a JSON body. Raises `ValueError` with why it is refused, without a word of it."""
    too_deep = f"the body is nested deeper than {MAX_DEPTH} lists and objects"
    try:
        value = json.loads(body)
    except RecursionError:
        raise ValueError(too_deep) from None
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        raise ValueError(f"the body is not valid JSON: {error.msg} at {where}") from error
    except ValueError as error:  # not UTF-8, or an integer of thousands of digits
        raise ValueError(f"the body is not valid JSON: {error}") from error
    level = [value]
    for _ in range(MAX_DEPTH):
        level = [one for each in level for one in _inside(each) if isinstance(one, (dict, list))]
        if not level:
            return value
    raise ValueError(too_deep)


def _inside(value: Any) -> Iterable[Any]:
    """Values of an object, elements of a list; nothing of a text or a number."""
    return value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()


def _is_json(scope: _Message) -> bool:
    kinds = [value for name, value in scope["headers"] if name == b"content-type"]
    return any(kind.partition(b";")[0].strip().lower() == b"application/json" for kind in kinds)


async def _body(receive: _Receive) -> bytes | None:
    """The whole body; None where it is too long, or the client is gone."""
    parts, size, more = [], 0, True
    while more and size <= _DRAINED_BYTES:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        part, more = message.get("body", b""), message.get("more_body", False)
        size += len(part)
        if size <= MAX_BYTES:
            parts.append(part)
        else:
            parts.clear()
    return b"".join(parts) if size <= MAX_BYTES else None


async def _answer(send: _Send, status: int, reason: str) -> None:
    body = _error("BAD_REQUEST", reason)
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def _error(code: str, reason: str) -> bytes:
    cut = reason if len(reason) <= MAX_REASON else reason[: MAX_REASON - 1] + "…"
    return json.dumps({"error_code": code, "message": cut}).encode()


class _Short:
    """Hands an answer on; of one that says what was wrong, only the reason."""

    def __init__(self, send: _Send) -> None:
        self._send = send
        self._start: _Message | None = None
        self._parts: list[bytes] = []

    async def __call__(self, message: _Message) -> None:
        if message["type"] == "http.response.start" and message["status"] >= 400:
            self._start = message
        elif self._start is None or message["type"] != "http.response.body":
            await self._send(message)
        else:
            self._parts.append(message.get("body", b""))
            if not message.get("more_body", False):
                await self._tell(self._start["status"], b"".join(self._parts))

    async def _tell(self, status: int, body: bytes) -> None:
        try:
            said = json.loads(body)
            reason = str(said["message"]).rpartition("\nError: ")[2]
        except (ValueError, KeyError, TypeError):
            reason = body.decode("utf-8", errors="replace")
        await _answer(self._send, status, reason)
