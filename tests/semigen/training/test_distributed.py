from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from semigen.artifacts import Layout
from semigen.errors import UserError
from semigen.generators import load_generator
from semigen.params.config import ComputeParams, Params, PretrainParams
from semigen.params.generators import VAEParams
from semigen.training import distributed

ROOT = Path(__file__).parents[3]
SCRIPT = "tests.semigen.shared_training"


def run(path: Path, *launcher: str) -> dict[str, torch.Tensor]:
    command = [sys.executable, *launcher, "-m", SCRIPT, str(path)]
    environment = os.environ | {"GLOO_SOCKET_IFNAME": "lo"}
    subprocess.run(command, cwd=ROOT, check=True, timeout=100, env=environment)
    return load_file(path)


@pytest.mark.slow
def test_two_processes_give_the_weights_of_one(tmp_path):
    alone = run(tmp_path / "alone.safetensors")
    launcher = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2")
    shared = run(tmp_path / "shared.safetensors", *launcher)
    assert torch.equal(shared["weights"][0], shared["weights"][1])
    torch.testing.assert_close(shared["weights"][:1], alone["weights"], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(shared["losses"], alone["losses"], rtol=1e-4, atol=1e-5)
    assert {path.stem for path in tmp_path.glob("*.checkpoint")} == {"alone", "shared"}


def test_single_process_shares_nothing():
    module = nn.Linear(2, 1)
    module(torch.ones(3, 2)).sum().backward()
    before = module.weight.grad.clone()
    distributed.average_gradients(list(module.parameters()), 0.5)
    assert torch.equal(module.weight.grad, before)
    assert distributed.own_share(torch.arange(5)).tolist() == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("size", [2, 3])
def test_processes_partition_the_batch(monkeypatch, size):
    monkeypatch.setenv("WORLD_SIZE", str(size))
    shares = []
    for number in range(size):
        monkeypatch.setenv("RANK", str(number))
        shares.append(distributed.own_share(torch.arange(10)).tolist())
    assert sorted(row for share in shares for row in share) == list(range(10))
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


@pytest.mark.slow
def test_processes_map_one_copy_of_the_rows(tmp_path):
    group = {"WORLD_SIZE": "2", distributed.STORE_VARIABLE: str(tmp_path / "store")}
    command = [sys.executable, "-m", "tests.semigen.sharing_process", str(tmp_path)]
    processes = [
        subprocess.Popen(
            command, cwd=ROOT, env=os.environ | distributed.LOOPBACK | group | {"RANK": str(rank)}
        )
        for rank in range(2)
    ]
    assert [process.wait(timeout=100) for process in processes] == [0, 0]
    first, second = (json.loads((tmp_path / f"{rank}.json").read_text()) for rank in range(2))
    assert (first.pop("calls"), second.pop("calls")) == (1, 0)
    assert (first.pop("after"), second.pop("after")) == (15 + 6, 15 + 12)
    assert first == second == {"total": 15, "y": [0, -1, 1], "mapped": True}


def test_number_of_processes_defaults_to_one_on_the_cpu():
    assert distributed.processes_wanted(ComputeParams(processes=3)) == 3
    assert distributed.processes_wanted(ComputeParams(device="cpu")) == 1


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """Return parameters, and a project in which the stages before ``pretrain`` have run."""
    from tasks import preprocess, sample, validate

    layout = Layout(tmp_path_factory.mktemp("project"))
    network = VAEParams(latent_dim=2, hidden_dims=(8,), epochs=2)
    params = Params(
        pretrain=PretrainParams(vae=network), compute=ComputeParams(processes=2, device="cpu")
    )
    for stage in (sample, validate, preprocess):
        stage.run(params, layout)
    return params, layout


@pytest.mark.slow
def test_stage_trains_in_two_processes_and_one_writes(prepared):
    from tasks import pretrain

    params, layout = prepared
    pretrain.run(params, layout)
    assert list(load_generator(layout.generator).classes_) == list(range(10))
    curve = layout.plot("pretrain").read_text().splitlines()
    assert len(curve) == 1 + 2


@pytest.mark.slow
def test_failure_of_a_process_raises_user_error(prepared):
    params, layout = prepared
    with pytest.raises(UserError, match="pretrain: one of 2 processes failed"):
        distributed.launch("pretrain", params, layout.root / "data", 2)
