"""Train the small models that come inside the package.

    MOCAP3D_DATA=data OMP_NUM_THREADS=1 python scripts/train_shipped.py centred --out runs/shipped

"centred" and "causal" (VideoPose3D) take about 14 CPU minutes each, "motionbert" 21, "pretrained" about 40. A run that
was interrupted is resumed from --out; a finished one leaves a record in docs/results and is not repeated.

They see motion that may be used for anything: the procedural motion of this package, and CMU recordings (no
Bandai-Namco motion, whose licence is non-commercial; no Human3.6M). `--with-bandai` trains on that too, for private
use: the weights stay in --out. Every epoch is filmed anew by random phones, with other bodies and limbs, and detected
by a simulated detector that fails (`data.filming`), as that is what `lift` meets. "pretrained", for finetuning, sees
3D of the procedural motion alone, joints and frames masked, and of the CMU recordings simulated 2D only.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
import time
from pathlib import Path

import torch

import mocap3d
from mocap3d.evaluation.protocol import ROOT_DEPTH
from mocap3d.training.pretraining import pretrain
from mocap3d.weights import SHIPPED, save_weights

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "benchmarks"))
import phone  # noqa: E402
import records  # noqa: E402

SOURCE = "ours: scripts/train_shipped.py"
FILMED = {"detector": "coco", "cameras": "phones", "bodies": True, "refilm": 2, "balance": 0.5, "minutes": None}
VIDEOPOSE3D = {
    "filter_widths": (3, 3, 3), "channels": 256, "dropout": 0.0625, "normalise": "ray", "confidence": True,
}  # fmt: skip
MOTIONBERT = {"frames": 27, "image_space": False, "init": "fan_in", "normalise": "ray"}
TEMPORAL = mocap3d.RECIPES["quick_temporal"]
WINDOWS = [
    dataclasses.replace(TEMPORAL, name="shipped", steps=18_000, source=SOURCE, **FILMED),
    dataclasses.replace(TEMPORAL, name="shipped, slowly", steps=4000, learning_rate=1e-3, source=SOURCE, **FILMED),
]
CLIPS = [
    # frames 3 apart, then consecutive ones for low jitter
    dataclasses.replace(
        mocap3d.RECIPES["quick_clips"], name="shipped, frames apart", steps=5500, batch_size=18, clip_frames=9,
        clip_step=3, clip_stride=3, terms={"velocity": 2 / 3}, source=SOURCE, **FILMED,
    ),
    dataclasses.replace(
        mocap3d.RECIPES["quick_clips"], name="shipped, consecutive frames", steps=1500, batch_size=6,
        learning_rate=5e-4, source=SOURCE, **FILMED,
    ),
]  # fmt: skip
KINDS = {
    "centred": ("videopose3d", VIDEOPOSE3D, WINDOWS),
    "causal": ("videopose3d", VIDEOPOSE3D | {"causal": True}, WINDOWS),
    "motionbert": ("motionbert_tiny", MOTIONBERT, CLIPS),
}
PRETRAINING = dataclasses.replace(
    mocap3d.RECIPES["quick_clips"],
    name="shipped_pretraining",
    minutes=None,
    steps=3300,
    batch_size=4,
    mask_joints=0.05,
    mask_frames=0.1,
    detector="sh",
    source=SOURCE,
)
LICENCE = (
    "Apache-2.0. Trained on CMU motion, free for all uses: the data used in this project was obtained from "
    "mocap.cs.cmu.edu; the database was created with funding from NSF EIA-0196217"
)
LIMITS = "trained on few people and actions: for trying things out, not for measuring people"


def cmu_clips(real: mocap3d.PoseDataset) -> list[mocap3d.Clip]:
    """The training clips whose licence lets weights be passed on."""
    return [clip for clip in real.train if clip.source.startswith("cmu")]


def main() -> None:
    """Train one kind and write its weights and card."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kind", choices=SHIPPED)
    parser.add_argument("--out", type=Path, default=Path("runs/shipped"), help="folder of the runs (runs/shipped)")
    parser.add_argument("--with-bandai", action="store_true", help="train on Bandai-Namco motion too; not for shipping")
    arguments = parser.parse_args()
    if arguments.kind == "pretrained":
        train_pretrained(arguments.out / arguments.kind)
        return
    kind = arguments.kind + "-with-bandai" * arguments.with_bandai
    if records.read(f"shipped-{kind}") is not None:
        print(f"docs/results/shipped-{kind}.json is there: remove it to train again")
        return
    real = mocap3d.load_dataset("open-mocap", hold_out="recordings")
    train = [
        *(real.train if arguments.with_bandai else cmu_clips(real)),
        *mocap3d.load_dataset("synthetic").train,
        *mocap3d.load_dataset("synthetic", actions="wide").train,
    ]
    name, options, recipes = KINDS[arguments.kind]
    torch.manual_seed(0)
    model, seconds = mocap3d.create_model(name, **options), 0.0
    for number, recipe in enumerate(recipes):
        run = mocap3d.fit(model, train, recipe, keep="last", out=arguments.out / kind / str(number))
        if run.interrupted:
            return
        seconds += run.record["seconds"]
    started = time.process_time()
    columns = measure(model, real)
    print(f"measured in {time.process_time() - started:.0f} CPU s: {columns}")
    card = {
        "fps": 50,
        "training_data": f"motion of {', '.join(sorted({clip.source for clip in train}))} (mocap3d's synthetic train "
        f"splits and open-mocap's, {len({clip.take for clip in train})} recordings), filmed anew by simulated phones",
        "recipe": [dataclasses.asdict(recipe) for recipe in recipes],
        "protocol": f"{phone.PROTOCOL}; on open-mocap's columns P-MPJPE and MPJPE of its protocol",
        "results": columns,
        "licence": "private: Bandai-Namco motion is CC BY-NC 4.0" if arguments.with_bandai else LICENCE,
        "limits": LIMITS,
    }
    path = arguments.out / f"{kind}.safetensors" if arguments.with_bandai else SHIPPED[arguments.kind]
    print(save_weights(model.cpu(), path, card))
    size = f"{name}, {sum(p.numel() for p in model.parameters()):,} parameters, wall seconds of training"
    records.write(
        f"shipped-{kind}", data=str(len(train)), protocol=card["protocol"], size=size, seed=0, seconds=seconds,
        numbers=columns,
    )  # fmt: skip


