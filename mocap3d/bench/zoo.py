"""Published results as data: model, 2D, recipe, protocol, numbers, weights; and a function that reproduces a row.

The numbers are MMPose 1.3.2's. Its documents disagree with each other; here they are those of each model's own page
(`simplebaseline3d_h36m.md`, `videopose3d_h36m.md`, `motionbert_h36m.md`), the only ones that give the average for
MotionBERT; numbers from other documents are in the row's remark. The addresses are from the same pages; nothing is
downloaded here. Weights trained on Human3.6M are also subject to its licence.
"""

from __future__ import annotations

import html
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch

from mocap3d.data.h36m import mmpose
from mocap3d.data.h36m.facts import TEST_SUBJECTS
from mocap3d.data.h36m.load import load_h36m
from mocap3d.data.windows import to_device
from mocap3d.evaluation.evaluate import evaluate as evaluate_model
from mocap3d.evaluation.protocol import PROTOCOLS
from mocap3d.evaluation.report import Report, html_table, text_table
from mocap3d.models.create import list_models
from mocap3d.models.simple_baseline import SimpleBaseline3D
from mocap3d.training.recipe import RECIPES
from mocap3d.weights import load_weights

BODY3D = "https://download.openmmlab.com/mmpose/body3d/"
POSE_LIFT = "https://download.openmmlab.com/mmpose/v1/body_3d_keypoint/pose_lift/h36m/"
LICENCE = "code Apache-2.0; trained on Human3.6M, academic use only"
CPN_LICENCE = LICENCE + "; detections VideoPose3D's, CC BY-NC 4.0"
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


def _motionbert(finetuned: bool, original: bool, mpjpe: float, p_mpjpe: float, average: float, remark: str) -> Row:
    kind, epochs = (", finetuned", 120) if finetuned else ("", 240)
    return Row(
        f"motionbert{'-finetuned' * finetuned}{'-original' * original}",
        f"MotionBERT{kind}, {'original' if original else 'MMPose'} data",
        "motionbert",
        "sh" if original else "gt",
        f"AdamW 2e-4, weight decay 0.01, x 0.99 an epoch, 8 x 32 pieces of 243 frames, {epochs} epochs, flips, "
        "MPJPE + 0.5 N-MPJPE + 20 velocity; MMPose only converted the weights",
        "mmpose-motionbert",
        {"mpjpe_mm": mpjpe, "p_mpjpe_mm": p_mpjpe, "average_mm": average},
        f"{POSE_LIFT}motionbert{'_ft' * finetuned}_h36m-{'d80af323' if finetuned else 'f554954f'}_20230531.pth",
        data={"layout": "mmpose", "annotation": "original" if original else "mmpose"},
        remark=remark,
    )


_SEMI = "10 % of S1 labelled; MMPose's own configuration cannot train it"
_SH = "the page says ground-truth 2D; equal to MotionBERT's own number from SH detections, so read as detections"
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
    _motionbert(False, False, 34.5, 27.1, 34.6, "collection page: 35.3 / 27.7; exact 2D, factor from the camera"),
    _motionbert(True, False, 26.9, 21.0, 26.8, "collection page: 27.5 / 21.6; exact 2D, factor from the camera"),
    _motionbert(False, True, 39.8, 33.4, 39.2, _SH),
    _motionbert(True, True, 37.7, 32.2, 37.2, _SH),
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
    """Reproduce a row: published weights on Human3.6M under the row's protocol.

    Args:
        row: a row or its name.
        data_root: folder of Human3.6M in any layout that has the row's 2D.
        checkpoint: the file at the row's address, downloaded by you, or its state_dict.
        device: the device to run on; by default the CPU.
        data: options of `load_h36m` that replace the row's.
    Returns:
        Reproduction; print it to see published and measured side by side.
    Raises:
        ZooError: for an unknown row, or a model that is not available yet.
        H36MError, WeightsError, UnsafeFileError: for files that do not fit or are not safe.
    Deviation: MMPose's files hold no statistics of the data; if a model needs them, they are computed from the training
        subjects in `data_root`, in screen units; MMPose's are in pixels, which for images of two heights shifts the
        input by up to half a pixel. VideoPose3D's layout lacks S11 Directions, which MMPose's numbers include.
    """
    row = get(row)
    if row.model not in list_models():
        raise ZooError(f"row {row.name!r} needs the model {row.model!r}; built so far: {', '.join(list_models())}")
    model = load_weights(checkpoint)
    if device is not None:
        model.to(device)
    unknown = isinstance(model, SimpleBaseline3D) and model.normalisation is None
    options = {**row.data, "pose2d": row.pose2d, "subjects": None if unknown else TEST_SUBJECTS, **data}
    dataset = load_h36m(data_root, **options)
    if unknown:
        train = to_device(dataset.train)
        model.fit_normalisation(train.points2d, train.pose3d)
    protocol = replace(PROTOCOLS[row.protocol], subjects=TEST_SUBJECTS)
    factors = mmpose.read_factors(data_root) if row.data.get("annotation") == "original" else None
    return Reproduction(row, evaluate_model(model, dataset.test, protocol, factors=factors))


@dataclass(frozen=True, repr=False)
class ZooTable:
    """Rows as text and as HTML; see `table`."""

    rows: tuple[Row, ...]
    reproductions: Mapping[str, Reproduction] = field(default_factory=dict)

    def _cells(self) -> list[list[str]]:
        lines = [["row", "model", "2D", *(f"{title} mm" for title in COLUMNS.values()), "protocol"]]
        for row in self.rows:
            numbers = [f"{row.published[key]:.1f}" if key in row.published else "-" for key in COLUMNS]
            if row.name in self.reproductions:
                here = self.reproductions[row.name].measured
                numbers = [f"{number} (here {here[key]:.1f})" for number, key in zip(numbers, COLUMNS, strict=True)]
            lines.append([row.name, row.model, row.pose2d, *numbers, row.protocol])
        return lines

    def _notes(self) -> list[tuple[str, str]]:
        """(row, text) lines on recipe, weights, licence and remark."""
        notes = []
        for row in self.rows:
            recipe = RECIPES[row.recipe].source if row.recipe in RECIPES else row.recipe
            facts = (row.remark, f"recipe: {recipe}", f"licence: {row.licence}")
            notes.append((row.name, "; ".join(filter(None, facts))))
        return notes

    def __repr__(self) -> str:
        lines = [*text_table(self._cells()), "", "Compare within a protocol only."]
        for row, (name, text) in zip(self.rows, self._notes(), strict=True):
            lines += [f"{name}: {text}", f"    {row.checkpoint or 'no verified address of weights'}"]
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        notes = []
        for row, (name, text) in zip(self.rows, self._notes(), strict=True):
            link = f'<a href="{html.escape(row.checkpoint)}">weights</a>' if row.checkpoint else "no verified weights"
            notes.append(f"<b>{html.escape(name)}</b> {html.escape(text)}; {link}")
        text = "<br>".join(["Compare within a protocol only.", *notes])
        return f"{html_table(self._cells())}<p><small>{text}</small></p>"


def table(*reproductions: Reproduction) -> ZooTable:
    """The published table, with the measured numbers of the given reproductions."""
    return ZooTable(tuple(ROWS.values()), {r.row.name: r for r in reproductions})
