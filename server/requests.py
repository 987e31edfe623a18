"""What a request of OpenAI's protocol says: which model it names, what it asks, and what a model must be able to do."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from json.decoder import scanstring  # pyright: ignore[reportAttributeAccessIssue]
from typing import Any

from harness.registry import Capability, Endpoint

__all__ = ["MOST_TEXTS", "Asked", "BadRequest", "Body", "cut", "read_body"]

MOST_TEXTS = 1000  # that a model is chosen by in one request

_SPACE = re.compile(r"[ \t\r\n]*")
_DECODER = json.JSONDecoder()
_CHARACTERS_A_TOKEN = 4  # of English text, about
_TOKENS_A_PICTURE = 1000
_LONGEST = 20_000  # characters that are routed by: of a longer text its beginning and its end


class BadRequest(ValueError):
    """A request that no model could answer; `param` is the field that is wrong."""

    def __init__(self, message: str, param: str | None = None) -> None:
        super().__init__(message)
        self.param = param


@dataclass(frozen=True)
class Body:
    """A request's body: a JSON object, of which the name of the model can be replaced and nothing else changes."""

    text: str
    content: Mapping[str, Any]
    model_at: tuple[int, int]  # where the value of "model" begins and ends in the text

    @property
    def model(self) -> str:
        return self.content["model"]

    @property
    def stream(self) -> bool:
        return self.content.get("stream") is True

    def with_model(self, name: str) -> bytes:
        """Return the body, byte for byte as it came, but for the model's name."""
        start, end = self.model_at
        return f"{self.text[:start]}{json.dumps(name)}{self.text[end:]}".encode()

    def asked(self, endpoint: Endpoint, *, turns_before: int = 0) -> Asked:
        """Return what is asked. `turns_before` is how many messages before the user's last count as part of it.

        Raises BadRequest where a model could not be chosen by it: it holds no text.
        """
        texts = _texts(endpoint, self.content, turns_before)
        everything = "".join(_all_text(self.content))
        most = max((n for n in (self.content.get(field) for field in _LIMITS) if isinstance(n, int)), default=0)
        pictures = everything.count(_PICTURE)
        return Asked(
            texts=tuple(cut(text) for text in texts),
            endpoint=endpoint,
            needs=frozenset(_needs(self.content, pictures)),
            tokens=len(everything) // _CHARACTERS_A_TOKEN + _TOKENS_A_PICTURE * pictures + most,
            conversation=_conversation(self.content),
        )


@dataclass(frozen=True)
class Asked:
    """What a model is chosen for."""

    texts: tuple[str, ...]  # one, but for several prompts in one request
    endpoint: Endpoint
    needs: frozenset[Capability] = frozenset()
    tokens: int = 0  # about as many go in and may come out
    conversation: str | None = None  # what all requests of a conversation have in common


def read_body(raw: bytes) -> Body:
    """Read a body. Raises BadRequest where it is no JSON object that names a model."""
    try:
        text = raw.decode("utf-8")
        content, model_at = _read_object(text)
    except (ValueError, RecursionError) as error:
        raise BadRequest(f"the body is no JSON object ({error}); send one") from None
    model = content.get("model")
    if not isinstance(model, str) or not model or model_at is None:
        raise BadRequest("the body names no model; add one, for example embedllm", "model")
    return Body(text, content, model_at)


def _read_object(text: str) -> tuple[dict[str, Any], tuple[int, int] | None]:
    """Return a JSON object, and where the value of its "model" stands."""
    content: dict[str, Any] = {}
    model_at = None
    at = _skip(text, 0, "{")
    if text[at : at + 1] == "}":
        at += 1
    else:
        while True:
            key, at = scanstring(text, _skip(text, at, '"', space_behind=False), True)
            if key.lower() == "model" and (key != "model" or model_at):  # servers differ in which one they take
                raise ValueError(f'character {at}: a model is named once, as "model"')
            start = _skip(text, at, ":")
            content[key], end = _DECODER.raw_decode(text, start)
            model_at = (start, end) if key == "model" else model_at
            at = _skip(text, end)
            if text[at : at + 1] == "}":
                at += 1
                break
            at = _skip(text, at, ",")
    if _skip(text, at) != len(text):
        raise ValueError(f"character {at}: something stands behind it")
    return content, model_at


def _skip(text: str, at: int, due: str = "", *, space_behind: bool = True) -> int:
    """Return where the text goes on behind white space and, where one is `due`, a character and the space behind it."""
    found = _SPACE.match(text, at)
    at = found.end() if found else at
    if not due:
        return at
    if text[at : at + 1] != due:
        raise ValueError(f"character {at}: {due} is due")
    return _skip(text, at + 1) if space_behind else at + 1


