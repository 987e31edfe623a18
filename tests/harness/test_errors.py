"""Each error on its real cause: what lm-eval, transformers, the hub's client and an HTTP server really do."""

import gc
import json
import math
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from harness.errors import (
    DataUnreachable,
    EvaluationFailed,
    HarnessError,
    ModelNotFound,
    OutOfMemory,
    ServerRefused,
    TaskUnknown,
)
from harness.evaluate import LoadedModel, TaskIndex, evaluate
from harness.registry import BenchmarkEntry, ModelEntry

CAPITALS = BenchmarkEntry(name="capitals", tasks=("capitals",), metric="acc")
SUMS = BenchmarkEntry(name="sums", tasks=("sums",), metric="exact_match", filter="flexible")


def model(tmp_path: Path, **args: Any) -> LoadedModel:
    return LoadedModel(ModelEntry(name="tiny", args=args), device="cpu", cache_dir=tmp_path / "cache")


def test_error_names_model_and_benchmark_and_tells_what_to_do(tmp_path: Path, tasks_dir: Path) -> None:
    with pytest.raises(ModelNotFound) as caught:
        evaluate(model(tmp_path, pretrained=f"{tmp_path}/missing"), CAPITALS, TaskIndex(tasks_dir))

    assert (caught.value.kind, caught.value.model, caught.value.benchmark) == (
        "model_not_found",
        "tiny",
        "capitals",
    )
    assert str(caught.value) == (
        f"model 'tiny' on benchmark 'capitals': args.pretrained names the folder {tmp_path}/missing, "
        "which does not exist; correct the path or put the model there"
    )


def test_folder_without_a_model_is_no_model(tmp_path: Path, tasks_dir: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(ModelNotFound, match="/empty, which holds no model; correct the path"):
        evaluate(model(tmp_path, pretrained=f"{tmp_path}/empty"), CAPITALS, TaskIndex(tasks_dir))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"tasks": ("capitols",)}, "has no task 'capitols' in .*; did you mean capitals"),
        (
            {"metric": "exact_match"},
            "task 'capitals' has no metric 'exact_match'; it offers acc, acc_norm; correct",
        ),
        ({"filter": "strict"}, "task 'capitals' has no filter 'strict'; it offers none; correct filter in"),
    ],
)
def test_unknown_task_metric_or_filter_says_what_there_is(
    tasks_dir: Path, change: dict[str, Any], message: str
) -> None:
    with pytest.raises(TaskUnknown, match=message):
        TaskIndex(tasks_dir).check([CAPITALS.model_copy(update=change)])


def test_missing_data_file_is_unreachable_data(model_dir: Path, tmp_path: Path, tasks_dir: Path) -> None:
    (tasks_dir / "capitals.jsonl").unlink()
    with pytest.raises(DataUnreachable, match=r"model 'tiny' on benchmark 'capitals': the questions cannot be read"):
        evaluate(model(tmp_path, pretrained=str(model_dir)), CAPITALS, TaskIndex(tasks_dir))


