"""Compare two reports, or show several side by side; only reports measured in the same way can be compared."""

from __future__ import annotations

import html
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields

import numpy as np

from mocap3d.arguments import PositiveInt, Seed, check_arguments, rereadable
from mocap3d.evaluation.protocol import EvalProtocol, ReportError
from mocap3d.evaluation.report import ALL_METRICS, Report, cells, group_of, html_table, source_title, text_table, titles


@dataclass(frozen=True, repr=False)
class Comparison:
    """A minus B, with its bootstrap interval over recordings.

    Args:
        a, b: model names.
        metric: one of `ALL_METRICS`.
        difference: a - b, averaged by the rule of the protocol; below 0 means A has the smaller error.
        low, high: 95 % bootstrap interval.
        recordings: number of recordings compared.
        resamples, seed: of the bootstrap.
        protocol: its name.
        lone_sources: sources with a single recording, whose spread the interval cannot include.
    """

    a: str
    b: str
    metric: str
    difference: float
    low: float
    high: float
    recordings: int
    resamples: int
    seed: int
    protocol: str
    lone_sources: tuple[str, ...] = ()

    def __repr__(self) -> str:
        title, unit, factor, _ = ALL_METRICS[self.metric]
        text = (
            f"{self.a} - {self.b}: {self.difference * factor:+.1f} {unit} {title} "
            f"[95 % interval {self.low * factor:+.1f} to {self.high * factor:+.1f}] ({self.protocol} protocol; "
            f"{self.recordings} recordings resampled {self.resamples:,} times, seed {self.seed}; "
            "about these clips only)"
        )
        if self.lone_sources:
            names = ", ".join(name or "(none)" for name in self.lone_sources)
            text += f"; one recording only, so no spread, in: {names}"
        return text


def compare(
    a: Report, b: Report, metric: str = "mpjpe_mm", resamples: PositiveInt = 10_000, seed: Seed = 0
) -> Comparison:
    """The paired difference of two reports on the same clips, with a bootstrap interval over recordings.

    Whole recordings are drawn with replacement within each source, as many as the source has; the camera views and
    the chunks of a recording (the same person, the same minute) stay together, and both models are scored on the same
    draw. The interval shows how much the difference depends on which of THESE recordings were made; it makes no claim
    about other people, motions or cameras, which a test set of a few minutes cannot support. It does not include the
    variation between training seeds either: for that, train with several.

    Args:
        a, b: reports under the same protocol on the same clips.
        metric: one of `ALL_METRICS`.
        resamples: bootstrap draws.
        seed: of the random draws.
    Returns:
        Comparison; its difference is a - b.
    Raises:
        ReportError: if protocols, clips or contents differ; the message names the difference.
    Source: Efron & Tibshirani 1993 (percentile interval, stratified); the choice of unit is ours.
    """
    check_arguments(compare, locals())
    _check_same(a, b)
    both = [name for name in a.metrics if name in b.metrics]
    if metric not in both:
        raise ReportError(f"no metric {metric!r} in both reports; there are: {', '.join(both)}")
    units = list(dict.fromkeys((clip.source, clip.recording) for clip in a.clips))
    groups = list(dict.fromkeys(group_of(clip, a.protocol.averaging) for clip in a.clips))
    totals, weights = np.zeros((2, len(units), len(groups)))
    for clip, other in zip(a.clips, b.clips, strict=True):
        weight, gap = clip.weight_of(metric), clip.values[metric] - other.values[metric]
        if weight > 0 and not math.isnan(gap):
            at = (units.index((clip.source, clip.recording)), groups.index(group_of(clip, a.protocol.averaging)))
            totals[at] += weight * gap
            weights[at] += weight
    draws = _draw([source for source, _ in units], resamples, np.random.default_rng(seed))  # (R, recordings)
    means = _group_means(draws @ totals, draws @ weights)  # (R,)
    low, high = np.nanpercentile(means, [2.5, 97.5])
    counts = {source: sum(s == source for s, _ in units) for source, _ in units}
    difference = float(_group_means(totals.sum(0), weights.sum(0)))
    return Comparison(
        a.model,
        b.model,
        metric,
        difference,
        float(low),
        float(high),
        len(units),
        resamples,
        seed,
        a.protocol.name,
        tuple(source for source, count in counts.items() if count == 1),
    )


