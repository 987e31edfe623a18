"""What the checks of a partition say of answers, from what their evaluation noted."""

from collections.abc import Callable
from typing import Any

import dagster as dg
import pytest

from assets.answer_checks import CHECKS, check_specs, described_quality, evaluate_checks
from assets.partitions import responses_key
from assets.workspace import Workspace

ALL_WELL = {"asked": "20", "unanswered": "0", "truncated": "0", "commonest_choice": "0.4", "equal_scores": "0.1"}


@pytest.fixture
def checked(workspace: Workspace, answer: Callable[..., None]) -> Callable[..., dict[str, Any]]:
    def check(grades: str = "10" * 10, **metadata: str) -> dict[str, Any]:
        """The checks that do not pass, and their metadata."""
        answer("sums", "elm", grades, **{**ALL_WELL, **metadata})
        keys = {spec.key for spec in check_specs(workspace.registry)}
        results = list(evaluate_checks("sums", "elm", keys, workspace))
        assert {result.check_name for result in results} == set(CHECKS)
        assert {result.severity for result in results} == {dg.AssetCheckSeverity.WARN}
        return {
            str(result.check_name): {name: value.value for name, value in result.metadata.items()}
            for result in results
            if not result.passed
        }

    return check


def test_answers_that_can_be_trusted(checked: Callable[..., Any]) -> None:
    assert checked() == {}
    assert checked(chance="0.6") == {}  # half right, but of 20 only


@pytest.mark.parametrize(
    ("metadata", "check", "said"),
    [
        ({"unanswered": "2"}, "every_question_is_answered", {"unanswered": 2, "share": 0.1}),
        ({"truncated": "1"}, "prompts_are_whole", {"truncated": 1, "share": 0.05}),
        ({"commonest_choice": "0.95"}, "answers_differ", {"commonest_choice": 0.95, "equal_scores": 0.1}),
        ({"equal_scores": "1.0"}, "answers_differ", {"commonest_choice": 0.4, "equal_scores": 1.0}),
    ],
)
def test_answers_that_cannot(
    checked: Callable[..., Any], metadata: dict[str, str], check: str, said: dict[str, float]
) -> None:
    assert checked(**metadata) == {check: said}


def test_fewer_right_than_by_guessing(checked: Callable[..., Any]) -> None:
    said = checked("0" * 19 + "1", chance="0.5")["accuracy_is_not_below_chance"]
    assert (said["accuracy"], said["chance"]) == (0.05, 0.5)
    assert said["ci_low"] == pytest.approx(0.0089, abs=1e-4)  # Wilson's interval of 1 in 20
    assert said["ci_high"] == pytest.approx(0.2361, abs=1e-4)


def test_answers_of_a_version_that_did_not_count(workspace: Workspace, answer: Callable[..., None]) -> None:
    answer("sums", "elm", "10")
    keys = {dg.AssetCheckKey(responses_key("sums"), name) for name in CHECKS}
    assert all(result.passed for result in evaluate_checks("sums", "elm", keys, workspace))


def test_a_partition_says_only_what_is_to_be_said() -> None:
    assert described_quality({}) == {}
    assert described_quality({**ALL_WELL, "unanswered": "3", "chance": "0.25"}) == {
        "unanswered": 3,
        "commonest_choice": 0.4,
        "chance": 0.25,
    }
