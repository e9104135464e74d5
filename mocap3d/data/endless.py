"""Batches without end, for training objectives that draw from a second data set beside the recipe's own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import count

from mocap3d.data.windows import Batch, DeviceDataset, batches, steps_in_epoch


def endless_batches(data: DeviceDataset, batch_size: int, first: int = 0, **options: object) -> Iterator[Batch]:
    """What the steps `first` (from 0), first + 1, ... see, epoch after epoch without end.

    Args:
        data, batch_size, options: same as in `batches`.
        first: as if the earlier ones had been drawn; nothing but seed and number decides what a step sees.
    """
    chunks = options.get("chunks")
    per_pass = steps_in_epoch(len(data) if chunks is None else len(chunks), batch_size)
    for number in count(first // per_pass):
        yield from batches(data, batch_size, epoch=number + 1, first=max(first - number * per_pass, 0), **options)


class InStep:
    """An endless iterator to be asked for step after step; asked for another, it starts anew there.

    Args:
        make: gives the iterator that begins with a step, counted from 0.
    """

    def __init__(self, make: Callable[[int], Iterator]) -> None:
        self.make, self.batches, self.next = make, iter(()), None

    def at(self, step: int) -> object:
        """What step `step`, counted from 0, sees."""
        if step != self.next:
            self.batches = self.make(step)
        self.next = step + 1
        return next(self.batches)