def _draw(sources: list[str], resamples: int, rng: np.random.Generator) -> np.ndarray:
    """How often each recording is drawn: (resamples, recordings), as many per source as it has."""
    draws = np.zeros((resamples, len(sources)))
    for source in dict.fromkeys(sources):
        members = [i for i, name in enumerate(sources) if name == source]
        draws[:, members] = rng.multinomial(len(members), np.full(len(members), 1 / len(members)), size=resamples)
    return draws


def _group_means(totals: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """(..., groups) sums -> (...) mean over the groups that were drawn."""
    drawn = weights > 0
    means = np.where(drawn, totals / np.where(drawn, weights, 1), 0)
    return means.sum(-1) / drawn.sum(-1)


def _check_same(a: Report, b: Report) -> None:
    for field in fields(EvalProtocol):
        mine, other = getattr(a.protocol, field.name), getattr(b.protocol, field.name)
        if mine != other:
            raise ReportError(
                f"reports under different protocols cannot be compared: {field.name} is {mine!r} for {a.model} "
                f"and {other!r} for {b.model}; evaluate both under the same one"
            )
    mine, other = [clip.identity for clip in a.clips], [clip.identity for clip in b.clips]
    if mine != other:
        odd = sorted(set(mine) ^ set(other))
        where = f"e.g. {odd[0]}" if odd else "the order differs"
        raise ReportError(
            f"reports on different clips cannot be compared ({len(mine)} and {len(other)} clips; {where})"
        )
    if a.digest and b.digest and a.digest != b.digest:
        raise ReportError(
            "reports on clips with the same labels but different contents cannot be compared: "
            "was the data set made with another seed or version?"
        )


@dataclass(frozen=True, repr=False)
class ReportTable:
    """Reports side by side; see `table`."""

    reports: Mapping[str, Report]

    def _rows(self) -> list[list[str]]:
        sources = list(dict.fromkeys(name for report in self.reports.values() for name in report.by_source))
        sources = sources if len(sources) > 1 else []
        measured = [metric for metric in ALL_METRICS if any(metric in r.metrics for r in self.reports.values())]
        clips = [clip for report in self.reports.values() for clip in report.clips]
        heads = [f"MPJPE mm: {source_title(source, clips)}" for source in sources]
        rows = [["model", *titles(measured), *heads, "protocol"]]
        marks = self._marks()
        for name, report in self.reports.items():
            by_source = report.by_source
            parts = [f"{by_source[source]['mpjpe_mm']:.1f}" if source in by_source else "-" for source in sources]
            rows.append([name, *cells(report.summary, measured), *parts, report.protocol.name + marks[name]])
        return rows

    def _marks(self) -> dict[str, str]:
        """A letter in brackets for each distinct pair of protocol and clips; none if all agree."""
        kinds = {
            name: (report.protocol, tuple(c.identity for c in report.clips), report.digest)
            for name, report in self.reports.items()
        }
        order = list(dict.fromkeys(kinds.values()))
        return {
            name: f" [{chr(97 + order.index(kind) % 26)}]" if len(order) > 1 else "" for name, kind in kinds.items()
        }

    def _notes(self) -> list[str]:
        protocols = {mark: self.reports[name].protocol for name, mark in self._marks().items()}
        if len(protocols) == 1:
            return [str(next(iter(protocols.values())))]
        data = {mark: self.reports[name].dataset for name, mark in self._marks().items()}
        return [
            "NOT COMPARABLE across letters: protocol, clips or 2D differ",
            *(f"{mark.strip()} on {data[mark]}, {protocol}" for mark, protocol in protocols.items()),
        ]

    def __repr__(self) -> str:
        return "\n".join([*text_table(self._rows()), "", *self._notes()])

    def _repr_html_(self) -> str:
        notes = "<br>".join(html.escape(note) for note in self._notes())
        return f"{html_table(self._rows())}<p><small>{notes}</small></p>"


def table(reports: Mapping[str, Report] | Iterable[Report]) -> ReportTable:
    """Reports side by side, one row each, as text and as HTML; different protocols or clips are marked.

    Args:
        reports: row name -> Report, or plain reports, which are named after their models.
    """
    reports = rereadable(reports)
    check_arguments(table, locals())
    if not isinstance(reports, Mapping):
        reports = {report.model: report for report in reports}
    if not reports:
        raise ReportError("a table needs at least one report")
    return ReportTable(dict(reports))
