"""The endpoints: OpenAI's, and our own for decisions and for those who run the server."""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, PlainTextResponse, Response
from starlette.exceptions import HTTPException
from starlette.types import Receive, Scope, Send

from embedder.router import as_records
from harness.registry import Endpoint

from .choosing import NoModelLeft
from .gateway import Answer, Gateway, PolicySpent, UnknownName
from .relay import AllFailed
from .replies import error_body, refusal
from .requests import MOST_TEXTS, Asked, BadRequest, cut, read_body
from .upstream import PATHS

__all__ = ["create_app"]


def create_app(gateway: Gateway, *, refresh_s: float) -> FastAPI:
    """Return the application on a gateway whose snapshot is loaded."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        watching = asyncio.create_task(gateway.live.watch(refresh_s, gateway.ledger.keep))
        try:
            yield
        finally:
            watching.cancel()
            with suppress(asyncio.CancelledError):
                await watching
            gateway.ledger.keep()
            await gateway.close()

    # No page of documentation: it would load its scripts from elsewhere.
    app = FastAPI(title="EmbedLLM", docs_url=None, redoc_url=None, redirect_slashes=False, lifespan=lifespan)
    for endpoint, path in PATHS.items():
        app.add_api_route(f"/v1{path}", _relaying(gateway, endpoint), methods=["POST"], response_model=None)
    for add in (_add_names, _add_decisions, _add_operations):
        add(app, gateway)
    for fault, tell in {**_REFUSALS, HTTPException: _tell_no_endpoint, Exception: _tell_fault}.items():
        app.add_exception_handler(fault, tell)
    return app


def _relaying(gateway: Gateway, endpoint: Endpoint) -> Callable[[Request], Awaitable[Response]]:
    async def answer(request: Request) -> Response:
        body = read_body(await request.body())
        work = asyncio.create_task(gateway.answer(endpoint, body, request.headers, request.state.client))
        left = asyncio.create_task(_disconnected(request.receive))
        try:
            await asyncio.wait({work, left}, return_when=asyncio.FIRST_COMPLETED)
            if work.done():
                return _Relaying(work.result())
            return Response(status_code=499)  # nobody reads it
        finally:
            left.cancel()
            if not work.done():
                work.cancel()
                with suppress(asyncio.CancelledError, *_REFUSALS):
                    await (await work).aclose()  # it was faster

    return answer


class _Relaying(Response):
    """Passes a reply on as it comes. Whatever happens, the model's server is not kept at work for nobody."""

    def __init__(self, answer: Answer) -> None:
        self._answer = answer
        self.background = None
        self.status_code = answer.reply.status

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        answer = self._answer
        headers = {**answer.reply.headers, **answer.headers}
        if answer.body is None:
            headers["content-length"] = str(len(answer.reply.begun))
        raw = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]
        sending = asyncio.create_task(self._send(raw, send))
        left = asyncio.create_task(_disconnected(receive))
        try:
            await asyncio.wait({sending, left}, return_when=asyncio.FIRST_COMPLETED)
            if sending.done():
                sending.result()
        finally:
            left.cancel()
            sending.cancel()
            with suppress(asyncio.CancelledError):
                await sending
            await answer.aclose()

    async def _send(self, headers: list[tuple[bytes, bytes]], send: Send) -> None:
        answer = self._answer
        await send({"type": "http.response.start", "status": answer.reply.status, "headers": headers})
        more = answer.body is not None
        await send({"type": "http.response.body", "body": answer.reply.begun, "more_body": more})
        if answer.body is None:
            return
        try:
            async for piece in answer.body:
                await send({"type": "http.response.body", "body": piece, "more_body": True})
        except AllFailed as error:
            # Too late for another model: what has come stays, and clients raise this as an error.
            told = json.dumps(error_body(502, f"the answer broke off: {error}", "broke_off"))
            await send({"type": "http.response.body", "body": f"data: {told}\n\n".encode(), "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _disconnected(receive: Receive) -> None:
    """Return once the client has gone."""
    while (await receive())["type"] != "http.disconnect":
        pass


def _add_names(app: FastAPI, gateway: Gateway) -> None:
    @app.get("/v1/models")
    async def models() -> dict[str, Any]:
        """The policies and models that a request may name."""
        names = gateway.names()
        return {"object": "list", "data": [{"id": name, "object": "model", "owned_by": "embedllm"} for name in names]}

    @app.get("/v1/models/{name:path}", response_model=None)
    async def model(name: str) -> Response | dict[str, Any]:
        """One of them."""
        if name not in gateway.names():
            return refusal(404, f"there is no model {name[:100]!r}", "model_not_found", param="model")
        return {"id": name, "object": "model", "owned_by": "embedllm"}


def _add_decisions(app: FastAPI, gateway: Gateway) -> None:
    @app.get("/v1/decisions/{decision}", response_model=None)
    async def decisions(decision: str) -> Response:
        """Why a model was chosen, and what came of it; of the last 10,000 requests."""
        found = gateway.decisions.get(decision)
        if found is None:
            return refusal(404, f"there is no decision {decision[:100]!r}, or no longer", "decision_not_found")
        return Response(found, media_type="application/json")

    @app.post("/v1/route")
    async def route(request: Request) -> dict[str, Any]:
        """Decisions alone: which models to ask {"question": …} or each of {"questions": […]}, by a "policy"."""
        questions, policy, top = _read_questions(await request.body())
        decided = [await gateway.decide(policy, Asked((text,), "chat")) for text in questions]
        told = as_records(questions, [one.ranked[:top] for one in decided], gateway.live.snapshot.router)
        told["cost_unit"] = decided[0].cost_unit
        for record, decision in zip(told["questions"], decided, strict=True):
            record |= {"reason": decision.reason, "too_little_known": decision.too_little_known}
        return {"policy": decided[0].policy, "embedder": decided[0].version, **told}


def _add_operations(app: FastAPI, gateway: Gateway) -> None:
    @app.api_route("/healthz", methods=["GET", "HEAD"])
    async def healthz() -> dict[str, str]:
        """It runs."""
        return {"status": "ok"}

    @app.api_route("/readyz", methods=["GET", "HEAD"])
    async def readyz(request: Request) -> dict[str, Any]:
        """It can answer. `refused` says why a change is not in force; who has no key is not told of files."""
        snapshot, problem = gateway.live.snapshot, gateway.live.problem
        told = {"status": "ok", "embedder": snapshot.version, "models": len(snapshot.served)}
        if not request.state.client:
            return {**told, "refused": problem and "the log says why"}
        return {**told, "warnings": snapshot.warnings, "refused": problem}

    @app.get("/metrics")
    async def metrics() -> PlainTextResponse:
        """For Prometheus."""
        return PlainTextResponse(gateway.metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")


def _read_questions(raw: bytes) -> tuple[list[str], str | None, int]:
    try:
        content = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise BadRequest(f"the body is no JSON ({error})") from None
    if not isinstance(content, dict):
        raise BadRequest('the body must be an object such as {"question": "…"}')
    one, several = content.get("question"), content.get("questions")
    questions = [one] if several is None else several
    texts = [q for q in questions if isinstance(q, str) and q.strip()] if isinstance(questions, list) else []
    if not texts or len(texts) != len(questions):
        raise BadRequest('give {"question": "…"} or {"questions": ["…", …]}, none of them empty', "questions")
    if len(texts) > MOST_TEXTS:
        raise BadRequest(f"at most {MOST_TEXTS:,} questions fit into a request", "questions")
    policy, top = content.get("policy"), content.get("top", 5)
    if policy is not None and not isinstance(policy, str):
        raise BadRequest("policy must be a policy's name", "policy")
    if not isinstance(top, int) or top < 1:
        raise BadRequest("top must be a whole number above 0", "top")
    return [cut(text) for text in texts], policy and f"embedllm/{policy.removeprefix('embedllm/')}", top


def _tell_no_endpoint(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    message = f"{request.method} {request.url.path[:100]}: {error.detail}; docs/serve.md lists the endpoints"
    return refusal(error.status_code, message, "no_such_endpoint", headers=error.headers)


def _tell_fault(_: Request, error: Exception) -> JSONResponse:
    """Say no more than that: the error is logged."""
    return refusal(500, f"the server failed ({type(error).__name__})", "server_failed")


def _tell_bad_request(_: Request, error: Exception) -> JSONResponse:
    return refusal(400, str(error), "bad_request", param=getattr(error, "param", None))


def _tell_unknown(_: Request, error: Exception) -> JSONResponse:
    return refusal(404, str(error), "model_not_found", param="model")


def _tell_no_model(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, NoModelLeft)
    if error.for_now:
        return refusal(503, str(error), "no_model_left", retry_after_s=10)
    return refusal(400, str(error), "no_model_left")


def _tell_spent(_: Request, error: Exception) -> JSONResponse:
    seconds = getattr(error, "seconds_left", math.nan)
    return refusal(429, str(error), "budget_spent", retry_after_s=seconds)


def _tell_failed(_: Request, error: Exception) -> Response:
    """Pass on what the only model said that was asked; else say what came of all of them."""
    assert isinstance(error, AllFailed)
    if error.reply is not None and len(error.tries) == 1:
        return Response(error.reply.begun, error.reply.status, {**error.reply.headers, **error.headers})
    status, code = (
        (429, "too_many_requests") if error.too_many else (504, "timeout") if error.too_late else (502, "failed")
    )
    if not error.tries:
        status, code = 503, "no_server_may_be_asked"
    alone = "".join(f"; {model}: {reason}" for model, reason in error.alone.items())
    return refusal(status, f"{error}{alone}", code, retry_after_s=error.retry_after_s or None, headers=error.headers)


_REFUSALS = {
    BadRequest: _tell_bad_request,
    UnknownName: _tell_unknown,
    NoModelLeft: _tell_no_model,
    PolicySpent: _tell_spent,
    AllFailed: _tell_failed,
}
