"""A router in a folder beside a registry, both of which change while they are served by."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import embedllm
from pipelines.router_source import FolderSource
from pipelines.settings import Settings
from server.live import Live

MODELS = """models:
- {name: adder, args: {pretrained: adder}}
- {name: gardener, args: {pretrained: gardener}}
"""
POLICIES = "policies:\n- {name: careful, choose: shadow, default_model: gardener}\n"


class Topics:
    name, dimensions, static_files = "topics@1", 2, None

    def __init__(self, *_: Any, **__: Any) -> None: ...

    def encode(self, texts: Sequence[str], *, progress: bool = True) -> np.ndarray:
        return np.array([["plus" in text, "tree" in text] for text in texts], np.float32).reshape(-1, 2)


def fit(label: int) -> embedllm.Router:
    rows = [{"model": m, "prompt": f"{n} plus 1", "label": label} for n in range(20) for m in ("adder", "gardener")]
    return embedllm.fit(pd.DataFrame(rows), encoder="topics")


def test_what_cannot_be_used_is_not_served_by(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("embedllm.fitting.LazyEncoder", Topics)
    monkeypatch.setattr("embedder.bundle.LazyEncoder", Topics)
    registry, folder = tmp_path / "registry", tmp_path / "router"
    registry.mkdir()
    for name, text in (("models", MODELS), ("benchmarks", "benchmarks: []\n"), ("policies", POLICIES)):
        (registry / f"{name}.yaml").write_text(text)
    first = fit(0)
    first.save(folder)
    live = Live(FolderSource(Settings(home=tmp_path / "home", registry=registry), folder))
    live.load()
    assert (live.snapshot.version, list(live.snapshot.policies.by_name)) == (first.version, ["careful"])

    def changed(file: str, text: str) -> str | None:
        (registry / file).write_text(text)
        live.refresh()
        return live.problem

    assert "policies.yaml, line 3: did not find expected" in str(changed("policies.yaml", POLICIES[:40]))
    assert changed("policies.yaml", POLICIES) is None
    gone = changed("models.yaml", MODELS.replace("gardener", "florist"))
    assert "policy 'careful' names 'gardener', which is not in models.yaml" in str(gone)
    assert list(live.snapshot.models) == ["adder", "gardener"]
    assert changed("models.yaml", MODELS) is None

    folder.rename(tmp_path / "old")
    live.refresh()
    assert "router.json: no such file" in str(live.problem)
    assert live.snapshot.version == first.version
    second = fit(1)
    second.save(folder)
    live.refresh()
    assert (live.problem, live.snapshot.version) == (None, second.version)
    assert second.version != first.version
