import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pytest
from deltalake import DeltaTable

from warehouse.database.connect import empty_table, open_database
from warehouse.database.publish import TABLES, publish
from warehouse.database.read import connect, query
from warehouse.errors import CorruptFileError, WarehouseError
from warehouse.imports.ingest import import_results
from warehouse.lake import Lake
from warehouse.lake.events import Event

REPOSITORY = Path(__file__).parents[3]


def test_an_empty_lake_publishes_empty_tables(lake: Lake, database: Path):
    assert publish(lake, database) == dict.fromkeys(TABLES, 0)
    for view in ("leaderboard", "coverage", "model_similarity"):
        assert query(database, f"FROM {view}").num_rows == 0


def test_tables_have_the_arrow_types_that_schema_sql_says(lake: Lake, database: Path):
    publish(lake, database)
    for name in TABLES:
        assert query(database, f"FROM {name}").schema == empty_table(name).schema


def test_everything_users_see_has_a_comment(lake: Lake, database: Path):
    publish(lake, database)
    seen = "database_name = 'warehouse' AND NOT internal"
    assert (
        query(
            database,
            f"""
            SELECT table_name FROM duckdb_tables() WHERE comment IS NULL AND {seen}
            UNION ALL SELECT view_name FROM duckdb_views() WHERE comment IS NULL AND {seen}
            UNION ALL SELECT table_name || '.' || column_name FROM duckdb_columns() WHERE comment IS NULL AND {seen}
            UNION ALL SELECT function_name FROM duckdb_functions() WHERE comment IS NULL AND {seen}
            """,
        ).num_rows
        == 0
    )


def test_responses_questions_and_the_models_that_answered(lake: Lake, database: Path, evaluated: Callable[..., None]):
    evaluated(lake, "b", "org/m", "10-")
    counts = publish(lake, database)
    assert (counts["responses"], counts["questions"], counts["models"], counts["benchmarks"]) == (2, 3, 1, 1)
    rows = query(
        database,
        "SELECT text, model, benchmark, correct, score, split "
        "FROM responses JOIN questions USING (question_id, benchmark) ORDER BY text",
    ).to_pylist()
    assert rows == [
        {"text": "a", "model": "org/m", "benchmark": "b", "correct": True, "score": 1.0, "split": "train"},
        {"text": "b", "model": "org/m", "benchmark": "b", "correct": False, "score": 0.0, "split": "train"},
    ]


def test_names_that_look_like_numbers_or_dates_stay_names(lake: Lake, database: Path, evaluated: Callable[..., None]):
    evaluated(lake, "007", "2024-01-01", "1")
    publish(lake, database)
    assert query(database, "SELECT model, benchmark FROM responses").to_pylist() == [
        {"model": "2024-01-01", "benchmark": "007"}
    ]


def test_leaderboard_has_wilson_intervals_and_a_row_for_all(lake: Lake, database: Path, evaluated: Callable[..., None]):
    evaluated(lake, "b", "m", "1110")
    evaluated(lake, "c", "m", "0000")
    publish(lake, database)
    rows = {row["benchmark"]: row for row in query(database, "FROM leaderboard").to_pylist()}
    assert {name: (row["n"], row["accuracy"]) for name, row in rows.items()} == {
        "b": (4, 0.75), "c": (4, 0.0), "all": (8, 0.375),
    }  # fmt: skip
    # Wilson's score interval at 95% for 3 of 4 and 0 of 4, from the closed formula.
    assert (rows["b"]["ci_low"], rows["b"]["ci_high"]) == pytest.approx((0.300642, 0.954413), abs=1e-6)
    assert (rows["c"]["ci_low"], rows["c"]["ci_high"]) == pytest.approx((0.0, 0.489891), abs=1e-6)


