"""Your idea in the ladder: train a network for minutes, measure it, and see it beside a known one."""

from __future__ import annotations

import html
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch
from torch import nn

from mocap3d.bench import records
from mocap3d.bench.training import SMALL
from mocap3d.data.dataset import PoseDataset
from mocap3d.data.loading import choose_data, load_dataset
from mocap3d.data.windows import to_device
from mocap3d.device import choose_device, model_device
from mocap3d.evaluation.baselines import MeanPose, NearestNeighbour
from mocap3d.evaluation.evaluate import evaluate
from mocap3d.evaluation.predict import predict, to_metric
from mocap3d.evaluation.report import Report, html_table, text_table
from mocap3d.figures.live import live_history
from mocap3d.figures.player import Player, show
from mocap3d.models.create import create_model, list_models
from mocap3d.models.lifter import Lifter, as_lifter
from mocap3d.poses import Pose3D
from mocap3d.skeleton import H36M17, root_relative
from mocap3d.training.fit import fit
from mocap3d.training.recipe import RECIPES, Recipe
from mocap3d.training.run import Run

PROTOCOL = "open-mocap"
PARTS = ("development", "test")
BASELINES = {"mean pose": MeanPose, "nearest neighbour": NearestNeighbour}
TIMED, WATCHED = 4096, 2048  # frames, about: lifted to take the time, and for the curves of training


class BenchmarkError(ValueError):
    """A network or a setting that cannot be benchmarked; the message states the rule and the fix."""


@dataclass(frozen=True, eq=False)
class Rung:
    """One model of the ladder.

    Args:
        name: of its row.
        models: trained, one for each seed.
        reports: of each seed.
        runs: of each seed; () for baselines.
        frames_per_second: lifted on this machine, in batches.
    """

    name: str
    models: tuple[nn.Module, ...]
    reports: tuple[Report, ...]
    runs: tuple[Run, ...]
    frames_per_second: float

    def mean(self, metric: str = "mpjpe_mm") -> float:
        """A metric of `Report`, averaged over seeds."""
        return float(np.mean([report.mean(metric) for report in self.reports]))

    @property
    def seeds(self) -> tuple[int, ...]:
        """Of `runs`."""
        return tuple(run.record["seed"] for run in self.runs)

    @property
    def spread(self) -> float:
        """Standard deviation of the MPJPE over seeds, mm; NaN with one seed."""
        values = [report.mpjpe_mm for report in self.reports]
        return float(np.std(values, ddof=1)) if len(values) > 1 else float("nan")


