"""A cluster on one machine: a head and Ray nodes, Postgres, a bucket, and Dagster's processes on the head."""

import os
import shutil
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from unittest.mock import patch

import dagster as dg

from pipelines.instance import UNFINISHED
from pipelines.processes import PROCESS
from pipelines.settings import PROJECT
from tests.command import Command

from .services import BINARIES, Bucket, Node, Postgres, free_port, wait_for

NEEDED = {"ray": "ray", "dagster_ray": "ray", "dagster_postgres": "postgres", "moto": "dev"}  # modules, by extra


def find_missing() -> str | None:
    """What a cluster needs and is not installed here; None where all is there."""
    for module, extra in NEEDED.items():
        if find_spec(module) is None:
            return f"there is no {module}: the extra `{extra}` is not installed"
    if BINARIES is None:
        return "there is no Postgres in /usr/lib/postgresql: apt-get install postgresql"
    return None


@dataclass
class Cluster:
    command: Command  # on the head's home
    postgres: Postgres
    bucket: Bucket
    nodes: list[Node]

    @contextmanager
    def instance(self) -> Iterator[dg.DagsterInstance]:
        folder = str(self.command.home / "dagster")
        with patch.dict(os.environ, self.command.environment()), dg.DagsterInstance.from_config(folder) as instance:
            yield instance

    def runs(self, *statuses: dg.DagsterRunStatus) -> Sequence[dg.DagsterRun]:
        with self.instance() as instance:
            return instance.get_runs(dg.RunsFilter(statuses=list(statuses)))

    def describe_runs(self) -> list[str]:
        """For whoever wants to know why a test failed."""
        failures = {dg.DagsterEventType.RUN_FAILURE, dg.DagsterEventType.STEP_FAILURE}
        told = []
        with self.instance() as instance:
            for run in instance.get_runs():
                told.append(f"{run.run_id[:8]} {run.status.value} {run.tags.get('dagster/partition', 'refresh')}")
                found = instance.get_records_for_run(run.run_id, of_type=failures).records
                events = [one.event_log_entry.get_dagster_event() for one in found]
                told += [f"    {event.message} {event.event_specific_data}" for event in events]
        return told

    def unfinished(self) -> Sequence[dg.DagsterRun]:
        return self.runs(*UNFINISHED)

    def at_work(self, *, evaluating: bool) -> list[Node]:
        """The nodes at work on an evaluation now, or on a refresh."""
        processes = [
            int(run.tags[PROCESS].split()[1])
            for run in self.runs(dg.DagsterRunStatus.STARTED)
            if PROCESS in run.tags and ("dagster/partition" in run.tags) == evaluating
        ]
        return [node for node in self.nodes if any(map(node.is_at_work_on, processes))]


@contextmanager
def started_cluster(home: Command, folder: Path, names: Sequence[str]) -> Iterator[Cluster]:
    """A cluster with these nodes of one worker each, on which the models of `home`'s registry are yet to be asked."""
    short = Path(tempfile.mkdtemp(prefix="ray-", dir="/tmp"))  # a socket's path has 107 bytes at most
    short.chmod(0o755)  # Postgres, too, has to get there
    with ExitStack() as started:
        started.callback(shutil.rmtree, short, ignore_errors=True)
        yield _start(home, folder, short, names, started)


def _start(home: Command, folder: Path, short: Path, names: Sequence[str], started: ExitStack) -> Cluster:
    postgres, bucket = Postgres(short / "postgres"), Bucket()
    dashboard, port, web = free_port(), free_port(), free_port()
    of_nodes = {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        **(home.settings or {}),
        **bucket.settings,
        "DAGSTER_PG_URL": postgres.url,
        "HF_HUB_OFFLINE": "1",
        "OMP_NUM_THREADS": "1",
    }

    def node(name: str, *arguments: str) -> Node:
        own = ("--node-ip-address=127.0.0.1", f"--dashboard-agent-listen-port={free_port()}")
        found = Node(folder / name, (*arguments, *own), {**os.environ, **of_nodes}, folder / f"{name}.log")
        started.callback(found.end)
        found.up()
        wait_for(found.is_up, f"the node {name}")  # one at a time: they would take the same ports
        return found

    node(
        "ray-head",
        *("--head", "--num-cpus=0", f"--port={port}", f"--temp-dir={short / 'ray'}"),
        *(f"--dashboard-port={dashboard}", f"--ray-client-server-port={free_port()}"),
    )
    postgres.make()
    started.callback(postgres.down)
    bucket.make()
    started.callback(bucket.end)
    settings = {
        **of_nodes,
        "EMBEDLLM_LAKE": "s3://bucket/lake",
        "EMBEDLLM_DAGSTER_YAML": str(PROJECT / "deploy" / "ray" / "dagster.yaml"),
        "EMBEDLLM_WEBSERVER": f"127.0.0.1:{web}",
        "RAY_API_SERVER_ADDRESS": f"http://127.0.0.1:{dashboard}",
    }
    command = replace(home, home=folder / "home", settings=settings)
    nodes = [node(name, f"--address=127.0.0.1:{port}", "--num-cpus=1") for name in names]
    ui = subprocess.Popen(
        [str(Path(sys.executable).with_name("embedllm")), "ui", "--port", str(web)],
        env=command.environment(),
        stdout=(folder / "ui.log").open("wb"),
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    started.callback(_end, ui)
    wait_for(lambda: is_up(f"http://127.0.0.1:{dashboard}/api/version"), "Ray's dashboard")
    wait_for(lambda: is_up(f"http://127.0.0.1:{web}/server_info"), "Dagster's web server")
    return Cluster(command, postgres, bucket, nodes)


def is_up(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5):
            return True
    except (urllib.error.URLError, TimeoutError, ConnectionError):
        return False


def _end(ui: subprocess.Popen[bytes]) -> None:
    ui.terminate()
    ui.wait(60)
