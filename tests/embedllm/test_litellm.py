"""The strategy in LiteLLM itself, before fake servers."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from embedllm.litellm import Strategy
from tests.server.fakes import running_upstream

LITELLM = Path(sys.prefix) / "litellm"
ASK = """
import asyncio, json, sys
import litellm
import embedllm.litellm

url = sys.argv[1]

class Router:
    models = ["org/adder", "org/gardener"]
    def route(self, questions, *, top, among, **options):
        import pandas as pd
        best = "org/adder" if "plus" in questions[0] else "org/gardener"
        return pd.DataFrame({"model": [best if best in among else among[0]]})

def deployment(name, known):
    return {"model_name": "embedllm", "model_info": {"embedllm": known},
            "litellm_params": {"model": f"openai/{name}", "api_base": url, "api_key": "any"}}

pool = litellm.Router(model_list=[deployment("adder", "org/adder"), deployment("gardener", "org/gardener"),
                                  deployment("stranger", "org/stranger")], num_retries=0)
embedllm.litellm.use(pool, Router())

async def ask(text, stream):
    reply = await pool.acompletion("embedllm", [{"role": "user", "content": text}], stream=stream)
    if not stream:
        return reply.choices[0].message.content
    return "".join([chunk.choices[0].delta.content or "" async for chunk in reply])

async def main():
    asked = [("What is 1 plus 2?", False), ("Which tree?", False), ("What is 3 plus 4?", True)]
    print(json.dumps([await ask(*each) for each in asked]))

asyncio.run(main())
"""


@pytest.mark.slow
@pytest.mark.skipif(not LITELLM.is_dir(), reason="no LiteLLM beside the environment")
def test_litellm_asks_the_model_that_the_router_chooses() -> None:
    with running_upstream() as upstream:
        environment = {**os.environ, "PYTHONPATH": str(LITELLM), "LITELLM_LOCAL_MODEL_COST_MAP": "True"}
        done = subprocess.run(
            [sys.executable, "-c", ASK, upstream.url], env=environment, capture_output=True, text=True, check=False
        )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1]) == ["I am adder.", "I am gardener.", "I am here."]
    assert [asked.model for asked in upstream.asked] == ["adder", "gardener", "adder"]


class Pool:
    def __init__(self, *deployments: dict) -> None:
        self.model_list = list(deployments)


class First:
    models = ("a", "b")

    def route(self, questions: list[str], **options: object) -> object:
        raise AssertionError("nothing can be routed")


def test_a_pool_without_known_models_is_refused() -> None:
    from embedder.errors import EmbedderError

    other = {"model_name": "other", "model_info": {"id": "x"}}
    strategy = Strategy(Pool({"model_name": "embedllm", "model_info": {"id": "c"}}, other), First())  # type: ignore[arg-type]
    with pytest.raises(
        EmbedderError, match=r"the router knows no model of the group 'embedllm': its deployments are of c;"
    ):
        strategy.get_available_deployment("embedllm", [{"role": "user", "content": "?"}])
    assert strategy.get_available_deployment("other") is other
    with pytest.raises(EmbedderError, match="no deployment of 'none'"):
        strategy.get_available_deployment("none")