def test_coverage_tells_what_became_of_every_pair(lake: Lake, database: Path, evaluated, asked_few):
    models = ["done", "failed", "failed again", "few", "left", "new", "replaced"]
    lake.write_table("models", pa.table({"model": models, "source": ["registry"] * 7}))
    evaluated(lake, "b", "done", "10-")
    asked_few(lake, "b", "failed", "1")
    lake.record_failure("b", "failed", "out_of_memory", "too large")
    evaluated(lake, "b", "failed again", "101")
    lake.record_failure("b", "failed again", "data_unreachable", "offline")
    lake.record_failure("b", "failed again", "data_unreachable", "offline")
    asked_few(lake, "b", "few", "10")
    evaluated(lake, "b", "left", "111")
    lake.supersede("b", "left", "its entry has changed")
    for fingerprint in "123":
        evaluated(lake, "b", "replaced", "110", fingerprint=fingerprint)
    publish(lake, database)
    rows = query(
        database,
        "SELECT model, status, n, asked_of, kind, reason, attempts, date_diff('hour', failed_at, c.retry_at) AS hours, "
        "superseded FROM coverage c LEFT JOIN failures USING (model, benchmark, kind, reason, attempts) ORDER BY model",
    ).to_pylist()
    assert [tuple(row.values()) for row in rows] == [
        ("done", "done", 2, 3, None, None, None, None, 0),
        ("failed", "failed", 1, 3, "out_of_memory", "too large", 1, 12, 0),
        ("failed again", "failed", 3, 3, "data_unreachable", "offline", 2, 24, 0),
        ("few", "onboarded", 2, 3, None, None, None, None, 0),
        ("left", "superseded", 0, 3, None, None, None, None, 1),
        ("new", "missing", 0, 3, None, None, None, None, 0),
        ("replaced", "done", 3, 3, None, None, None, None, 2),
    ]


def test_a_model_that_knows_a_few_questions_is_onboarded_to_every_benchmark(lake, database, evaluated, asked_few):
    lake.write_table("models", pa.table({"model": ["few"], "source": ["registry"]}))
    asked_few(lake, "b", "few", "10")
    evaluated(lake, "b", "full", "101")
    evaluated(lake, "c", "full", "101")
    publish(lake, database)
    sql = "SELECT benchmark, status, n FROM coverage WHERE model = 'few' ORDER BY benchmark"
    assert query(database, sql).to_pylist() == [
        {"benchmark": "b", "status": "onboarded", "n": 2},
        {"benchmark": "c", "status": "onboarded", "n": 0},
    ]


def embedders(lake: Lake, **serving: bool) -> None:
    """Embedders made one after another, in this order."""
    made = pa.array(range(len(serving)), pa.timestamp("s"))
    columns = {"embedder": list(serving), "method": ["spectral"] * len(serving), "created_at": made}
    lake.write_table("embedders", pa.table(columns | {"serving": list(serving.values())}))


def estimates(lake: Lake, embedder: str, model: str, *rows: tuple[str, int, int, float]) -> None:
    """`onboarded`: (benchmark, n, answered, accuracy)."""
    benchmark, n, answered, accuracy = (list(column) for column in zip(*rows, strict=True))
    columns = {"benchmark": benchmark, "n": n, "answered": answered, "accuracy": accuracy}
    columns |= {"ci_low": [a - 0.1 for a in accuracy], "ci_high": [a + 0.1 for a in accuracy]}
    names = {"embedder": [embedder] * len(rows), "model": [model] * len(rows)}
    lake.write_table("onboarded", pa.table(names | columns), f"{embedder} {model}")


def test_onboarded_models_stand_in_the_leaderboard_with_estimates(lake: Lake, database: Path, evaluated, asked_few):
    embedders(lake, old=False, now=True)
    evaluated(lake, "b", "full", "110")
    asked_few(lake, "b", "few", "1")
    estimates(lake, "old", "few", ("b", 3, 1, 0.2), ("all", 3, 1, 0.2))
    estimates(lake, "now", "few", ("b", 3, 1, 0.5), ("c", 9, 0, 0.4), ("all", 12, 1, 0.425))
    publish(lake, database)
    leaderboard = "SELECT model, benchmark, n, accuracy, ci_low, ci_high, estimated FROM leaderboard ORDER BY ALL"
    rows = [tuple(row.values()) for row in query(database, leaderboard).to_pylist()]
    assert [row for row in rows if row[0] == "few"] == [
        ("few", "all", 1, 0.425, pytest.approx(0.325), pytest.approx(0.525), True),
        ("few", "b", 1, 0.5, pytest.approx(0.4), pytest.approx(0.6), True),
        ("few", "c", 0, 0.4, pytest.approx(0.3), pytest.approx(0.5), True),
    ]
    assert [(*row[:3], row[-1]) for row in rows if row[0] == "full"] == [
        ("full", "all", 3, False), ("full", "b", 3, False),
    ]  # fmt: skip