_LIMITS = ("max_tokens", "max_completion_tokens", "max_output_tokens")
_PICTURE = "\0picture\0"


def _texts(endpoint: Endpoint, content: Mapping[str, Any], turns_before: int) -> Sequence[str]:
    if endpoint == "chat":
        return [_last_turn(content.get("messages"), turns_before, "messages")]
    if endpoint == "responses" and not isinstance(content.get("input"), str):
        return [_last_turn(content.get("input"), turns_before, "input")]
    field = "input" if endpoint == "responses" else "prompt"
    asked = content.get(field)
    texts = [asked] if isinstance(asked, str) else asked
    if not isinstance(texts, list) or not texts or not all(isinstance(text, str) and text for text in texts):
        raise BadRequest(f"a model is chosen by the text of {field}, but there is none; name a model instead", field)
    if len(texts) > MOST_TEXTS:
        raise BadRequest(f"{field} holds {len(texts):,} texts; a model is chosen by at most {MOST_TEXTS:,}", field)
    return texts


def _last_turn(messages: object, turns_before: int, field: str) -> str:
    if not isinstance(messages, list) or not all(isinstance(message, dict) for message in messages):
        raise BadRequest(f"{field} must be a list of messages", field)
    asked = [at for at, message in enumerate(messages) if message.get("role") == "user" and _text_of(message)]
    if not asked:
        raise BadRequest(f"{field} has no message of the user with a text to choose a model by", field)
    turns = [message for message in messages[: asked[-1] + 1] if message.get("role") in ("user", "assistant")]
    texts = (_text_of(message) for message in turns[-1 - turns_before :])
    return "\n\n".join(text for text in texts if text)


def _text_of(message: Mapping[str, Any]) -> str:
    return "\n".join(part for part in _parts(message.get("content")) if part != _PICTURE)


def _parts(content: object) -> Iterator[str]:
    """Yield the texts of a message's content, and _PICTURE for each picture."""
    if isinstance(content, str):
        yield content
    for part in content if isinstance(content, list) else ():
        if isinstance(part, dict):
            if isinstance(part.get("text"), str):
                yield part["text"]
            elif part.get("type") in ("image_url", "input_image", "image"):
                yield _PICTURE


def _all_text(content: Mapping[str, Any]) -> Iterator[str]:
    """Yield what the model reads: every message, prompt and tool."""
    for field in ("messages", "input"):
        for message in content[field] if isinstance(content.get(field), list) else ():
            if isinstance(message, dict):
                yield from _parts(message.get("content"))
    for field in ("prompt", "input", "instructions"):
        asked = content.get(field)
        yield from (part for part in (asked if isinstance(asked, list) else [asked]) if isinstance(part, str))
    if content.get("tools"):
        yield json.dumps(content["tools"])


def _needs(content: Mapping[str, Any], pictures: int) -> Iterator[Capability]:
    if content.get("tools") or content.get("functions"):
        yield "tools"
    if pictures:
        yield "vision"
    text = content.get("text")
    for asked in (content.get("response_format"), text.get("format") if isinstance(text, dict) else None):
        if isinstance(asked, dict) and str(asked.get("type", "")).startswith("json"):
            yield "json"


def _conversation(content: Mapping[str, Any]) -> str | None:
    """Return what tells a conversation from others: a hash of its id, its user, or of how it began."""
    metadata = content.get("metadata")
    if isinstance(metadata, dict) and isinstance(metadata.get("conversation"), str):
        return _hash("id", metadata["conversation"])
    if isinstance(content.get("user"), str) and content["user"]:
        return _hash("user", content["user"])
    messages = content.get("messages", content.get("input"))
    if not isinstance(messages, list):
        return None
    first = next((at for at, message in enumerate(messages) if _is_of_user(message)), None)
    if first is None:
        return None
    return _hash("begun", json.dumps(messages[: first + 1], sort_keys=True))


def _hash(kind: str, text: str) -> str:
    """Return what is as short for every text: it is kept for an hour."""
    return f"{kind} {hashlib.sha256(text.encode('utf-8', 'surrogatepass')).hexdigest()[:32]}"


def _is_of_user(message: object) -> bool:
    return isinstance(message, dict) and message.get("role") == "user"


def cut(text: str) -> str:
    """Return a text as the router reads it: not longer than is useful, and fit for every encoder."""
    half = _LONGEST // 2
    text = text.encode(errors="replace").decode()  # JSON may hold half a character
    return text if len(text) <= _LONGEST else f"{text[:half]}\n{text[-half:]}"
