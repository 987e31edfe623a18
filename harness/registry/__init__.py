"""The registry: which models are asked which benchmarks, as YAML files that people write."""

from .entries import Backend, BenchmarkEntry, ModelEntry, Price, Resources, benchmark_name_fault, model_name_fault
from .loading import Registry, RegistryError, load_registry, model_entry

__all__ = [
    "Backend",
    "BenchmarkEntry",
    "ModelEntry",
    "Price",
    "Registry",
    "RegistryError",
    "Resources",
    "benchmark_name_fault",
    "load_registry",
    "model_entry",
    "model_name_fault",
]
