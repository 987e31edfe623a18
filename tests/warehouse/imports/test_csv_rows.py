import csv
import io
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from warehouse.errors import ImportRefused
from warehouse.imports.csv_rows import is_regular
from warehouse.imports.ingest import import_results
from warehouse.imports.labels import read_labels
from warehouse.lake import Lake

HEADER = "prompt_id,label,model_name,category,prompt"


@pytest.mark.parametrize(
    ("content", "regular"),
    [
        (b"", True),
        (b"a,b\n1,2\n", True),
        (b"a,b\r\n1,2\r\n", True),
        (b"a,b\r\n1,2", True),
        (b'a,b\n1,"x\ry\r\nz"\n', True),
        (b'a,b\r\n1,"x\ny\r\nz\rq"\r\n', True),
        (b'a,b\r\n1,"say ""\n"" twice"\r\n', True),
        (b'a,b\r\n1,"x\ny"\r\n2,"\r"\r\n3,z\r\n', True),
        (b'a,b\r\n1,"x\ny"\r\n2,"\r"\r\n3,z\n', False),
        (b"a,b\n1,2\r\n", False),
        (b"a,b\r\n1,2\n", False),
        (b"a,b\r1,2\r", False),
        (b"a,b\n1,x\ry\n", False),
        (b"a,b\n1,2\r", False),
        (b"\na,b\n1,2\n", False),
        (b"\xef\xbb\xbf\r\na,b\r\n", False),
    ],
)
def test_a_regular_file_has_one_line_end_outside_quotes(tmp_path: Path, content: bytes, regular: bool):
    (tmp_path / "r.csv").write_bytes(content)
    assert is_regular(tmp_path / "r.csv") == regular


TEXTS = st.text(st.sampled_from('ab ,"\r\nü\0'), min_size=1, max_size=6)
ENDS = st.sampled_from(["\n", "\r\n", "\r"])


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=st.lists(st.tuples(TEXTS, ENDS, st.booleans()), min_size=1, max_size=8), end_of_header=ENDS)
def test_any_mixture_of_line_ends_is_the_same_import(tmp_path_factory, answers_of, rows, end_of_header):
    folder = tmp_path_factory.mktemp("mixture")

    def bring(name: str, ends: list[str]) -> set[tuple[str, str, str, bool]]:
        lines = [HEADER]
        for number, (text, _, right) in enumerate(rows):
            line = io.StringIO()
            quoting = csv.QUOTE_ALL if {"\r", "\n"} & set(text) else csv.QUOTE_MINIMAL
            csv.writer(line, lineterminator="", quoting=quoting).writerow([number, int(right), "m", "law", text])
            lines.append(line.getvalue())
        path = folder / f"{name}.csv"
        path.write_bytes("".join(line + end for line, end in zip(lines, ends, strict=True)).encode())
        lake = Lake(folder / name / "lake")
        import_results(lake, str(path), benchmark_of=str)
        return answers_of(lake)

    plain = bring("plain", ["\n"] * (len(rows) + 1))
    assert {text for _, text, _, _ in plain} == {text for text, _, _ in rows}
    assert bring("mixed", [end_of_header, *(end for _, end, _ in rows)]) == plain


