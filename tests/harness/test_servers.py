"""Servers that answer, and with something else than was asked for: nothing of that becomes a row."""

import json
import math
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from harness.errors import (
    HarnessError,
    ImplausibleAnswers,
    NoLogProbabilities,
    NotApplicable,
    NotNumbers,
    PromptTooLong,
    ServerRefused,
    TooFewAnswered,
)
from harness.evaluate import LoadedModel, TaskIndex, evaluate
from harness.registry import BenchmarkEntry, ModelEntry, Price
from tests.harness.conftest import SUM

CAPITALS = BenchmarkEntry(name="capitals", tasks=("capitals",), metric="acc")
SUMS = BenchmarkEntry(name="sums", tasks=("sums",), metric="exact_match", filter="flexible")
FRANCE = "What is the capital of France?\nAnswer:"

Reply = Callable[[dict[str, Any]], Any]
Serve = Callable[[Reply], str]


@pytest.fixture
def serve() -> Iterator[Serve]:
    servers: list[ThreadingHTTPServer] = []

    def start(reply: Reply) -> str:
        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                body = json.dumps(reply(request)).encode()
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def do_GET(self) -> None:
                self.send_error(404)

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        servers.append(server)
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        return f"http://127.0.0.1:{server.server_port}/v1"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture(params=[1, 2], ids=["one at a time", "two at a time"])
def completions(
    request: pytest.FixtureRequest, serve: Serve, model_dir: Path, tmp_path: Path
) -> Callable[..., LoadedModel]:
    def connect(reply: Reply, **fields: Any) -> LoadedModel:
        args = {"base_url": f"{serve(reply)}/completions", "model": "tiny", "tokenizer": str(model_dir)}
        args |= {"max_retries": 1, "num_concurrent": request.param} | fields.pop("args", {})
        entry = ModelEntry(name="served", backend="local-completions", args=args, **fields)
        return LoadedModel(entry, cache_dir=tmp_path / "cache")

    return connect


@pytest.fixture
def chat(serve: Serve, tmp_path: Path) -> Callable[..., LoadedModel]:
    def connect(reply: Reply, price: Price | None = None, **args: Any) -> LoadedModel:
        args |= {"base_url": f"{serve(reply)}/chat/completions", "model": "tiny", "max_retries": 1}
        fields: dict[str, Any] = {"backend": "local-chat-completions", "apply_chat_template": True, "price": price}
        entry = ModelEntry(name="chat", args=args, **fields)
        return LoadedModel(entry, cache_dir=tmp_path / "cache")

    return connect


def scored(logprobs: Callable[[list[int]], Any]) -> Reply:
    return lambda request: {"choices": [{"index": i, "logprobs": logprobs(p)} for i, p in enumerate(request["prompt"])]}


def echoed(scores: Callable[[list[int]], list[Any]], generated: int = 1) -> Reply:
    """As it should be: a score a prompt token (none of the first), and one for the token that was generated."""

    def logprobs(prompt: list[int]) -> dict[str, Any]:
        all_scores = [None, *scores(prompt)[1:], *[-0.1] * generated]
        return {"token_logprobs": all_scores, "top_logprobs": [None, *[{"x": -0.01}] * (len(all_scores) - 1)]}

    return scored(logprobs)


def by_token(prompt: list[int]) -> list[float]:
    """The later a word stands in the vocabulary, the likelier: Rome before Paris, Oslo before Lima."""
    return [-30.0 + token for token in prompt]


def said(text: Any, finish: str | None = "stop", **message: Any) -> Reply:
    return lambda _: {"choices": [{"index": 0, "finish_reason": finish, "message": {"content": text, **message}}]}


def evaluated(model: LoadedModel, tasks_dir: Path, benchmark: BenchmarkEntry = CAPITALS) -> Any:
    return evaluate(model, benchmark, TaskIndex(tasks_dir))


@pytest.mark.parametrize("generated", [0, 1])
def test_log_probabilities_of_the_prompt_are_read_whether_or_not_a_token_was_generated(
    completions: Callable[..., LoadedModel], tasks_dir: Path, generated: int
) -> None:
    done = evaluated(completions(echoed(by_token, generated)), tasks_dir)

    assert done.answers["correct"].to_pylist() == [False, True, True, False]  # Rome, Rome, Oslo, Oslo


