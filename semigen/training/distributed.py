"""One training in several processes, a GPU each, through ``torch.distributed``.

Every process holds the network and takes its share of each batch; gradients are averaged. Processes
are started by ``launch``, or by ``torchrun -m tasks STAGE``, which also spans hosts. In any other
process all of this does nothing.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import torch
import torch.distributed as dist
from torch import Tensor

from semigen.errors import UserError
from semigen.params.config import ComputeParams, Params

MEETING_POINT = "SEMIGEN_PROCESS_GROUP_FILE"
NETWORK = {"GLOO_SOCKET_IFNAME": "lo", "NCCL_SOCKET_IFNAME": "lo"}
"""Processes of one machine talk over the loopback interface."""
SECONDS_BETWEEN_LOOKS = 0.1


def n_processes() -> int:
    """Return how many processes share this training; 1 if it is alone."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def rank() -> int:
    """Return this process's number; 0 writes the files."""
    return int(os.environ.get("RANK", "0"))


def join(device: torch.device) -> None:
    """Meet the other processes, once; each takes the GPU of its local number."""
    if n_processes() == 1 or dist.is_initialized():
        return
    if device.type == "cuda":
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    store = os.environ.get(MEETING_POINT)
    dist.init_process_group(
        "nccl" if device.type == "cuda" else "gloo",
        init_method=f"file://{store}" if store else "env://",
        rank=rank(),
        world_size=n_processes(),
    )


def own_share(rows: Tensor) -> Tensor:
    """Return this process's rows of a batch's row numbers; shares differ by one row at most."""
    return rows[rank() :: n_processes()]


def average_gradients(parameters: Sequence[torch.nn.Parameter], weight: float) -> None:
    """Replace gradients by their weighted sum over the processes.

    Args:
        parameters: The same ones, in the same order, in every process.
        weight: This process's share of the batch; the shares of all processes sum to 1.
    """
    if n_processes() == 1:
        return
    gradients = [p.grad if p.grad is not None else torch.zeros_like(p) for p in parameters]
    flat = torch.cat([gradient.flatten() for gradient in gradients]) * weight
    dist.all_reduce(flat)
    for parameter, part in zip(parameters, flat.split([g.numel() for g in gradients]), strict=True):
        parameter.grad = part.view_as(parameter)


def summed(value: Tensor) -> Tensor:
    """Return the sum of a tensor over the processes."""
    if n_processes() > 1:
        dist.all_reduce(value)
    return value


def decided_by_first(value: float, device: torch.device) -> float:
    """Return the first process's value, so that all decide alike."""
    if n_processes() == 1:
        return value
    tensor = torch.tensor(value, dtype=torch.float64, device=device)
    dist.broadcast(tensor, 0)
    return float(tensor)


def wait_for_all() -> None:
    """Return when every process has come here."""
    if n_processes() > 1:
        dist.barrier()


def processes_wanted(compute: ComputeParams) -> int:
    """Return how many processes ``compute.processes`` asks for: by default one for each GPU."""
    if compute.processes:
        return compute.processes
    uses_cuda = compute.device in ("auto", "cuda") and torch.cuda.is_available()
    return torch.cuda.device_count() if uses_cuda else 1


def launch(stage: str, params: Params, root: Path, n: int) -> None:
    """Run a stage in ``n`` processes of this machine and wait for them.

    They meet through a file: ``torchrun``'s own meeting point listens on every interface.

    Raises:
        UserError: If one of them fails; the others are stopped.
    """
    with tempfile.TemporaryDirectory() as folder:
        settings = Path(folder) / "params.json"
        settings.write_text(params.model_dump_json(by_alias=True), encoding="utf-8")
        command = [sys.executable, "-m", "tasks", stage, "--params", str(settings)]
        shared = os.environ | NETWORK | {"WORLD_SIZE": str(n), MEETING_POINT: f"{folder}/store"}
        processes = [
            subprocess.Popen(command, cwd=root, env=shared | {"RANK": str(i), "LOCAL_RANK": str(i)})
            for i in range(n)
        ]
        try:
            if not _all_succeed(processes):
                raise UserError(f"{stage}: one of {n} processes failed (see above)")
        finally:
            for process in processes:
                process.kill()
                process.wait()


def _all_succeed(processes: Sequence[subprocess.Popen[bytes]]) -> bool:
    """Wait until all have ended well, or one has not."""
    while True:
        statuses = [process.poll() for process in processes]
        if any(statuses):
            return False
        if None not in statuses:
            return True
        time.sleep(SECONDS_BETWEEN_LOOKS)
