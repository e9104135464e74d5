"""Right and wrong answers to the exercises of notebook 00."""

import numpy as np


def pck(prediction, truth, limit=0.150, root=slice(0, 1)):
    away = (prediction - prediction[:, root]) - (truth - truth[:, root])
    return 100 * (np.linalg.norm(away, axis=-1) < limit).mean()


def as_a_share(prediction, truth):
    return pck(prediction, truth) / 100


def where_they_stand(prediction, truth):
    return 100 * (np.linalg.norm(prediction - truth, axis=-1) < 0.150).mean()


def of_whole_frames(prediction, truth):
    error = np.linalg.norm(prediction - prediction[:, :1] - truth + truth[:, :1], axis=-1)
    return 100 * (error.mean(1) < 0.150).mean()


ANSWERS = {
    "00.1": ([3400, 3400.0, np.int64(200 * 17)], [17, 200, 6800, 10_200, "3400", None, [200, 17]]),
    "00.3": ([4.0, 4, np.float32(4.0)], [3.8, 3.9, 4.1, 4.2, "4", None, float("nan")]),
    "00.4": (
        [pck, lambda prediction, truth: float(pck(prediction, truth))],
        [
            as_a_share,
            where_they_stand,
            of_whole_frames,
            lambda prediction, truth: pck(prediction, truth, limit=150),
            lambda prediction, truth: pck(prediction, truth, root=slice(1, 2)),
            lambda prediction, truth: pck(prediction, truth) > 50,
            lambda prediction: 100,
            79.0,
            None,
        ],
    ),
}
