"""Checks of the exercises of notebook 02; each returns what is wrong, or None."""

from __future__ import annotations

import numpy as np

from mocap3d import metrics
from mocap3d.course.check import near

TURN = np.array([[0.0, 1, 0], [-1, 0, 0], [0, 0, 1]])  # a quarter, about the third axis


def on_paper(answer: object) -> str | None:
    """(MPJPE, N-MPJPE) in mm of seven joints 1 m from the origin, the last predicted three times too far out."""
    mpjpe_mm, n_mpjpe_mm = answer
    truth = np.tile([0.0, 0.0, 1.0], (7, 1))  # the directions do not matter
    guess = np.concatenate([truth[:6], 3 * truth[6:]])
    wrong = near(mpjpe_mm, 1000 * metrics.mpjpe(guess, truth), 0.8, "mm MPJPE")
    return wrong or near(n_mpjpe_mm, 1000 * metrics.n_mpjpe(guess, truth), 0.8, "mm N-MPJPE")


def per_clip(answer: object) -> str | None:
    """clip_error(prediction, truth), (T, J, 3) metres each -> mean error in metres after one alignment of the clip."""
    truth, shifts = np.split(np.random.default_rng(0).normal(size=(40, 17, 3)), 2)  # (T=20, J, 3) each
    guesses = {
        "a clip turned, doubled and moved as a whole": 2 * truth @ TURN + [3, 0, -1],
        "a clip whose frames are shifted one by one": truth + shifts[:, :1],
        "a clip whose second half is turned": np.concatenate([truth[:10], truth[10:] @ TURN]),
        "a mirrored clip": truth * [1, 1, -1],
    }
    for what, guess in guesses.items():
        expected = metrics.p_mpjpe(guess.reshape(-1, 3), truth.reshape(-1, 3))
        if wrong := near(float(answer(guess.copy(), truth.copy())), expected, 1e-6, f"metres, for {what}"):
            return wrong
    return None


def with_missing(answer: object) -> str | None:
    """align(prediction, truth), (J, 3) each -> (J, 3) aligned by the joints that the truth has."""
    truth, guess = np.random.default_rng(0).normal(size=(2, 17, 3))
    for missing in ([], [3], [0, 5, 9]):
        known = truth.copy()
        known[missing] = np.nan
        for mirrored in ([1, 1, 1], [1, 1, -1]):
            aligned, case = answer(guess * mirrored, known.copy()), f"with {len(missing)} joints missing"
            if np.shape(aligned) != (17, 3):
                return f"{case}, the answer has shape {np.shape(aligned)}; give the aligned joints, (17, 3)"
            if not np.isfinite(aligned).all():
                return f"{case}, the answer is not finite: where does the truth's NaN enter?"
            if (gap := abs(aligned - metrics.procrustes_align(guess * mirrored, known)).max()) > 1e-6:
                return f"{case}, it is up to {gap:.2g} m from the best rotation, scale and translation"
    return None


CHECKS = {"1": on_paper, "3": per_clip, "4": with_missing}
