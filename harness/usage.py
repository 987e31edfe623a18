"""What answers took: tokens and time."""

from collections.abc import Sequence
from typing import Any, NamedTuple

__all__ = ["UNKNOWN", "Usage", "request_key", "total"]


class Usage(NamedTuple):
    """What a request to a model took; None where that is not known."""

    tokens_in: int | None = None
    tokens_out: int | None = None
    latency_s: float | None = None


UNKNOWN = Usage()


def request_key(args: Sequence[Any]) -> Any:
    """What tells a request (its arguments in lm-eval) from others: prompt and choice, or the prompt alone.

    Of a request to generate, the options are left out: they are a dict, and backends hand on their own copy.
    """
    return args if len(args) > 1 and isinstance(args[1], str) else args[0]


def total(requests: Sequence[Usage]) -> Usage:
    """What a question took that was asked in `requests`.

    The time is that of a single request only: of several, nobody knows how far they ran at the same time.
    """
    if len(requests) == 1:
        return requests[0]
    return Usage(_sum([usage.tokens_in for usage in requests]), _sum([usage.tokens_out for usage in requests]))


def _sum(counts: Sequence[int | None]) -> int | None:
    known = [count for count in counts if count is not None]
    return sum(known) if len(known) == len(counts) else None
