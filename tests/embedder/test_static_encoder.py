"""Static encoders, distilled from a transformer of one layer and twelve tokens."""

import hashlib
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import StaticEmbedding
from tokenizers import Tokenizer, models

from embedder import encoder
from embedder.encoder import EncoderError, load_encoder
from embedder.encoder_files import static_folder
from embedder.lazy_encoder import LazyEncoder

NAME_ONLY = """
import sys
from pathlib import Path
from embedder.lazy_encoder import LazyEncoder
known = LazyEncoder(sys.argv[1], cache=Path(sys.argv[2]))
print(known.name, known.dimensions, "sentence_transformers" in sys.modules or "torch" in sys.modules)
"""


@pytest.fixture
def teacher(save_transformer: Callable[..., Path], tmp_path: Path) -> Path:
    return save_transformer(tmp_path / "teacher")


@pytest.fixture
def taught(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the teachers that were loaded."""
    found, load = [], encoder._load_model
    monkeypatch.setattr(encoder, "_load_model", lambda name, device: found.append(name) or load(name, device))
    return found


def digest(folder: Path) -> str:
    return hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()


def test_a_text_is_the_mean_of_its_distinct_tokens(teacher: Path):
    static = load_encoder(f"static:{teacher}", device="cpu")
    alone, repeated, other = static.encode(["cat dog", "dog cat cat cat dog", "cat cat cat"], progress=False)
    np.testing.assert_allclose(alone, repeated, atol=1e-6)
    assert alone @ other < 0.99
    assert np.linalg.norm(alone) == pytest.approx(1, abs=1e-6)


def test_it_is_as_long_as_the_teachers_and_named_after_it(teacher: Path):
    static = load_encoder(f"static:{teacher}", device="cpu")
    assert static.dimensions == 8
    assert static.encode(["cat"], progress=False).dtype == np.float32
    assert static.name.startswith("static-teacher@")


def test_a_text_is_read_whole(teacher: Path):
    static = load_encoder(f"static:{teacher}", device="cpu")
    long = " ".join(["cat"] * 300)
    without, with_dog = static.encode([long, f"{long} dog {long}"], progress=False)
    assert without @ with_dog < 0.99
    assert static.count_long([long]) == 0


def test_a_text_without_tokens_has_no_direction(teacher: Path):
    static = load_encoder(f"static:{teacher}", device="cpu")
    assert not static.encode(["", " "], progress=False).any()
    assert static.encode(["", "cat"], progress=False)[1].any()


def test_the_same_teacher_gives_the_same_bytes(teacher: Path, tmp_path: Path):
    digests = set()
    for cache in (tmp_path / "one", tmp_path / "two"):
        load_encoder(f"static:{teacher}", device="cpu", cache=cache)
        digests.add(digest(static_folder(str(teacher), cache)))
    assert len(digests) == 1


def test_it_is_distilled_once(teacher: Path, tmp_path: Path, taught: list[str]):
    names = {LazyEncoder(f"static:{teacher}", device="cpu", cache=tmp_path / "cache").name for _ in range(3)}
    assert (len(names), taught) == (1, [str(teacher)])


def test_another_teacher_is_another_encoder(
    teacher: Path, tmp_path: Path, taught: list[str], save_transformer: Callable[..., Path]
):
    first = LazyEncoder(f"static:{teacher}", device="cpu", cache=tmp_path / "cache").name
    save_transformer(teacher, seed=1)
    second = LazyEncoder(f"static:{teacher}", device="cpu", cache=tmp_path / "cache").name
    assert first != second
    assert len(taught) == 2


def test_one_that_is_known_is_named_without_loading_anything(teacher: Path, tmp_path: Path):
    name = LazyEncoder(f"static:{teacher}", device="cpu", cache=tmp_path).name
    command = [sys.executable, "-c", NAME_ONLY, f"static:{teacher}", tmp_path]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=Path(__file__).parents[2])
    assert done.stdout.split() == [name, "8", "False"]


def test_whoever_is_killed_while_distilling_leaves_nothing_in_the_way(
    teacher: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def die(*_: object) -> None:
        raise KeyboardInterrupt

    name = load_encoder(f"static:{teacher}", device="cpu").name
    with monkeypatch.context() as patch:
        patch.setattr("embedder.static_encoder.DistinctTokens.save", die)
        with pytest.raises(KeyboardInterrupt):
            load_encoder(f"static:{teacher}", device="cpu", cache=tmp_path / "cache")
    static = static_folder(str(teacher), tmp_path / "cache")
    assert not static.exists()
    assert load_encoder(f"static:{teacher}", device="cpu", cache=tmp_path / "cache").name == name
    assert [path.name for path in (tmp_path / "cache").glob("*.partial")] == []


def test_no_transformer_no_static_encoder(tmp_path: Path):
    tokenizer = Tokenizer(models.WordLevel({"[UNK]": 0, "cat": 1}, unk_token="[UNK]"))
    plain = StaticEmbedding(tokenizer, embedding_weights=np.eye(2, dtype=np.float32))
    SentenceTransformer(modules=[plain], device="cpu").save(str(tmp_path / "plain"))
    with pytest.raises(EncoderError, match=r"no static encoder can be distilled from .*plain': it is no transformer"):
        load_encoder(f"static:{tmp_path / 'plain'}", device="cpu")


def test_static_alone_is_distilled_from_the_bundled_encoder(tmp_path: Path):
    static = load_encoder("static", device="cpu", cache=tmp_path)
    assert static.name.startswith("static-all-MiniLM-L6-v2@")
    a, b, c = static.encode(["What is 3 + 4?", "What is 5 + 2?", "Who painted the Mona Lisa?"], progress=False)
    assert a @ b > a @ c + 0.3
    assert torch.isfinite(static._model[0].embedding.weight).all()


def test_what_is_kept_is_read_as_the_encoder_reads_it(teacher: Path, tmp_path: Path):
    name = f"static:{teacher}"
    lazy, plain = LazyEncoder(name, device="cpu", cache=tmp_path), load_encoder(name, device="cpu", cache=tmp_path)
    texts = ["red fish", "", "a cat?\nA. red\nB. blue", "cat cat cat", "nothing known zzz"]
    np.testing.assert_allclose(lazy.encode(texts), plain.encode(texts, progress=False), atol=1e-6)
    assert lazy.encode([]).shape == (0, plain.dimensions)
    assert lazy.encode(texts).dtype == np.float32
    assert lazy.count_long(["cat " * 10_000]) == 0