@dataclass(frozen=True, eq=False, repr=False)
class Benchmark:
    """A network in the ladder; prints and renders as a table, `.show()` plays its poses.

    Args:
        rung: the network.
        ladder: the others: two baselines, and what it is compared with.
        rival: name of the one that gains are measured over.
        clips: measured on.
    """

    rung: Rung
    ladder: tuple[Rung, ...]
    rival: str
    clips: PoseDataset

    @property
    def rungs(self) -> tuple[Rung, ...]:
        """All models, the best first."""
        return tuple(sorted((*self.ladder, self.rung), key=Rung.mean))

    @property
    def gain(self) -> tuple[float, float, float]:
        """How much smaller the error is than the rival's: mm MPJPE, and the ends of its 95 % interval.

        A bootstrap over seeds and, within each source, recordings, paired by both (`bench.records.effect`).
        """
        by_seed = [dict(zip(rung.seeds, rung.reports, strict=True)) for rung in self._pair]
        arms = [[{"numbers": records.means(clips=some[seed])} for seed in self.rung.seeds] for some in by_seed]
        return records.effect(*arms, "clips")

    @property
    def _pair(self) -> tuple[Rung, Rung]:
        return next(rung for rung in self.ladder if rung.name == self.rival), self.rung

    @property
    def breakdown(self) -> dict[str, tuple[float, float]]:
        """Joint, then action -> mm MPJPE of the rival and of the network, first seed, the largest gain first."""
        both = [rung.reports[0] for rung in self._pair]
        joints = {name: tuple(report.by_joint[name] for report in both) for name in both[0].by_joint}
        actions = {name: tuple(report.by_action[name]["mpjpe_mm"] for report in both) for name in both[0].by_action}
        by_gain = lambda values: dict(sorted(values.items(), key=lambda item: item[1][1] - item[1][0]))  # noqa: E731
        return by_gain(joints) | by_gain(actions)

    def _rows(self) -> list[list[str]]:
        heads = "model", "MPJPE mm", "spread", "P-MPJPE mm", "jitter mm/frame", "parameters", "steps", "frames/s"
        rows = [list(heads)]
        for rung in self.rungs:
            size = sum(parameter.numel() for parameter in rung.models[0].parameters())
            jitter, spread = rung.mean("mpjve_mm"), f"{rung.spread:.1f}" if len(rung.reports) > 1 else "-"
            steps = f"{np.mean([run.record['steps'] for run in rung.runs]):,.0f}" if rung.runs else "-"
            cells = f"{rung.mean():.1f}", spread, f"{rung.mean('p_mpjpe_mm'):.1f}", f"{jitter:.1f}"
            mark = "> " if rung is self.rung else ""
            rows.append([mark + rung.name, *cells, f"{size:,}", steps, f"{rung.frames_per_second:,.0f}"])
        return rows

    def _notes(self) -> list[str]:
        gain, low, high = self.gain
        seeds = len(self.rung.reports)
        text = f"{self.rung.name} is {abs(gain):.1f} mm {'better' if gain >= 0 else 'worse'} than {self.rival}"
        text += f" [95 % interval of the gain {low:+.1f} to {high:+.1f}], {seeds} seed{'s' * (seeds > 1)}"
        joints = [name for name in self.breakdown if name in H36M17.joints]
        best = f"gains most at {', '.join(joints[:3])}, least at {', '.join(joints[-3:])}"
        return [text, best, str(self.rung.reports[0].protocol)]

    def __repr__(self) -> str:
        return "\n".join([*text_table(self._rows()), "", *self._notes()])

    def _repr_html_(self) -> str:
        return f"{html_table(self._rows())}<p><small>{'<br>'.join(map(html.escape, self._notes()))}</small></p>"

    def show(self, clip: int = 0, **options: object) -> Player:
        """Play the network's pose of one clip beside the rival's, both with the truth; options as in `mocap3d.show`.

        Args:
            clip: number in `clips`.
        """
        some, poses = self.clips[clip], {}
        truth = some.pose3d.root_relative()
        for rung in self._pair:
            model = rung.models[0]
            data = to_device([some], model_device(model))
            points = to_metric(model, predict(model, data), data, torch.arange(len(some)))
            points = root_relative(points).cpu().numpy()
            poses[rung.name] = Pose3D(points, fps=truth.fps, frame="camera", root="relative")
        return show(poses, truth, **options)


