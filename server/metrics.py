"""What Prometheus reads: requests, how long they take, and what state everything is in."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

__all__ = ["Metrics"]

_SECONDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 1, 5, 30, 120)

Gauges = Callable[[], Mapping[str, Mapping[str, float]]]
"""Returns values by the name of the gauge and by label."""


class Metrics:
    """The counters of one server, and gauges that are asked when somebody looks."""

    def __init__(self, gauges: Gauges) -> None:
        self._registry = CollectorRegistry()
        self.requests = Counter(
            "embedllm_requests",
            "Requests by policy (or 'named' where the client names the model), model that answered, and outcome.",
            ("policy", "model", "outcome"),
            registry=self._registry,
        )
        self.failures = Counter(
            "embedllm_failed_tries", "Tries that another model had to make good.", ("model",), registry=self._registry
        )
        self.deciding = Histogram(
            "embedllm_deciding_seconds", "Choosing a model.", buckets=_SECONDS, registry=self._registry
        )
        self.answering = Histogram(
            "embedllm_first_byte_seconds",
            "From the request to the first byte of its answer.",
            buckets=_SECONDS,
            registry=self._registry,
        )
        self._registry.register(_Gauges(gauges))

    def text(self) -> bytes:
        return generate_latest(self._registry)


class _Gauges(Collector):
    def __init__(self, gauges: Gauges) -> None:
        self._gauges = gauges

    def collect(self) -> Iterable[Metric]:
        for name, values in self._gauges().items():
            family = GaugeMetricFamily(f"embedllm_{name}", name.replace("_", " "), labels=("of",))
            for label, value in values.items():
                family.add_metric([label], value)
            yield family