def test_data_on_the_hub_without_a_connection(
    model_dir: Path, tmp_path: Path, tasks_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = yaml.safe_load((tasks_dir / "capitals.yaml").read_text())
    del task["dataset_kwargs"]
    (tasks_dir / "remote.yaml").write_text(yaml.safe_dump(task | {"task": "remote", "dataset_path": "org/data"}))
    for offline in ("huggingface_hub.constants.HF_HUB_OFFLINE", "datasets.config.HF_HUB_OFFLINE"):
        monkeypatch.setattr(offline, True)  # what the environment variable does on import

    remote = BenchmarkEntry(name="b", tasks=("remote",), metric="acc")
    with pytest.raises(DataUnreachable, match=r"'tiny' on benchmark 'b': the questions cannot be read .*org/data"):
        evaluate(model(tmp_path, pretrained=str(model_dir)), remote, TaskIndex(tasks_dir))


@pytest.mark.parametrize("setting", [("HF_HUB_OFFLINE", True), ("ENDPOINT", "http://127.0.0.1:9")])
def test_model_on_the_hub_without_a_connection(
    setting: tuple[str, Any], tmp_path: Path, tasks_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(f"huggingface_hub.constants.{setting[0]}", setting[1])

    with pytest.raises(ModelNotFound, match="model 'tiny' on benchmark 'capitals': the model cannot be found"):
        evaluate(model(tmp_path, pretrained=f"org/{setting[0]}"), CAPITALS, TaskIndex(tasks_dir))


@pytest.mark.parametrize(
    "cause",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB."),
        RuntimeError("[enforce fail at alloc_cpu.cpp:127] DefaultCPUAllocator: can't allocate memory"),
        MemoryError(),
    ],
)
def test_out_of_memory(cause: Exception, model_dir: Path, tmp_path: Path, tasks_dir: Path) -> None:
    def exhaust(*_: Any) -> None:
        raise cause

    greedy = model(tmp_path, pretrained=str(model_dir))
    greedy.lm.model.register_forward_pre_hook(exhaust)  # type: ignore[attr-defined]
    with pytest.raises(OutOfMemory, match=r"memory ran out while answering .* smaller batch") as caught:
        evaluate(greedy, CAPITALS, TaskIndex(tasks_dir))
    assert caught.value.__cause__ is cause


def test_anything_else_is_a_failure_with_its_cause(model_dir: Path, tmp_path: Path, tasks_dir: Path) -> None:
    wrong = model(tmp_path, pretrained=str(model_dir), dtype="float3")
    with pytest.raises(EvaluationFailed, match="loading the model failed") as caught:
        evaluate(wrong, CAPITALS, TaskIndex(tasks_dir))
    assert caught.value.__cause__ is not None


class _Completions(BaseHTTPRequestHandler):
    """An OpenAI-compatible server for the model of conftest.py: the n-th word has logit n / 2."""

    words: list[str]
    status = 200

    def do_POST(self) -> None:
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.status != 200:
            return self._reply({"error": "no"})
        if "messages" in request:
            return self._reply({"choices": [{"index": 0, "message": {"content": "42"}}]})
        prompts = request["prompt"]
        if not request.get("echo"):
            return self._reply({"choices": [{"index": i, "text": "42 42"} for i in range(len(prompts))]})
        return self._reply({"choices": [{"index": i, "logprobs": self._logprobs(p)} for i, p in enumerate(prompts)]})

    def _logprobs(self, prompt: list[int]) -> dict[str, Any]:
        total = math.log(sum(math.exp(n / 2) for n in range(len(self.words))))
        best = len(self.words) - 1
        tokens = [*prompt, best]  # the prompt and the one token generated
        return {
            "token_logprobs": [None, *(n / 2 - total for n in tokens[1:])],
            "top_logprobs": [None, *({self.words[best]: best / 2 - total} for _ in tokens[1:])],
        }

    def _reply(self, content: dict[str, Any]) -> None:
        body = json.dumps(content).encode()
        self.send_response(self.status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self) -> None:
        self.send_error(404)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        pass


Serve = Callable[[int], str]


@pytest.fixture
def serve(words: list[str]) -> Iterator[Serve]:
    servers: list[ThreadingHTTPServer] = []

    def start(status: int) -> str:
        handler = type("Handler", (_Completions,), {"status": status, "words": words})
        server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        servers.append(server)
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        return f"http://127.0.0.1:{server.server_port}"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def served(url: str, tmp_path: Path, tokenizer: Path, chat: bool = False) -> LoadedModel:
    args = {"base_url": f"{url}/v1/completions", "model": "tiny", "max_retries": 1}
    if chat:
        fields: dict[str, Any] = {"backend": "local-chat-completions", "apply_chat_template": True}
    else:
        fields = {"backend": "local-completions"}
        args["tokenizer"] = str(tokenizer)
    return LoadedModel(ModelEntry(name="tiny", args=args, **fields), cache_dir=tmp_path / "cache")


def test_model_behind_a_server_answers_like_the_same_model_here(
    serve: Serve, model_dir: Path, tmp_path: Path, tasks_dir: Path
) -> None:
    tasks = TaskIndex(tasks_dir)
    there, here = served(serve(200), tmp_path, model_dir), model(tmp_path, pretrained=str(model_dir))
    finish = BenchmarkEntry(name="finish", tasks=("finish",), metric="acc")

    graded = ["task", "doc_id", "correct", "score", "answer"]
    for benchmark in (CAPITALS, finish, SUMS):
        theirs, ours = evaluate(there, benchmark, tasks).answers, evaluate(here, benchmark, tasks).answers
        assert theirs.select(graded).equals(ours.select(graded))
    assert evaluate(there, SUMS, tasks).metadata["weights"].endswith("/v1/completions#tiny")


def test_chat_server_answers_what_it_generates(serve: Serve, model_dir: Path, tmp_path: Path, tasks_dir: Path) -> None:
    answers = evaluate(served(serve(200), tmp_path, model_dir, chat=True), SUMS, TaskIndex(tasks_dir)).answers

    assert answers.column("correct").to_pylist() == [True, False]


@pytest.mark.parametrize("status", [401, 404, 500])
@pytest.mark.parametrize("benchmark", [CAPITALS, SUMS])
def test_server_that_refuses(
    serve: Serve, status: int, benchmark: BenchmarkEntry, model_dir: Path, tmp_path: Path, tasks_dir: Path
) -> None:
    with pytest.raises(ServerRefused, match=rf"the server refused \({status} .*OPENAI_API_KEY"):
        evaluate(served(serve(status), tmp_path, model_dir), benchmark, TaskIndex(tasks_dir))


@pytest.mark.parametrize("concurrent", [1, 2])
def test_server_that_is_not_there(concurrent: int, model_dir: Path, tmp_path: Path, tasks_dir: Path) -> None:
    nobody = served("http://127.0.0.1:9", tmp_path, model_dir)
    args = nobody.entry.args | {"num_concurrent": concurrent}
    nobody.entry = nobody.entry.model_copy(update={"args": args})
    with pytest.raises(ServerRefused, match="check that it runs at base_url"):
        evaluate(nobody, CAPITALS, TaskIndex(tasks_dir))
    gc.collect()  # asyncio logs the other requests' errors when it collects them: let it be here


def test_errors_survive_a_process_boundary() -> None:
    import pickle

    error = pickle.loads(pickle.dumps(TaskUnknown("no task", model="m", benchmark="b")))  # what multiprocessing does

    assert isinstance(error, HarnessError)
    assert str(error) == "model 'm' on benchmark 'b': no task"
