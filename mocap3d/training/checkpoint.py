"""Checkpoints: resume a training run with the same bits, and refuse to resume a different run.

A checkpoint holds only tensors and plain containers, so that it can be loaded with `weights_only=True`.
"""

from __future__ import annotations

import json
import os
import platform
import random
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, fields
from importlib.metadata import distributions
from pathlib import Path

import numpy as np
import torch
from filelock import FileLock, Timeout
from torch import nn, optim

from mocap3d.data.windows import DeviceDataset
from mocap3d.files import excerpt, write_whole
from mocap3d.training.recipe import Recipe, make_optimizer
from mocap3d.training.run import Job, Progress

CHECKPOINT = "checkpoint.pt"
PREVIOUS = "checkpoint.previous.pt"  # the previous one
CONTENTS = ("fingerprint", "progress", "random", "model", "normalisation", "optimizer")
RECORD = "run.json"
LOCK, HOLDER = ".lock", ".last-used-by"
FORMAT = 2


class CheckpointError(ValueError):
    """A checkpoint that cannot be read or written, or that belongs to another run."""


def fingerprint(job: Job) -> dict:
    """Everything that determines a run's numbers, as plain values; a run can be resumed only if these agree."""
    model = job.model
    return {
        "recipe": {key: value for key, value in asdict(job.recipe).items() if key != "source"},
        "seed": job.seed,
        "keep": job.keep,
        "model": {
            "name": model.name,
            "class": type(model).__name__,
            "receptive_field": model.receptive_field,
            "layers": repr(model).replace("\n  (scaling): Scaling()", ""),  # as before models had one
            "settings": _settings(model),
            "tensors": {key: list(tensor.shape) for key, tensor in model.state_dict().items()},
        },
        "train": _data(job.train),
        "validation": None if job.validation is None else _data(job.validation),
        "processes": job.processes,
    } | (job.objective.describe() if job.objective else {})


def _settings(model: nn.Module) -> dict:
    """The plain numbers and strings that modules hold in addition to tensors, such as a dropout rate."""
    return {
        f"{path}.{key}".lstrip("."): value
        for path, module in model.named_modules()
        for key, value in vars(module).items()
        if isinstance(value, (bool, int, float, str)) and not key.startswith("_") and key != "training"
    }


def _data(data: DeviceDataset) -> dict:
    return {"name": data.name, "clips": len(data.clips), "frames": len(data), "digest": data.digest()}


def differences(old: Mapping, new: Mapping, path: str = "") -> list[str]:
    """One phrase for each value that differs between two nested mappings."""
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
    """The contents of a checkpoint."""
    return {
        "fingerprint": identity,
        "progress": vars(state),
        "random": job.gather(random_states()),
        "model": job.model.state_dict(),
        "normalisation": job.model.normalisation,
        "optimizer": optimizer.state_dict(),
    }


def restore(job: Job, stored: Mapping) -> tuple[optim.Optimizer, Progress]:
    """Restore the state of a run from its checkpoint: weights, statistics, optimizer and random states."""
    job.model.load_state_dict(stored["model"])
    if stored["normalisation"] is not None:
        job.model.normalisation = stored["normalisation"]
    optimizer = make_optimizer(job.model, job.recipe)
    optimizer.load_state_dict(stored["optimizer"])
    set_random_states(stored["random"][job.workers.rank if job.workers else 0])
    return optimizer, Progress(**stored["progress"])


def random_states() -> dict:
    """The states of torch's, numpy's and Python's global generators."""
    kind, keys, position, has_gauss, cached = np.random.get_state()  # noqa: NPY002  the global one is intended
    states = {
        "torch": torch.get_rng_state(),
        "numpy": [str(kind), torch.from_numpy(keys.astype(np.int64)), int(position), int(has_gauss), float(cached)],
        "python": list(random.getstate()),
    }
    if torch.cuda.is_available():
        states["cuda"] = torch.cuda.get_rng_state_all()
    return states


def set_random_states(states: Mapping) -> None:
    """Restore the states returned by `random_states`."""
    torch.set_rng_state(states["torch"].cpu())
    kind, keys, *rest = states["numpy"]
    np.random.set_state((kind, keys.cpu().numpy().astype(np.uint32), *rest))  # noqa: NPY002
    number, internal, gauss = states["python"]
    random.setstate((number, tuple(internal), gauss))
    if torch.cuda.is_available() and len(states.get("cuda", ())) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all([state.cpu() for state in states["cuda"]])


def make_folder(out: Path) -> Path:
    """Create a run's folder, and check that it is writable before any epoch is trained."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=out).close()
        return out
    except OSError as error:
        raise CheckpointError(f"out={str(out)!r} is not a writable folder ({error}); give another") from None


@contextmanager
def only_run_in(out: Path) -> Iterator[None]:
    """Hold a run's folder until the run ends or is killed; raises CheckpointError if another run holds it."""
    holder = out / HOLDER
    try:
        lock = FileLock(out / LOCK).acquire(timeout=0)
    except Timeout:
        holder = excerpt(holder.read_text(encoding="utf-8"), 100)[1:-1] if holder.exists() else "another process"
        raise CheckpointError(f"{out} is in use by {holder}; wait until it ends, or give another folder") from None
    with lock:
        started = time.strftime("%Y-%m-%d %H:%M:%S")
        with suppress(OSError):  # a full disk
            holder.write_text(f"process {os.getpid()} on {platform.node()}, started {started}", encoding="utf-8")
        for left in (part for name in (CHECKPOINT, RECORD) for part in out.glob(f".{name}.*.part")):
            left.unlink()  # of a killed run
        yield


