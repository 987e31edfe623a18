"""The package people import: fit, load, ask, save."""

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import embedllm
from embedder.bundle import BundleExists
from embedder.errors import EmbedderError
from embedder.router import UnknownModel
from embedder.store import StoreError

SUM, TREE = "What is 12 plus 7?", "Which tree is number 99?"


@pytest.fixture(scope="module")
def answers() -> pd.DataFrame:
    """adder knows sums, gardener trees, novice nothing; novice was not asked everything."""
    rows = [
        {"model": model, "prompt": prompt, "label": int(model == expert), "category": topic}
        for number in range(100)
        for topic, expert, prompt in (
            ("sums", "adder", f"What is {number} plus 3?"),
            ("trees", "gardener", f"Which tree is number {number}?"),
        )
        for model in ("adder", "gardener", "novice")
        if model != "novice" or number % 3
    ]
    return pd.DataFrame(rows)


class Topics:
    """Tells a sum from a tree."""

    name, dimensions, static_files = "topics@1", 2, None

    def __init__(self, *_: Any, **__: Any) -> None: ...

    def encode(self, texts: Sequence[str], *, progress: bool = True) -> np.ndarray:
        return np.array([["plus" in text, "tree" in text] for text in texts], np.float32).reshape(-1, 2)


@pytest.fixture
def router(answers: pd.DataFrame, monkeypatch: pytest.MonkeyPatch) -> embedllm.Router:
    monkeypatch.setattr("embedllm.fitting.LazyEncoder", Topics)
    monkeypatch.setattr("embedder.bundle.LazyEncoder", Topics)
    return embedllm.fit(answers, encoder="topics")


def test_it_routes(router: embedllm.Router) -> None:
    routed = router.route([SUM, TREE], top=2)

    assert list(routed.columns) == [
        "question", "rank", "model", "probability", "low", "high", "score", "cost", "support"
    ]  # fmt: skip
    assert routed[["question", "rank"]].values.tolist() == [[SUM, 1], [SUM, 2], [TREE, 1], [TREE, 2]]
    assert routed["model"].tolist()[::2] == ["adder", "gardener"]
    best = routed[routed["rank"] == 1]
    assert (best["low"] < best["probability"]).all()
    assert (best["probability"] > 0.7).all()
    assert best["cost"].isna().all()
    assert router.route([SUM], without=["adder"])["model"].tolist()[0] != "adder"
    assert router.route([], top=1).empty
    with pytest.raises(UnknownModel, match="unknown model 'addr'"):
        router.route([SUM], among=["addr"])
    with pytest.raises(TypeError, match="put the one question into a list"):
        router.route(SUM)
    with pytest.raises(TypeError, match="question 1 is None, but must be text"):
        router.route([SUM, None])  # type: ignore[list-item]
    with pytest.raises(ValueError, match="top is 0, but must be 1 or more"):
        router.route([SUM], top=0)
    assert router.route([f"{SUM} \ud800"], top=1)["question"].tolist() == [f"{SUM} ?"]


def test_it_forecasts(router: embedllm.Router) -> None:
    forecast = router.forecast([SUM, TREE])
    assert forecast.index.tolist() == [SUM, TREE]
    assert forecast.columns.tolist() == router.models == ["adder", "gardener", "novice"]
    assert forecast.loc[SUM, "adder"] > 0.7 > 0.3 > forecast.loc[TREE, "adder"]


def test_a_frame_keeps_its_rows(router: embedllm.Router) -> None:
    frame = pd.DataFrame({"ask": [TREE, SUM, TREE], "more": [1, 2, 3]}, index=[7, 3, 7])
    routed = router.frame(frame, "ask", without=["novice"])
    assert routed.index.tolist() == [7, 3, 7]
    assert routed["more"].tolist() == [1, 2, 3]
    assert routed["model"].tolist() == ["gardener", "adder", "gardener"]
    with pytest.raises(KeyError, match="no column 'prompt', only ask, more"):
        router.frame(frame)
    with pytest.raises(ValueError, match=r"row 1: prompt is .*, but must be text"):
        router.frame(pd.DataFrame({"prompt": [SUM, None]}))


def test_models_that_are_similar(answers: pd.DataFrame, monkeypatch: pytest.MonkeyPatch) -> None:
    twin = answers[answers["model"] == "adder"].assign(model="adding")
    monkeypatch.setattr("embedllm.fitting.LazyEncoder", Topics)
    similar = embedllm.fit(pd.concat([answers, twin]), encoder="topics").similar("adder")
    assert similar["model"].tolist()[0] == "adding"
    assert similar["distance"].tolist()[0] == pytest.approx(0, abs=1e-3)
    assert set(similar["model"]) == {"adding", "gardener", "novice"}


def test_the_order_of_rows_does_not_matter(
    router: embedllm.Router, answers: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    shuffled = embedllm.fit(pd.concat([answers.sample(frac=1, random_state=1), answers[:5]]), encoder="topics")
    assert shuffled.version == router.version
    pd.testing.assert_frame_equal(shuffled.forecast([SUM, TREE]), router.forecast([SUM, TREE]))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"label": 0.5}, "row 0: label is 0.5, but must be 0 or 1 (a model that was not asked has no row)"),
        ({"label": None}, "row 0: label is nan, but must be 0 or 1"),
        ({"prompt": None}, "row 0: prompt is nan, but must be text"),
        ({"model": ""}, "row 0: model is '', but must be text"),
        ({"category": 3}, "row 0: category is 3, but must be text"),
    ],
)
def test_a_row_that_is_wrong_is_named(answers: pd.DataFrame, change: dict[str, Any], message: str) -> None:
    rows = answers.to_dict("records")
    with pytest.raises(ValueError) as told:  # noqa: PT011
        embedllm.fit(pd.DataFrame([{**rows[0], **change}, *rows[1:]]))
    assert str(told.value).startswith(message)


