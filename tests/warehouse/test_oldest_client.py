"""What is published opens in the oldest DuckDB that the documentation promises."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from warehouse.database.connect import OLDEST_CLIENT
from warehouse.database.publish import publish
from warehouse.database.read import query
from warehouse.lake import Lake

REPOSITORY = Path(__file__).parents[2]
CLIENT = REPOSITORY / ".venv" / "duckdb-oldest"  # .ci/run installs it
READ = """
import json, sys
import duckdb

with duckdb.connect(sys.argv[1], read_only=True) as connection:
    names = [name for (name,) in connection.execute("SELECT table_name FROM information_schema.tables").fetchall()]
    found = {name: len(connection.execute(f'FROM "{name}"').fetchall()) for name in names}
    found["latest"] = len(connection.execute("FROM latest('model_embeddings')").fetchall())
    found["comments"] = connection.execute("SELECT count(comment) FROM duckdb_columns()").fetchall()[0][0]
    print(json.dumps({"version": f"v{duckdb.__version__}", "rows": found}))
"""


@pytest.mark.skipif(not CLIENT.exists(), reason=f"no DuckDB {OLDEST_CLIENT} in {CLIENT}: .ci/run installs it")
def test_every_table_and_view_can_be_read(lake: Lake, database: Path, evaluated: Callable[..., None]):
    evaluated(lake, "b", "m", "10")
    evaluated(lake, "b", "n", "01")
    lake.add_question_embeddings("e", ["q"], np.ones((1, 3), np.float32))
    counts = publish(lake, database)
    columns = "SELECT count(comment) AS n FROM duckdb_columns() WHERE database_name = 'warehouse'"
    (comments,) = query(database, columns).to_pylist()
    read = subprocess.run(
        [sys.executable, "-c", READ, str(database)],
        env=os.environ | {"PYTHONPATH": str(CLIENT)},
        cwd=CLIENT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert read.returncode == 0, read.stderr
    found = json.loads(read.stdout)
    assert found["version"] == OLDEST_CLIENT
    assert found["rows"] == found["rows"] | counts | {"leaderboard": 4, "coverage": 2, "latest": 0}
    assert found["rows"]["comments"] == comments["n"] > 0


def test_the_documents_and_continuous_integration_name_it():
    number = OLDEST_CLIENT.removeprefix("v")
    assert f"duckdb-oldest duckdb=={number} " in (REPOSITORY / ".ci" / "run").read_text(encoding="utf-8")
    for document in ("import.md", "sql.md"):
        text = " ".join((REPOSITORY / "docs" / document).read_text(encoding="utf-8").split())
        assert f"any DuckDB client from {number.removesuffix('.0')} on" in text