@pytest.mark.parametrize(
    ("logprobs", "problem"),
    [
        (  # echo is ignored
            {"token_logprobs": [-0.5], "top_logprobs": [{"42": -0.5}]},
            "its reply has 1 log probabilities to a prompt of 10 tokens",
        ),
        (None, "its reply has no logprobs"),
        ([-1.0], "its reply has no logprobs"),
        (True, "its reply has no logprobs"),
        ({"content": [{"token": "4", "logprob": -0.5}]}, r"logprobs in another form \(content\)"),
        ({"token_logprobs": [None] * 11, "top_logprobs": [None] * 11}, "has none for some tokens of the prompt"),
        ({"token_logprobs": [None, *[-1] * 10], "top_logprobs": None}, "another form"),
        ({"token_logprobs": [None, *["-1"] * 10], "top_logprobs": [None, *[{"x": -1}] * 10]}, "has none for some"),
        ({"token_logprobs": [None, *[-1] * 12], "top_logprobs": [None, *[{"x": -1}] * 12]}, "13 log probabilities"),
    ],
)
def test_a_server_without_log_probabilities_of_the_prompt_is_refused_at_the_first_answer(
    completions: Callable[..., LoadedModel], tasks_dir: Path, logprobs: Any, problem: str
) -> None:
    asked: list[Any] = []

    def reply(request: dict[str, Any]) -> Any:
        asked.append(request)
        return scored(lambda _: logprobs)(request)

    with pytest.raises(NoLogProbabilities, match=rf"{problem}.*This server gives no log probabilities of the prompt"):
        evaluated(completions(reply), tasks_dir)
    assert len(asked) <= 2  # as many as were under way


def test_scores_that_are_not_finite(completions: Callable[..., LoadedModel], tasks_dir: Path) -> None:
    with pytest.raises(NotNumbers, match=r"on benchmark 'capitals': document \d of task 'capitals' .*is nan.*dtype"):
        evaluated(completions(echoed(lambda prompt: [math.nan] * len(prompt))), tasks_dir)


def test_scores_that_do_not_depend_on_the_choice(completions: Callable[..., LoadedModel], tasks_dir: Path) -> None:
    def by_place(prompt: list[int]) -> list[float]:
        return [-1.0 - place for place in range(len(prompt))]

    with pytest.raises(ImplausibleAnswers, match="in each of the first 4 questions all choices have the same log prob"):
        evaluated(completions(echoed(by_place)), tasks_dir)
    with pytest.raises(NoLogProbabilities, match="the same number for every token of the prompt"):
        evaluated(completions(echoed(lambda prompt: [-1.0] * len(prompt))), tasks_dir)
    with pytest.raises(NoLogProbabilities, match=r"the log probability of an answer is .*, and that of a probability"):
        evaluated(completions(echoed(lambda prompt: [token / 100 for token in prompt])), tasks_dir)