def test_measured_accuracies_hold_over_estimates(lake: Lake, database: Path, evaluated: Callable[..., None]):
    embedders(lake, now=True)
    estimates(lake, "now", "half", ("b", 3, 1, 0.5), ("c", 3, 1, 0.5), ("all", 6, 2, 0.5))
    estimates(lake, "now", "whole", ("b", 3, 1, 0.5), ("all", 3, 1, 0.5))
    evaluated(lake, "b", "half", "111")
    evaluated(lake, "b", "whole", "111")
    publish(lake, database)
    rows = query(database, "SELECT model, benchmark, accuracy, estimated FROM leaderboard ORDER BY ALL").to_pylist()
    assert [tuple(row.values()) for row in rows] == [
        ("half", "all", 0.5, True), ("half", "b", 1.0, False), ("half", "c", 0.5, True),
        ("whole", "all", 1.0, False), ("whole", "b", 1.0, False),
    ]  # fmt: skip


def test_coverage_tells_how_far_answers_can_be_trusted(lake: Lake, database: Path, evaluated: Callable[..., None]):
    evaluated(lake, "b", "full", "1101")
    noted = {"asked": "4", "unanswered": "1", "truncated": "2", "commonest_choice": "0.5", "chance": "0.25"}
    lake.annotate("b", "full", noted)
    lake.write_table("not_applicable", pa.table({"benchmark": ["b"], "model": ["chat"], "reason": ["it chats"]}))
    for name, column in (("models", "model"), ("benchmarks", "benchmark")):
        values = ["chat", "full", "late"] if name == "models" else ["b"]
        lake.write_table(name, pa.table({column: values, "source": ["registry"] * len(values)}))
    publish(lake, database)
    coverage = (
        "SELECT model, status, n, reason, accuracy, chance, unanswered, truncated, commonest_choice FROM coverage"
    )
    rows = [tuple(row.values()) for row in query(database, f"{coverage} ORDER BY model").to_pylist()]
    assert rows == [
        ("chat", "not_applicable", 0, "it chats", None, None, None, None, None),
        ("full", "done", 4, None, 0.75, 0.25, 1, 2, 0.5),
        ("late", "missing", 0, None, None, None, None, None, None),
    ]
    assert query(database, "SELECT ci_low < accuracy AND accuracy < ci_high AS inside FROM coverage WHERE n > 0")[
        "inside"
    ].to_pylist() == [True]


def communities(lake: Lake, *embedders: str) -> None:
    for embedder in embedders:
        table = pa.table({"embedder": [embedder], "kind": ["size"], "label": [f"of {embedder}"]})
        lake.write_table("communities", table, embedder)


@pytest.mark.parametrize(
    ("serving", "having", "shown"),
    [
        ({"v1": False, "v2": True}, ["v1", "v2"], ["of v2"]),
        ({"v1": True, "v2": False}, ["v1", "v2"], ["of v1"]),  # after a rollback
        ({"v1": False, "v2": False, "v3": True}, ["v1", "v2"], ["of v2"]),  # refreshed weekly only
        ({"v1": False, "v2": True}, ["v1"], ["of v1"]),
        ({"v1": True}, [], []),
        ({"v1": True}, ["forgotten"], []),
    ],
)
def test_a_table_is_of_the_serving_embedder_or_the_last_that_has_results(
    lake: Lake, database: Path, serving: dict[str, bool], having: list[str], shown: list[str]
):
    embedders(lake, **serving)
    communities(lake, *having)
    publish(lake, database)
    for name in ("communities", "latest('communities')"):
        assert query(database, f"SELECT label FROM {name}")["label"].to_pylist() == shown
    assert query(database, "SELECT embedder FROM history.communities ORDER BY ALL")["embedder"].to_pylist() == having
    with open_database() as connection:  # as those who attach it next to their own data
        connection.execute(f"ATTACH '{database}' AS theirs (READ_ONLY)")
        assert [label for (label,) in connection.sql("SELECT label FROM theirs.communities").fetchall()] == shown


def test_the_registry_holds_over_imported_labels(lake: Lake, database: Path, tmp_path: Path, evaluated, published):
    evaluated(lake, "b", "known", "1")
    evaluated(lake, "b", "labelled", "1")
    evaluated(lake, "b", "bare", "1")
    lake.write_table("models", pa.table({"model": ["known"], "family": ["ours"], "source": ["registry"]}))
    labels = tmp_path / "models.csv"
    labels.write_text(
        "model,family,size_b,communities\nknown,theirs,1,a\nlabelled,llama,7,coding\nwithout answers,x,1,\n"
    )
    import_results(lake, str(published([(1, "known", 1, "law", "x")])), models=labels, benchmark_of=str)
    publish(lake, database)
    rows = query(database, "SELECT model, family, size_b, communities, source FROM models ORDER BY model").to_pylist()
    assert [tuple(row.values()) for row in rows] == [
        ("bare", None, None, None, "import"),
        ("known", "ours", None, None, "registry"),
        ("labelled", "llama", 7.0, ["coding"], "import"),
    ]


