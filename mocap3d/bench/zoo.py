"""Published results as data: model, 2D, recipe, protocol, numbers, weights; and functions that reproduce them.

The numbers are MMPose 1.3.2's. Its documents disagree with each other; here they are those of the collection pages
(`configs/body_3d_keypoint/*/README.md`), which most people quote; numbers from other documents are in the row's
remark. The addresses are from the same pages; nothing is downloaded here. Weights trained on Human3.6M are also subject
to its licence.
"""

from __future__ import annotations

import html
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch

from mocap3d.arguments import check_arguments
from mocap3d.bench import records
from mocap3d.data.dataset import PoseDataset
from mocap3d.data.h36m import mmpose
from mocap3d.data.h36m.facts import TEST_SUBJECTS
from mocap3d.data.h36m.load import load_h36m
from mocap3d.device import choose_device
from mocap3d.evaluation.evaluate import evaluate as evaluate_model
from mocap3d.evaluation.protocol import PROTOCOLS
from mocap3d.evaluation.report import Report, html_table, text_table
from mocap3d.models.create import create_model, list_models
from mocap3d.models.published import simple_baseline_normalisation
from mocap3d.models.simple_baseline import SimpleBaseline3D
from mocap3d.training.recipe import RECIPES
from mocap3d.weights import load_weights

BODY3D = "https://download.openmmlab.com/mmpose/body3d/"
POSE_LIFT = "https://download.openmmlab.com/mmpose/v1/body_3d_keypoint/pose_lift/h36m/"
LICENCE = "code Apache-2.0; trained on Human3.6M, academic use only"
CPN_LICENCE = LICENCE + "; detections VideoPose3D's, CC BY-NC 4.0"
SOURCES_2D = {"gt": "true", "cpn": "CPN", "sh": "SH"}
RUNS = Path("runs/zoo")  # where runs and records go, unless told otherwise
VERIFIED = "zoo-verify"  # name of the record of `verify`
NEVER = "never run on real Human3.6M files"
COLUMNS = {"mpjpe_mm": "MPJPE", "p_mpjpe_mm": "P-MPJPE", "n_mpjpe_mm": "N-MPJPE", "average_mm": "average MPJPE"}


class ZooError(ValueError):
    """A row that is unknown or cannot be reproduced yet; the message states the reason."""


@dataclass(frozen=True)
class Row:
    """One row of the published table.

    Args:
        name: for `evaluate`; title: as published.
        model: a name for `create_model`.
        pose2d: "gt", "cpn" or "sh".
        recipe: a name in `RECIPES`, or the published training in words.
        protocol: a name in `PROTOCOLS`.
        published: column of `COLUMNS` -> mm.
        checkpoint: address of the published weights; None if none could be verified.
        licence: of the weights.
        data: options of `load_h36m`.
        options: of `create_model`; none for the published network.
        remark: numbers printed elsewhere, or details of how the number was obtained.
    """

    name: str
    title: str
    model: str
    pose2d: str
    recipe: str
    protocol: str
    published: Mapping[str, float]
    checkpoint: str | None
    licence: str = LICENCE
    data: Mapping[str, str] = field(default_factory=dict)
    options: Mapping[str, object] = field(default_factory=dict)
    remark: str = ""


def _videopose3d(
    frames: int, pose2d: str, file: str, recipe: str, *numbers: float, semi: bool = False, remark: str = ""
) -> Row:
    kind, short = ("semi-supervised", "-semi") if semi else ("supervised", "")
    return Row(
        f"videopose3d-{frames}{short}-{pose2d}",
        f"VideoPose3D {kind}, {frames} frames, {pose2d.upper()} 2D",
        f"videopose3d_{frames}",
        pose2d,
        recipe,
        "mmpose",
        dict(zip(COLUMNS, numbers, strict=False)),
        f"{BODY3D}videopose/videopose_h36m_{file}.pth",
        LICENCE if pose2d == "gt" else CPN_LICENCE,
        remark=remark,
    )


