"""Small real things for tests of the whole chain: four tiny random GPT-2s, three benchmarks of 40 questions."""

import json
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock
from hypothesis import settings

from pipelines.console import WIDE, out
from tests.command import Command
from tests.micro import BENCHMARKS, MODELS, save_micro_model, save_micro_task, write_registry_of

# The same examples each time, so that the same code has the same verdict; new ones are looked for with
# `pytest --hypothesis-profile=explore`. No deadline: the first example pays for the imports.
settings.register_profile("embedllm", deadline=None, derandomize=True)
settings.register_profile("explore", deadline=None, max_examples=1000)
settings.load_profile("embedllm")

SMALL = (MODELS[:3], ("sums", "towns"))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """One more than there are cores, as some tests wait for a UI most of their time; four at most."""
    return min(len(os.sched_getaffinity(0)) + 1, 4)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The files that may take longest go first, so that at the end no process waits long for another."""
    allowed: dict[Path, float] = {}  # seconds
    for item in items:
        limit, slow = item.get_closest_marker("timeout"), item.get_closest_marker("slow")
        seconds = limit.args[0] if limit else 600 if slow else 0
        allowed[item.path] = max(seconds, allowed.get(item.path, 0))
    items.sort(key=lambda item: -allowed[item.path])


@pytest.fixture(autouse=True, scope="session")
def wide_output() -> None:
    """Nothing is cut, however narrow the terminal is in which the tests run."""
    out.width = WIDE


@pytest.fixture(autouse=True)
def own_environment() -> Iterator[None]:
    """What a command puts into the environment goes with the test; what the user has set is not seen."""
    before = dict(os.environ)
    for name in list(os.environ):
        if name.startswith(("EMBEDLLM_", "DAGSTER_")):
            del os.environ[name]
    yield
    os.environ.clear()
    os.environ.update(before)


@pytest.fixture(scope="session")
def made_once(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, Callable[[Path], None]], Path]:
    """Gives a folder of that name, filled by `make` in the first of the processes that run the tests."""
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base

    def folder_of(name: str, make: Callable[[Path], None]) -> Path:
        folder = shared / name
        with FileLock(shared / f"{name}.lock"):
            if not (folder / "made").exists():
                shutil.rmtree(folder, ignore_errors=True)
                folder.mkdir()
                make(folder)
                (folder / "made").touch()
        return folder

    return folder_of


@pytest.fixture(scope="session")
def micro(made_once: Callable[..., Path]) -> Path:
    """A folder with models/a … d and tasks/."""

    def make(folder: Path) -> None:
        for seed, name in enumerate(MODELS):
            save_micro_model(folder / "models" / name.removeprefix("tiny/"), seed)
        (folder / "tasks").mkdir()
        for name in BENCHMARKS:
            save_micro_task(folder / "tasks", name)

    return made_once("micro", make)


@pytest.fixture(scope="session")
def save_model() -> Callable[[Path, int], None]:
    """Makes a tiny random GPT-2 in a folder; another seed, another model."""
    return save_micro_model


@pytest.fixture(scope="session")
def write_registry(micro: Path) -> Callable[..., Path]:
    def write(
        folder: Path, models: Sequence[str] = MODELS, benchmarks: Sequence[str] = BENCHMARKS, **changes: Any
    ) -> Path:
        """A registry of some of the micro models and benchmarks; `changes` are made to every benchmark's entry."""
        write_registry_of(folder, micro, models, benchmarks, **changes)
        return folder

    return write


@pytest.fixture(scope="session")
def datasets_cache(made_once: Callable[..., Path]) -> str:
    return str(made_once("datasets", lambda folder: None))


@pytest.fixture(scope="session")
def embedllm_of(datasets_cache: str) -> Callable[[Path, Path], Command]:
    """The command on a home and a registry."""
    return lambda home, registry: Command(home, registry, {"HF_DATASETS_CACHE": datasets_cache})


@pytest.fixture
def embedllm(tmp_path: Path, write_registry: Callable[..., Path], embedllm_of: Callable[..., Command]) -> Command:
    """The command on an empty home and the micro registry."""
    return embedllm_of(tmp_path / "home", write_registry(tmp_path / "registry"))


@dataclass(frozen=True)
class FirstRun:
    """A home after its first `embedllm run`; not to be written to, but to be copied and compared with."""

    home: Path
    returncode: int
    stdout: str
    stderr: str


@pytest.fixture(scope="session")
def first_run(
    made_once: Callable[..., Path], write_registry: Callable[..., Path], embedllm_of: Callable[..., Command]
) -> FirstRun:
    """Of the micro registry and one model more, whose folder does not exist."""

    def make(folder: Path) -> None:
        registry = write_registry(folder / "registry", (*MODELS, "tiny/<gone>"))
        done = embedllm_of(folder / "home", registry)("run")
        (folder / "run.json").write_text(json.dumps([done.returncode, done.stdout, done.stderr]))

    folder = made_once("first_run", make)
    return FirstRun(folder / "home", *json.loads((folder / "run.json").read_text()))


@pytest.fixture(scope="session")
def small_home(
    made_once: Callable[..., Path], write_registry: Callable[..., Path], embedllm_of: Callable[..., Command]
) -> Command:
    """A home where three models have answered two benchmarks and everything is made; to be copied, not written to."""

    def make(folder: Path) -> None:
        registry = write_registry(folder / "registry", *SMALL)
        done = embedllm_of(folder / "home", registry)("run")
        assert done.returncode == 0, done.stderr

    folder = made_once("small", make)
    return embedllm_of(folder / "home", folder / "registry")


@pytest.fixture
def small_copy(small_home: Command, embedllm: Command, write_registry: Callable[..., Path]) -> Command:
    """The command on a copy of the small home, with a registry of its own."""
    shutil.copytree(small_home.home, embedllm.home)
    write_registry(embedllm.registry, *SMALL)
    return embedllm


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory, datasets_cache: str) -> Command:
    """The command on the home that `embedllm demo` made: minutes of training, asking and evaluating."""
    home = tmp_path_factory.mktemp("demo") / "home"
    command = Command(home, settings={"HF_DATASETS_CACHE": datasets_cache}, timeout=1700)
    done = command("demo")
    assert done.returncode == 0, done.stderr[-2000:]
    return command