@pytest.mark.parametrize(
    "change",
    [
        lambda frame: frame.astype({"model": "category", "prompt": "category", "label": "category"}),
        lambda frame: frame.convert_dtypes(dtype_backend="pyarrow"),
        lambda frame: frame.assign(label=frame["label"].astype("boolean")),
        lambda frame: frame.assign(label=frame["label"].astype(float)),
        lambda frame: frame.set_axis([0] * len(frame)),
        lambda frame: frame.set_index("prompt", drop=False),
    ],
    ids=["categories", "pyarrow", "boolean", "float", "an index twice", "an index of the same name"],
)
def test_however_a_frame_holds_the_same_answers(
    answers: pd.DataFrame, change: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("embedllm.fitting.LazyEncoder", Topics)
    few = answers[:50]
    same = embedllm.fit(change(few), encoder="topics")
    assert same.version == embedllm.fit(few, encoder="topics").version


@pytest.mark.parametrize("rows", [slice(0, 1), slice(0, 3), slice(0, 500, 5)], ids=["1 row", "1 question", "1 model"])
@pytest.mark.parametrize("label", [0, 1])
def test_a_frame_that_teaches_nothing_still_gives_a_router(
    answers: pd.DataFrame, rows: slice, label: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("embedllm.fitting.LazyEncoder", Topics)
    routed = embedllm.fit(answers[rows].assign(label=label), encoder="topics").route([SUM], top=1)
    assert 0 <= routed["probability"].iloc[0] <= 1


def test_frames_that_cannot_be_used(answers: pd.DataFrame) -> None:
    with pytest.raises(ValueError, match="the frame has several columns 'label'; keep one"):
        embedllm.fit(pd.concat([answers, answers[["label"]]], axis=1))
    with pytest.raises(ValueError, match="row 7: label is 2, but must be 0 or 1"):
        embedllm.fit(answers.assign(label=2).set_axis(range(7, 7 + len(answers))).loc[[7, 9]])
    with pytest.raises(ValueError, match="lacks the column 'label'; it has model, prompt, category, and needs model"):
        embedllm.fit(answers.drop(columns="label"))
    contradicting = pd.concat([answers, answers[:1].assign(label=1 - answers["label"][:1])], ignore_index=True)
    with pytest.raises(ValueError, match="but must be the same in every row of this model and prompt"):
        embedllm.fit(contradicting)


def test_what_is_saved_is_loaded(router: embedllm.Router, tmp_path: Path) -> None:
    folder = router.save(tmp_path / "router")
    loaded = embedllm.load(folder)

    pd.testing.assert_frame_equal(loaded.forecast([SUM, TREE]), router.forecast([SUM, TREE]))
    assert loaded.version == router.version
    assert "embedllm.load(" in (folder / "README.md").read_text()
    with pytest.raises(BundleExists, match="is there already; name a new folder"):
        router.save(folder)
    assert not list(tmp_path.glob(".router*"))


def test_a_saved_router_that_is_damaged_is_refused(router: embedllm.Router, tmp_path: Path) -> None:
    folder = router.save(tmp_path / "router")
    (tensors,) = folder.glob("*.safetensors")
    tensors.write_bytes(tensors.read_bytes()[:-1] + b"\x00")
    with pytest.raises(StoreError, match=r"its SHA-256 is not the one in router\.json; export the router again"):
        embedllm.load(folder)
    tensors.unlink()
    with pytest.raises(StoreError, match="no such file; export the router again"):
        embedllm.load(folder)
    described = json.loads((folder / "router.json").read_text())
    (folder / "router.json").write_text(json.dumps({**described, "format": 9}))
    with pytest.raises(StoreError, match="format 9, this version reads 1"):
        embedllm.load(folder)
    (folder / "router.json").write_text("{")
    with pytest.raises(StoreError, match="damaged"):
        embedllm.load(folder)
    (tmp_path / "empty").mkdir()
    with pytest.raises(EmbedderError, match="There is no embedder yet in"):
        embedllm.load(tmp_path / "empty")
    assert list((tmp_path / "empty").iterdir()) == []  # no encoder was made there either
    with pytest.raises(EmbedderError, match="no such folder; name a home, an exported router or a version"):
        embedllm.load(tmp_path / "nothing")


def test_a_router_that_is_nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(name: str) -> str:
        raise FileNotFoundError(f"404 {name}\nmore")

    monkeypatch.setattr("huggingface_hub.snapshot_download", refuse)
    with pytest.raises(EmbedderError, match=r"a/b: no such folder, and no router of this name on the hub \(404 a/b\)"):
        embedllm.load("a/b")


def test_a_router_is_saved_whole_or_not_at_all(
    router: embedllm.Router, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("embedder.bundle._card", fail)
    with pytest.raises(KeyboardInterrupt):
        router.save(tmp_path / "router")
    assert list(tmp_path.iterdir()) == []


def test_importing_it_imports_nothing_else() -> None:
    code = (
        "import sys; import embedllm; print([m for m in ('numpy', 'pandas', 'torch', 'dagster') if m in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "[]\n"