def _motionbert(finetuned: bool, original: bool, remark: str, *numbers: float) -> Row:
    kind, epochs = (", finetuned", 120) if finetuned else ("", 240)
    return Row(
        f"motionbert{'-finetuned' * finetuned}{'-original' * original}",
        f"MotionBERT{kind}, {'original' if original else 'MMPose'} data",
        "motionbert",
        "sh" if original else "gt",
        f"AdamW 2e-4, weight decay 0.01, x 0.99 an epoch, 8 x 32 pieces of 243 frames, {epochs} epochs, flips, "
        "MPJPE + 0.5 N-MPJPE + 20 velocity; MMPose only converted the weights",
        "mmpose-motionbert",
        dict(zip(("mpjpe_mm", "p_mpjpe_mm", "average_mm"), numbers, strict=False)),
        f"{POSE_LIFT}motionbert{'_ft' * finetuned}_h36m-{'d80af323' if finetuned else 'f554954f'}_20230531.pth",
        data={"layout": "mmpose", "annotation": "original" if original else "mmpose"},
        remark=remark,
    )


_SEMI = "10 % of S1 labelled; MMPose's own configuration cannot train it"
_SH = "the page says ground-truth 2D; equal to MotionBERT's own number from SH detections, so read as detections"
_GT = "exact 2D, factor from the camera; model page: {}; the authors' own, from SH detections: {}"
ROWS: Mapping[str, Row] = {row.name: row for row in (
    _videopose3d(27, "gt", "27frames_fullconv_supervised-fe8fbba9_20210527", "videopose3d_mmpose", 40.1, 30.1,
                 remark="model index: 40.0 / 30.1"),
    _videopose3d(81, "gt", "81frames_fullconv_supervised-1f2d1104_20210527", "videopose3d_mmpose", 39.1, 29.3,
                 remark="model index: 38.9 / 29.2"),
    _videopose3d(243, "gt", "243frames_fullconv_supervised-880bea25_20210527", "videopose3d_mmpose", 37.6, 28.3,
                 remark="VideoPose3D itself: 37.2 / 27.2 under its own protocol"),
    _videopose3d(1, "cpn", "1frame_fullconv_supervised_cpn_ft-5c3afaed_20210527", "videopose3d_1_cpn_mmpose", 53.0,
                 41.3, remark="model index: 52.9 / 41.3; kernels (1,1,1,1,1), 8.5 M parameters"),
    _videopose3d(243, "cpn", "243frames_fullconv_supervised_cpn_ft-88f5abbb_20210527", "videopose3d_243_cpn_mmpose",
                 47.9, 38.0, remark="VideoPose3D itself: 46.8 / 36.5, with flip test and without S11 Directions"),
    _videopose3d(27, "gt", "27frames_fullconv_semi-supervised-54aef83b_20210527", "videopose3d_semi", 57.2, 42.4, 54.2,
                 semi=True, remark=f"model index: 58.1 / 42.8 / 54.7; {_SEMI}"),
    _videopose3d(27, "cpn", "27frames_fullconv_semi-supervised_cpn_ft-71be9cde_20210527", "videopose3d_semi", 67.3,
                 50.4, 63.6, semi=True, remark=f"model index: 67.4 / 50.1 / 63.2; {_SEMI}"),
    _motionbert(False, False, _GT.format("34.5 / 27.1, average 34.6", "39.8, average 39.2"), 35.3, 27.7),
    _motionbert(True, False, _GT.format("26.9 / 21.0, average 26.8", "37.7, average 37.2"), 27.5, 21.6),
    _motionbert(False, True, _SH, 39.8, 33.4, 39.2),
    _motionbert(True, True, _SH, 37.7, 32.2, 37.2),
    Row("simple-baseline", "SimpleBaseline3D", "simple_baseline_mmpose", "gt", "simple_baseline_mmpose", "mmpose",
        {"mpjpe_mm": 43.4, "p_mpjpe_mm": 34.3},
        f"{BODY3D}simple_baseline/simple3Dbaseline_h36m-f0ad73a4_20210419.pth"),
)}  # fmt: skip


