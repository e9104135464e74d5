"""The moving image at the top of the README: a walk made by the library, lifted from one camera, beside the truth.

python scripts/readme_image.py [docs/images/walk.gif]
"""

import sys
from pathlib import Path

import mocap3d

ROOT = Path(__file__).resolve().parent.parent


def main() -> None:
    """Make the motion, lift it with the network inside the package, and write the image."""
    walk = mocap3d.synthesize("S9", "Walking", seconds=3)
    camera = mocap3d.h36m_cameras("S9")[0]
    lifted = mocap3d.lift(walk.project(camera), mocap3d.load_shipped())
    bodies = {"lifted from the 2D of one camera": lifted, "truth": walk.in_camera(camera)}
    path = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "docs" / "images" / "walk.gif"
    path.parent.mkdir(exist_ok=True)
    mocap3d.show(bodies, title="A walk, from pixels to 3D").save(path)
    print(f"{path.name}: {path.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
