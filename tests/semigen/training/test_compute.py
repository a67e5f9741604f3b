from __future__ import annotations

import subprocess
import sys
import time

import pytest
import torch

from semigen.errors import UserError
from semigen.params.config import ComputeParams
from semigen.training.compute import (
    cpu_seconds,
    limit_threads,
    resolve_device,
    seeded,
    threads_for,
    uses_bf16,
)

CPU = torch.device("cpu")


def test_unavailable_device_raises_error_with_the_available_ones():
    absent = "cuda" if not torch.cuda.is_available() else "mps"
    with pytest.raises(UserError, match=rf"compute\.device: {absent}.*cpu"):
        resolve_device(ComputeParams(device=absent))


def test_seeded_restores_the_global_generator():
    torch.manual_seed(1)
    expected = torch.rand(1)
    torch.manual_seed(1)
    draws = []
    for entropy in [(0, 1), (1, 0), (0, 1)]:
        with seeded(*entropy):
            draws.append(float(torch.rand(1)))
    assert torch.rand(1) == expected
    assert draws[0] == draws[2] != draws[1]


def test_bf16_is_used_on_request_and_not_for_small_networks():
    sizes = {"width": 64, "batch_size": 32}
    assert uses_bf16(ComputeParams(precision="bf16"), CPU, **sizes)
    assert not uses_bf16(ComputeParams(precision="fp32"), CPU, width=4096, batch_size=4096)
    assert not uses_bf16(ComputeParams(), CPU, **sizes)


def test_small_steps_use_one_thread():
    before = torch.get_num_threads()
    with threads_for(width=64, batch_size=32):
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == before


@pytest.mark.parametrize(
    ("n_processes", "threads", "expected"), [(1, 0, 6), (2, 0, 3), (4, 0, 1), (9, 0, 1), (2, 5, 5)]
)
def test_processes_of_a_machine_divide_its_cores(n_processes, threads, expected, monkeypatch):
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(6)))
    monkeypatch.setenv("LOCAL_WORLD_SIZE", str(n_processes))
    before = torch.get_num_threads()
    try:
        limit_threads(ComputeParams(threads=threads))
        assert torch.get_num_threads() == expected
    finally:
        torch.set_num_threads(before)


def test_cpu_seconds_count_work_of_the_process_and_its_children_but_no_waiting():
    started = cpu_seconds()
    time.sleep(0.3)
    assert cpu_seconds() - started < 0.2
    busy = "import time\nwhile time.process_time() < 0.3: pass"
    subprocess.run([sys.executable, "-c", busy], check=True)
    assert cpu_seconds() - started > 0.28