@dataclass(frozen=True, repr=False)
class Reproduction:
    """A row, and the results measured here with its weights."""

    row: Row
    report: Report

    @property
    def measured(self) -> dict[str, float]:
        """Column of `COLUMNS` -> mm, under the row's protocol; the average is the mean over actions."""
        by_action = replace(self.report, protocol=replace(self.report.protocol, averaging="actions"))
        values = {key: self.report.mean(key) for key in COLUMNS if key != "average_mm"}
        return values | {"average_mm": by_action.mpjpe_mm}

    def __repr__(self) -> str:
        rows = [["mm", "published", "here", "difference"]]
        for key, value in self.measured.items():
            published = self.row.published.get(key)
            more = (
                ["-", f"{value:.1f}", "-"]
                if published is None
                else [f"{published:.1f}", f"{value:.1f}", f"{value - published:+.1f}"]
            )
            rows.append([COLUMNS[key], *more])
        return "\n".join([f"{self.row.title} on {self.report.dataset}", *text_table(rows), str(self.report.protocol)])


def get(name: str | Row) -> Row:
    """A row by name."""
    check_arguments(get, locals())
    if isinstance(name, Row):
        return name
    if name not in ROWS:
        raise ZooError(f"no row {name!r}; there are: {', '.join(ROWS)}")
    return ROWS[name]


def evaluate(
    row: str | Row,
    data_root: str | Path,
    checkpoint: str | Path | Mapping[str, torch.Tensor],
    device: torch.device | str | None = None,
    **data: object,
) -> Reproduction:
    """Reproduce a row: published weights on Human3.6M under the row's protocol. The test subjects' files are enough.

    Args:
        row: a row or its name.
        data_root: folder of Human3.6M in any layout that has the row's 2D.
        checkpoint: the file at the row's address, downloaded by you, or its state_dict.
        device: the device to run on; by default the CPU.
        data: options of `load_h36m` that replace the row's.
    Returns:
        Reproduction; print it to see published and measured side by side.
    Raises:
        ZooError: for an unknown row, or weights of another network than the row's.
        H36MError, WeightsError, UnsafeFileError: for files that do not fit or are not safe.
    Deviation: SimpleBaseline3D's statistics are those of MMPose's configuration, in pixels; in screen units they are
        right for images 1001 high, and Human3.6M's are 1000 or 1002: half a pixel. VideoPose3D's layout lacks S11
        Directions, which MMPose's numbers include.
    """
    row = get(row)
    model = load_weights(checkpoint)
    check_network(row, model)
    if isinstance(model, SimpleBaseline3D) and model.normalisation is None:
        model.normalisation = published_statistics()
    if device is not None:
        model.to(choose_device(device))
    dataset = load_row_data(row, data_root, **({"subjects": TEST_SUBJECTS} | data))
    factors = mmpose.read_factors(data_root) if row.data.get("annotation") == "original" else None
    return judge(row, model, dataset, factors)


def load_row_data(row: Row, root: str | Path, **data: object) -> PoseDataset:
    """Human3.6M with the 2D of a row; `data` are further options of `load_h36m`."""
    return load_h36m(root, **{**row.data, "pose2d": row.pose2d, **data})


def judge(row: Row, model: torch.nn.Module, dataset: PoseDataset, factors: Mapping | None = None) -> Reproduction:
    """A row's model on the test clips of a data set, under the row's protocol; `factors` as in `evaluate`."""
    protocol = replace(PROTOCOLS[row.protocol], subjects=TEST_SUBJECTS)
    return Reproduction(row, evaluate_model(model, dataset.test, protocol, factors=factors))


def check_network(row: Row, model: torch.nn.Module) -> None:
    """Raise a ZooError if a model is not the network of the row."""
    if row.model not in list_models():
        raise ZooError(f"row {row.name!r} needs the model {row.model!r}; built so far: {', '.join(list_models())}")
    with torch.device("meta"):  # shapes without numbers
        wanted = create_model(row.model, **row.options)
    one, other = (
        (network.name, {key: tensor.shape for key, tensor in network.state_dict().items()})
        for network in (wanted, model)
    )
    if one != other:
        names = [f"{network.name} with {_parameters(network):,} parameters" for network in (wanted, model)]
        raise ZooError(
            f"row {row.name!r} is {names[0]}, the checkpoint is {names[1]}; give the file at {row.checkpoint}"
        )


