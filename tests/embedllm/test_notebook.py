"""docs/python.ipynb, cell by cell."""

import ast
import json
from pathlib import Path

import pytest

NOTEBOOK = Path(__file__).parents[2] / "docs" / "python.ipynb"


@pytest.mark.slow
def test_the_notebook_runs_and_says_what_it_should(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    names: dict[str, object] = {}
    shown = [
        _run("".join(cell["source"]), names) for cell in json.loads(NOTEBOOK.read_text())["cells"] if _is_code(cell)
    ]

    _, router, routed, forecast, work, similar, kept = shown
    assert str(router).endswith("3 models>")
    assert routed.loc[routed["rank"] == 1, "model"].tolist() == ["org/adder", "org/gardener"]
    assert forecast.shape == (2, 3)
    assert work["model"].tolist() == kept == ["org/adder", "org/gardener"]
    assert set(similar["model"]) == {"org/gardener", "org/guesser"}


def _is_code(cell: dict) -> bool:
    return cell["cell_type"] == "code"


def _run(source: str, names: dict) -> object:
    """Run a cell, and return the value of its last expression."""
    *before, last = ast.parse(source).body
    exec(compile(ast.Module(before, []), "cell", "exec"), names)
    if isinstance(last, ast.Expr):
        return eval(compile(ast.Expression(last.value), "cell", "eval"), names)
    exec(compile(ast.Module([last], []), "cell", "exec"), names)
    return None
