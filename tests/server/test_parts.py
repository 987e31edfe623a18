"""Breakers, budgets, keys and reloads, without a server."""

import asyncio
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from server.breaker import Breaker
from server.guard import KeysError, hash_key, read_keys
from server.live import Live
from server.memory import Ledger, Recent
from server.serving import NotSafe, check_address

from .fakes import Given, snapshot


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_a_breaker_opens_probes_once_and_waits_longer_each_time() -> None:
    clock = Clock()
    breaker = Breaker(clock)
    for state in ("closed", "closed", "open"):
        breaker.begin()
        breaker.fail()
        assert breaker.state == state
    for pause in (10, 20, 40, 80, 160, 300, 300):
        assert breaker.waits_s == pause
        clock.now += pause
        assert (breaker.state, breaker.why_not()) == ("half-open", None)
        breaker.begin()
        assert breaker.why_not() == "its server failed, and is being tried with another request"
        breaker.fail()
    clock.now += 300
    breaker.begin()
    breaker.abandon()
    assert breaker.why_not() is None
    breaker.begin()
    breaker.succeed()
    assert (breaker.state, breaker.why_not()) == ("closed", None)
    breaker.fail()
    assert breaker.state == "closed"


def test_answers_that_begin_and_do_not_end_open_a_breaker() -> None:
    clock = Clock()
    breaker = Breaker(clock)
    for state in ("closed", "closed", "open"):
        breaker.answer()
        breaker.fail()
        assert breaker.state == state
    clock.now += 10
    breaker.begin()
    breaker.answer()
    assert (breaker.state, breaker.why_not()) == ("closed", None)
    breaker.fail()
    assert (breaker.state, breaker.waits_s) == ("open", 20)


def test_a_success_between_failures_keeps_a_breaker_closed() -> None:
    breaker = Breaker(Clock())
    for _ in range(5):
        breaker.fail()
        breaker.fail()
        breaker.succeed()
    assert breaker.state == "closed"


@pytest.mark.parametrize(("wish", "waits"), [(0.5, 0.5), (0, 0), (1e9, 3600), (float("inf"), 3600)])
def test_a_server_is_left_alone_for_as_long_as_it_asks(wish: float, waits: float) -> None:
    breaker = Breaker(Clock())
    breaker.fail(wish)
    assert breaker.waits_s == waits


def test_what_is_remembered_is_limited_in_number_and_age() -> None:
    clock = Clock()
    recent = Recent(2, 60, clock)
    for key in "abc":
        recent.put(key, key)
    assert (len(recent), recent.get("a"), recent.get("b"), recent.get(None)) == (2, None, "b", None)
    clock.now += 61
    assert recent.get("b") is None


def test_a_budget_is_new_at_midnight(tmp_path: Path) -> None:
    now = datetime(2026, 3, 1, 23, 59, 50, tzinfo=UTC)
    file = tmp_path / "server" / "spent.json"
    ledger = Ledger(file, lambda: now)
    ledger.add("p", 2.0)
    ledger.keep()
    assert (ledger.spent("p"), ledger.seconds_left()) == (2.0, 10.0)
    assert Ledger(file, lambda: now).spent("p") == 2.0
    now += timedelta(seconds=11)
    assert (ledger.spent("p"), ledger.all()) == (0.0, {})
    assert Ledger(file, lambda: now).spent("p") == 0.0
    ledger.add("p", 1.0)
    ledger.keep()
    assert json.loads(file.read_text()) == {"day": "2026-03-02", "spent": {"p": 1.0}}


@pytest.mark.parametrize("content", ["", "{", "[]", '{"day": 1}', '{"day": "2026-03-01", "spent": [1]}'])
def test_a_budget_that_cannot_be_read_is_said(content: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "spent.json").write_text(content)
    ledger = Ledger(tmp_path / "spent.json", lambda: datetime(2026, 3, 1, tzinfo=UTC))
    assert ledger.spent("p") == 0
    assert ("cannot be read" in caplog.text) == (content != '{"day": 1}')


def test_a_budget_that_cannot_be_kept_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").write_text("")
    ledger = Ledger(tmp_path / "file" / "spent.json")
    ledger.add("p", 1.0)
    ledger.keep()
    assert "a restart would forget what was spent today" in caplog.text
    assert ledger.spent("p") == 1.0


def test_the_server_goes_on_whatever_is_wrong_with_a_change(tmp_path: Path) -> None:
    """A disk that fails once must not end the watch for changes."""
    given = Given(snapshot("http://localhost:1/v1"))
    live = Live(given)
    live.load()

    async def watch() -> None:
        watching = asyncio.create_task(live.watch(0.01))
        given.error, given.number = OSError("the disk is gone"), 1
        while live.problem is None:
            await asyncio.sleep(0.01)
        assert (live.problem, live.snapshot.version) == ("the disk is gone", "version-1")
        given.error = None
        given.put(version="version-2")
        while live.problem is not None:
            await asyncio.sleep(0.01)
        watching.cancel()

    asyncio.run(asyncio.wait_for(watch(), 30))
    assert live.snapshot.version == "version-2"


KEY = "k" * 16


@pytest.mark.parametrize(
    ("text", "names"),
    [
        (None, []),
        (" , ", []),
        (f"{KEY}, bob={KEY}2", ["key 1", "bob"]),
        (f"ann={KEY}==", ["ann"]),
    ],
)
def test_keys_from_the_environment(text: str | None, names: list[str]) -> None:
    assert list(read_keys(text, None).values()) == names


def test_a_key_may_end_in_an_equals_sign() -> None:
    assert read_keys(f"ann={KEY}=", None) == {hash_key(f"{KEY}="): "ann"}
    with pytest.raises(KeysError, match="key 1 of EMBEDLLM_SERVE_KEYS has fewer than 16 characters") as told:
        read_keys(f"{KEY}=", None)
    assert KEY not in str(told.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "holds no key"),
        (b"# ann\n\n", "holds no key"),
        (b"ann " + KEY.encode(), "line 1: it must hold a name and the SHA-256 of a key"),
        (b"\xff", "cannot be read"),
    ],
)
def test_a_file_of_keys_that_cannot_be_used(content: bytes, message: str, tmp_path: Path) -> None:
    """Nobody is let in by a file that was meant to keep people out."""
    file = tmp_path / "keys"
    file.write_bytes(content)
    with pytest.raises(KeysError, match=message) as told:
        read_keys(None, file)
    assert KEY not in str(told.value)
    with pytest.raises(KeysError, match="cannot be read"):
        read_keys(None, tmp_path / "none")


def test_a_file_of_keys(tmp_path: Path) -> None:
    (tmp_path / "keys").write_text(f"# clients\nann {hash_key(KEY)}\n\n")
    assert read_keys(None, tmp_path / "keys") == {hash_key(KEY): "ann"}


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.1", "example.org", ""])
def test_an_address_that_others_reach_needs_keys(host: str) -> None:
    with pytest.raises(NotSafe, match="there are no keys"):
        check_address(host, {}, without_keys=False)
    check_address(host, {}, without_keys=True)
    check_address(host, {hash_key(KEY): "ann"}, without_keys=False)


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost", "127.8.8.8"])
def test_an_address_of_this_machine_needs_none(host: str) -> None:
    check_address(host, {}, without_keys=False)