def benchmark(
    module: nn.Module | Callable[[], nn.Module],
    data: str | PoseDataset | None = None,
    against: str | nn.Module | Callable[[], nn.Module] | Benchmark = "simple_baseline",
    *,
    minutes: float = 1.0,
    steps: int | None = None,
    seeds: Sequence[int] = (0,),
    recipe: Recipe | None = None,
    on: str = "development",
    name: str | None = None,
    frames: int = 1,
    confidence: bool = False,
    normalise: str = "ray",
    scaled: bool = True,
    device: torch.device | str | None = None,
    live: bool = True,
) -> Benchmark:
    """Train a network for minutes, and place it in the ladder: two baselines, a known network, and yours.

    All are trained on the same clips by the same recipe, with the same seeds, and measured with the weights of their
    last step under the "open-mocap" protocol.

    Args:
        module: any network that maps joints to joints, see `as_lifter`, or one that fulfils `Lifter`, which is taken as
            it is. It is trained in place. For several seeds, a function (or class) that makes it.
        data: a name of `load_dataset`, or a PoseDataset; by default what `choose_data` finds.
        against: what gains are measured over: a name of `list_models()`, a network or a function that makes it; or an
            earlier Benchmark with these seeds among its own, whose ladder is not trained again.
        minutes: of training, for each network and seed.
        steps: of training, in place of minutes: the same number for each, and the same bits again.
        seeds: of weights and frame order.
        recipe: in place of "quick" or "quick_clips" with sources balanced. With a `detector`, the clips measured on
            get simulated detections of it.
        on: "development": recordings held out of training (`.known`, or the last subject of `.train`), for choices.
            "test": the test clips, for the end.
        name: of the row; by default the class name.
        frames, confidence, normalise, scaled: see `as_lifter`; here the 2D is normalised and scaled by default.
        device: by default a CUDA device if available.
        live: draw the curves of training as it goes.
    Returns:
        Benchmark.
    Raises:
        BenchmarkError: for a network that does not map joints to joints, with what to change, or a wrong setting.
        TrainingError: if the loss becomes NaN.
    Source: own.
    """
    if on not in PARTS:
        raise BenchmarkError(f"on={on!r}: give one of {', '.join(PARTS)}")
    if not seeds or len(seeds) > 1 and isinstance(module, nn.Module):
        text = "a network that exists is trained with one; for several give what makes it, or its class"
        raise BenchmarkError(f"seeds={seeds!r}: {text}")
    device = choose_device(device)
    train, clips = _split(data, on)
    if recipe is not None and recipe.detector:
        clips = clips.with_detections(recipe.detector, seed=0)
    wrap = partial(_wrapped, frames=frames, confidence=confidence, normalise=normalise, scaled=scaled)
    first = wrap(_make(module, seeds[0]), name=name)  # checked before anything is trained
    length = {"minutes": minutes if steps is None else None, "steps": steps, "epochs": None}
    climb = partial(_climb, seeds, wrap, train, clips, recipe, length, device, on == "development")
    if isinstance(against, Benchmark):
        ladder, rival = (*against.ladder, against.rung), against.rival
        known = next(rung for rung in ladder if rung.name == rival)
        if not set(seeds) <= set(known.seeds) or known.reports[0].digest != to_device(clips).digest():
            raise BenchmarkError("against was measured on other clips or with other seeds; give the same, or a name")
    else:
        named = _named(against)
        ladder = tuple(_baseline(title, train, clips, device) for title in BASELINES)
        known = climb(named, live_history(runs=len(seeds)) if live else None)
        ladder, rival = (*ladder, known), known.name
    curves = live_history(title=first.name) if len(seeds) == 1 else live_history(runs=len(seeds))
    mine = climb(module, curves if live else None, first, name)
    if mine.name in [rung.name for rung in ladder]:
        mine = replace(mine, name=f"{mine.name} (yours)")
    return Benchmark(mine, ladder, rival, clips)


