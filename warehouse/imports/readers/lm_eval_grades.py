"""Which metric and which filter grade lm-eval's samples."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple

from .lm_eval_runs import Samples, TaskSettings
from .lm_eval_texts import Chosen
from .reader import Answer, Choices, Notes, Refusal, grade

__all__ = ["Row", "by_filter", "choose_metric", "graded_answers"]

_LOWER_IS_BETTER = frozenset(
    "mae mse rmse ter brier_score perplexity word_perplexity byte_perplexity bits_per_byte".split()  # noqa: SIM905
)


class Row(NamedTuple):
    """A sample, as far as its answer needs it."""

    number: int
    doc: Any  # what tells documents apart: doc_id, or else the row
    filter: str | None
    grades: dict[str, Any]
    text: str
    is_own_text: bool  # the text is that of our own evaluation
    target: str | None
    said: str | Chosen | None


def choose_metric(rows: Sequence[Row], log: Samples, said: TaskSettings, choices: Choices, notes: Notes) -> str | None:
    """Return the metric that grades a file; None where it has no grades. Metrics that are 0 or 1 throughout go before
    others, unless there is a threshold or one of the others is asked for."""
    values: dict[str, set[Any]] = {}
    ungraded: set[str] = set()
    for row in rows:
        for name, value in row.grades.items():
            if isinstance(value, list | dict) or (isinstance(value, str) and not _is_number(value)):
                ungraded.add(name)
            elif value is not None:
                values.setdefault(name, set()).add(value)
    scalars = {name: seen for name, seen in values.items() if name not in ungraded}
    lower = said.lower_is_better | _LOWER_IS_BETTER
    rising = [name for name in scalars if name not in lower]
    if not rising:
        if scalars:
            names = ", ".join(sorted(scalars))
            raise Refusal(f"{log.file.name} has no metric that grades answers: of {names}, the less the better")
        without = f"answers without a grade of their own ({', '.join(sorted(ungraded))} are no numbers)"
        notes.leave_out(log.file, without if ungraded else "answers without a grade, as of --predict_only", len(rows))
        return None
    asked = choices.metric.get(log.task, choices.metric.get(""))
    if asked in scalars and asked in lower:
        raise Refusal(f"{asked} cannot grade {log.task}: the less, the better; choose another metric with --metric")
    named = {asked, choices.grading_of(log.task).get("metric")}
    binary = [name for name in rising if choices.threshold is None and scalars[name] <= {0, 1}]
    return choices.choose("metric", {*(binary or rising), *(name for name in rising if name in named)}, log.task)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return text.strip().lower() in ("", "true", "false")
    return True


def by_filter(
    rows: Sequence[Row], metric: str, log: Samples, said: TaskSettings, choices: Choices
) -> dict[str, list[Row]]:
    """Return the rows by filter. Until the end of 2024 filters have no names: a document's first row is that of the
    first filter, and so on. Raises Refusal where they cannot be told apart."""
    found: dict[str, list[Row]] = {}
    unnamed = [row for row in rows if row.filter is None]
    for row in rows:
        if row.filter is not None:
            found.setdefault(row.filter, []).append(row)
    if not unnamed:
        return found
    if found:
        raise Refusal(f"row {unnamed[0].number} of {log.file.name} names no filter, as other rows do; remove either")
    repeats = Counter(row.doc for row in rows)
    times = max(repeats.values())
    names = next((of for of in (said.filters, tuple(choices.filters_of(log.task))) if len(of) == times), ())
    if times == 1:
        if len(said.filters) > 1:
            raise Refusal(
                f"{log.file.name} has one row a document, but its run had {len(said.filters)} filters "
                f"({', '.join(said.filters)}), and nothing tells which of them it is from; get the whole file"
            )
        return {names[0] if names else "none": list(rows)}
    places: Counter[Any] = Counter()
    by_place: dict[int, list[Row]] = {}
    for row in rows:
        by_place.setdefault(places[row.doc], []).append(row)
        places[row.doc] += 1
    first = {row.doc: row.grades.get(metric) for row in by_place[0]}
    if not names and all(row.grades.get(metric) == first[row.doc] for row in rows):
        return {"none": list(rows)}  # copies: whatever made them, they say the same
    if len(set(repeats.values())) > 1:
        raise Refusal(
            f"{log.file.name} has {times} rows of some documents and fewer of others, and no names of filters that "
            "would tell them apart; get the whole file"
        )
    return {names[place] if names else str(place + 1): of for place, of in by_place.items()}


def graded_answers(rows: Sequence[Row], metric: str, log: Samples, choices: Choices, notes: Notes) -> list[Answer]:
    answers: dict[Any, Answer] = {}
    for row in rows:
        where = f"{metric} in row {row.number} of {log.file.name}"
        graded = grade(row.grades.get(metric), choices.threshold, where)
        if graded is None:
            notes.leave_out(log.file, f"answers without a grade ({metric} is missing)")
            continue
        correct, score = graded
        if (earlier := answers.get(row.doc)) is not None:
            if earlier.score != score:
                raise Refusal(
                    f"{where} is {score:g}, but {earlier.score:g} in row {earlier.row}, of the same document (doc_id "
                    f"{row.doc}) and filter; import files of one run each"
                )
            notes.leave_out(log.file, "rows that repeat another one")
            continue
        answers[row.doc] = Answer(
            row=row.number,
            model=log.model,
            category=log.task,
            text=row.text,
            correct=correct,
            score=score,
            item=str(row.doc),
            doc_id=row.doc if type(row.doc) is int and abs(row.doc) < 2**63 else None,
            target=row.target,
            answer=row.said.best(metric) if isinstance(row.said, Chosen) else row.said,
        )
    return list(answers.values())
