"""The result of an evaluation: its protocol and its numbers.

Everything a Report prints is computed from its per-clip errors under its protocol, so a number is never separated from
the rules behind it. Nothing here runs a model; see `evaluation.evaluate`.
"""

from __future__ import annotations

import html
import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from mocap3d.evaluation.protocol import EvalProtocol, ReportError
from mocap3d.files import write_whole
from mocap3d.poses import persons

# name -> (title, unit, factor for printing, frames lost at each clip's end)
METRICS = {
    "mpjpe_mm": ("MPJPE", "mm", 1, 0),
    "p_mpjpe_mm": ("P-MPJPE", "mm", 1, 0),
    "n_mpjpe_mm": ("N-MPJPE", "mm", 1, 0),
    "mpjve_mm": ("MPJVE", "mm/frame", 1, 1),
    "acceleration": ("acceleration", "m/s2", 1, 2),
    "pck": ("PCK@150mm", "%", 100, 0),
    "auc": ("AUC", "%", 100, 0),
}
TRAJECTORY_METRICS = {  # for models that predict where the root is
    "trajectory_mm": ("trajectory", "mm", 1, 0),
    "trajectory_aligned_mm": ("aligned trajectory", "mm", 1, 0),
}
FILLED_METRICS = {  # for data with missing 2D joints, which are filled before lifting
    "seen_mpjpe_mm": ("MPJPE seen", "mm", 1, 0),
    "filled_mpjpe_mm": ("MPJPE filled", "mm", 1, 0),
    "filled": ("filled", "%", 100, 0),
}
ALL_METRICS = METRICS | TRAJECTORY_METRICS | FILLED_METRICS


@dataclass(frozen=True)
class ClipErrors:
    """The errors of one clip.

    Args:
        take, source, subject, action, camera, performer: the clip's labels.
        frames: number of frames that count.
        weight: the same without missing joints: the number of joints with ground truth, divided by joints per frame.
        values: metric name -> value: all `METRICS`, `TRAJECTORY_METRICS` if they were measured, and `FILLED_METRICS` if
            a 2D joint of the data was filled; NaN where the clip is too short, or has no such joint.
        joints_mm: MPJPE of each joint, mm.
    """

    take: str
    source: str
    subject: str
    action: str
    camera: str
    performer: str
    frames: int
    weight: float
    values: Mapping[str, float]
    joints_mm: tuple[float, ...]

    @property
    def recording(self) -> str:
        """Same as `Clip.recording`: chunks of one recording are not independent."""
        return self.take.partition(":")[0]

    @property
    def identity(self) -> tuple:
        return (self.source, self.take, self.subject, self.action, self.camera, self.frames)

    def weight_of(self, metric: str) -> float:
        """The weight of this clip in an average over clips, in joints divided by joints per frame.

        It is `weight`, less the frames that the metric loses at the ends. "seen_mpjpe_mm" and "filled_mpjpe_mm" have
        the weight of the seen and of the filled joints alone, which add up to `weight`.
        """
        filled = self.values.get("filled", 0.0)
        if metric in ("seen_mpjpe_mm", "filled_mpjpe_mm"):
            return self.weight * (filled if metric == "filled_mpjpe_mm" else 1 - filled)
        return max(self.weight - ALL_METRICS[metric][3], 0)


