"""Tables with a row an answer, whose columns the user names: `--map prompt=question,model_name=llm,label=score`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pyarrow as pa

from warehouse.database.connect import identifier, literal

from .reader import ANSWER_ROWS, Choices, LogFile, Notes, Refusal, Run, grade
from .text_tables import TextTable, grade_of, is_no_grade, open_table, stripped, text_of

__all__ = ["LongTableReader"]

_OURS = (
    "prompt",
    "model_name",
    "label",
    "category",
    "prompt_id",
    "split",
    "tokens_in",
    "tokens_out",
    "cost",
    "latency_s",
    "answer",
    "target",
)
_NUMBERS = {"tokens_in": "BIGINT", "tokens_out": "BIGINT", "cost": "DOUBLE", "latency_s": "DOUBLE"}
_SPLITS = ("train", "val", "test")


class LongTableReader:
    """Reads what the user describes; it recognises nothing of its own accord."""

    format = "long"

    def recognises(self, file: LogFile) -> bool:
        return False

    def read(self, files: Sequence[LogFile], choices: Choices, notes: Notes) -> Iterator[tuple[LogFile, pa.Table]]:
        for file in files:
            try:
                with open_table(file) as table:
                    for answers in _Answers(table, choices, notes).tables():
                        yield file, answers
            except Refusal as refusal:
                notes.refuse(str(refusal))


class _Answers:
    """The answers of a table; `columns` are the table's names by ours."""

    def __init__(self, table: TextTable, choices: Choices, notes: Notes) -> None:
        self.table = table
        self.choices = choices
        self.notes = notes
        if unknown := sorted(set(choices.columns) - set(_OURS)):
            raise Refusal(f"--map knows no {', '.join(unknown)}; choose from {', '.join(_OURS)}")
        theirs = {name: name for name in _OURS if name in table.columns}  # a column of our name needs no mapping
        self.columns = {**theirs, **choices.columns}
        table.load(list(dict.fromkeys(self.columns.values())), "long")
        self.texts = {name: text_of(column) for name, column in self.columns.items()}
        self._longest = self.columns.get("prompt", "_text")
        for name, chosen in (("model_name", choices.model), ("category", choices.benchmark)):
            if chosen is not None:
                self.texts.setdefault(name, literal(chosen))
        if "prompt" not in self.texts and "prompt_id" in self.texts and choices.questions:
            self._load_questions()
        self._refuse_missing()

    def _refuse_missing(self) -> None:
        """Raise Refusal with all that neither a column nor an option gives."""
        options = {"model_name": "--model", "category": "--benchmark", "prompt": "", "label": ""}
        options["prompt"] = "--questions" if "prompt_id" in self.texts else ""
        missing = [name for name in options if name not in self.texts]
        if not missing:
            return
        wanted = ",".join(f"{name}=COLUMN" for name in missing)
        by_option = " and ".join(f"{name} with {options[name]}" for name in missing if options[name])
        raise Refusal(
            f"{self.table.file.name} has no column {' nor '.join(missing)}; name {'them' if missing[1:] else 'it'} "
            f"with --map {wanted}{f', or say {by_option}' if by_option else ''}; it has "
            f"{', '.join(self.table.columns)}"
        )

    def _load_questions(self) -> None:
        known = self.choices.questions
        rows = pa.table({"id": list(known), "text": list(known.values())})
        self.table.connection.register("given", rows)
        self.table.connection.execute(f"""
            CREATE OR REPLACE TABLE long AS
            SELECT long.*, given.text AS _text
            FROM long
            LEFT JOIN given ON given.id = long.{identifier(self.columns["prompt_id"])}
        """)
        ids = self.texts["prompt_id"]
        if lost := self.table.rows(f"SELECT _row, {ids} FROM long WHERE _text IS NULL ORDER BY _row LIMIT 1"):
            row, name = lost[0]
            raise Refusal(f"{self.table.file.name}, row {row}: the table of --questions has no text of {name!r}")
        self.texts["prompt"] = "_text"

    def tables(self) -> Iterator[pa.Table]:
        file = self.table.file
        self._check()
        for model, category in self.table.rows(f"""
            SELECT DISTINCT {self.texts["model_name"]}, {self.texts["category"]}
            FROM long
        """):
            self.notes.record(Run(model, category, file.name, "table"))
        for batch in self.table.batches(self._select(), self._longest, "long"):
            present = [column for column in ANSWER_ROWS if column.name in batch.schema.names]
            yield pa.table(
                [batch.column(column.name).cast(column.type) for column in present], schema=pa.schema(present)
            )

    def _select(self) -> str:
        texts, threshold = self.texts, self.choices.threshold
        more = {name: texts[name] for name in ("answer", "target", "split") if name in texts}
        if not self.choices.keep_answers:
            more.pop("answer", None)
        if "prompt_id" in texts:
            more["item"] = texts["prompt_id"]
            more["doc_id"] = f"TRY_CAST({texts['prompt_id']} AS BIGINT)"
        for name, kind in _NUMBERS.items():
            if name in texts:
                number = f"TRY_CAST({texts[name]} AS DOUBLE)"
                more[name] = f"CASE WHEN isfinite({number}) AND {number} >= 0 THEN TRY_CAST({number} AS {kind}) END"
        return f"""
            SELECT _row AS "row", {texts["model_name"]} AS model, {texts["category"]} AS category,
                {texts["prompt"]} AS text, _grade AS score, _grade >= {1 if threshold is None else threshold} AS correct
                {"".join(f", {sql} AS {name}" for name, sql in more.items())}
            FROM (SELECT *, {grade_of(texts["label"])} AS _grade FROM long)
            WHERE _grade IS NOT NULL AND isfinite(_grade)
            ORDER BY _row
        """

    def _check(self) -> None:
        """Raise Refusal for the first row that lacks something or has no grade; count answers that were not graded."""
        name, texts, threshold = self.table.file.name, self.texts, self.choices.threshold
        score, given = grade_of(texts["label"]), f"({stripped(texts['label'])} <> '')"
        faults = {
            column: f"min(_row) FILTER (coalesce({stripped(texts[column])}, '') = '')"
            for column in ("prompt", "model_name", "category")
        }
        if "split" in texts:
            faults["split"] = f"min(_row) FILTER ({texts['split']} NOT IN {_SPLITS})"
        ((rows, missing, faulty, *found),) = self.table.rows(f"""
            SELECT count(*),
                count(*) FILTER (coalesce(NOT isfinite({score}), {given} IS NOT TRUE)),
                min(_row) FILTER ({given} AND {is_no_grade(score, threshold)}),
                {", ".join(faults.values())}
            FROM long
        """)
        if not rows:
            raise Refusal(f"{name} has no rows")
        if faulty is not None:
            ((label,),) = self.table.rows(f"SELECT {texts['label']} FROM long WHERE _row = {faulty}")
            grade(label.strip(), threshold, f"{name}, row {faulty}: {self.columns['label']}")
            raise Refusal(f"{name}, row {faulty}: {self.columns['label']} is no plain number; correct the row")
        for column, row in zip(faults, found, strict=True):
            if row is not None:
                what = f"none of {', '.join(_SPLITS)}" if column == "split" else "empty"
                raise Refusal(f"{name}, row {row}: {self.columns.get(column, column)} is {what}; correct the row")
        self._refuse_lists()
        if missing:
            self.notes.leave_out(self.table.file, "answers without a grade", missing)

    def _refuse_lists(self) -> None:
        """Raise Refusal where the text of a question is a list or an object, such as the messages of a chat."""
        column = self.columns.get("prompt", "")
        if column in self.table.mixed and (
            found := self.table.rows(f"""
                SELECT _row
                FROM long
                WHERE CASE WHEN json_valid({identifier(column)}) THEN json_type({identifier(column)}) END
                    IN ('ARRAY', 'OBJECT')
                ORDER BY _row
                LIMIT 1
            """)
        ):
            raise Refusal(
                f"{self.table.file.name}, row {found[0][0]}: {column} is a list or an object; give the text of the "
                "question"
            )
