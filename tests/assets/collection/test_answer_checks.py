"""What the checks of a partition say of answers, from what their evaluation noted."""

from collections.abc import Callable
from typing import Any

import dagster as dg
import pytest

from assets.collection.answer_checks import CHECK, check_specs, evaluate_checks, quality_metadata
from assets.inputs.partitions import responses_key
from assets.inputs.workspace import Workspace

ALL_WELL = {"asked": "20", "unanswered": "0", "truncated": "0", "commonest_choice": "0.4", "equal_scores": "0.1"}


@pytest.fixture
def checked(workspace: Workspace, answer: Callable[..., None]) -> Callable[..., Any]:
    def check(grades: str = "10" * 10, **metadata: str) -> dg.AssetCheckResult:
        answer("sums", "elm", grades, **{**ALL_WELL, **metadata})
        keys = {spec.key for spec in check_specs(workspace.registry)}
        (result,) = evaluate_checks("sums", "elm", keys, workspace)
        assert (result.check_name, result.severity) == (CHECK, dg.AssetCheckSeverity.WARN)
        assert result.passed == (result.description is None)
        return result

    return check


def test_answers_that_can_be_trusted(checked: Callable[..., Any]) -> None:
    assert checked().passed
    assert checked(chance="0.6").passed  # half right, but of 20 only


@pytest.mark.parametrize(
    ("metadata", "doubt", "figure"),
    [
        ({"unanswered": "2"}, "2 of 20 questions have no answer", {"share_unanswered": 0.1}),
        ({"truncated": "1"}, "1 of 20 prompts were cut to fit the model's context", {"share_truncated": 0.05}),
        ({"commonest_choice": "0.95"}, "95% of the answers are the same choice, 10% have", {"commonest_choice": 0.95}),
        ({"equal_scores": "1.0"}, "40% of the answers are the same choice, 100% have", {"equal_scores": 1.0}),
    ],
)
def test_answers_that_cannot(
    checked: Callable[..., Any], metadata: dict[str, str], doubt: str, figure: dict[str, float]
) -> None:
    result = checked(**metadata)
    assert result.description.startswith(doubt)
    assert figure.items() <= {name: value.value for name, value in result.metadata.items()}.items()


def test_fewer_right_than_by_guessing(checked: Callable[..., Any]) -> None:
    result = checked("0" * 19 + "1", chance="0.5")
    # Wilson's interval of 1 in 20
    assert result.description == "the accuracy, 5.0% (0.9% to 23.6%), is below that of a guess, 50.0%"


def test_answers_of_a_version_that_did_not_count(workspace: Workspace, answer: Callable[..., None]) -> None:
    answer("sums", "elm", "10")
    keys = {dg.AssetCheckKey(responses_key("sums"), CHECK)}
    assert all(result.passed for result in evaluate_checks("sums", "elm", keys, workspace))


def test_a_partition_says_only_what_is_to_be_said() -> None:
    assert quality_metadata({}) == {}
    assert quality_metadata({**ALL_WELL, "unanswered": "3", "chance": "0.25"}) == {
        "unanswered": 3,
        "commonest_choice": 0.4,
        "chance": 0.25,
    }