@pytest.mark.parametrize(
    ("rows", "texts"),
    [
        (b"1,1,m,law,x\r\n2,1,m,law,y\n", ["x", "y"]),  # the prompt x\r, written without quotes
        (b"1,1,m,law,x\r2,1,m,law,y", ["x", "y"]),
        (b'1,1,m,law,"x\r\ny\rz\n"\r\n2,1,m,law,y\r', ["x\r\ny\rz\n", "y"]),
        (b"1,1,m,law,x\r\r\n2,1,m,law,y\r\r\n", ["x", "y"]),
        (b"\n1,1,m,law,x\r\n\r\n2,1,m,law,y\n\n", ["x", "y"]),
        (b"1,1,m,law,x\0y\r\n2,1,m,law," + b"z" * 200_000 + b"\n", ["x\0y", "z" * 200_000]),
        (b'1,1,m,law,5" or 6"\r\n2,1,m,law,y,\n', ['5" or 6"', "y"]),
    ],
)
@pytest.mark.parametrize("before", [b"", b"\xef\xbb\xbf", b"\n"])
def test_whole_rows_are_read_whatever_ends_them(lake: Lake, tmp_path: Path, before: bytes, rows: bytes, texts: list):
    path = tmp_path / "r.csv"
    path.write_bytes(before + HEADER.encode() + b"\n" + rows)
    import_results(lake, str(path), benchmark_of=str)
    assert lake.questions()["text"].to_pylist() == texts


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (b"1,1,m,law,x\n2,1,m,law,y\rz\n",
         "row 3: 1 field instead of 5; a carriage return (CR) ends a row unless its field is quoted"),
        (b"1,1,m,la\rw,x\n",
         "row 1: 4 fields instead of 5; a carriage return (CR) ends a row unless its field is quoted"),
        (b"1,1,m,law,x\r\n2,1,m,law\n", "row 2: 4 fields instead of 5; a field that holds a line break must be quoted"),
        (b"1,1,m,law,x\n2,1,m,la\nw,y\n", "row 2: 4 fields instead of 5; a field that holds a line break must be"),
        (b"1,1,m,law,x\n2,1,m,law,yes, sir\n", "row 2: 6 fields instead of 5; a field that holds a comma must"),
        (b'1,1,m,law,"x"\n2,1,m,law,"the "best" one"\n', "row 2: a quote within a quoted field must be doubled"),
        (b'1,1,m,law,"a\nb"\n2,1,m,law,"the \\" one"\n', "row 2: a quote within a quoted field must be doubled"),
        (b'1,1,m,law,"a\nb"\n2,1,m,law,"x\n3,1,m,law,y\n', "row 2: unterminated quote"),
        (b'1,1,m,law,"a\nb"\n2,1,m,law,"x\r\n3,1,m,law,y\n', "row 2: unterminated quote"),
        (b"1,1,m,law,x\n\n2,1,m,law,caf\xe9\n", "row 2: it is not UTF-8"),
        (b'1,1,m,law,"a\r\nb"\n2,1,m,law,caf\xe9\r\n', "row 2: it is not UTF-8"),
        (b"1,1,m,law," + b"x" * 9_000_000 + b"\n", "row 1: a line of more than 8,388,608 characters"),
        (b'1,1,m,law,"' + b"xxxxxxxxx\n" * 900_000 + b'"\n',
         "row 1: a field of more than 8,388,608 characters, perhaps because of an unterminated quote"),
    ],
)  # fmt: skip
def test_a_row_that_is_not_whole_is_told_with_its_cause(lake: Lake, tmp_path: Path, rows: bytes, message: str):
    path = tmp_path / "r.csv"
    path.write_bytes(HEADER.encode() + b"\n" + rows)
    with pytest.raises(ImportRefused) as refused:
        import_results(lake, str(path), benchmark_of=str)
    assert f"it cannot be read ({message}" in str(refused.value)
    assert len(str(refused.value)) < 400
    assert lake.pairs() == []


def test_rows_are_numbered_alike_whichever_reader_reads_them(lake: Lake, tmp_path: Path):
    path = tmp_path / "r.csv"
    for end in (b"\n", b"\r\n"):
        path.write_bytes(HEADER.encode() + b'\n1,1,m,law,"two\r\nlines"\n\n2,1,m,law,y\n3,maybe,m,law,z' + end)
        with pytest.raises(ImportRefused, match=r"none of 0, 1, true, false in 1 rows \(row 3: 'maybe'\)"):
            import_results(lake, str(path), benchmark_of=str)


def test_split_tables_and_tables_of_models_may_mix_line_ends(lake: Lake, tmp_path: Path):
    (tmp_path / "r.csv").write_text(f"{HEADER}\n1,1,m,law,x\n2,1,n,law,y\n")
    (tmp_path / "split.csv").write_bytes(b"prompt_id,split\n1,val\r\n2,test\r")
    (tmp_path / "models.csv").write_bytes(b"model,family\r\nm,llama\nn,qwen\r")
    options = {"split": tmp_path / "split.csv", "models": tmp_path / "models.csv"}
    import_results(lake, str(tmp_path / "r.csv"), benchmark_of=str, **options)
    assert {row["doc_id"]: row["split"] for row in lake.questions().to_pylist()} == {1: "val", 2: "test"}
    labels = read_labels(tmp_path / "models.csv")
    assert dict(zip(labels["model"].to_pylist(), labels["family"].to_pylist(), strict=True)) == {
        "m": "llama", "n": "qwen",
    }  # fmt: skip
    for table, content in (("split", b"prompt_id,split\n1,val\n2\n"), ("models", b"model,family\nm,llama\nn\n")):
        (tmp_path / f"{table}.csv").write_bytes(content)
        with pytest.raises(ImportRefused, match=rf"{table}\.csv was not imported: .* \(row 2: 1 field instead of 2;"):
            import_results(lake, str(tmp_path / "r.csv"), benchmark_of=str, **{table: tmp_path / f"{table}.csv"})


def test_the_limit_of_other_readers_stays(tmp_path: Path, lake: Lake):
    before = csv.field_size_limit()
    (tmp_path / "r.csv").write_text(f"{HEADER}\n1,1,m,law,x\r\n", newline="")
    import_results(lake, str(tmp_path / "r.csv"), benchmark_of=str)
    assert csv.field_size_limit() == before