@dataclass(frozen=True, eq=False, repr=False)
class Report:
    """The result of one evaluation.

    Args:
        model, dataset: their names.
        protocol: the rules behind every number here.
        clips: errors of each clip; everything else is computed from them.
        joints: joint names, in the order of `joints_mm`.
        digest: of the evaluation data, so that the same labels with different contents are noticed.
    """

    model: str
    dataset: str
    protocol: EvalProtocol
    clips: tuple[ClipErrors, ...]
    joints: tuple[str, ...]
    digest: str = ""

    def mean(self, metric: str = "mpjpe_mm", clips: Sequence[ClipErrors] | None = None) -> float:
        """A metric over the given clips (default: all), averaged by the rule of the protocol.

        A clip weighs as much as it has joints that count for the metric (`ClipErrors.weight_of`).
        """
        if metric not in ALL_METRICS:
            raise ReportError(f"no metric {metric!r}; there are: {', '.join(ALL_METRICS)}")
        clips = self.clips if clips is None else clips
        return self._average(clips, lambda clip: (clip.values.get(metric, math.nan), clip.weight_of(metric)))

    def _average(
        self, clips: Sequence[ClipErrors], value_and_weight: Callable[[ClipErrors], tuple[float, float]]
    ) -> float:
        sums: dict[str, list[float]] = {}
        for clip in clips:
            value, weight = value_and_weight(clip)
            if weight > 0 and not math.isnan(value):
                group = sums.setdefault(group_of(clip, self.protocol.averaging), [0.0, 0.0])
                group[0] += weight * value
                group[1] += weight
        return float(np.mean([total / weight for total, weight in sums.values()])) if sums else math.nan

    @property
    def mpjpe_mm(self) -> float:
        return self.mean("mpjpe_mm")

    @property
    def p_mpjpe_mm(self) -> float:
        return self.mean("p_mpjpe_mm")

    @property
    def metrics(self) -> tuple[str, ...]:
        """The names of the metrics that were measured."""
        return tuple(metric for metric in ALL_METRICS if any(metric in clip.values for clip in self.clips))

    @property
    def summary(self) -> dict[str, float]:
        """Every metric over all clips."""
        return {metric: self.mean(metric) for metric in self.metrics}

    def _by(self, label: str) -> dict[str, dict[str, float]]:
        groups: dict[str, list[ClipErrors]] = {}
        for clip in self.clips:
            groups.setdefault(getattr(clip, label), []).append(clip)
        return {
            name: {metric: self.mean(metric, clips) for metric in self.metrics}
            | {"frames": sum(clip.frames for clip in clips)}
            for name, clips in groups.items()
        }

    @property
    def by_source(self) -> dict[str, dict[str, float]]:
        """Source -> metric -> value. Within a source, the protocol's averaging still applies."""
        return self._by("source")

    @property
    def by_action(self) -> dict[str, dict[str, float]]:
        """Action -> metric -> value."""
        return self._by("action")

    @property
    def by_joint(self) -> dict[str, float]:
        """Joint -> MPJPE in mm."""
        return {
            joint: self._average(self.clips, lambda clip, i=i: (clip.joints_mm[i], clip.weight))
            for i, joint in enumerate(self.joints)
        }

    def _rows(self) -> list[list[str]]:
        rows = [["", *titles(self.metrics), "frames"]]
        parts = {"all": self.summary | {"frames": sum(clip.frames for clip in self.clips)}}
        if len(self.by_source) > 1:
            parts |= {f"source {source_title(name, self.clips)}": row for name, row in self.by_source.items()}
        parts |= {name: values for name, values in self.by_action.items()}
        rows += [[name, *cells(values, self.metrics), f"{values['frames']:,}"] for name, values in parts.items()]
        return rows

    def __repr__(self) -> str:
        return f"{self.mpjpe_mm:.1f} mm MPJPE ({self.protocol.name} protocol)"

    def __str__(self) -> str:
        joints = sorted(self.by_joint.items(), key=lambda item: -item[1])
        return "\n".join(
            [
                f"{self!r}: {self.model} on {self.dataset}",
                str(self.protocol),
                "",
                *text_table(self._rows()),
                "",
                "mm MPJPE by joint: " + ", ".join(f"{name} {value:.0f}" for name, value in joints),
            ]
        )

    def _repr_html_(self) -> str:
        head = f"<b>{html.escape(f'{self!r}')}</b>: {html.escape(f'{self.model} on {self.dataset}')}"
        joints = ", ".join(f"{name} {value:.0f}" for name, value in self.by_joint.items())
        return (
            f"<p>{head}<br><small>{html.escape(str(self.protocol))}</small></p>{html_table(self._rows())}"
            f"<p><small>mm MPJPE by joint: {html.escape(joints)}</small></p>"
        )

    def to_json(self, path: str | Path) -> Path:
        """Write the whole report, including its protocol, to a JSON file (NaN as null)."""
        record = {
            "format": "mocap3d report 1",
            "model": self.model,
            "dataset": self.dataset,
            "digest": self.digest,
            "protocol": asdict(self.protocol),
            "summary": self.summary,
            "by_source": self.by_source,
            "by_action": self.by_action,
            "by_joint_mm": self.by_joint,
            "joints": list(self.joints),
            "clips": [asdict(clip) for clip in self.clips],
        }
        text = json.dumps(_no_nan(record), indent=1, allow_nan=False)
        return write_whole(path, lambda part: part.write_text(text + "\n", encoding="utf-8"))

    @classmethod
    def from_json(cls, path: str | Path) -> Report:
        """Read a report written by `to_json`.

        Raises:
            ReportError: if the file is not such a report.
        """
        try:
            record = json.loads(Path(path).read_text(encoding="utf-8"))
            if record["format"] != "mocap3d report 1":
                raise ReportError(f"{path}: format {record['format']!r} is not 'mocap3d report 1'")
            clips = tuple(
                ClipErrors(
                    **clip
                    | {
                        "values": {
                            metric: _number(clip["values"][metric])
                            for metric in ALL_METRICS
                            if metric in METRICS or metric in clip["values"]
                        },
                        "joints_mm": tuple(map(_number, clip["joints_mm"])),
                    }
                )
                for clip in record["clips"]
            )
            protocol, joints = EvalProtocol(**record["protocol"]), tuple(record["joints"])
            report = cls(record["model"], record["dataset"], protocol, clips, joints, record["digest"])
            str(report), report._repr_html_()  # whatever is wrong with the values is found here
            return report
        except (LookupError, TypeError, ValueError, ArithmeticError, RecursionError) as error:
            if isinstance(error, ReportError):
                raise
            raise ReportError(f"{path} is not a report written by to_json: {type(error).__name__} {error}") from None


