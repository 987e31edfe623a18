"""Where there are several GPUs, evaluations that run at once use different ones."""

import threading

import pytest

from assets.collection import accelerators
from assets.collection.accelerators import own_accelerator


def test_a_named_device_is_taken_as_it_is() -> None:
    with own_accelerator("cuda:3") as one, own_accelerator("cuda:3") as other:
        assert (one, other) == ("cuda:3", "cuda:3")


@pytest.mark.parametrize("count", [0, 1])
def test_without_a_choice_torch_decides(count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accelerators, "count_accelerators", lambda: count)
    with own_accelerator(None) as one, own_accelerator(None) as other:
        assert (one, other) == (None, None)


def test_each_gpu_is_used_by_one_at_a_time(monkeypatch: pytest.MonkeyPatch, tmp_path: object) -> None:
    monkeypatch.setattr(accelerators, "count_accelerators", lambda: 2)
    monkeypatch.setattr(accelerators.tempfile, "gettempdir", lambda: str(tmp_path))
    monkeypatch.setattr(accelerators, "LOOK", 0.01)
    third: list[str | None] = []

    def wait_for_one() -> None:
        with own_accelerator(None) as device:
            third.append(device)

    with own_accelerator(None) as first:
        with own_accelerator(None) as second:
            waiting = threading.Thread(target=wait_for_one)
            waiting.start()
            waiting.join(0.2)
            assert (first, second, third) == ("cuda:0", "cuda:1", [])
        waiting.join(10)
        assert third == ["cuda:1"]