def test_a_server_that_is_put_right_is_asked_from_the_start(
    completions: Callable[..., LoadedModel], tasks_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("harness.cache.FLUSH_SECONDS", -1.0)
    answers = [lambda prompt: [-1.0 - place for place in range(len(prompt))], by_token]
    model = completions(lambda request: echoed(answers[0])(request))
    with pytest.raises(ImplausibleAnswers):
        evaluated(model, tasks_dir)
    del answers[0]
    assert evaluated(model, tasks_dir).answers["correct"].to_pylist() == [False, True, True, False]


@pytest.mark.parametrize(
    ("reply", "problem"),
    [
        ({"error": {"message": "engine overloaded"}}, r"no choices: \{'error': .*engine overloaded"),
        ({"choices": []}, "no choices"),
        ({"choices": None}, "no choices"),
        ([], "no choices"),
        ("busy", "no choices: 'busy'"),
        ({"choices": ["42"]}, "no choices"),
    ],
)
@pytest.mark.parametrize("benchmark", [CAPITALS, SUMS])
def test_a_reply_without_choices(
    completions: Callable[..., LoadedModel], tasks_dir: Path, benchmark: BenchmarkEntry, reply: Any, problem: str
) -> None:
    with pytest.raises(ServerRefused, match=problem):
        evaluated(completions(lambda _: reply), tasks_dir, benchmark)


def test_fewer_choices_than_prompts(completions: Callable[..., LoadedModel], tasks_dir: Path) -> None:
    def one_only(request: dict[str, Any]) -> Any:
        return {"choices": echoed(by_token)(request)["choices"][:1]}

    with pytest.raises(ServerRefused, match="answered 1 of 2 prompts that it was sent together; set batch_size: 1"):
        evaluated(completions(one_only, batch_size=2), tasks_dir)


@pytest.mark.parametrize("indexes", [[0], [1], [0, 0], ["a", "b"], [None, None]])
def test_texts_are_not_taken_for_answers_to_other_prompts(
    completions: Callable[..., LoadedModel], tasks_dir: Path, tmp_path: Path, indexes: list[Any]
) -> None:
    def some(_: dict[str, Any]) -> Any:
        return {"choices": [{"index": index, "text": "42"} for index in indexes]}

    with pytest.raises(ServerRefused, match="set batch_size: 1"):
        evaluated(completions(some, batch_size=2), tasks_dir, SUMS)


def test_choices_may_come_in_any_order(completions: Callable[..., LoadedModel], tasks_dir: Path) -> None:
    def backwards(request: dict[str, Any]) -> Any:
        return {"choices": echoed(by_token)(request)["choices"][::-1]}

    done = evaluated(completions(backwards, batch_size=2), tasks_dir)
    assert done.answers["correct"].to_pylist() == [False, True, True, False]


def test_prompts_that_are_cut_are_counted_or_refused(completions: Callable[..., LoadedModel], tasks_dir: Path) -> None:
    short = {"max_length": 10}  # one of which is the token generated: 9 of 10 tokens
    done = evaluated(completions(echoed(by_token), args=short), tasks_dir)
    assert (done.answers.num_rows, done.metadata["truncated"]) == (4, "4")
    assert evaluated(completions(echoed(by_token)), tasks_dir).metadata["truncated"] == "0"

    with pytest.raises(PromptTooLong, match=r"has 10 tokens and the model takes 9 \('What is the capital of"):
        evaluated(completions(echoed(by_token), args=short, truncation="refuse"), tasks_dir)


@pytest.mark.parametrize(
    "reply",
    [
        said(None),
        said(None, "length", reasoning_content="Let me think"),
        said("", "length"),
        said("", "content_filter"),
        said([{"type": "thinking", "thinking": "Let me"}]),
        said("\n\n", "length"),
        said("The answer", "content_filter"),
        said("", "tool_calls"),
        said("", "error"),
        said("", reasoning_content="It is 42."),
        lambda _: {"choices": [{"index": 0, "finish_reason": "content_filter"}]},
        lambda _: {"choices": [{"index": 0, "message": None}]},
    ],
)
def test_a_chat_reply_without_content_is_never_a_wrong_answer(
    chat: Callable[..., LoadedModel], tasks_dir: Path, reply: Reply
) -> None:
    with pytest.raises(TooFewAnswered, match=r"2 of 2 questions got no answer.*raise max_gen_toks"):
        evaluated(chat(reply), tasks_dir, SUMS)


def test_reasoning_that_was_cut_off_is_no_answer(chat: Callable[..., LoadedModel], tasks_dir: Path) -> None:
    for unfinished in (
        said("it may be 42, or", "length"),
        said("it may be 42, or", None),
        said("or 7?</think>\n", "length"),
    ):
        with pytest.raises(TooFewAnswered):
            evaluated(chat(unfinished, think_end_token="</think>"), tasks_dir, SUMS)
    done = evaluated(chat(said("or 7?</think> 42", "length"), think_end_token="</think>"), tasks_dir, SUMS)
    assert done.answers["correct"].to_pylist() == [True, False]


@pytest.mark.parametrize("content", ["42", [{"type": "text", "text": "4"}, {"type": "text", "text": "2"}], ["4", "2"]])
def test_content_is_an_answer_in_one_piece_or_in_parts(
    chat: Callable[..., LoadedModel], tasks_dir: Path, content: Any
) -> None:
    assert evaluated(chat(said(content)), tasks_dir, SUMS).answers["correct"].to_pylist() == [True, False]


def test_only_empty_texts_stop_the_model(chat: Callable[..., LoadedModel], tasks_dir: Path) -> None:
    with pytest.raises(ImplausibleAnswers, match="the first 2 answers are all empty"):
        evaluated(chat(said("")), tasks_dir, SUMS)


def test_now_and_then_no_content_leaves_a_question_without_a_row(
    chat: Callable[..., LoadedModel], tmp_path: Path, write_task: Callable[..., None], tasks_dir: Path
) -> None:
    write_task(tasks_dir, "many", [{"sum": f"{i} + 1", "answer": f"#### {i + 1}"} for i in range(20)], SUM)
    many = BenchmarkEntry(name="many", tasks=("many",), metric="exact_match", filter="flexible")

    def reply(request: dict[str, Any]) -> Any:
        number = int(request["messages"][-1]["content"].split()[2])
        return said(None if number == 13 else str(number + 1))(request)

    done = evaluated(chat(reply), tasks_dir, many)
    assert done.answers["doc_id"].to_pylist() == [i for i in range(20) if i != 13]
    assert set(done.answers["correct"].to_pylist()) == {True}
    assert (done.metadata["asked"], done.metadata["unanswered"]) == ("20", "1")


def test_a_chat_server_is_not_asked_what_it_cannot_be(chat: Callable[..., LoadedModel], tasks_dir: Path) -> None:
    def never(_: Any) -> Any:
        raise AssertionError

    with pytest.raises(
        NotApplicable, match=r"no log probabilities, which task 'capitals' \(multiple_choice\)"
    ) as caught:
        evaluated(chat(never), tasks_dir)
    assert isinstance(caught.value, HarnessError)


def told(reply: Reply, prompt_tokens: Any = 11, completion_tokens: Any = 2) -> Reply:
    """The same reply with what it took, as OpenAI's protocols tell it."""
    usage = {"prompt_tokens": prompt_tokens, "completion_tokens": completion_tokens}
    return lambda request: reply(request) | {"usage": usage}


def test_what_a_chat_server_said_and_what_it_took(chat: Callable[..., LoadedModel], tasks_dir: Path) -> None:
    def reply(request: dict[str, Any]) -> Any:
        first = "40" in request["messages"][-1]["content"]
        time.sleep(0.3 if first else 0)
        return told(said("It is 42." if first else "I don't know."), 30 if first else 29)(request)

    answers = evaluated(chat(reply, Price(input=1.0, output=20.0)), tasks_dir, SUMS).answers

    assert answers.select(["correct", "answer", "tokens_in", "tokens_out"]).to_pylist() == [
        {"correct": True, "answer": "42", "tokens_in": 30, "tokens_out": 2},
        {"correct": False, "answer": "I don't know.", "tokens_in": 29, "tokens_out": 2},
    ]
    slow, fast = answers["latency_s"].to_pylist()
    assert fast < 0.3 <= slow


def test_the_wait_for_ones_turn_is_no_latency(
    completions: Callable[..., LoadedModel], tasks_dir: Path, write_task: Callable[..., None]
) -> None:
    def reply(request: dict[str, Any]) -> Any:
        time.sleep(0.3)
        return {"choices": [{"index": 0, "text": "42"}], "usage": {"prompt_tokens": len(request["prompt"][0])}}

    write_task(tasks_dir, "sums", [{"sum": f"{i} + 1", "answer": f"#### {i + 1}"} for i in range(4)], SUM)
    answers = evaluated(completions(reply), tasks_dir, SUMS).answers

    assert answers["tokens_in"].to_pylist() == [8] * 4
    assert "tokens_out" not in answers.column_names  # the server did not say
    assert all(0.3 <= seconds < 0.6 for seconds in answers["latency_s"].to_pylist())


def test_requests_of_one_question_are_added_up(completions: Callable[..., LoadedModel], tasks_dir: Path) -> None:
    answers = evaluated(completions(told(echoed(by_token), 10, 1)), tasks_dir).answers

    assert answers["answer"].to_pylist() == ["Rome", "Rome", "Oslo", "Oslo"]
    assert (answers["tokens_in"].to_pylist(), answers["tokens_out"].to_pylist()) == ([20] * 4, [2] * 4)
    assert "latency_s" not in answers.column_names


def test_what_prompts_took_that_were_sent_together_is_not_known(
    completions: Callable[..., LoadedModel], tasks_dir: Path
) -> None:
    answers = evaluated(completions(told(echoed(by_token)), batch_size=2), tasks_dir).answers

    assert answers.column_names == ["task", "doc_id", "correct", "score", "answer"]


@pytest.mark.parametrize("count", [None, "11", -1, 1.5, True, {}])
def test_a_count_that_is_none_is_not_known(chat: Callable[..., LoadedModel], tasks_dir: Path, count: Any) -> None:
    answers = evaluated(chat(told(said("42"), count)), tasks_dir, SUMS).answers

    assert "tokens_in" not in answers.column_names
    assert answers["tokens_out"].to_pylist() == [2, 2]


def test_half_a_character_is_no_reason_to_lose_an_answer(chat: Callable[..., LoadedModel], tasks_dir: Path) -> None:
    assert evaluated(chat(said("No \ud83d")), tasks_dir, SUMS).answers["answer"].to_pylist() == ["No ?", "No ?"]


def test_what_answers_took_outlives_a_kill(
    chat: Callable[..., LoadedModel], tasks_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("harness.cache.FLUSH_SECONDS", -1.0)
    model = chat(told(said("42"), 30))
    first = evaluated(model, tasks_dir, SUMS).answers  # and not forgotten

    assert evaluated(model, tasks_dir, SUMS).answers.equals(first)
    assert first["tokens_in"].to_pylist() == [30, 30]
