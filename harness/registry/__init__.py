"""The registry: which models are asked which benchmarks, as YAML files that people write."""

from .entries import (
    CHANGES_NO_ANSWER,
    Backend,
    BenchmarkEntry,
    Capability,
    Endpoint,
    ModelEntry,
    Price,
    Resources,
    Upstream,
    benchmark_name_fault,
    model_name_fault,
)
from .loading import Registry, RegistryError, load_policies, load_registry, model_entry
from .policies import Policies, Policy

__all__ = [
    "CHANGES_NO_ANSWER",
    "Backend",
    "BenchmarkEntry",
    "Capability",
    "Endpoint",
    "ModelEntry",
    "Policies",
    "Policy",
    "Price",
    "Registry",
    "RegistryError",
    "Resources",
    "Upstream",
    "benchmark_name_fault",
    "load_policies",
    "load_registry",
    "model_entry",
    "model_name_fault",
]