def embedding_tables(lake: Lake) -> None:
    embedders(lake, v1=True)
    lake.add_question_embeddings("small", ["a"], np.zeros((1, 3), dtype=np.float32))
    lake.write_table(
        "model_embeddings",
        pa.table({"embedder": ["v1"] * 2, "model": ["m", "n"], "embedding": [[1.0, 0.0], [0.0, 1.0]]}),
    )


def test_embeddings_are_arrays_of_their_length(lake: Lake, database: Path):
    embedding_tables(lake)
    publish(lake, database)
    with connect(database) as connection:
        types = connection.sql("SELECT typeof(embedding) FROM question_embeddings UNION ALL "
                               "SELECT DISTINCT typeof(embedding) FROM model_embeddings").fetchall()  # fmt: skip
    assert types == [("FLOAT[3]",), ("FLOAT[2]",)]
    lake.add_question_embeddings("large", ["a"], np.zeros((1, 5), dtype=np.float32))
    publish(lake, database, ["question_embeddings"])
    assert query(database, "SELECT DISTINCT typeof(embedding) AS type FROM question_embeddings").to_pylist() == [
        {"type": "FLOAT[]"}
    ]


def test_model_similarity(lake: Lake, database: Path):
    embedding_tables(lake)
    publish(lake, database)
    rows = query(database, "FROM model_similarity ORDER BY model").to_pylist()
    assert [(row["model"], row["other"], row["cosine"]) for row in rows] == [("m", "n", 0.0), ("n", "m", 0.0)]
    assert rows[0]["distance"] == pytest.approx(2**0.5)


def test_only_named_tables_are_replaced(lake: Lake, database: Path, evaluated: Callable[..., None]):
    evaluated(lake, "b", "m", "1")
    publish(lake, database)
    evaluated(lake, "b", "n", "1")
    embedders = pa.table({"embedder": ["v1"], "method": ["mf"], "serving": [True], "seed": [0]})
    lake.write_table("embedders", embedders)
    assert publish(lake, database, ["embedders"]) == {"embedders": 1}
    assert query(database, "SELECT model FROM responses").to_pylist() == [{"model": "m"}]
    assert publish(lake, database, ["embedders"]) == {"embedders": 1}
    publish(lake, database)
    assert query(database, "SELECT count(*) AS n FROM responses").to_pylist() == [{"n": 2}]


def test_new_answers_are_added_to_those_that_still_hold(lake: Lake, database: Path, evaluated: Callable[..., None]):
    tables = ["models", "questions", "responses"]

    def published() -> list[tuple[str, str, int]]:
        publish(lake, database, tables)
        rows = query(
            database, "SELECT model, benchmark, count_if(correct) AS n FROM responses GROUP BY ALL ORDER BY ALL"
        )
        return [tuple(row.values()) for row in rows.to_pylist()]

    evaluated(lake, "b", "m", "110")
    evaluated(lake, "b", "n", "100")
    assert published() == [("m", "b", 2), ("n", "b", 1)]
    evaluated(lake, "c", "m", "111")
    assert published() == published() == [("m", "b", 2), ("m", "c", 3), ("n", "b", 1)]
    evaluated(lake, "b", "m", "000")
    assert published() == [("m", "b", 0), ("m", "c", 3), ("n", "b", 1)]
    lake.supersede("b", "n", "why")
    evaluated(lake, "b", "o", "111")
    assert published() == [("m", "b", 0), ("m", "c", 3), ("o", "b", 3)]
    lake.restore("b", "n", "f")
    evaluated(lake, "b", "o", "110")
    publish(lake, database, ["forecasts"])
    assert published() == [("m", "b", 0), ("m", "c", 3), ("n", "b", 1), ("o", "b", 2)]


def test_answers_that_hold_are_not_read_again(lake: Lake, database: Path, evaluated: Callable[..., None]):
    evaluated(lake, "b", "m", "110")
    publish(lake, database)
    (held,) = DeltaTable(lake.tables.at("responses")).file_uris()
    evaluated(lake, "b", "n", "100")
    Path(held).write_bytes(b"cannot be read")
    publish(lake, database, ["responses"])
    assert query(database, "SELECT count(*) AS n FROM responses").to_pylist() == [{"n": 6}]
    with pytest.raises(CorruptFileError):
        publish(lake, database)


