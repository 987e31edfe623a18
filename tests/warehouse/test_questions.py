import hashlib
from collections import Counter

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from warehouse.errors import SplitConflictError
from warehouse.lake.events import EVALUATION
from warehouse.lake.questions import QUESTION_PART, merge_questions, question_ids, split_of

TEXTS = st.lists(st.text(max_size=3))


def part(*rows: tuple[str, str, int, str, str, str | None]) -> pa.Table:
    """Rows of (text, category, doc_id, split, source, split_source)."""
    return pa.Table.from_pylist(
        [
            {
                "question_id": text,
                "category": category,
                "task": category,
                "doc_id": doc_id,
                "text": text,
                "split": split,
                "source": source,
                "split_source": split_source,
            }
            for text, category, doc_id, split, source, split_source in rows
        ],
        schema=QUESTION_PART,
    )


def test_id_is_a_hash_of_benchmark_and_text():
    expected = hashlib.sha256(b"mmlu\0What is 1 + 1?").hexdigest()[:16]
    assert question_ids("mmlu", ["What is 1 + 1?"]) == [expected]
    assert question_ids("piqa", ["What is 1 + 1?"]) != [expected]


def test_repeated_texts_carry_their_ordinal():
    first, other, second = question_ids("b", ["x", "y", "x"])
    assert len({first, other, second}) == 3
    assert second == hashlib.sha256(b"b\0x\0002").hexdigest()[:16]
    assert first == question_ids("b", ["x"])[0]


@given(TEXTS)
def test_ids_are_distinct_and_do_not_depend_on_what_follows(texts: list[str]):
    ids = question_ids("b", texts)
    assert len(set(ids)) == len(texts)
    assert question_ids("b", texts[: len(texts) // 2]) == ids[: len(texts) // 2]


def test_splits_are_80_10_10():
    counts = Counter(split_of(f"question {number}") for number in range(10_000))
    assert counts["train"] == pytest.approx(8000, abs=120)
    assert counts["val"] == pytest.approx(1000, abs=100)
    assert counts["test"] == pytest.approx(1000, abs=100)


def test_split_follows_from_the_sha256_of_the_text():
    # Digests begin with 3e23, cd0a and e7f6: 24%, 80.1% and 90.6% of the way.
    assert [split_of(text) for text in ("b", "g", "6")] == ["train", "val", "test"]


def test_an_evaluation_describes_and_an_import_splits_in_either_order():
    evaluated = part(("q", "lm_task", 7, "train", EVALUATION, None))
    imported = part(("q", "published", 3, "test", "paper", "paper"))
    expected = part(("q", "lm_task", 7, "test", EVALUATION, "paper"))
    assert merge_questions(merge_questions(None, evaluated), imported) == expected
    assert merge_questions(merge_questions(None, imported), evaluated) == expected


def test_an_import_may_change_and_withdraw_its_own_split():
    first = part(("q", "c", 0, "test", "paper", "paper"))
    changed = part(("q", "c", 0, "val", "paper", "paper"))
    withdrawn = part(("q", "c", 0, "train", "paper", None))
    assert merge_questions(first, changed) == changed
    assert merge_questions(first, withdrawn) == withdrawn


def test_two_imports_must_agree_on_the_split():
    first = part(("q", "c", 0, "test", "paper", "paper"))
    second = part(("q", "c", 0, "train", "leaderboard", "leaderboard"))
    with pytest.raises(SplitConflictError, match="1 questions have another split from the import of paper"):
        merge_questions(first, second)


def test_no_question_leaves():
    merged = merge_questions(
        part(("old", "c", 0, "train", "paper", None)), part(("new", "c", 1, "train", "paper", None))
    )
    assert merged["question_id"].to_pylist() == ["old", "new"]


@given(st.sets(st.text("abc", max_size=2)), st.sets(st.text("abc", max_size=2)))
def test_merging_is_idempotent_and_does_not_depend_on_order(first: set[str], second: set[str]):
    one = part(*((text, "c", 0, "train", EVALUATION, None) for text in first))
    two = part(*((text, "c", 0, "train", EVALUATION, None) for text in second))
    merged = merge_questions(merge_questions(None, one), two)
    assert merged == merge_questions(merge_questions(None, two), one)
    assert merged == merge_questions(merged, one)
    assert set(merged["question_id"].to_pylist()) == first | second
