"""The models of the pool are partitions: each is evaluated, fails and is retried on its own."""

import dagster as dg

MODELS_PARTITION = "models"
MODELS = dg.DynamicPartitionsDefinition(name=MODELS_PARTITION)


def responses_key(benchmark: str) -> dg.AssetKey:
    """The asset that holds every model's answers to one benchmark."""
    return dg.AssetKey(["responses", benchmark])