def test_what_becomes_known_of_answers_later_is_published(lake: Lake, database: Path, evaluated: Callable[..., None]):
    evaluated(lake, "b", "m", "1")
    publish(lake, database)
    evaluated(lake, "b", "m", "1", {"answer": "Paris"})
    publish(lake, database, ["responses"])
    assert query(database, "SELECT answer FROM responses").to_pylist() == [{"answer": "Paris"}]


def test_publishing_again_and_again_does_not_grow_the_file(lake: Lake, database: Path, evaluated: Callable[..., None]):
    evaluated(lake, "b", "m", "10101")
    lake.add_question_embeddings(
        "e", [str(n) for n in range(2000)], np.random.default_rng(0).random((2000, 64), np.float32)
    )
    publish(lake, database)
    sizes = []
    for _ in range(8):
        publish(lake, database, ["question_embeddings"])
        sizes.append(database.stat().st_size)
    assert max(sizes[4:]) <= max(sizes[:4])  # it goes up and down by the blocks that were freed


def test_a_table_nobody_knows_is_refused(lake: Lake, database: Path):
    with pytest.raises(ValueError, match="no table nonsense; there are models"):
        publish(lake, database, ["nonsense"])
    lake.write_table("embedders", pa.table({"embedder": ["v"], "colour": ["red"]}))
    with pytest.raises(ValueError, match=r"lake/embedders has columns .* not: colour"):
        publish(lake, database)
    assert not database.exists()


def file_format(database: Path) -> int:
    """The version in the header of a DuckDB file."""
    return int.from_bytes(database.read_bytes()[12:20], "little")


def test_a_file_that_only_newer_clients_open_is_made_anew(
    lake: Lake, database: Path, evaluated: Callable[..., None], monkeypatch: pytest.MonkeyPatch
):
    evaluated(lake, "b", "m", "10")
    with monkeypatch.context() as earlier:
        for module in ("connect", "publish"):
            earlier.setattr(f"warehouse.database.{module}.OLDEST_CLIENT", "v1.2.0")
        publish(lake, database)
        assert file_format(database) == 65
    publish(lake, database, ["forecasts"])
    assert file_format(database) == 64  # DuckDB 0.9 to 1.1
    assert query(database, "SELECT count(*) AS n FROM responses").to_pylist() == [{"n": 2}]