def _climb(
    seeds: Sequence[int],
    wrap: Callable,
    train: PoseDataset,
    clips: PoseDataset,
    recipe: Recipe | None,
    length: dict,
    device: torch.device,
    watch: bool,
    module: nn.Module | Callable[[], nn.Module],
    callback: Callable | None,
    first: nn.Module | None = None,
    name: str | None = None,
) -> Rung:
    """Train and measure a network with each seed; `first` is the one of the first seed, if it exists already."""
    models, runs, reports = [], [], []
    watched = replace(clips, clips=clips.clips[:: max(clips.frames // WATCHED, 1)]) if watch else None
    for seed in seeds:
        model = first if first is not None and not models else wrap(_make(module, seed), name=name)
        default = replace(RECIPES["quick_clips" if model.clipwise else "quick"], balance=0.5, loss="mpjpe")
        how = {"device": device, "seed": seed, "keep": "last", "progress": False, "callback": callback}
        runs.append(fit(model, train, replace(recipe or default, **length), watched, **how))
        if runs[-1].interrupted:
            raise KeyboardInterrupt
        models.append(model.eval())
        reports.append(evaluate(model, clips, PROTOCOL))
    return Rung(name or models[0].name, tuple(models), tuple(reports), tuple(runs), _speed(models[0], clips))


def _baseline(name: str, train: PoseDataset, clips: PoseDataset, device: torch.device) -> Rung:
    model = BASELINES[name]().fit(train).to(device)
    return Rung(name, (model,), (evaluate(model, clips, PROTOCOL),), (), _speed(model, clips))


def _named(against: str | nn.Module | Callable[[], nn.Module]) -> nn.Module | Callable[[], nn.Module]:
    if not isinstance(against, str):
        return against
    if against not in list_models():
        raise BenchmarkError(f"against={against!r}: no such model; there are: {', '.join(list_models())}")
    return partial(create_model, against, **SMALL.get(against, {"normalise": "ray"}))


def _wrapped(made: nn.Module, **how: object) -> nn.Module:
    """A network that fulfils the contract as it is; any other by `as_lifter`, and checked."""
    if isinstance(made, Lifter):
        return made
    lifter = as_lifter(made, **how)
    check_module(lifter)
    return lifter


def check_module(lifter: nn.Module) -> None:
    """Run a wrapped network on three random clips, and raise or warn of what will not train.

    Raises:
        BenchmarkError: if it fails, returns another shape or values that are not finite, or mixes the clips of a batch.
    """
    what, was_training = lifter.name, lifter.training
    shape = (3, lifter.receptive_field, len(H36M17), 3 if lifter.confidence else 2)
    x = torch.rand(shape, generator=torch.Generator().manual_seed(0)).to(model_device(lifter)) - 0.5
    lifter.eval()
    try:
        output, alone = lifter(x), lifter(x[:1])
    except Exception as error:
        raise BenchmarkError(
            f"{what} fails on {shape} (B, T, joints, channels): {' '.join(str(error).split())}. Linear layers want "
            "x.flatten(-2), (B, T, joints * channels), and at the end .unflatten(-1, (17, 3))"
        ) from error
    if not output.isfinite().all():
        raise BenchmarkError(f"{what} returns NaN or infinite values for inputs in [-0.5, 0.5]: see logs, roots, 1/0")
    if not torch.allclose(output[:1], alone, atol=1e-4):
        raise BenchmarkError(
            f"the pose that {what} gives for a clip depends on the other clips of the batch: a reshape or an attention "
            "runs over the first axis; keep (B, T) in front"
        )
    if output.requires_grad:  # else `fit` says that there is nothing to train
        output.square().sum().backward()
    idle = [key for key, parameter in lifter.module.named_parameters() if parameter.grad is None]
    lifter.zero_grad(set_to_none=True)
    lifter.train(was_training)
    if idle and output.requires_grad:
        warnings.warn(f"{what}: no gradient reaches {', '.join(idle[:5])}; is it used in forward()?", stacklevel=3)


def _make(module: nn.Module | Callable[[], nn.Module], seed: int) -> nn.Module:
    if isinstance(module, nn.Module):
        return module
    torch.manual_seed(seed)
    made = module() if callable(module) else module
    if not isinstance(made, nn.Module):
        raise BenchmarkError(f"got {type(made).__name__}: give an nn.Module, or a function that makes one")
    return made


def _split(data: str | PoseDataset | None, on: str) -> tuple[PoseDataset, PoseDataset]:
    """Clips to train and to measure on."""
    if not isinstance(data, PoseDataset):
        name = data or choose_data()
        data = load_dataset(name, **({"hold_out": "recordings"} if name == "open-mocap" else {}))
    known = [clip for clip in data if clip.split == "known"]
    if on == "test" or known:
        return data.train, data.test if on == "test" else data.known
    *others, last = data.train.subjects
    if not others:
        raise BenchmarkError(
            f"{data.name} has one training subject, {last}: nothing is left to train on; give on='test'"
        )
    return data.train.select(subject=others), data.train.select(subject=last)


def _speed(model: nn.Module, clips: PoseDataset) -> float:
    """Frames lifted in a second."""
    chosen = [clip for clip, before in zip(clips, np.cumsum([0, *map(len, clips)]), strict=False) if before < TIMED]
    data, seconds = to_device(chosen, model_device(model)), []
    for _ in range(3):
        started = time.perf_counter()
        predict(model, data).cpu()
        seconds.append(time.perf_counter() - started)
    return len(data) / min(seconds)
