"""Train the small models that come inside the package.

    MOCAP3D_DATA=data python scripts/train_shipped.py centred        about nine CPU minutes
    MOCAP3D_DATA=data python scripts/train_shipped.py causal
    MOCAP3D_DATA=data python scripts/train_shipped.py pretrained     MotionBERT; about forty CPU minutes

They see motion that may be used for anything: the procedural motion of this package, and the training part of the CMU
recordings (no Bandai-Namco motion, whose licence is non-commercial; no Human3.6M). The 2D is projected truth with
simulated detector noise drawn anew each epoch, because that is what they will meet. The pretrained one sees 3D of the
procedural motion alone, joints and frames hidden, and of the CMU recordings simulated detections and nothing else.
"""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path

import torch

import mocap3d
from mocap3d.evaluation.protocol import ROOT_DEPTH
from mocap3d.training.pretraining import pretrain
from mocap3d.weights import SHIPPED, save_weights

STEPS, CHANNELS, DROPOUT, WIDTHS = 6000, 256, 0.125, (3, 3, 3, 3)
RECIPE = dataclasses.replace(
    mocap3d.RECIPES["quick_temporal"],
    name="shipped",
    learning_rate=5e-3,
    minutes=None,
    steps=STEPS,
    detector="cpn",
    source="ours: scripts/train_shipped.py",
)
PRETRAINING = dataclasses.replace(
    mocap3d.RECIPES["quick_clips"],
    name="shipped_pretraining",
    minutes=None,
    steps=3300,
    batch_size=4,
    mask_joints=0.05,
    mask_frames=0.1,
    detector="sh",
    source="ours: scripts/train_shipped.py",
)
LICENCE = (
    "Apache-2.0. Trained on CMU motion, free for all uses: the data used in this project was obtained from "
    "mocap.cs.cmu.edu; the database was created with funding from NSF EIA-0196217"
)


def cmu_clips(real: mocap3d.PoseDataset) -> list[mocap3d.Clip]:
    """The training clips whose licence lets weights be passed on."""
    return [clip for clip in real.train if clip.source.startswith("cmu")]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kind", choices=SHIPPED)
    parser.add_argument("--out", type=Path, help="folder of the run, to go on after an interruption")
    arguments = parser.parse_args()
    real, synthetic = mocap3d.load_dataset("open-mocap"), mocap3d.load_dataset("synthetic")
    torch.manual_seed(0)
    if arguments.kind == "pretrained":
        model = mocap3d.create_model("motionbert_tiny")
        video = cmu_clips(real.with_detections("sh", seed=0))
        pretrain(model, synthetic.train, video, PRETRAINING, keep="last", out=arguments.out)
        publish(model, arguments.kind, real, synthetic)
        return
    train = [*synthetic.train, *cmu_clips(real)]
    model = mocap3d.create_model(
        "videopose3d", filter_widths=WIDTHS, channels=CHANNELS, dropout=DROPOUT, causal=arguments.kind == "causal"
    )
    mocap3d.fit(model, train, RECIPE, keep="last", out=arguments.out)
    publish(model, arguments.kind, real, synthetic)


def publish(model: torch.nn.Module, kind: str, real: mocap3d.PoseDataset, synthetic: mocap3d.PoseDataset) -> None:
    """Measure the model on the clips held out, and write it with its card into the package."""
    results = {}
    for pose2d, test in (("true 2D", real.test), ("simulated CPN-like 2D", real.with_detections("cpn", seed=0).test)):
        report = mocap3d.evaluate(model, test, "open-mocap")
        print(report)
        results[pose2d] = {
            source: f"{row['mpjpe_mm']:.1f} mm MPJPE, {row['mpjve_mm']:.1f} mm/frame MPJVE"
            for source, row in report.by_source.items()
        }
    cmu, pretrained = cmu_clips(real), kind == "pretrained"
    card = {
        "fps": 50,
        "training_data": f"mocap3d synthetic train split ({len(synthetic.train)} clips) and "
        f"{'simulated detections, without any 3D, of ' * pretrained}open-mocap's CMU train "
        f"clips ({len(cmu)}: {', '.join(sorted({clip.source for clip in cmu}))}), simulated cameras",
        "recipe": PRETRAINING if pretrained else RECIPE,
        "protocol": "open-mocap" + f"; {ROOT_DEPTH}" * pretrained,
        "results": results,
        "licence": LICENCE,
        "limits": "trained on few people and actions: for trying things out, not for measuring people",
    }
    print(save_weights(model, SHIPPED[kind], card))


if __name__ == "__main__":
    main()