@pytest.mark.parametrize("damage", ["truncated", "flipped", "emptied", "of another schema"])
def test_a_live_file_that_cannot_be_built_upon_is_made_anew(
    lake: Lake, database: Path, evaluated: Callable[..., None], caplog: pytest.LogCaptureFixture, damage: str
):
    evaluated(lake, "b", "m", "10")
    publish(lake, database)
    content = bytearray(database.read_bytes())
    if damage == "truncated":
        database.write_bytes(content[: len(content) // 2])
    elif damage == "flipped":
        for place in range(20_000, len(content), 10_000):  # past the headers, which are there twice
            content[place] ^= 1
        database.write_bytes(content)
    elif damage == "emptied":
        database.write_bytes(b"")
    else:
        with duckdb.connect(database) as connection:
            connection.execute("UPDATE warehouse_info SET schema_digest = 'older'")
    with caplog.at_level(logging.WARNING):
        publish(lake, database, ["forecasts"])
    assert query(database, "SELECT count(*) AS n FROM responses").to_pylist() == [{"n": 2}]
    why = "was made by another version of embedllm" if damage == "of another schema" else "is damaged"
    assert f"{database} {why}" in caplog.text
    assert "it is made again from the lake" in caplog.text


def test_a_damaged_lake_file_is_named_and_the_live_file_stays(
    lake: Lake, database: Path, evaluated: Callable[..., None]
):
    evaluated(lake, "b", "m", "10")
    publish(lake, database)
    evaluated(lake, "b", "n", "10")
    path = max(map(Path, DeltaTable(lake.tables.at("responses")).file_uris()), key=lambda path: path.stat().st_mtime_ns)
    path.write_bytes(path.read_bytes()[:50])
    with pytest.raises(CorruptFileError, match=lake.tables.at("responses")):
        publish(lake, database)
    assert query(database, "SELECT model FROM models").to_pylist() == [{"model": "m"}]
    assert [file.name for file in database.parent.glob(".warehouse*")] == []


def test_responses_without_questions_are_refused(lake: Lake, database: Path, evaluated: Callable[..., None]):
    evaluated(lake, "b", "m", "10")
    with lake.together() as writing:
        writing.add(Event("withdrawn", "b"))
    with pytest.raises(WarehouseError, match="2 responses to b have no question"):
        publish(lake, database)


def test_a_strangers_write_ahead_log_does_not_reach_the_new_file(
    lake: Lake, database: Path, evaluated: Callable[..., None]
):
    evaluated(lake, "b", "m", "10")
    publish(lake, database)
    program = (
        "import duckdb, os, sys; c = duckdb.connect(sys.argv[1]); "
        "c.execute('CREATE TABLE mine (x INT)'); c.execute('INSERT INTO mine VALUES (1)'); os._exit(0)"
    )
    subprocess.run([sys.executable, "-c", program, database], check=True)
    assert database.with_name("warehouse.duckdb.wal").exists()
    publish(lake, database)
    assert not database.with_name("warehouse.duckdb.wal").exists()
    assert query(database, "SELECT count(*) AS n FROM responses").to_pylist() == [{"n": 2}]


READER = """
import sys
from pathlib import Path
from warehouse.database.read import connect
database, stop = Path(sys.argv[1]), Path(sys.argv[2])
STATE = "SELECT (SELECT count(*) FROM models), (SELECT count(*) FROM questions), (SELECT count(*) FROM responses)"
held = connect(database)
print("held", *held.sql(STATE).fetchall()[0], flush=True)
last = False
while not last:
    last = stop.exists()
    with connect(database) as connection:
        print("seen", *connection.sql(STATE).fetchall()[0])
print("held", *held.sql(STATE).fetchall()[0])
"""


def test_a_reader_in_another_process_sees_whole_states_only(
    lake: Lake, database: Path, tmp_path: Path, evaluated: Callable[..., None]
):
    evaluated(lake, "b", "m0", "101")
    publish(lake, database)
    stop = tmp_path / "stop"
    with subprocess.Popen(
        [sys.executable, "-c", READER, database, stop],
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": str(REPOSITORY)},
    ) as reader:
        assert reader.stdout is not None
        first = reader.stdout.readline().split()
        for number in range(1, 6):
            evaluated(lake, "b", f"m{number}", "101")
            publish(lake, database)
            time.sleep(0.1)
        stop.touch()
        lines = [first, *(line.split() for line in reader.stdout)]
    assert reader.returncode == 0
    states = [(kind, *map(int, numbers)) for kind, *numbers in lines]
    assert {state for state in states if state[0] == "held"} == {("held", 1, 3, 3)}
    seen = [state[1:] for state in states if state[0] == "seen"]
    assert set(seen) <= {(n, 3, 3 * n) for n in range(1, 7)}
    assert seen == sorted(seen)
    assert len(set(seen)) > 1
    assert seen[-1] == (6, 3, 18)


PUBLISH = """
import sys
from pathlib import Path
from warehouse.lake import Lake
from warehouse.database.publish import publish
publish(Lake(sys.argv[1]), Path(sys.argv[2]))
"""
KILLED = """
import os, pathlib, signal
pathlib.Path.replace = lambda path, target: os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_killed_publish_leaves_the_live_file(
    lake: Lake, database: Path, evaluated: Callable[..., None], python: Callable[..., subprocess.CompletedProcess[str]]
):
    evaluated(lake, "b", "m", "10")
    publish(lake, database)
    before = database.read_bytes()
    evaluated(lake, "b", "n", "10")
    assert python(KILLED + PUBLISH, lake.address, database).returncode == -signal.SIGKILL
    assert database.read_bytes() == before
    assert publish(lake, database)["models"] == 2
    assert sorted(path.name for path in database.parent.iterdir()) == [".publish.lock", "lake", "warehouse.duckdb"]


def test_publishers_wait_for_each_other(lake: Lake, database: Path, evaluated: Callable[..., None]):
    evaluated(lake, "b", "m", "10")
    command = [sys.executable, "-c", PUBLISH, lake.address, database]
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    publishers = [subprocess.Popen(command, env=environment) for _ in range(2)]
    assert [publisher.wait() for publisher in publishers] == [0, 0]
    assert query(database, "SELECT count(*) AS n FROM responses").to_pylist() == [{"n": 2}]
