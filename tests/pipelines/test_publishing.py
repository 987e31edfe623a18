"""What a refresh has made can be queried, whatever else of it failed."""

from pathlib import Path

import dagster as dg
import pytest

from embedder.encoder import EncoderError
from pipelines.console import Console
from pipelines.errors import CommandError
from pipelines.local.runner import make_assets
from pipelines.settings import Settings, open_workspace
from warehouse.database.read import query
from warehouse.imports.ingest import import_results


def test_what_was_made_before_a_failure_is_published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "results.csv"
    file.write_text("prompt_id,model_name,category,label,prompt\n0,lab__a,sums,1,What is 1 plus 2?\n", encoding="utf-8")
    workspace = open_workspace(Settings(home=tmp_path / "home"))
    import_results(workspace.lake, str(file), benchmark_of=workspace.registry.benchmark_of)

    def no_encoder(*_: object) -> None:
        raise EncoderError("it cannot be found")

    monkeypatch.setattr("assets.matrix.reading._encoder", no_encoder)
    fails = pytest.raises(CommandError, match="question_embeddings failed: it cannot be found")
    with Console() as console, dg.DagsterInstance.ephemeral() as instance, fails:
        made = [dg.AssetKey(name) for name in ("correctness_matrix", "coverage", "question_embeddings", "warehouse")]
        make_assets(made, workspace, instance, console, {})
    found = query(workspace.database, "SELECT model, accuracy FROM leaderboard WHERE benchmark = 'all'").to_pylist()
    assert found == [{"model": "lab/a", "accuracy": 1.0}]
