"""As they were asked, questions fare as in `forecasts` and `routing`; the section says what is lost, whoever wins."""

from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pytest

from assets.embedding.embedder import embedder
from assets.evaluation.forecasts import forecasts
from assets.evaluation.robustness import METHODS, describe, robustness
from assets.evaluation.routing import routing
from assets.figures.sections import Section, read_sections
from assets.inputs.workspace import Workspace
from embedder.downstream.robustness import ROBUSTNESS
from embedder.downstream.text_forms import FORMS, NONSENSE
from warehouse.database.read import query


@pytest.fixture
def evaluated(fill: Callable[..., Workspace], guess: Callable[[], None]) -> Workspace:
    """Its questions are open, on one line, and have no cue: some forms change nothing."""
    return fill("robustness", guess, embedder, robustness)


def rows_of(workspace: Workspace, sql: str) -> list[dict[str, Any]]:
    return query(workspace.database, sql).to_pylist()


def test_as_asked_it_is_what_forecasts_and_routing_say(
    evaluated: Workspace, materialize: Callable[..., dict[str, Any]]
) -> None:
    materialize(forecasts)
    materialize(routing)
    found = rows_of(
        evaluated, "SELECT method, accuracy, log_loss, ece FROM robustness WHERE form = 'as_asked' ORDER BY method"
    )
    whole = rows_of(
        evaluated,
        "SELECT method, accuracy, log_loss, ece FROM forecasts "
        "WHERE benchmark = 'all' AND method <> 'majority' ORDER BY method",
    )
    assert found == [pytest.approx(row, abs=1e-6) for row in whole]
    (ours,) = rows_of(
        evaluated,
        "SELECT n, routing_accuracy AS accuracy, ci_low, ci_high FROM robustness "
        "WHERE form = 'as_asked' AND method = 'embedder'",
    )
    (routed,) = rows_of(
        evaluated,
        "SELECT n, accuracy, ci_low, ci_high FROM routing WHERE benchmark = 'all' AND method = 'router'",
    )
    assert ours == pytest.approx(routed)


def test_every_method_in_every_form(evaluated: Workspace) -> None:
    found = rows_of(evaluated, "SELECT form, list(method ORDER BY method) AS methods FROM robustness GROUP BY form")
    assert {row["form"] for row in found} == {*FORMS, *NONSENSE}
    assert all(row["methods"] == sorted(METHODS) for row in found)


def test_the_section_has_pictures_tables_and_sql(evaluated: Workspace) -> None:
    shown = read_sections(evaluated.lake)["robustness"]
    assert len(shown.pictures) == 2
    ours, right, loss, nonsense = shown.tables
    forms = ["as asked", "typed", "full width", "greeting", "chat messages", "few shot"]
    assert [row["form"] for row in ours] == forms
    assert [row["routed right, by form"] for row in right] == [row["log-loss, by form"] for row in loss] == forms
    (by_hand,) = rows_of(evaluated, "SELECT log_loss FROM robustness WHERE form = 'typed' AND method = 'knn'")
    assert loss[1]["knn"] == by_hand["log_loss"]
    assert [(row["no question"], row["method"]) for row in nonsense][:4] == [
        ("nonsense keys", "embedder"),
        ("nonsense keys", "mf"),
        ("nonsense keys", "knn"),
        ("nonsense short", "embedder"),
    ]
    assert query(evaluated.database, shown.sql.removesuffix(";")).num_rows == 3 * len(forms)


def section_on(rows: list[dict[str, Any]]) -> Section:
    return describe(pa.Table.from_pylist(rows, schema=ROBUSTNESS))


def of_form(form: str, right: float, forecast: float, **others: float) -> list[dict[str, Any]]:
    """Of 50 questions, all of which were routed right to start with."""
    scores = dict.fromkeys(("accuracy", "log_loss", "ece", "asked_accuracy", "asked_log_loss", "asked_ece"), 0.5)
    routed = {"routing_accuracy": right, "asked_routing_accuracy": 1.0, "routing_loss": 1 - right}
    told = {"routing_forecast": forecast, "overconfidence": forecast - right, "log_loss_rise": 0.0}
    row = {"form": form, "changed": 1.0, "n": 50, **scores, **routed, **told, **others}
    return [row | {"method": method} for method in METHODS]


def of_nonsense(forecast: float, rate: float) -> list[dict[str, Any]]:
    row = {"form": "nonsense_keys", "n": 18, "routing_forecast": forecast, "routing_rate": rate}
    return [row | {"method": method} for method in METHODS]


def test_the_sentence_names_the_form_that_loses_most() -> None:
    unchanged = [{"form": "no_cues", "method": method, "changed": 0.0, "n": 0, "reason": "none"} for method in METHODS]
    rows = [
        *of_form("as_asked", 1.0, 0.99),
        *of_form("no_options", 0.7, 0.8),
        *of_form("one_line", 0.9, 0.8),
        *unchanged,
        *of_nonsense(0.76, 0.51),
    ]
    shown = section_on(rows)
    assert (
        "50 test questions are routed to models that answer 100.0% of them right, at a forecast of 99.0%. Of 2 other "
        "forms, routing loses most in the form no options: 70.0% right (the same questions as asked: 100.0%), at a "
        "forecast of 80.0%; KNN, which sees nothing but sentence vectors, has 70.0% there. For texts that are no "
        "question at all, the models chosen are forecast 76.0% right answers; on training questions they were right "
        "about 51.0%."
    ) in shown.says
    assert len(shown.pictures) == 2  # without a single interval


def test_no_form_changes_anything() -> None:
    shown = section_on([*of_form("as_asked", 1.0, 0.99), *of_nonsense(0.76, 0.51)])
    assert "No other form changes a question here." in shown.says
    assert len(shown.pictures) == 1


def test_the_reason_why_there_is_nothing() -> None:
    reason = {"form": "as_asked", "method": "embedder", "n": 0, "reason": "no test question has an answer"}
    assert section_on([reason]).says == "Not possible here: no test question has an answer."
