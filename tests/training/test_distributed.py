"""Two processes train one model: the numbers of one, equal weights, and nobody left waiting."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
import torch.distributed as dist

from mocap3d.device import in_several_processes
from mocap3d.training.distributed import Workers
from tests.toys import ToyLifter
from tests.training import together

pytestmark = pytest.mark.skipif(
    not (dist.is_available() and dist.is_gloo_available()), reason="this build of torch has no gloo"
)
ROOT = Path(__file__).parents[2]


def torchrun(*arguments: object) -> subprocess.Popen:
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [*command, "-m", "tests.training.together", *map(str, arguments)],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def finished(process: subprocess.Popen, out: Path) -> list[dict]:
    try:
        said, _ = process.communicate(timeout=120)
    finally:
        process.kill()
    paths = [out / f"{rank}.pt" for rank in (0, 1)]
    assert all(path.exists() for path in paths), said
    return [torch.load(path, weights_only=True) for path in paths]


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    out = tmp_path_factory.mktemp("together")
    return finished(torchrun(out), out)


def same(a: dict, b: dict) -> bool:
    return all(torch.equal(a["model"][key], b["model"][key]) for key in a["model"])


@pytest.mark.parametrize(("loss", "parts"), [("mse", 1), ("mse", 3), ("mpjpe", 2)])
def test_two_processes_give_the_numbers_of_one(both, loss, parts):
    """Batches of odd size, one too small to share, joints unknown at random, clipped gradients, parts of batches."""
    alone = together.contents(together.joint(loss, accumulate=1))
    found = both[0][f"{loss} {parts}"]
    assert (alone["processes"], found["processes"]) == (1, 2)
    assert found["losses"] == pytest.approx(alone["losses"], rel=1e-4)
    assert found["errors"] == pytest.approx(alone["errors"], rel=1e-4)
    for key, tensor in alone["model"].items():
        torch.testing.assert_close(found["model"][key], tensor, rtol=1e-3, atol=2e-5)


def test_both_hold_the_same_plain_model(both):
    first, second = both
    for name in ("mse 1", "mse 3", "mpjpe 2", "whole", "stopped", "rest"):
        assert same(first[name], second[name]) and first[name]["losses"] == second[name]["losses"], name
        assert first[name]["kind"] == "ToyLifter" and "layers.0.weight" in first[name]["model"]
    assert first["whole"]["model"]["layers.1.running_mean"].abs().sum() > 0


def test_a_stopped_run_goes_on_with_the_same_bits_in_both(both):
    for found in both:
        assert found["stopped"]["interrupted"] and len(found["stopped"]["losses"]) == 2
        assert same(found["rest"], found["whole"]) and found["rest"]["losses"] == found["whole"]["losses"]


def test_both_stop_at_a_loss_that_is_no_number(both):
    assert "became nan at epoch 2, step 7 of the epoch (27 of the run)" in both[0]["nan"]
    assert both[0]["nan"] == both[1]["nan"]


def test_processes_with_other_tasks_are_refused(both):
    assert both[0]["seeds"] == both[1]["seeds"]
    assert "process 1 was given a different run than process 0: seed was 0, is 1" in both[0]["seeds"]


@pytest.mark.skipif(sys.platform == "win32", reason="signals of this kind are POSIX")
def test_ctrl_c_stops_both_with_equal_weights(tmp_path):
    process = torchrun(tmp_path, "ctrl-c")
    for _ in range(600):
        if (tmp_path / "training").exists() or process.poll() is not None:
            break
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    first, second = finished(process, tmp_path)
    assert first["interrupted"] and second["interrupted"] and first["epochs"] == second["epochs"]
    assert same(first, second)


def test_one_process_joins_nobody(monkeypatch):
    for key, value in {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "1", "MASTER_ADDR": "localhost"}.items():
        monkeypatch.setenv(key, value)
    assert not in_several_processes()
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert in_several_processes()


def test_on_gpus_batch_norm_is_shared_for_the_time_of_training():
    """The exchange of modules; that they then see the whole batch is torch's promise, and needs two GPUs."""
    model = ToyLifter()
    norm, before = model.layers[1], repr(model)
    with Workers(0, 2, torch.device("cuda")).norms(model):
        shared = model.layers[1]
        assert isinstance(shared, torch.nn.SyncBatchNorm)
        shared.momentum = 0.5
        shared.running_mean += 1
        shared.weight.data *= 2
    assert model.layers[1] is norm and norm.momentum == 0.1 and repr(model) == before
    assert norm.running_mean.eq(1).all() and norm.weight.eq(2).all()
