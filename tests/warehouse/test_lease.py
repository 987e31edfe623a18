"""One command at a time works on a lake that several machines share."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

import pytest

from warehouse.errors import LakeInUse
from warehouse.lake import Lake, Lease, Leases, lease

NODE_1 = Lease("node-1 12 boot:1", "embedllm run", datetime(2026, 3, 29, 12, tzinfo=UTC))
NODE_2 = Lease("node-2 34 boot:2", "embedllm import", datetime(2026, 3, 29, 13, tzinfo=UTC))
RENEWED, EXPIRED, LOOK = 0.5, 4.0, 0.1  # seconds

HOLD = f"""
import sys
from datetime import UTC, datetime
from warehouse.lake import Lease, Leases, lease
lease.RENEWED, lease.EXPIRED, lease.LOOK = {RENEWED}, {EXPIRED}, {LOOK}
mine = Lease("node-1 12 boot:1", "embedllm run", datetime(2026, 3, 29, 12, tzinfo=UTC))
with Leases(sys.argv[1], lambda process: False).hold(mine, lambda news: print(news, flush=True)):
    print("held", flush=True)
    sys.stdin.readline()
"""


@pytest.fixture(params=["a folder", pytest.param("a bucket", marks=pytest.mark.slow)])
def address(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return str(tmp_path / "lake") if request.param == "a folder" else f"{request.getfixturevalue('bucket')}/lake"


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, seconds in (("RENEWED", RENEWED), ("EXPIRED", EXPIRED), ("LOOK", LOOK)):
        monkeypatch.setattr(lease, name, seconds)


@pytest.fixture
def start(address: str) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Starts a program that holds the lake until it is told to end."""
    with ExitStack() as started:

        def run(program: str) -> subprocess.Popen[str]:
            process = subprocess.Popen(
                [sys.executable, "-c", program, address],
                env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
            started.enter_context(process)
            started.callback(process.kill)
            return process

        yield run


@pytest.fixture
def node_1(start: Callable[..., subprocess.Popen[str]]) -> subprocess.Popen[str]:
    """As if on another machine: it holds the lake."""
    process = start(HOLD)
    assert _read(process) == "held\n"
    return process


def _read(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline()


def leases(address: str, *, is_gone: Callable[[str], bool] = lambda process: False) -> Leases:
    return Leases(address, is_gone)


def test_who_comes_second_is_told_who_holds_the_lake(address: str, node_1: subprocess.Popen[str]) -> None:
    told: list[str] = []
    with pytest.raises(LakeInUse) as refused, leases(address).hold(NODE_2, told.append):
        pass
    holder = "`embedllm run` on node-1 (process 12, since 2026-03-29 12:00 UTC)"
    assert str(refused.value) == f"{address} is in use by {holder}; wait for it to end, or stop it there."
    assert told == [f"{address} is held by {holder}; looking for a minute whether it is still at work."]
    node_1.communicate("end\n")
    with leases(address).hold(NODE_2, told.append):
        assert leases(address).find_holder() == NODE_2
    assert leases(address).find_holder() is None
    assert told[1:] == []


@pytest.mark.slow
def test_a_lease_expires_when_its_holder_was_killed(address: str, node_1: subprocess.Popen[str]) -> None:
    node_1.kill()
    node_1.wait()
    told: list[str] = []
    with leases(address).hold(NODE_2, told.append):
        assert leases(address).find_holder() == NODE_2
    assert len(told) == 1


def test_of_a_process_of_this_machine_that_is_gone_nothing_is_waited_for(
    address: str, node_1: subprocess.Popen[str]
) -> None:
    node_1.kill()
    told: list[str] = []
    with leases(address, is_gone=lambda process: process == NODE_1.process).hold(NODE_2, told.append):
        pass
    assert told == []


@pytest.mark.slow
def test_a_holder_that_slept_too_long_is_told_who_took_over(address: str, node_1: subprocess.Popen[str]) -> None:
    os.kill(node_1.pid, signal.SIGSTOP)
    with leases(address).hold(NODE_2, lambda news: None):
        os.kill(node_1.pid, signal.SIGCONT)
        assert "was taken over by `embedllm import` on node-2 (process 34" in _read(node_1)
        node_1.communicate("end\n")
        held = leases(address).find_holder()
        assert held is not None  # it gives up only what is its own
        assert held.process == NODE_2.process


def test_of_many_at_once_one_holds_the_lake(address: str, start: Callable[..., subprocess.Popen[str]]) -> None:
    rivals = [start(HOLD.replace("node-1", f"rival-{number}")) for number in range(3)]
    deadline = time.monotonic() + 60
    while len(working := [rival for rival in rivals if rival.poll() is None]) > 1:
        assert time.monotonic() < deadline
        time.sleep(LOOK)
    (winner,) = working
    assert winner.communicate("end\n")[0].endswith("held\n")
    assert [rival.returncode for rival in rivals if rival is not winner] == [1, 1]
    assert all("LakeInUse" in rival.communicate()[1] for rival in rivals if rival is not winner)


def test_a_lake_with_leases_is_whole_and_can_be_compacted(address: str) -> None:
    lake = Lake(address)
    with leases(address).hold(NODE_1, lambda news: None):
        lake.compact()
        assert lake.check() == []
        assert leases(address).find_holder() is not None
    lake.compact()
    assert leases(address).find_holder() is None
