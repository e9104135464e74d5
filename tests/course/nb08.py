"""Right and wrong answers to the exercises of notebook 08."""

import numpy as np


def both(errors, actions):
    return errors.mean(), np.mean([errors[actions == action].mean() for action in np.unique(actions)])


ANSWERS = {
    "08.1": ([16_933_888, 16.9e6], [17.77e6, 176.3e6, 16.9, "16.9 million", None, True]),
    "08.2": (
        [both],
        [
            lambda errors, actions: (errors.mean(), errors.mean()),
            lambda errors, actions: both(errors, actions)[::-1],
            lambda errors, actions: errors.mean(),
            None,
            lambda errors: both(errors, errors),
        ],
    ),
}
