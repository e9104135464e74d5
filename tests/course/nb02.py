"""Right and wrong answers to the exercises of notebook 02."""

import numpy as np


def procrustes(prediction, truth, weights=None, mirror=False, rigid=False):
    known = np.isfinite(truth).all(-1, keepdims=True)
    w = known if weights is None else weights  # (J, 1)
    t = np.where(known, truth, 0)
    centre_p, centre_t = (w * prediction).sum(0) / w.sum(), (w * t).sum(0) / w.sum()
    p, t = w * (prediction - centre_p), w * (t - centre_t)
    u, s, vt = np.linalg.svd(p.T @ t)
    d = np.ones(3)
    if not mirror:
        d[2] = np.sign(np.linalg.det(u @ vt))
    scale = 1 if rigid else (s * d).sum() / (p**2).sum()
    return scale * (prediction - centre_p) @ (u * d) @ vt + centre_t


def mean(prediction, truth):
    return np.linalg.norm(prediction - truth, axis=-1).mean()


def clip_error(prediction, truth, **options):
    prediction, truth = prediction.reshape(-1, 3), truth.reshape(-1, 3)
    return mean(procrustes(prediction, truth, **options), truth)


def frame_by_frame(prediction, truth):
    return np.mean([clip_error(a, b) for a, b in zip(prediction, truth, strict=True)])


def every_joint(prediction, truth):
    return procrustes(prediction, truth, np.ones((17, 1)))


def missing_kept(prediction, truth):
    return np.where(np.isfinite(truth), procrustes(prediction, truth), np.nan)


def flawed(**options):
    return lambda prediction, truth: procrustes(prediction, truth, **options)


ANSWERS = {
    "02.1": ([(285.7, 457.1), (286, 457)], [(457, 286), (0.286, 0.457), (286, 286), 286, None, ("286", "457")]),
    "02.3": (
        [clip_error],
        [
            mean,
            frame_by_frame,
            lambda a, b: clip_error(a, b, mirror=True),
            lambda a, b: clip_error(a, b, rigid=True),
            lambda a, b: 1000 * clip_error(a, b),
            lambda a, b: None,
            None,
            0.1,
        ],
    ),
    "02.4": (
        [procrustes],
        [every_joint, missing_kept, flawed(mirror=True), flawed(rigid=True), lambda a, b: (a, b), lambda a, b: a[0], 3],
    ),
}