def _parameters(model: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def published_statistics() -> dict[str, torch.Tensor]:
    """MMPose's statistics for SimpleBaseline3D, in the form of `SimpleBaseline3D.normalisation`."""
    held = json.loads((Path(__file__).parent / "simple_baseline_mmpose.json").read_text(encoding="utf-8"))
    keys = ("keypoints_mean", "keypoints_std", "target_mean", "target_std")
    return simple_baseline_normalisation(*(held[key] for key in keys), width=1000, height=1001, metres_per_unit=1)


def real_name(sources: set[str]) -> str:
    """ "h36m" for clips of Human3.6M itself; other motion in one of its layouts is a stand-in."""
    return "h36m" if sources == {"h36m"} else "stand-in"


@dataclass(frozen=True, repr=False)
class ZooTable:
    """Rows as text and as HTML: published, measured on Human3.6M, measured on open data; see `table`.

    Args:
        rows: of the table.
        measured: (row, data set, what was measured, mpjpe_mm and p_mpjpe_mm).
    """

    rows: tuple[Row, ...]
    measured: tuple[tuple[str, str, str, Mapping[str, float]], ...] = ()

    def _cells(self) -> list[list[str]]:
        columns = ("published", "measured on Human3.6M", "measured on open data")
        lines = [["MPJPE / P-MPJPE in mm", "2D", *columns]]
        for row in self.rows:
            found = {True: [], False: []}
            for name, dataset, what, numbers in self.measured:
                if name == row.name:
                    found[dataset == "h36m"].append(f"{_pair(numbers)} ({what})")
            here = ("; ".join(found[real]) or "-" for real in (True, False))
            lines.append([row.name, SOURCES_2D[row.pose2d], _pair(row.published), *here])
        return lines

    def _notes(self) -> list[tuple[str, str]]:
        """(row, text) lines on network, protocol, recipe, weights, licence and remark."""
        notes = []
        for row in self.rows:
            recipe = RECIPES[row.recipe].source if row.recipe in RECIPES else row.recipe
            more = [f"{COLUMNS[key]} {mm:.1f}" for key, mm in row.published.items() if key[:2] in ("n_", "av")]
            facts = (*more, row.remark, f"network {row.model}", f"protocol {row.protocol}", f"recipe: {recipe}")
            notes.append((row.name, "; ".join(filter(None, (*facts, f"licence: {row.licence}")))))
        return notes

    def _heads(self) -> list[str]:
        real = any(dataset == "h36m" for _, dataset, _, _ in self.measured)
        return [*[NEVER] * (not real), "Compare within a column, a 2D source and a protocol only."]

    def __repr__(self) -> str:
        lines = [*text_table(self._cells()), "", *self._heads()]
        for row, (name, text) in zip(self.rows, self._notes(), strict=True):
            lines += [f"{name}: {text}", f"    {row.checkpoint or 'no verified address of weights'}"]
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        notes = []
        for row, (name, text) in zip(self.rows, self._notes(), strict=True):
            link = f'<a href="{html.escape(row.checkpoint)}">weights</a>' if row.checkpoint else "no verified weights"
            notes.append(f"<b>{html.escape(name)}</b> {html.escape(text)}; {link}")
        notes = f"<details><summary>notes on each row</summary>{'<br>'.join(notes)}</details>"
        return f"{html_table(self._cells())}<p><small>{'<br>'.join(self._heads())}{notes}</small></p>"


def _pair(numbers: Mapping[str, float]) -> str:
    return f"{numbers['mpjpe_mm']:.1f} / {numbers['p_mpjpe_mm']:.1f}"


def table(*reproductions: Reproduction, folder: str | Path | None = None) -> ZooTable:
    """The published table beside what was measured here.

    Args:
        reproductions: results of `evaluate`.
        folder: of records that `mocap3d zoo train` and `mocap3d zoo verify` wrote.
    """
    measured = []
    for done in reproductions:
        dataset = real_name({clip.source for clip in done.report.clips})
        measured.append((done.row.name, dataset, f"published weights on {done.report.dataset}", done.measured))
    for path in sorted(Path(folder).glob("zoo-*.json")) if folder else ():
        record = records.read(folder, path.stem)
        dataset, numbers = record["dataset"], record["numbers"]
        if path.stem == VERIFIED:
            ran = {name: values for name, values in numbers.items() if "failed" not in values}
            measured += [(name, dataset, "published weights", values) for name, values in ran.items()]
        else:
            measured.append((record["row"], dataset, f"{dataset}, {record['kind']}", numbers))
    return ZooTable(tuple(ROWS.values()), tuple(measured))
