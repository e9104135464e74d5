"""Damaged checkpoints and weights files: the right weights, or the documented error, never something else.

    python benchmarks/damaged_checkpoints.py --each 200

Each kind of damage is done `--each` times at random places to the checkpoint of a short run, which is then resumed: the
run must end with the weights of one that was never stopped, or raise CheckpointError. With the checkpoint before it in
the folder it must always end with the right weights. The same is done to a weights file of ours.
"""

from __future__ import annotations

import argparse
import io
import shutil
import tempfile
from collections import Counter
from contextlib import redirect_stdout
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

import mocap3d
from mocap3d.models.state_dicts import WeightsError
from mocap3d.training.checkpoint import CHECKPOINT, PREVIOUS, CheckpointError

CARD = dict.fromkeys(("fps", "training_data", "recipe", "protocol", "results", "licence"), "unknown")
KINDS = ("bit flipped", "512 bytes zeroed", "4 kB zeroed", "truncated", "empty")


def damage(data: bytes, kind: str, rng: np.random.Generator) -> bytes:
    """A copy of a file's bytes with one kind of damage at a random place."""
    damaged, at = bytearray(data), int(rng.integers(len(data)))
    if kind == "bit flipped":
        damaged[at] ^= 1 << int(rng.integers(8))
    elif kind == "empty":
        damaged = b""
    elif kind == "truncated":
        damaged = damaged[:at]
    else:
        size = 512 if kind.startswith("512") else 4096
        damaged[at : at + size] = bytes(len(damaged[at : at + size]))
    return bytes(damaged)


class Trial:
    """A short run that is stopped after its first checkpoints, and what it ends with if it is not."""

    def __init__(self) -> None:
        dataset = mocap3d.load_dataset("synthetic", seconds=2, subjects=("S1",), actions=("Walking",))
        self.train = replace(dataset.train, clips=dataset.train.clips[:1])
        self.recipe = mocap3d.Recipe("short", batch_size=25, epochs=3, loss="mpjpe")
        self.folder = Path(tempfile.mkdtemp())
        self.fit(self.folder, stop_at=2)
        self.checkpoint = (self.folder / CHECKPOINT).read_bytes()
        self.expected = self.weights(self.fit(None).model)
        self.file = mocap3d.save_weights(self.fit(None).model, self.folder / "model.safetensors", CARD)

    def fit(self, out: Path | None, stop_at: int | None = None) -> mocap3d.Run:
        def stop(entry: dict) -> None:
            if entry["epoch"] == stop_at:
                raise KeyboardInterrupt

        torch.manual_seed(0)
        model = mocap3d.create_model("videopose3d_27", channels=16)
        return mocap3d.fit(model, self.train, self.recipe, device="cpu", out=out, progress=False, callback=stop)

    @staticmethod
    def weights(model: torch.nn.Module) -> torch.Tensor:
        return torch.cat([tensor.flatten().double() for tensor in model.state_dict().values()])

    def resume(self, damaged: bytes, previous: bool) -> str:
        """Resume from a damaged checkpoint; returns what came of it."""
        with tempfile.TemporaryDirectory() as name:
            out = Path(name)
            (out / CHECKPOINT).write_bytes(damaged)
            if previous:
                shutil.copy(self.folder / PREVIOUS, out / PREVIOUS)
            try:
                with redirect_stdout(io.StringIO()):
                    run = self.fit(out)
            except CheckpointError:
                return "documented error"
        return "right weights" if torch.equal(self.weights(run.model), self.expected) else "WRONG WEIGHTS"

    def load(self, damaged: bytes) -> str:
        """Load a damaged weights file; returns what came of it."""
        path = self.folder / "damaged.safetensors"
        path.write_bytes(damaged)
        try:
            model = mocap3d.load_weights(path)
        except (WeightsError, ValueError):
            return "documented error"
        return "right weights" if torch.equal(self.weights(model), self.expected) else "WRONG WEIGHTS"


def main() -> None:
    """Print one line a kind of damage."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--each", type=int, default=200, help="damaged files of each kind")
    each = parser.parse_args().each
    trial, rng = Trial(), np.random.default_rng(0)
    weights = trial.file.read_bytes()
    for kind in KINDS:
        alone, kept, files = Counter(), Counter(), Counter()
        for _ in range(each):
            damaged = damage(trial.checkpoint, kind, rng)
            alone[trial.resume(damaged, previous=False)] += 1
            kept[trial.resume(damaged, previous=True)] += 1
            files[trial.load(damage(weights, kind, rng))] += 1
        for name, found in (("checkpoint", alone), ("with the one before", kept), ("weights file", files)):
            print(
                f"{kind}, {name}: " + ", ".join(f"{count} {what}" for what, count in sorted(found.items())), flush=True
            )
    shutil.rmtree(trial.folder)


if __name__ == "__main__":
    main()
