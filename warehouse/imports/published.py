"""Results in a scratch database, where they are checked; nothing is used before all of it is right.

The table `raw` has a row an answer and `text` the texts of questions. `layout.py` fills them from tables in the layout
of EmbedLLM's authors, and `logs.py` from the logs of evaluations.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from string import Template

import duckdb
import numpy as np
import pyarrow as pa

from warehouse.database.connect import literal, open_database, script
from warehouse.errors import ImportRefused

from .problems import NameFault, Problems
from .readers.reader import Run
from .tables import EXAMPLES

__all__ = ["Published", "Results", "open_scratch"]

MEMORY = "500MB"  # of DuckDB's buffers; the process with all its libraries stays under 1 GB

KNOWN = {
    "tokens_in": "min(tokens_in)",
    "tokens_out": "min(tokens_out)",
    "cost": "min(cost)",
    "latency_s": "min(latency_s)",
    "answer": "arg_min(answer, spot)",
}
"""By column of ANSWERS that sources may bring next to the grade: which of several values counts, as SQL."""

_HOLDS = {
    "majority": "CASE sign(2 * ones - copies) WHEN 1 THEN 1 WHEN -1 THEN 0 END",
    "drop": "NULL",
    "first": "first",
}
"""SQL by `on_conflict`: which of two labels of one answer holds, null for neither."""


class Published:
    """Checked results. Questions are numbered in the order of prompt_id, by value where all are numbers."""

    def __init__(
        self,
        connection: duckdb.DuckDBPyConnection,
        known: Collection[str],
        resolved: int,
        runs: Mapping[tuple[str, str], Run],
    ) -> None:
        self._connection = connection
        self._known = tuple(known)
        self.resolved = resolved  # answers with two labels of which something has decided
        self.runs = runs  # by model and category
        self.models, self.questions, self.rows, self.duplicates = connection.sql("""
            SELECT (SELECT count(*) FROM model), (SELECT count(*) FROM prompt),
                count(*), sum(copies - 1)::BIGINT
            FROM graded
        """).fetchall()[0]
        benchmarks = connection.sql("SELECT DISTINCT benchmark FROM covered ORDER BY ALL").fetchall()
        self.benchmarks: list[str] = [benchmark for (benchmark,) in benchmarks]
        connection.execute("""
            CREATE TABLE place AS
            SELECT prompt, benchmark, row_number() OVER (PARTITION BY benchmark ORDER BY prompt) - 1 AS place
            FROM prompt
            JOIN covered USING (category)
        """)

    def resplit(self) -> int:
        """Give all questions of one text the split of the one nearest to training; return how many that changes."""
        return self._connection.execute(script("import_resplit", __file__)).fetchall()[0][0]

    def categories_of(self, benchmark: str) -> list[str]:
        found = self._connection.sql(
            f"SELECT category FROM covered WHERE benchmark = {literal(benchmark)} ORDER BY ALL"
        )
        return [category for (category,) in found.fetchall()]

    def questions_of(self, benchmark: str) -> pa.Table:
        """Return category, task (the same), doc_id, text, split and target (null: not given), ordered by prompt_id."""
        return self._connection.sql(f"""
            SELECT category, category AS task, doc_id, text, split, target
            FROM prompt
            JOIN text USING (prompt)
            JOIN place USING (prompt)
            WHERE benchmark = {literal(benchmark)}
            ORDER BY place
        """).to_arrow_table()

    def answers_of(self, benchmark: str) -> Iterator[tuple[str, pa.Table]]:
        """Yield the answers to one benchmark model by model: place (the row of `questions_of`, ascending), correct,
        score and what is known of KNOWN."""
        rows = self._connection.sql(f"""
            SELECT model, {", ".join(["place", "lowest = 1 AS correct", "score", *self._known])}
            FROM graded
            JOIN place USING (prompt)
            WHERE benchmark = {literal(benchmark)}
            ORDER BY model, place
        """).to_arrow_table()
        names, numbers = self.model_names(), rows["model"].to_numpy()
        starts = np.flatnonzero(np.diff(numbers, prepend=-1)).tolist()
        for start, end in pairwise([*starts, len(numbers)]):
            yield names[numbers[start]], rows.slice(start, end - start)

    def model_names(self) -> list[str]:
        return [name for (name,) in self._connection.sql("SELECT model_name FROM model ORDER BY model").fetchall()]

    def overview(self) -> pa.Table:
        """Return model, benchmark, category, questions and accuracy: what would come in, a row a model and category."""
        return self._connection.sql("""
            SELECT model_name AS model, benchmark, category, count(*) AS questions, avg(lowest) AS accuracy
            FROM graded
            JOIN model USING (model)
            JOIN prompt USING (prompt)
            JOIN covered USING (category)
            GROUP BY ALL
            ORDER BY ALL
        """).to_arrow_table()


def open_scratch(folder: Path) -> duckdb.DuckDBPyConnection:
    """Open a database on disk, in a new folder, for what does not fit into memory."""
    folder.mkdir(parents=True)
    scratch = open_database(folder / "scratch.duckdb", memory_limit=MEMORY, temp_directory=str(folder / "spill"))
    scratch.execute(script("import_raw", __file__))
    return scratch


class Results(Problems):
    """The rows of some files in the scratch database, and the steps from there to `Published`."""

    formats: Sequence[str] = ("embedllm",)  # of the files that were read
    known: Sequence[str] = ()  # which of KNOWN some rows have
    scored = False  # whether the rows have a score that is not just their label
    prompt_word = "prompt_id"
    resolved = 0
    runs: Mapping[tuple[str, str], Run] = {}

    def load_texts(self) -> None:
        """Fill the table text: the number of a question (table prompt) and its text."""
        raise NotImplementedError

    def name_prompt(self, prompt_id: str, spots: list[int], model: str | None = None) -> str:
        return f"{prompt_id}{f' and {model}' if model else ''} in {self.where(spots)}"

    def number_prompts(self) -> None:
        self.connection.execute(script("import_prompts", __file__))
        for column, what in (("prompt", "texts"), ("category", "categories"), ("split", "splits")):
            found = self.rows(f"""
                SELECT prompt_id, list_sort(list(first))[:2]
                FROM (
                    SELECT prompt_id, {column}, min(spot) AS first
                    FROM raw
                    WHERE {column} IS NOT NULL AND prompt_id IS NOT NULL
                    GROUP BY ALL
                )
                GROUP BY prompt_id
                HAVING count(*) > 1
                ORDER BY min(first)
            """)
            examples = [self.name_prompt(prompt_id, spots) for prompt_id, spots in found[:EXAMPLES]]
            self.note(f"{len(found)} {self.prompt_word} with two {what}", len(found), examples)

    def grade(self, on_conflict: str) -> None:
        known = "".join(f", {KNOWN[name]} AS {name}" for name in self.known)
        score = "arg_min(score, spot)" if self.scored else "min(correct::TINYINT)::DOUBLE"
        self.connection.execute(Template(script("import_graded", __file__)).substitute(score=score, known=known))
        if holds := _HOLDS.get(on_conflict):
            unknown = ", answer = NULL" if "answer" in self.known else ""
            update = f"UPDATE graded SET lowest = {holds}, highest = {holds}, score = {holds}{unknown}"
            ((self.resolved,),) = self.connection.execute(f"{update} WHERE lowest <> highest").fetchall()
            self.connection.execute("DELETE FROM graded WHERE lowest IS NULL")
        else:
            self._note_contradictions("correct", "both labels")
        for name in ("tokens_in", "tokens_out", "cost"):
            if name in self.known:
                self._note_contradictions(name, f"two values of {name}")

    def _note_contradictions(self, column: str, what: str) -> None:
        found = self.rows(f"""
            SELECT count(*) OVER (), prompt_id, model_name,
                list_sort([arg_min(spot, ({column}, spot)), arg_max(spot, ({column}, -spot))])
            FROM raw
            WHERE {column} IS NOT NULL
            GROUP BY prompt_id, model_name
            HAVING min({column}) < max({column})
            ORDER BY min(spot)
            LIMIT {EXAMPLES}
        """)
        if found:
            examples = [self.name_prompt(prompt_id, spots, model) for _, prompt_id, model, spots in found]
            self.note(f"{found[0][0]} pairs of {self.prompt_word} and model_name with {what}", found[0][0], examples)

    def check_names(
        self, benchmark_of: Callable[[str], str], model_fault: NameFault, benchmark_fault: NameFault
    ) -> None:
        """Fill the table covered: one row per category, with its benchmark."""
        models = [name for (name,) in self.rows("SELECT model_name FROM model ORDER BY model")]
        self.note_names("model", models, model_fault, "SELECT model_name AS name, spot FROM raw")
        categories = self.rows("SELECT DISTINCT category FROM prompt WHERE category IS NOT NULL ORDER BY ALL")
        pairs = [(category, benchmark_of(category)) for (category,) in categories]
        self.connection.execute("CREATE TABLE covered (category VARCHAR, benchmark VARCHAR)")
        if pairs:
            self.connection.executemany("INSERT INTO covered VALUES (?, ?)", pairs)
        names = sorted({benchmark for _, benchmark in pairs})
        rows = "SELECT benchmark AS name, spot FROM raw JOIN covered USING (category)"
        if self.note_names("benchmark", names, benchmark_fault, rows):
            self.problems.append(
                "to have a category under another benchmark name, list it in `covers` of an entry of the registry's "
                "benchmarks.yaml"
            )

    def publish(self, source: str) -> Published:
        """Return the checked results. Raises ImportRefused with everything that is wrong."""
        if self.problems:
            raise ImportRefused(source, self.problems)
        self.load_texts()
        return Published(self.connection, self.known, self.resolved, self.runs)