def save(out: Path, record: Mapping, checkpoint: Mapping | None = None) -> None:
    """Write record and checkpoint atomically: a killed run leaves the old one or the new one, never a partial file.

    The previous checkpoint is kept as `PREVIOUS`, and the new one is read back and checked before it takes its place.

    Raises:
        CheckpointError: if they cannot be written, as on a full disk; the old ones are still there.
    """

    def write(part: Path) -> None:
        torch.save({"format": FORMAT, **checkpoint}, part)
        if damaged := zipfile.ZipFile(part).testzip():
            raise OSError(f"what was written reads back differently: {damaged}")
        if (out / CHECKPOINT).exists():
            os.replace(out / CHECKPOINT, out / PREVIOUS)

    try:
        if checkpoint is not None:
            write_whole(out / CHECKPOINT, write)
        write_record(out, record)
    except (OSError, RuntimeError, zipfile.BadZipFile) as error:  # torch's own writer raises RuntimeError
        raise CheckpointError(f"no checkpoint could be written to {out} ({_first_line(error)})") from None


def exists(out: Path) -> bool:
    """Whether a folder contains a checkpoint."""
    return (out / CHECKPOINT).exists() or (out / PREVIOUS).exists()


def load(out: Path, expected: Mapping, device: torch.device, say: Callable[[str], object] = print) -> dict:
    """Load the last intact checkpoint in a folder, if it belongs to this run.

    Args:
        out: the run's folder.
        expected: `fingerprint` of the run to be resumed.
        device: of its tensors.
        say: prints a line if the last checkpoint is damaged and the previous one is used.
    Raises:
        CheckpointError: if none is intact, or it belongs to a run with another recipe, model, data or seed.
    """
    reasons = []
    for path in (out / CHECKPOINT, out / PREVIOUS):
        try:
            checkpoint = _read(path, expected, device)
        except Exception as error:  # torch raises many kinds for a damaged file
            missing = isinstance(error, FileNotFoundError)
            reasons.append(
                "is missing" if missing else f"cannot be read ({type(error).__name__}: {_first_line(error)})"
            )
            continue
        if reasons:
            say(f"{out / CHECKPOINT} {reasons[0]}: resuming from the checkpoint before it, {path.name}")
        break
    else:
        raise CheckpointError(
            f"{out / CHECKPOINT} {reasons[0]}; give another folder, or resume=False to start over and replace it"
        )
    if checkpoint["format"] != FORMAT:
        raise CheckpointError(
            f"{path} has format {checkpoint['format']!r}, this version reads {FORMAT}; give another folder"
        )
    if wrong := differences(checkpoint["fingerprint"], expected):
        raise CheckpointError(
            f"{path} belongs to another run: {'; '.join(wrong[:5])}{'; ...' if len(wrong) > 5 else ''}. "
            "Give another folder, or resume=False to start over and replace it"
        )
    return checkpoint


def _read(path: Path, expected: Mapping, device: torch.device) -> dict:
    """Read one file after checking its checksums, which `torch.load` ignores."""
    with open(path, "rb") as file, zipfile.ZipFile(file) as archive:
        if damaged := archive.testzip():
            raise ValueError(f"the sum of {damaged} is wrong")
    checkpoint = torch.load(path, map_location=device, weights_only=True)
    if checkpoint["format"] != FORMAT:
        return checkpoint
    if lacking := [key for key in CONTENTS if key not in checkpoint]:
        raise ValueError(f"it lacks {', '.join(lacking)}")
    found = checkpoint["fingerprint"]
    defaults = {field.name: field.default for field in fields(Recipe) if field.name in expected["recipe"]}
    found["recipe"] = defaults | found["recipe"]  # fields added to recipes since
    found["model"]["settings"].setdefault("normalise", "published")  # a setting added since
    settings = expected["model"]["settings"]  # settings that a model no longer has change nothing
    found["model"]["settings"] = {k: v for k, v in found["model"]["settings"].items() if k in settings}
    return checkpoint


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [""])[0][:200]


def write_record(out: Path, record: Mapping) -> None:
    """Write run.json: what was run, on which machine, and the results."""
    text = json.dumps(record, indent=1, default=str)
    write_whole(out / RECORD, lambda part: part.write_text(text + "\n", encoding="utf-8"))


def environment(device: torch.device) -> dict:
    """Versions and hardware, for the record."""
    cuda = device.type == "cuda"
    name = torch.cuda.get_device_name(device) if cuda else platform.processor() or platform.machine()
    own = next((found.version for found in distributions(name="mocap3d")), "not installed")
    versions = {"mocap3d": own, "python": platform.python_version()}
    versions |= {"torch": torch.__version__, "numpy": np.__version__}
    return {"versions": versions, "device": str(device), "device_name": name, "threads": torch.get_num_threads()}
