"""A training run on disk: what is needed to go on with the same bits, and to refuse to go on with something else.

A checkpoint holds tensors and plain containers only, so that it loads with `weights_only=True`.
"""

from __future__ import annotations

import json
import platform
import random
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, fields
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np
import torch
from torch import nn, optim

from mocap3d.data.windows import DeviceDataset
from mocap3d.files import write_whole
from mocap3d.training.recipe import Recipe, make_optimizer
from mocap3d.training.run import Job, Progress

CHECKPOINT = "checkpoint.pt"
RECORD = "run.json"
FORMAT = 2


class CheckpointError(ValueError):
    """A checkpoint that cannot be read or written, or belongs to another run."""


def fingerprint(job: Job) -> dict:
    """All that decides a run's numbers, as plain values: two runs may continue each other only if these agree."""
    model = job.model
    return {
        "recipe": {key: value for key, value in asdict(job.recipe).items() if key != "source"},
        "seed": job.seed,
        "keep": job.keep,
        "model": {
            "name": model.name,
            "class": type(model).__name__,
            "receptive_field": model.receptive_field,
            "layers": repr(model),
            "settings": _settings(model),
            "tensors": {key: list(tensor.shape) for key, tensor in model.state_dict().items()},
        },
        "train": _data(job.train),
        "validation": None if job.validation is None else _data(job.validation),
        "processes": job.processes,
    } | (job.objective.describe() if job.objective else {})


def _settings(model: nn.Module) -> dict:
    """The plain numbers and words that modules hold beside their tensors, such as a dropout rate."""
    return {
        f"{path}.{key}".lstrip("."): value
        for path, module in model.named_modules()
        for key, value in vars(module).items()
        if isinstance(value, (bool, int, float, str)) and not key.startswith("_") and key != "training"
    }


def _data(data: DeviceDataset) -> dict:
    return {"name": data.name, "clips": len(data.clips), "frames": len(data), "digest": data.digest()}


def differences(old: Mapping, new: Mapping, path: str = "") -> list[str]:
    """Sentences naming each value that differs between two nested mappings."""
    found = []
    for key in dict.fromkeys([*old, *new]):
        a, b, where = old.get(key), new.get(key), f"{path}{key}"
        if isinstance(a, Mapping) and isinstance(b, Mapping):
            found += differences(a, b, f"{where}.")
        elif a != b:
            if isinstance(a, str) and isinstance(b, str) and "\n" in a + b:
                pairs = zip(a.splitlines() + [""], b.splitlines() + [""], strict=False)
                a, b = next(((x.strip(), y.strip()) for x, y in pairs if x != y), (a[:60], b[:60]))
            found.append(f"{where} was {a!r}, is {b!r}")
    return found


def contents(job: Job, identity: Mapping, optimizer: optim.Optimizer, state: Progress) -> dict:
    """What a checkpoint holds."""
    return {
        "fingerprint": identity,
        "progress": vars(state),
        "random": job.gather(random_states()),
        "model": job.model.state_dict(),
        "normalisation": job.model.normalisation,
        "optimizer": optimizer.state_dict(),
    }


def restore(job: Job, stored: Mapping) -> tuple[optim.Optimizer, Progress]:
    """Put a run back to where its checkpoint was written: weights, statistics, optimizer and random states."""
    job.model.load_state_dict(stored["model"])
    if stored["normalisation"] is not None:
        job.model.normalisation = stored["normalisation"]
    optimizer = make_optimizer(job.model, job.recipe)
    optimizer.load_state_dict(stored["optimizer"])
    set_random_states(stored["random"][job.workers.rank if job.workers else 0])
    return optimizer, Progress(**stored["progress"])


def random_states() -> dict:
    """The states of torch's, numpy's and Python's global generators."""
    kind, keys, position, has_gauss, cached = np.random.get_state()  # noqa: NPY002  the global one is meant
    states = {
        "torch": torch.get_rng_state(),
        "numpy": [
            str(kind),
            torch.from_numpy(keys.astype(np.int64)),
            int(position),
            int(has_gauss),
            float(cached),
        ],
        "python": list(random.getstate()),
    }
    if torch.cuda.is_available():
        states["cuda"] = torch.cuda.get_rng_state_all()
    return states


