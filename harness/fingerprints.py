"""Whether old answers still hold: what determined them is compared with what is there now, without lm-eval."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from .digests import digest_of
from .identity import determining_args, is_local
from .registry import BenchmarkEntry, ModelEntry

__all__ = ["find_change", "fingerprint_of"]


def fingerprint_of(
    entry: ModelEntry, benchmark: BenchmarkEntry, configs: Mapping[str, Any], seed: int, lm_eval_version: str
) -> str:
    """Return a hex digest of all that determines the answers; `configs` are the digests of TaskIndex.configs.

    Raises ModelNotFound where a folder or hub repository cannot be found.
    """
    return digest_of(
        {
            "model": determining_args(entry),
            "tasks": configs,
            "metric": benchmark.metric,
            "filter": benchmark.filter,
            "num_fewshot": benchmark.num_fewshot,
            "seed": seed,
            "lm_eval": lm_eval_version,
        }
    )


def find_change(
    known: Mapping[str, str],
    entry: ModelEntry,
    benchmark: BenchmarkEntry,
    *,
    versions: Mapping[str, str],
    configs: Mapping[str, Any] | None,
    seed: int,
) -> str | None:
    """Say what has changed on this machine since the answers described by `known` (Evaluation.metadata) were given.

    `versions` are the present ones of weights, tokenizers and adapters in folders (identity.local_versions), `configs`
    the digests of the task definitions with their code and data (TaskIndex.configs; None: not compared). The result is
    a phrase, or None where nothing has changed, as far as can be seen without a hub.
    """
    before = json.loads(known.get("inputs", "{}")) or {"pretrained": known.get("weights")}
    for name, version in versions.items():
        if before.get(name) not in (None, version):
            return f"args.{name} holds other files"
    if configs is None or known.get("tasks") == digest_of(configs):
        return None
    if "tasks" in known:
        return "its task definition, its code or its data"
    # Answers of an older version have no digest of the task alone, but their fingerprint covers it.
    if not is_local(entry) or "fingerprint" not in known:
        return None
    version = known.get("harness_version", "").removeprefix("lm_eval ")
    if fingerprint_of(entry, benchmark, configs, seed, version) != known["fingerprint"]:
        return "its task definition, its code or its data"
    return None
