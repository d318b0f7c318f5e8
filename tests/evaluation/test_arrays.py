"""Tables as arrays: who is asked, with which history, and what the baselines may learn from."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import polars as pl
import pytest

from components.errors import BadInput
from components.evaluation.arrays import Cases, cases

LIST = pl.List(pl.String)


def targets(context: list[list[str]], target: list[str], users: list[str]) -> pl.DataFrame:
    return pl.DataFrame({"user_id": users, "context": context, "target": target}, schema_overrides={"context": LIST})


def random_cases(*, users: int = 30, items: int = 15, refit: bool = False) -> Cases:
    generator = np.random.default_rng(5)
    ids = [f"i{number:02}" for number in range(items)]
    rows = [[ids[item] for item in generator.permutation(items)[: generator.integers(3, items)]] for _ in range(users)]
    names = [f"u{number:02}" for number in range(users)]
    return cases(
        pl.DataFrame({"item_id": ids}),
        pl.DataFrame({"user_id": names, "history": [row[:-2] for row in rows]}, schema_overrides={"history": LIST}),
        targets([[] for _ in rows], [row[-2] for row in rows], names),
        targets([[row[-2]] for row in rows], [row[-1] for row in rows], names),
        refit=refit,
    )


def test_refit_adds_the_validation_items_and_nothing_of_the_test() -> None:
    """Prevents protocols that are mixed: figures of a refit model beside baselines that know less, or test items."""
    strict, refit = random_cases(), random_cases(refit=True)
    # In leave-one-out the refit training sequence is exactly what the test prompt shows.
    assert [row.tolist() for row in refit.train] == [row.tolist() for row in refit.prompts]
    assert [row.tolist() for row in strict.train] == [row[:-1].tolist() for row in strict.prompts]


def test_refit_keeps_contexts_and_users_without_a_validation_item() -> None:
    """Prevents refit counts that lack what lies between history and target, or whole users that were not validated."""
    asked = cases(
        pl.DataFrame({"item_id": ["a", "b", "c", "d"]}),
        pl.DataFrame({"user_id": ["u", "v"], "history": [["a"], ["b", "a"]]}),
        targets([["b"]], ["c"], ["u"]),
        targets([["b", "c"]], ["d"], ["u"]),
        refit=True,
    )
    assert [row.tolist() for row in asked.train] == [[0, 1, 2], [1, 0]]


def moment(day: int) -> datetime:
    return datetime(2014, 1, day, tzinfo=UTC)


def test_days_stand_beside_their_items() -> None:
    """Prevents times of another item or user, a gap that becomes a day, and a refit that forgets its last day."""
    histories = {"user_id": ["u", "v"], "history": [["a"], ["b", "a"]], "timestamps": [[moment(1)], None]}
    between = {"context_timestamps": [[moment(2)]], "timestamp": [moment(3)]}
    frames = (
        pl.DataFrame({"item_id": ["a", "b", "c", "d"]}),
        pl.DataFrame(histories),
        targets([["b"]], ["c"], ["u"]).with_columns(**{name: pl.Series(each) for name, each in between.items()}),
        targets([["b", "c"]], ["d"], ["u"]).with_columns(
            context_timestamps=pl.Series([[moment(2), moment(3)]]), timestamp=pl.Series([moment(9)])
        ),
    )
    first = (moment(1) - datetime(1970, 1, 1, tzinfo=UTC)).days
    strict, refit = cases(*frames), cases(*frames, refit=True)
    assert np.array_equal(strict.train_days, [first, np.nan, np.nan], equal_nan=True)
    assert np.array_equal(refit.train_days, [first, first + 1, first + 2, np.nan, np.nan], equal_nan=True)
    assert strict.prompt_days.tolist() == [first, first + 1, first + 2]
    assert strict.prompt_times() == [[day * 86_400.0 for day in strict.prompt_days]]
    untimed = cases(frames[0], frames[1].drop("timestamps"), *frames[2:])
    # Who asks is asked alike: `recommend` by times, which a prompt has whole or not at all, and voices by days.
    assert untimed.prompt_times() == [None] and np.isnan(untimed.prompt_days).all()
    assert random_cases().prompt_times() == [None] * 30 and np.isnan(random_cases().train_days).all()


def test_a_target_outside_the_catalogue_is_named() -> None:
    """Prevents a stale items table from counting as a miss without a word."""
    with pytest.raises(BadInput, match="item 'z' is not in the catalogue"):
        cases(
            pl.DataFrame({"item_id": ["a"]}),
            pl.DataFrame({"user_id": ["u"], "history": [["a"]]}),
            targets([[]], ["a"], ["u"]),
            targets([["a"]], ["z"], ["u"]),
        )


def test_no_test_target_at_all_is_refused() -> None:
    """Prevents a mean over nobody, which is NaN."""
    empty = targets([], [], [])
    with pytest.raises(BadInput, match="no test targets"):
        cases(pl.DataFrame({"item_id": ["a"]}), pl.DataFrame({"user_id": ["u"], "history": [["a"]]}), empty, empty)


def test_the_user_sample_is_the_same_for_every_order_of_rows_and_leaves_training_whole() -> None:
    """Prevents a sample that depends on the order of rows, or baselines that know the sampled users only."""
    items = pl.DataFrame({"item_id": ["a", "b", "c"]})
    names = [f"u{number}" for number in range(50)]
    histories = pl.DataFrame({"user_id": names, "history": [["a", "b"]] * 50})
    test = targets([[]] * 50, ["c"] * 50, names)
    some = cases(items, histories, test, test, max_users=7, seed=1)
    turned = cases(items, histories.reverse(), test.reverse(), test.reverse(), max_users=7, seed=1)
    assert some.user_ids == turned.user_ids == tuple(sorted(some.user_ids))
    assert len(some.user_ids) == 7
    assert some.counts.tolist() == [50, 50, 0]
    assert cases(items, histories, test, test, max_users=7, seed=2).user_ids != some.user_ids