def group_of(clip: ClipErrors, averaging: str) -> str:
    """The group in which a clip is averaged."""
    return {"frames": "", "actions": clip.action, "sources": clip.source}[averaging]


def source_title(source: str, clips: Iterable[ClipErrors]) -> str:
    """A source with its number of persons: a difference between models holds for those."""
    number = persons(clip.performer for clip in clips if clip.source == source)
    return f"{source or '(none)'} ({number} person{'s' * (number != '1')})"


def titles(measured: Sequence[str]) -> list[str]:
    """Column titles of the given metrics."""
    return [f"{ALL_METRICS[metric][0]} {ALL_METRICS[metric][1]}" for metric in measured]


def cells(values: Mapping[str, float], measured: Sequence[str]) -> list[str]:
    """One formatted value for each of the given metrics."""
    return [
        "-" if math.isnan(values.get(metric, math.nan)) else f"{values[metric] * ALL_METRICS[metric][2]:.1f}"
        for metric in measured
    ]


def text_table(rows: list[list[str]]) -> list[str]:
    """Rows of cells, starting with the header -> aligned lines."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]
        ).rstrip()
        for row in rows
    ]


def html_table(rows: list[list[str]]) -> str:
    """The same rows as an HTML table."""

    def cell(tag: str, text: str, left: bool) -> str:
        return f'<{tag} style="text-align:{"left" if left else "right"}">{html.escape(text)}</{tag}>'

    lines = [
        "".join(cell("td" if i else "th", text, j == 0) for j, text in enumerate(row)) for i, row in enumerate(rows)
    ]
    return "<table>" + "".join(f"<tr>{line}</tr>" for line in lines) + "</table>"


def _number(value: float | None) -> float:
    return math.nan if value is None else float(value)


def _no_nan(value):
    if isinstance(value, Mapping):
        return {key: _no_nan(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_no_nan(item) for item in value]
    return None if isinstance(value, float) and math.isnan(value) else value
