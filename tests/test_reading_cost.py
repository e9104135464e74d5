"""How much a reader has to open, and how large the house is: the numbers of benchmarks/reading_cost.py are kept."""

from __future__ import annotations

from benchmarks import reading_cost

FILES = {"train": 8, "evaluate": 6, "lift and show": 9}
LINES_OF_TRAINING = 1000
LINES_OF_A_FILE, OF_THE_LOOP, OF_THE_HOUSE = 300, 250, 16_775


def test_what_tasks_enter(monkeypatch):
    monkeypatch.setattr("mocap3d.models.cpu.MIN_ROWS", 10**9)  # else the processor decides what is entered there
    costs = {name: reading_cost.cost(task) for name, task in reading_cost.tasks().items()}
    for name, most in FILES.items():
        assert len(costs[name].files) <= most, f"{name}: {', '.join(costs[name].files)}"
    assert costs["train"].lines <= LINES_OF_TRAINING
    assert "training/fit.py" in costs["train"].files and "training/checkpoint.py" in costs["train"].files
    entered = {file for cost in costs.values() for file in cost.functions}
    assert "training/distributed.py" not in entered


def test_the_house_stays_small():
    sizes = reading_cost.house()
    assert not {path: lines for path, lines in sizes.items() if lines > LINES_OF_A_FILE}
    assert len([path for path, lines in sizes.items() if lines > OF_THE_LOOP]) <= 5
    assert sizes["training/fit.py"] <= OF_THE_LOOP
    assert sum(sizes.values()) <= OF_THE_HOUSE