def set_random_states(states: Mapping) -> None:
    """Put `random_states()` back."""
    torch.set_rng_state(states["torch"].cpu())
    kind, keys, *rest = states["numpy"]
    np.random.set_state((kind, keys.cpu().numpy().astype(np.uint32), *rest))  # noqa: NPY002
    number, internal, gauss = states["python"]
    random.setstate((number, tuple(internal), gauss))
    if torch.cuda.is_available() and len(states.get("cuda", ())) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all([state.cpu() for state in states["cuda"]])


def make_folder(out: Path) -> None:
    """Make a run's folder, and see that it can be written, so that no epoch is trained in vain."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=out).close()
    except OSError as error:
        raise CheckpointError(
            f"out={str(out)!r} is no folder that can be written ({error}); give another"
        ) from None


def save(out: Path, record: Mapping, checkpoint: Mapping | None = None) -> None:
    """Write record and checkpoint in one step each: a killed run leaves the old one or the new one, never half.

    Raises:
        CheckpointError: if they cannot be written, as on a full disk; the old ones are still there.
    """
    try:
        if checkpoint is not None:
            write_whole(out / CHECKPOINT, lambda part: torch.save({"format": FORMAT, **checkpoint}, part))
        write_record(out, record)
    except (OSError, RuntimeError) as error:  # torch's own writer raises the latter
        reason = str(error).split("\n")[0][:200]
        raise CheckpointError(f"no checkpoint could be written to {out} ({reason})") from None


def load(out: Path, expected: Mapping, device: torch.device) -> dict:
    """The checkpoint in a folder, if it belongs to this run.

    Args:
        out: the run's folder.
        expected: `fingerprint` of the run that wants to go on.
        device: where its tensors go.
    Raises:
        CheckpointError: if it is damaged, or belongs to a run with another recipe, model, data or seed.
    """
    path = out / CHECKPOINT
    try:
        checkpoint = torch.load(path, map_location=device, weights_only=True)
        found = checkpoint["fingerprint"] if checkpoint["format"] == FORMAT else None
        if found:  # fields that recipes have got since
            defaults = {
                field.name: field.default for field in fields(Recipe) if field.name in expected["recipe"]
            }
            found["recipe"] = defaults | found["recipe"]
            settings = expected["model"]["settings"]  # those that a model no longer has decide nothing
            found["model"]["settings"] = {
                k: v for k, v in found["model"]["settings"].items() if k in settings
            }
    except Exception as error:  # torch raises many kinds for a damaged file
        raise CheckpointError(
            f"{path} cannot be read ({type(error).__name__}: {str(error).splitlines()[0][:200]}); "
            "give another folder, or resume=False to start over and replace it"
        ) from None
    if found is None:
        raise CheckpointError(
            f"{path} has format {checkpoint['format']!r}, this version reads {FORMAT}; give another folder"
        )
    if wrong := differences(found, expected):
        raise CheckpointError(
            f"{path} belongs to another run: {'; '.join(wrong[:5])}{'; ...' if len(wrong) > 5 else ''}. "
            "Give another folder, or resume=False to start over and replace it"
        )
    return checkpoint


def write_record(out: Path, record: Mapping) -> None:
    """Write run.json: what was run, on what, and how it went."""
    text = json.dumps(record, indent=1, default=str)
    write_whole(out / RECORD, lambda part: part.write_text(text + "\n", encoding="utf-8"))


def environment(device: torch.device) -> dict:
    """Versions and hardware, for the record."""
    try:
        own = version("mocap3d")
    except PackageNotFoundError:
        own = "not installed"
    name = (
        torch.cuda.get_device_name(device)
        if device.type == "cuda"
        else platform.processor() or platform.machine()
    )
    versions = {"mocap3d": own, "python": platform.python_version()}
    versions |= {"torch": torch.__version__, "numpy": np.__version__}
    return {
        "versions": versions,
        "device": str(device), "device_name": name, "threads": torch.get_num_threads(),
    }  # fmt: skip
