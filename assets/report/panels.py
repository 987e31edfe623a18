"""A panel a model: how good it is at what, whom it is like, what it got wrong against expectation, what it is sent."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import NamedTuple

from assets.figures.sections import Row
from assets.figures.style import parameters
from warehouse.database.read import query

from .cells import Table, tabulate

NEIGHBOURS, MISSES = 5, 3
LONGEST_QUESTION, LONGEST_ANSWER = 240, 120  # letters
MODELS = """
    SELECT m.model, family, size_b, l.n, accuracy, ci_low, ci_high, estimated
    FROM models m LEFT JOIN leaderboard l ON m.model = l.model AND l.benchmark = 'all'
    ORDER BY accuracy DESC NULLS LAST, m.model"""
TABLES = {
    "By benchmark": """
        SELECT model, benchmark, n, accuracy, ci_low, ci_high, sent AS "sent by the router"
        FROM leaderboard LEFT JOIN (
            SELECT model, benchmark, count(*) AS sent FROM routes
            WHERE method = 'router' GROUP BY ALL) USING (model, benchmark)
        WHERE benchmark <> 'all' ORDER BY model, benchmark""",
    "Most like it": f"""
        SELECT model, other, distance, cosine FROM model_similarity
        QUALIFY row_number() OVER (PARTITION BY model ORDER BY distance, other) <= {NEIGHBOURS}
        ORDER BY model, distance, other""",
    "Wrong where a right answer was likeliest": f"""
        SELECT model, r.benchmark, left(text, {LONGEST_QUESTION}) AS question, probability::DOUBLE AS forecast,
            left(answer, {LONGEST_ANSWER}) AS answered, left(target, {LONGEST_ANSWER}) AS "right answer"
        FROM (
            SELECT question_id, model, probability FROM predictions SEMI JOIN serving USING (embedder)
            SEMI JOIN (FROM responses WHERE NOT correct) USING (question_id, model)
            WHERE method = 'embedder'
            QUALIFY row_number() OVER (PARTITION BY model ORDER BY probability DESC, question_id) <= {MISSES}
        ) JOIN responses r USING (question_id, model) JOIN questions USING (question_id)
        ORDER BY model, probability DESC, question_id""",
}


class Panel(NamedTuple):
    """What is known of a model: a line, and its tables."""

    model: str
    line: str
    tables: list[Table]


def read_panels(database: Path) -> list[Panel]:
    """Return a panel for each model, the best first."""
    found: dict[str, dict[str, list[Row]]] = defaultdict(dict)
    for caption, sql in TABLES.items():
        for row in query(database, sql).to_pylist():
            found[row.pop("model")].setdefault(caption, []).append(row)
    return [
        Panel(
            row["model"],
            _describe(row),
            [tabulate(rows, caption=caption) for caption, rows in found[row["model"]].items()],
        )
        for row in query(database, MODELS).to_pylist()
    ]


def _describe(row: Row) -> str:
    known = [row["family"]]
    if row["size_b"]:
        known.append(f"{parameters(row['size_b'])} parameters")
    if row["accuracy"] is not None:
        known.append(f"{row['accuracy']:.1%} {'expected' if row['estimated'] else 'right'} of {row['n']:,}")
    return " · ".join(part for part in known if part)
