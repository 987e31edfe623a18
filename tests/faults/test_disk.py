"""No space left, and a home that cannot be written to: one sentence, nothing half-written, and later it goes on."""

import resource
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Differences = Callable[[Any, Any], list[str]]
EMBEDLLM = str(Path(sys.executable).with_name("embedllm"))
IN_OWN_NAMESPACE = ["unshare", "--user", "--map-root-user", "--mount", "bash", "-euc"]


def can_mount() -> bool:
    if shutil.which("unshare") is None:
        return False
    command = [*IN_OWN_NAMESPACE, "mount -t tmpfs tmpfs /mnt"]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


CAN_MOUNT = can_mount()
needs_mount = pytest.mark.skipif(not CAN_MOUNT, reason="a file system of its own cannot be mounted here")

ON_A_FULL_DISK = """
mount -t tmpfs -o size=64m tmpfs "$EMBEDLLM_HOME"
cp -r "$SOURCE"/. "$EMBEDLLM_HOME"
for free in $FREE; do
  dd if=/dev/zero of="$EMBEDLLM_HOME/filler" bs=4k status=none || true
  truncate -s -$free "$EMBEDLLM_HOME/filler"
  "$EMBEDLLM" run 2>> "$SAID" >&2 && exit 3
  rm "$EMBEDLLM_HOME/filler"
done
"$EMBEDLLM" check
"$EMBEDLLM" run
cp -r "$EMBEDLLM_HOME"/. "$SOURCE"
"""


@pytest.mark.slow
@needs_mount
def test_a_full_disk_is_named_and_nothing_is_lost(
    copy: Any, small: Any, differences: Differences, tmp_path: Path
) -> None:
    """First there is no room for the records of runs, then none for the warehouse."""
    _undo(copy)
    mount, said = tmp_path / "disk", tmp_path / "said"
    mount.mkdir()
    of_script = {"SOURCE": str(copy.path), "FREE": "40k 2M", "SAID": str(said), "EMBEDLLM": EMBEDLLM}
    done = subprocess.run(
        [*IN_OWN_NAMESPACE, ON_A_FULL_DISK],
        env={**copy.command.environment(), **of_script, "EMBEDLLM_HOME": str(mount)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    sentences = [line for line in said.read_text().splitlines() if line.startswith("embedllm: ")]
    errors = [sentence for sentence in sentences if "has space" in sentence]
    assert len(errors) == 2
    assert errors[0].startswith(f"embedllm: {mount}/dagster: ")
    assert f"{mount}/warehouse.duckdb could not be written" in errors[1]
    assert "Traceback" not in said.read_text()
    assert differences(copy, small) == []
    assert copy.leftovers() == []


@pytest.mark.slow
@pytest.mark.skipif(CAN_MOUNT, reason="a disk that is really full is tried instead")
def test_a_file_that_may_not_grow_is_named_and_nothing_is_lost(copy: Any, small: Any, differences: Differences) -> None:
    """A limit on the size of files, which the warehouse exceeds, instead of a full disk."""
    _undo(copy)
    limit = 2 * 2**20
    stopped = subprocess.run(
        [EMBEDLLM, "run"],
        env=copy.command.environment(),
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
        capture_output=True,
        text=True,
        check=False,
    )
    assert stopped.returncode == 1
    assert f"{copy.path}/warehouse.duckdb could not be written" in stopped.stderr
    assert copy.leftovers() == []
    assert not (copy.path / "warehouse.duckdb").exists()
    done = copy.command("run")
    assert done.returncode == 0, done.stderr
    assert differences(copy, small) == []


def _undo(home: Any) -> None:
    """Leaves one model to ask, and a warehouse to make."""
    home.lake.supersede("sums", "tiny/a", "It is asked again.")
    (home.path / "warehouse.duckdb").unlink()


READ_ONLY = """
mount --bind "$EMBEDLLM_HOME" "$EMBEDLLM_HOME"
mount -o remount,ro,bind "$EMBEDLLM_HOME"
exec "$@"
"""


@pytest.mark.slow
@needs_mount
@pytest.mark.parametrize("arguments", [["run"], ["ui", "--port", "1"], ["embedders", "rollback"]], ids=" ".join)
def test_what_writes_says_that_the_home_is_read_only(arguments: list[str], small: Any) -> None:
    done = read_only(small, *arguments)
    assert done.returncode == 1
    assert f"{small.path}/" in done.stderr
    assert "Read-only file system; correct the path, or set EMBEDLLM_HOME" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.slow
@needs_mount
def test_a_read_only_home_can_be_read(small: Any) -> None:
    done = read_only(small, "sql", "--format", "csv", "SELECT count(*) AS answers FROM responses")
    assert (done.returncode, done.stdout.split()) == (0, ["answers", "240"])


def read_only(home: Any, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*IN_OWN_NAMESPACE, READ_ONLY, "bash", EMBEDLLM, *arguments],
        env=home.command.environment(),
        capture_output=True,
        text=True,
        check=False,
    )
