import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import StaticEmbedding
from tokenizers import Tokenizer, models, pre_tokenizers

from embedder import encoder
from embedder.lazy_encoder import LazyEncoder

NAME_ONLY = """
import sys
from pathlib import Path
from embedder.lazy_encoder import LazyEncoder
known = LazyEncoder("all-MiniLM-L6-v2", cache=Path(sys.argv[1]))
print(known.name, known.dimensions, "sentence_transformers" in sys.modules or "torch" in sys.modules)
"""


def save_tiny(folder: Path, first: float) -> None:
    tokenizer = Tokenizer(models.WordLevel({"[UNK]": 0, "cat": 1, "dog": 2}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    weights = np.array([[first, 0, 0], [0, 2, 0], [0, 0, 3]], np.float32)
    SentenceTransformer(modules=[StaticEmbedding(tokenizer, embedding_weights=weights)], device="cpu").save(str(folder))


@pytest.fixture
def loads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the encoders that were loaded."""
    found, load = [], encoder.load_encoder
    monkeypatch.setattr(encoder, "load_encoder", lambda name, **rest: found.append(name) or load(name, **rest))
    return found


def test_a_known_encoder_is_named_without_loading_it(tmp_path: Path):
    loaded = encoder.load_encoder(device="cpu")
    for imported in ("True", "False"):  # the first time it has to be loaded
        command = [sys.executable, "-c", NAME_ONLY, tmp_path]
        done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=Path(__file__).parents[2])
        assert done.stdout.split() == [loaded.name, "384", imported]


def test_it_encodes_as_the_encoder_does(tmp_path: Path, loads: list[str]):
    save_tiny(tmp_path / "tiny", 1)
    lazy = LazyEncoder(str(tmp_path / "tiny"), device="cpu", cache=tmp_path / "cache")
    plain = encoder.load_encoder(str(tmp_path / "tiny"), device="cpu")
    assert (lazy.name, lazy.dimensions) == (plain.name, plain.dimensions)
    np.testing.assert_array_equal(lazy.encode(["cat", "dog"], progress=False), plain.encode(["cat", "dog"]))
    assert len(loads) == 2  # one of them is the plain one


def test_other_weights_have_another_name(tmp_path: Path, loads: list[str]):
    named = []
    for first in (1, 1, 5):
        if not named or first != 1:
            save_tiny(tmp_path / "tiny", first)
        named.append(LazyEncoder(str(tmp_path / "tiny"), device="cpu", cache=tmp_path / "cache").name)
    assert named[0] == named[1] != named[2]
    assert len(loads) == 2


@pytest.mark.parametrize("content", ["", "[1]", '{"name": "tiny@1"}'])
def test_a_damaged_note_of_the_name_is_written_again(tmp_path: Path, loads: list[str], content: str):
    save_tiny(tmp_path / "tiny", 1)
    name = LazyEncoder(str(tmp_path / "tiny"), device="cpu", cache=tmp_path / "cache").name
    (note,) = (tmp_path / "cache").iterdir()
    note.write_text(content)
    assert LazyEncoder(str(tmp_path / "tiny"), device="cpu", cache=tmp_path / "cache").name == name
    assert json.loads(note.read_text()) == {"name": name, "dimensions": 3}
    assert len(loads) == 2


def test_an_unknown_encoder_is_complained_of_when_its_name_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(encoder.EncoderError, match="'no-such-encoder' is neither a folder"):
        _ = LazyEncoder("no-such-encoder", cache=tmp_path).name
