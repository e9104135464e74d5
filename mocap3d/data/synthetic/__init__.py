"""Procedural motion: the embedded default data set, without files, the same bits for the same seed.

Seven subjects named as in Human3.6M (train S1 S5 S6 S7 S8, test S9 S11), its fifteen action names (`ACTIONS`), 50 fps,
the four cameras of each subject. Nine further actions are made on request: `make_synthetic(actions="wide")`, or by
name: SittingAtDesk, SittingOnFloor, Balancing, Reaching, Lunging, Squatting, Crawling, LyingDown, TurningBent.

Bodies have anthropometric bone lengths and joint limits (`body`, `limbs`). The fifteen actions are recipes (`actions`)
made of gait on published joint-angle curves (`gait`), postures (`postures`) joined by steps and jumps (`stance`), and
minimum-jerk reaching (`reach`). The nine (`wide`) are scripts of whole-body keyframes (`keyframes`, `upright`,
`seated`), balanced over the feet where these carry the body, and a crawling gait (`crawl`).

What it can stand for: the geometry of lifting. Bones of constant length, joints within their limits, feet that stay
where they are planted, every heading, the capture area, the cameras and their lenses, coordinates and units, left and
right. Code, notebooks and tests run on it; a lifter trained on it alone lifts real motion to a useful degree.

What it cannot stand for: people. Nobody was recorded. There is no dynamics: momentum and effort are only suggested,
balance is that of a body at rest, arms may pass through legs or each other, shoulders and spines are simplified, feet
have no toes, and habits, fine timing and the link between what hands do and what the rest does are missing. Actions are
caricatures of their names: an error "on Phoning" says nothing about real phoning. The poses are drawn broadly, with
more lunges, jumps and stretched arms than Human3.6M has, so that motion outside offices is covered. Numbers measured on
it are not comparable with numbers on Human3.6M, and a method that wins here must be shown to win on real motion.
"""

from mocap3d.data.synthetic.actions import ACTIONS
from mocap3d.data.synthetic.recordings import make_synthetic, synthesize

__all__ = ["ACTIONS", "make_synthetic", "synthesize"]
