"""Work on threads of their own: nothing may get lost, change or go on after somebody said stop."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import Any

import pytest
import torch

from components.networks.backbone import build
from components.networks.cpu import on_threads
from components.progress import Progress
from components.settings.params import Index
from components.textid.words.own import OwnWords
from components.textid.words.tokenizer import train_tokenizer
from components.textid.words.twins import near_twins
from components.textid.writing.generator import Generator
from components.textid.writing.legal import Lexicon
from components.textid.writing.share import Share
from components.textid.writing.writer import write_ids
from tests.textid.conftest import tiny_t5
from tests.textid.writing.test_writer import IDS, SETTINGS, TEXTS


@pytest.fixture(params=[1, 2, 3])
def threads(request: pytest.FixtureRequest) -> Iterator[int]:
    """Torch with so many threads, whatever the machine has."""
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


def test_results_come_in_order_and_torch_keeps_its_threads(threads: int) -> None:
    """Prevents an item with another's ID, and a training that goes on with one thread after its IDs were written."""
    inside = list(on_threads(lambda piece: (piece, torch.get_num_threads()), iter(range(20))))
    assert inside == [(piece, 1) for piece in range(20)]
    assert torch.get_num_threads() == threads


def test_autocast_reaches_the_threads(threads: int) -> None:
    """Prevents float32 products on the threads, and so other answers than one thread gives."""
    rows = torch.ones(2, 2)
    with torch.autocast("cpu", torch.bfloat16):
        assert set(on_threads(lambda _: (rows @ rows).dtype, range(4))) == {torch.bfloat16}


def test_callers_that_overlap_leave_torch_its_threads(threads: int) -> None:
    """Prevents a server that computes with one thread for ever, as the second of two requests found, and left behind,
    the 1 of the first."""
    ask = torch.get_num_threads
    with ThreadPoolExecutor(1) as one, ThreadPoolExecutor(1) as other:
        first, second = (on_threads(lambda _: ask(), range(9)) for _ in range(2))
        heard = [one.submit(next, first).result(), other.submit(next, second).result()]
        one.submit(first.close).result()
        heard += other.submit(list, second).result()
        assert heard == [1] * 10
        assert one.submit(ask).result() == other.submit(ask).result() == threads
    with ThreadPoolExecutor(1) as new:
        assert new.submit(ask).result() == threads


def test_a_caller_that_leaves_does_not_speed_up_another(threads: int) -> None:
    """Prevents torch's trap: a thread that sets its number before it ever asked for it takes, when it asks, the one set
    last anywhere."""
    begun, left = threading.Event(), threading.Event()

    def work(_: int) -> int:
        begun.set()
        assert left.wait(60)
        return torch.get_num_threads()

    with ThreadPoolExecutor(1) as caller:
        results = caller.submit(list, on_threads(work, [0]))
        assert begun.wait(60)
        torch.set_num_threads(threads)  # as one who leaves does
        left.set()
        assert results.result() == [1]


@pytest.mark.parametrize("where", ["work", "pieces", "caller"])
def test_an_error_ends_it_after_the_pieces_under_way(threads: int, where: str) -> None:
    """Prevents a signal that is obeyed only when a million items are written, and an error that nobody hears."""
    done: list[int] = []

    def fail(at: str, piece: int) -> None:
        if (at, piece) == (where, 5):
            raise KeyboardInterrupt(at)

    def work(piece: int) -> int:
        fail("work", piece)
        done.append(piece)
        return piece

    def pieces() -> Iterator[int]:
        for piece in range(1000):
            fail("pieces", piece)
            yield piece

    with pytest.raises(KeyboardInterrupt, match=where), closing(on_threads(work, pieces())) as results:
        for result in results:
            fail("caller", result)
    assert len(done) < 40
    assert torch.get_num_threads() == threads and threading.active_count() == 1 + len(_strangers())


def _strangers() -> list[threading.Thread]:
    """Threads of the test run itself (pytest-xdist has some)."""
    return [t for t in threading.enumerate() if t is not threading.main_thread() and "ThreadPool" not in t.name]


def test_a_table_does_not_depend_on_the_threads(threads: int) -> None:
    """Prevents IDs that change with the machine: equal to the last bit of every score, and so in every report."""
    tokenizer = train_tokenizer(TEXTS * 50, vocabulary_size=400)
    model = tiny_t5(len(tokenizer), seed=3)
    before = torch.get_num_threads()
    written = write_ids(model, tokenizer, IDS, TEXTS, SETTINGS, max_item_tokens=24)
    torch.set_num_threads(1)
    assert written == write_ids(model, tokenizer, IDS, TEXTS, SETTINGS, max_item_tokens=24)
    torch.set_num_threads(before)


@pytest.mark.parametrize("faithful", [True, False])
def test_scores_do_not_depend_on_the_threads(threads: int, faithful: bool) -> None:
    """Prevents sums in another order where a catalogue is one batch: products large enough for several threads."""

    tokenizer = train_tokenizer(TEXTS * 50, vocabulary_size=400)
    model = build("scratch", size="d_model=64,layers=1,heads=2", vocabulary_size=len(tokenizer), seed=3)
    texts = [TEXTS[row % len(TEXTS)] for row in range(64)]
    own = OwnWords.of([str(row) for row in range(64)], texts)
    lexicon = Lexicon(tokenizer, own, near_twins(own), texts, range(64), max_tokens=6) if faithful else None
    generator = Generator(model, tokenizer, Index(), 24, own, {}, lexicon, Progress(), None)
    encoded = [[5 + row % 90] * 20 + [1] for row in range(64)]
    turns: list[list[int] | None] = [list(range(64)), None]
    several = list(generator._each(turns, encoded, list(range(64)), [-1] * 64, 1.0, 6))
    torch.set_num_threads(1)
    assert several == list(generator._each(turns, encoded, list(range(64)), [-1] * 64, 1.0, 6))


def test_the_progress_and_the_stop_between_batches_stay(threads: int) -> None:
    """Prevents ranks that wait for each other for ever, and a bar that says done before the work is."""
    heard: list[tuple[str, int, int]] = []

    class Listener:
        def emit(self, event: str, fields: Any) -> None:
            heard.append((fields["task"], fields["done"], fields["total"]))

        def close(self) -> None:
            pass

    turns: list[int] = []
    tokenizer = train_tokenizer(TEXTS * 50, vocabulary_size=400)
    model = tiny_t5(len(tokenizer), seed=3)
    share = Share(boundary=lambda: turns.append(len(turns)))
    progress = Progress([Listener()], every_seconds=0.0)
    write_ids(model, tokenizer, IDS, TEXTS, SETTINGS, max_item_tokens=24, share=share, progress=progress)
    first = [(done, total) for task, done, total in heard if task == "writing IDs (1)"]
    batches = -(-len(IDS) // SETTINGS.batch_items)
    assert first[0] == (0, batches) and first[-1] == (batches, batches) and first == sorted(first)
    assert len(turns) >= batches

    def stop() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_ids(model, tokenizer, IDS, TEXTS, SETTINGS, max_item_tokens=24, share=Share(boundary=stop))
    assert torch.get_num_threads() == threads
