"""The whole demo, as `make demo` runs it: every experiment has its table, and docs/sql.md tells the truth about it."""

import math
import re
from pathlib import Path
from typing import Any

import pytest

from assets.experiments import EXPERIMENTS
from assets.report import rounded
from warehouse.read import query

ASSETS = [experiment.asset for experiment in EXPERIMENTS]
DOCUMENT = Path(__file__).parents[2] / "docs" / "sql.md"
EXAMPLE = re.compile(r"(```sql\n(?P<sql>.*?)```\n\n)(?P<answer>(?:\|[^\n]*\n)+)", re.DOTALL)
# The zoo is trained here. Another kind of processor rounds differently, and the models then answer otherwise: the
# document's figures are of the demo in which `bit_xor(hash(question_id, model, correct))` over `responses` is this.
DOCUMENTED_RESPONSES = 9515258058098270328

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]


def test_every_experiment_has_results(demo: Any) -> None:
    for asset in ASSETS:
        rows = demo.rows(f"FROM {asset.op.name}")
        assert rows
        assert not [row["reason"] for row in rows if row.get("reason")]
        assert all(math.isfinite(value) for row in rows for value in row.values() if isinstance(value, float))
    report = (demo.home / "reports" / "report.html").read_text(encoding="utf-8")
    assert "Not possible here" not in report
    assert not re.search(r"(src|href)=\"?(https?:)?//", report)  # it needs no network


def test_the_questions_of_the_document_have_the_answers_it_gives(demo: Any, tmp_path: Path) -> None:
    text = DOCUMENT.read_text(encoding="utf-8")
    assert len(EXAMPLE.findall(text)) >= 15
    found = EXAMPLE.sub(lambda example: example[1] + _table(demo.home, example["sql"]), text)
    (fresh := tmp_path / "sql.md").write_text(found, encoding="utf-8")
    (row,) = demo.rows("SELECT bit_xor(hash(question_id, model, correct)) AS digest FROM responses")
    if row["digest"] == DOCUMENTED_RESPONSES:
        assert found == text, f"docs/sql.md is out of date: look at {fresh} and copy it there"
    else:  # other answers, but to the same questions in the same columns
        assert _columns(found) == _columns(text), f"set DOCUMENTED_RESPONSES to {row['digest']} and copy {fresh}"


def _table(home: Path, sql: str) -> str:
    """The answer as a Markdown table."""
    answer = query(home / "warehouse.duckdb", sql)
    rows = [answer.column_names, ["---"] * answer.num_columns]
    rows += [[_cell(value) for value in row.values()] for row in answer.to_pylist()]
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def _cell(value: object) -> str:
    if value is None:
        return "–"
    if isinstance(value, float):
        return rounded(value)
    return str(value).replace("|", "\\|").replace("\n", " ")


def _columns(document: str) -> list[str]:
    return [example["answer"].splitlines()[0] for example in EXAMPLE.finditer(document)]
