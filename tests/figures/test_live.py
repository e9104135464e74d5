"""The live plot: one figure that a saved notebook keeps, or lines of text."""

from __future__ import annotations

import sys
from pathlib import Path

import nbclient
import nbformat

from mocap3d.figures.live import live_history

ROOT = Path(__file__).parents[2]
ENTRIES = [
    {
        "epoch": k,
        "step": 10 * k,
        "total_steps": 30,
        "train_loss": 1 / k,
        "validation_mpjpe_mm": 100.0 - k if k != 2 else None,
        "seconds": 50.0 * k,
    }
    for k in (1, 2, 3)
]


def test_without_a_notebook_it_is_text(capsys):
    draw = live_history()
    for entry in ENTRIES:
        draw(entry)
    assert capsys.readouterr().out.splitlines() == [
        "epoch 1, step 10 of 30: loss 1.00000, validation 99.0 mm MPJPE, 01:40 left",
        "epoch 2, step 20 of 30: loss 0.50000, 00:50 left",
        "epoch 3, step 30 of 30: loss 0.33333, validation 97.0 mm MPJPE, took 02:30",
    ]


def test_in_a_notebook_one_plain_figure_is_left():
    """Executed without a browser, and interrupted."""
    source = f"""
from mocap3d.figures.live import live_history
draw = live_history(title="so far")
for entry in {ENTRIES}:
    draw(entry)
"""
    cells = [nbformat.v4.new_code_cell(text) for text in (source, source + "raise KeyboardInterrupt")]
    book = nbformat.v4.new_notebook(cells=cells)
    nbclient.NotebookClient(book, allow_errors=True, resources={"metadata": {"path": str(ROOT)}}).execute()
    for cell, expected in zip(book.cells, (["display_data"], ["display_data", "error"]), strict=True):
        outputs = [output for output in cell.outputs if output.output_type != "stream"]
        assert [output.output_type for output in outputs] == expected
        data = outputs[0].data
        assert "epoch 3" in data["text/plain"] and "widget" not in str(list(data))
        title = data["application/vnd.plotly.v1+json"]["layout"]["title"]["text"]
        assert "so far  ·  took 02:30" in title and "97.0 mm at epoch 3" in title


def test_a_cell_that_trains_several_networks_has_one_line(capsys):
    source = f"""
from mocap3d.figures.live import live_history
draw = live_history(runs=3)
for entry in {ENTRIES} + {ENTRIES[:2]}:
    draw(entry)
"""
    book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source)])
    nbclient.NotebookClient(book, resources={"metadata": {"path": str(ROOT)}}).execute()
    (output,) = book.cells[0].outputs
    # 150 s for the first run and 100 of the second, 1 2/3 of 3 runs: 200 s to go
    line = "run 2 of 3: epoch 2, step 20 of 30: loss 0.50000, 00:50 left, about 03:20 for all"
    assert dict(output.data) == {"text/plain": line}
    draw = live_history(runs=1)
    draw(ENTRIES[2])
    assert capsys.readouterr().out.startswith("run 1 of 1: epoch 3")


def test_another_run_begins_another_figure(monkeypatch):
    shown = []

    class Handle:
        def update(self, bundle, raw):
            shown[-1] = bundle["text/plain"]

    def display(bundle, raw, display_id):
        shown.append(bundle["text/plain"])
        return Handle()

    monkeypatch.setattr(sys.modules["mocap3d.figures.live"], "_in_notebook", lambda: True)
    monkeypatch.setattr("IPython.display.display", display)
    draw = live_history()
    for entry in [*ENTRIES, *ENTRIES[:2]]:
        draw(entry)
    assert len(shown) == 2 and "epoch 3" in shown[0] and "epoch 2" in shown[1]
