"""What time, attention, pretraining and unlabelled video are worth: gains from the records, with their intervals.

    python benchmarks/effects.py

Both arms of an effect are paired by seed and by recording; see `records.effect`. It trains nothing: the records are
made by the scripts named in each line.
"""

from __future__ import annotations

import records

from mocap3d.evaluation.report import text_table

SEEDS = range(5)
# effect -> script, records without it and with it, by seed
EFFECTS = {
    "27 frames over one, errors of 0.1 s": ("time_from_detections", "1-0.1-{}", "27-0.1-{}"),
    "27 frames over one, errors of 0.25 s": ("time_from_detections", "1-0.25-{}", "27-0.25-{}"),
    "27 frames over one, errors of 0.5 s": ("time_from_detections", "1-0.5-{}", "27-0.5-{}"),
    "27 frames over one, errors of 1 s": ("time_from_detections", "1-1-{}", "27-1-{}"),
    "attention over convolution, 27 frames": ("learning", "videopose3d_27-cpn-{}", "motionbert_tiny-cpn-{}"),
    "pretraining, 10 % labels, equal budget": ("pretraining", "scratch-10-{}", "pretrained-10-{}"),
    "pretraining for free, 10 % labels": ("pretraining", "short-10-{}", "pretrained-10-{}"),
    "pretraining, 1 % labels, equal budget": ("pretraining", "scratch-1-{}", "pretrained-1-{}"),
    "pretraining for free, 1 % labels": ("pretraining", "short-1-{}", "pretrained-1-{}"),
    "unlabelled video, 10 % labelled": ("semi_supervised", "10-sup-{}", "10-semi-{}"),
    "unlabelled video, 1 % labelled": ("semi_supervised", "1-sup-{}", "1-semi-{}"),
    "a virtual camera instead of video, 10 % labelled": ("semi_supervised", "10-sup-{}", "10-ray-{}"),
    "a virtual camera instead of video, 1 % labelled": ("semi_supervised", "1-sup-{}", "1-ray-{}"),
    "video on top of the virtual camera, 10 % labelled": ("semi_supervised", "10-ray-{}", "10-both-{}"),
    "video on top of the virtual camera, 1 % labelled": ("semi_supervised", "1-ray-{}", "1-both-{}"),
}


def both(script: str, without: str, with_it: str) -> list[list[dict]]:
    """The records of the seeds that have both arms: [without, with it]."""
    prefix = script.replace("_", "-")
    pairs = ([records.read(f"{prefix}-{row.format(seed)}") for row in (without, with_it)] for seed in SEEDS)
    whole = [pair for pair in pairs if all(r and "recordings" in r["numbers"]["new"] for r in pair)]
    return [list(arm) for arm in zip(*whole, strict=True)]


def main() -> None:
    lines = [["gain in MPJPE, mm [95 % interval]", "known motion", "new motion", "seeds", "script"]]
    for name, (script, without, with_it) in EFFECTS.items():
        if arms := both(script, without, with_it):
            gains = [records.effect(*arms, column) for column in ("known", "new")]
            cells = [f"{gain:+.1f} [{low:+.1f}, {high:+.1f}]" for gain, low, high in gains]
            lines.append([name, *cells, str(len(arms[0])), script])
    print("\n".join(text_table(lines)))


if __name__ == "__main__":
    main()