def measure(model: torch.nn.Module, real: mocap3d.PoseDataset) -> dict:
    """Errors of every test column, by name: mm."""
    columns = {}
    parts = {"known motion": real.known, "new": real.test}
    for part, clips in parts.items():
        for pose2d in ("true 2D", "cpn"):
            seen = clips if pose2d == "true 2D" else clips.with_detections("cpn", seed=0)
            for source, row in mocap3d.evaluate(model, seen, "open-mocap").by_source.items():
                keys = ("mpjpe_mm", "p_mpjpe_mm", "mpjve_mm")
                columns[f"{part}, {source}, {pose2d}"] = {key: round(row[key], 1) for key in keys}
    test = mocap3d.load_dataset("open-mocap", cameras="phone-v1")
    return columns | {f"phone-v1, {name}": row for name, row in phone.measure_model(model, list(test)).items()}


def train_pretrained(out: Path) -> None:
    """MotionBERT for finetuning, with its own objective."""
    real, synthetic = mocap3d.load_dataset("open-mocap"), mocap3d.load_dataset("synthetic")
    torch.manual_seed(0)
    model, cmu = mocap3d.create_model("motionbert_tiny"), cmu_clips(real)
    pretrain(model, synthetic.train, cmu_clips(real.with_detections("sh", seed=0)), PRETRAINING, keep="last", out=out)
    results = {}
    for pose2d, test in (("true 2D", real.test), ("simulated CPN-like 2D", real.with_detections("cpn", seed=0).test)):
        report = mocap3d.evaluate(model, test, "open-mocap")
        results[pose2d] = {
            source: f"{row['mpjpe_mm']:.1f} mm MPJPE, {row['mpjve_mm']:.1f} mm/frame MPJVE"
            for source, row in report.by_source.items()
        }
    card = {
        "fps": 50,
        "training_data": f"mocap3d synthetic train split ({len(synthetic.train)} clips) and simulated detections, "
        f"without any 3D, of open-mocap's CMU train clips ({len(cmu)}: {', '.join(sorted({c.source for c in cmu}))}), "
        "simulated cameras",
        "recipe": PRETRAINING,
        "protocol": f"open-mocap; {ROOT_DEPTH}",
        "results": results,
        "licence": LICENCE,
        "limits": LIMITS,
    }
    print(save_weights(model, SHIPPED["pretrained"], card))


if __name__ == "__main__":
    main()
