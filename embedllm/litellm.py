"""The router as a routing strategy of LiteLLM, for those who have a pool of models there already (docs/serve.md).

    router = litellm.Router(model_list=[...])           # deployments of one group, embedllm
    embedllm.litellm.use(router, embedllm.load("data"))

LiteLLM itself is not imported: what is needed of it is in the router that is handed in.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from embedder.errors import EmbedderError

if TYPE_CHECKING:
    from .router import Router

__all__ = ["Strategy", "use"]

_GROUP = "embedllm"


class Strategy:
    """Chooses a deployment of the group `group` for each request, by the text of its last message of the user.

    A deployment is of the model that its `model_info` names as `embedllm`, or else as `id`. Deployments of models that
    the router does not know are not chosen; a request without text goes to the model that is best on average. Requests
    to other groups go to their first deployment. `cost_weight`, `without` and `category` are those of `Router.route`.
    """

    def __init__(
        self,
        litellm_router: Any,
        router: Router,
        *,
        group: str = _GROUP,
        cost_weight: float = 0,
        without: Collection[str] = (),
        category: str | None = None,
    ) -> None:
        self._pool, self._router, self._group = litellm_router, router, group
        self._without = set(without)
        self._options: dict[str, Any] = {"cost_weight": cost_weight, "category": category}

    async def async_get_available_deployment(
        self,
        model: str,
        messages: Sequence[Mapping[str, Any]] | None = None,
        input: str | list[Any] | None = None,  # noqa: A002 LiteLLM's name
        specific_deployment: bool | None = False,
        request_kwargs: dict[str, Any] | None = None,
    ) -> Any:
        return self.get_available_deployment(model, messages, input, specific_deployment, request_kwargs)

    def get_available_deployment(
        self,
        model: str,
        messages: Sequence[Mapping[str, Any]] | None = None,
        input: str | list[Any] | None = None,  # noqa: A002
        specific_deployment: bool | None = False,
        request_kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """Return an element of LiteLLM's model_list. Raises EmbedderError where the group has none that is known."""
        deployments = [each for each in self._pool.model_list if each["model_name"] == model]
        if model != self._group:
            if not deployments:
                raise EmbedderError(f"LiteLLM's model_list has no deployment of {model!r}")
            return deployments[0]
        known = set(self._router.models) - self._without
        by_model = {name: each for each in deployments if (name := _name(each)) in known}
        if not by_model:
            names = ", ".join(map(_name, deployments)) or "none"
            raise EmbedderError(
                f"the router knows no model of the group {model!r}: its deployments are of {names}; name the router's "
                "model in each model_info, as embedllm"
            )
        routed = self._router.route([_question(messages, input)], top=1, among=list(by_model), **self._options)
        return by_model[routed["model"].iloc[0]]


def use(litellm_router: Any, router: Router, **options: Any) -> Strategy:
    """Let `litellm_router` (a litellm.Router) choose deployments by `router`; `options` are those of `Strategy`."""
    strategy = Strategy(litellm_router, router, **options)
    # The first is the name from LiteLLM 1.110 on.
    register = getattr(litellm_router, "register_plugin", None) or litellm_router.set_custom_routing_strategy
    register(strategy)
    return strategy


def _name(deployment: Mapping[str, Any]) -> str:
    known = deployment.get("model_info") or {}
    return str(known.get("embedllm") or known.get("id"))


def _question(messages: Sequence[Mapping[str, Any]] | None, text: str | list[Any] | None) -> str:
    """Return the text of the user's last message, or of an input; empty where there is none."""
    for message in reversed(messages or ()):
        if message.get("role") == "user":
            content = message.get("content")
            parts = content if isinstance(content, list) else [{"text": content}]
            return "\n".join(str(part["text"]) for part in parts if isinstance(part, Mapping) and part.get("text"))
    return text if isinstance(text, str) else " ".join(part for part in text or () if isinstance(part, str))
