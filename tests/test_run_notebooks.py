"""Copies of notebooks at another profile: their times and results, and two steps of every run of the profile "gpu"."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
TRAINING = ("00", "03", "04", "05", "06", "07", "08", "10")  # notebooks that train
MOTION = ("MOCAP3D_DATA", "MOCAP3D_H36M")

# Runs before a notebook: every third clip, two steps of at most 32 windows, and no claims about trained networks.
BEFORE = """
def prepare():
    import ast
    from dataclasses import replace
    import mocap3d
    import mocap3d.training.fit as training

    class WithoutAsserts(ast.NodeTransformer):
        def visit_Assert(self, node):
            return ast.copy_location(ast.Pass(), node)

    get_ipython().ast_transformers.append(WithoutAsserts())
    load, recipe_of, run_of, training.noted = mocap3d.load_dataset, training.get_recipe, training.Run, []

    def fewer_clips(*args, **options):
        dataset = load(*args, **options)
        return mocap3d.thin(dataset, 3) if len(dataset) > 50 else dataset

    def two_steps(recipe):
        recipe = recipe_of(recipe)
        return replace(recipe, epochs=None, minutes=None, steps=2, batch_size=min(recipe.batch_size, 32))

    def noted(model, recipe, history, *rest):
        size = sum(parameter.numel() for parameter in model.parameters())
        training.noted.append((model.name, size, recipe.name, history[-1]["step"], history[-1]["train_loss"]))
        return run_of(model, recipe, history, *rest)

    mocap3d.load_dataset, training.get_recipe, training.Run = fewer_clips, two_steps, noted

prepare()
"""

AFTER = "import json, mocap3d.training.fit; print(json.dumps(mocap3d.training.fit.noted))"


@pytest.mark.extended
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_every_run_of_the_profile_gpu_is_built_and_takes_two_steps(path, monkeypatch):
    for variable in MOTION:
        monkeypatch.delenv(variable, raising=False)
    for name, value in {"MOCAP3D_PROFILE": "gpu", "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}.items():
        monkeypatch.setenv(name, value)
    notebook = nbformat.read(path, as_version=4)
    first, last = (nbformat.v4.new_code_cell(source) for source in (BEFORE, AFTER))
    notebook.cells = [first, *notebook.cells, last]
    NotebookClient(notebook, timeout=900, resources={"metadata": {"path": str(path.parent)}}).execute()
    runs = json.loads(last.outputs[0]["text"])
    assert all(steps == 2 and loss < 1e6 for _, _, _, steps, loss in runs)
    assert bool(runs) == (path.stem[:2] in TRAINING)
    print(*runs, sep="\n")


def test_copies_are_executed_and_recorded(tmp_path):
    good = nbformat.v4.new_notebook()
    good.cells = [
        nbformat.v4.new_markdown_cell("# Size"),
        nbformat.v4.new_code_cell("import os; print(os.environ['MOCAP3D_PROFILE'])\n6 * 7"),
    ]
    bad = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("1 / 0"), nbformat.v4.new_code_cell("3")])
    for name, notebook in {"good": good, "bad": bad}.items():
        nbformat.write(notebook, tmp_path / f"{name}.ipynb")
    before = (tmp_path / "good.ipynb").read_bytes()
    command = [sys.executable, "scripts/run_notebooks.py"]
    names = [str(tmp_path / f"{name}.ipynb") for name in ("bad", "good")]
    done = subprocess.run(
        [*command, "--profile", "gpu", "--out", str(tmp_path / "out"), *names],
        cwd=ROOT, capture_output=True, text=True, env=os.environ | {"PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert done.returncode == 1, done.stderr  # one failed, the other ran
    assert (tmp_path / "good.ipynb").read_bytes() == before
    results = json.loads((tmp_path / "out" / "results.json").read_text())
    assert results["profile"] == "gpu" and results["device"] and results["threads"]
    failed, ran = results["notebooks"]
    assert failed["error"] == "ZeroDivisionError: division by zero" and ran["error"] is None
    (cell,) = ran["cells"]
    assert cell["cell"] == 1 and cell["text"] == "gpu\n42" and 0 <= cell["seconds"] <= ran["seconds"]
    copy = nbformat.read(tmp_path / "out" / "good.ipynb", as_version=4)
    assert copy.cells[1].outputs[0]["text"] == "gpu\n"
    refused = subprocess.run([*command, "--profile", "gpu"], cwd=ROOT, capture_output=True, text=True)
    assert refused.returncode == 2 and "--out DIR" in refused.stderr
