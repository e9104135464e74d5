"""What a reader has to open: files and lines of functions that training, evaluation and lifting enter.

    python benchmarks/reading_cost.py

Each task runs once under a profiler; a function counts with all its lines, docstring included, once it was entered.
Data set and model are built before measuring. Training is a short run of VideoPose3D with validation that crosses one
epoch boundary and writes a checkpoint at each entry of its history; evaluation includes the printed report; lifting
includes the figure. Ground-floor modules and sealed rooms, which nobody has to open, are not counted as files.
"""

from __future__ import annotations

import ast
import io
import sys
import tempfile
import tokenize
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import FrameType

import torch

import mocap3d

PACKAGE = Path(mocap3d.__file__).parent
DOOR = str(PACKAGE / "arguments.py")
GROUND = ("skeleton", "camera", "poses", "missing", "inversions", "metrics", "files", "device", "arguments")
SEALED = ("data/synthetic/", "models/cpu.py", "formats/check_keypoints.py", "figures/player/",
          "bench/open_benchmark.py", "exercises/")  # fmt: skip


@dataclass(frozen=True)
class Cost:
    """What one task enters: path within the package -> the lines of functions entered there."""

    functions: dict[str, set[int]]

    @property
    def files(self) -> tuple[str, ...]:
        """Those that a reader has to open."""
        ground = {f"{name}.py" for name in GROUND}
        return tuple(path for path in self.functions if path not in ground and not path.startswith(SEALED))

    @property
    def lines(self) -> int:
        """Of all functions entered, ground floor and sealed rooms included."""
        return sum(map(len, self.functions.values()))


def cost(task: Callable[[], object]) -> Cost:
    """Run a task and note every function of the package that it enters."""
    entered = set()

    def note(frame, event: str, _) -> None:
        if event == "call" and frame.f_code.co_filename.startswith(str(PACKAGE)) and not _at_the_door(frame):
            entered.add((frame.f_code.co_filename, frame.f_code.co_firstlineno))

    sys.setprofile(note)
    try:
        with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
            task()
    finally:
        sys.setprofile(None)
    functions: dict[str, set[int]] = {}
    for file, line in sorted(entered):
        # comprehensions, lambdas and functions within functions are lines of the function around them
        lines = _functions(file).get(line, ())
        functions.setdefault(Path(file).relative_to(PACKAGE).as_posix(), set()).update(lines)
    return Cost({path: lines for path, lines in functions.items() if lines})


def _at_the_door(frame: FrameType | None) -> bool:
    """Whether arguments are being checked: that computes nothing, so nobody has to read what it enters."""
    while frame is not None and frame.f_code.co_filename != DOOR:
        frame = frame.f_back
    return frame is not None


@cache
def _functions(file: str) -> dict[int, range]:
    """First line, decorators included -> lines from `def` to the end, of every function in a file."""
    found = {}
    for node in ast.walk(ast.parse(Path(file).read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef):
            first = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
            found[first] = range(node.lineno, node.end_lineno + 1)
    return found


def code_lines(path: Path) -> int:
    """Lines of code in a file: docstrings, comments and blank lines do not count."""
    text = path.read_text(encoding="utf-8")
    documented = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)) and ast.get_docstring(node) is not None:
            documented |= set(range(node.body[0].lineno, node.body[0].end_lineno + 1))
    quiet = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER}
    lines = set()
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type not in quiet:
            lines |= set(range(token.start[0], token.end[0] + 1))
    return len(lines - documented)


def house() -> dict[str, int]:
    """Path within the package -> lines of code."""
    return {path.relative_to(PACKAGE).as_posix(): code_lines(path) for path in sorted(PACKAGE.rglob("*.py"))}


def tasks() -> dict[str, Callable[[], object]]:
    """What is measured; the data set and the model are made here."""
    dataset = mocap3d.load_dataset("synthetic", subjects=("S1", "S9"), actions=("Walking",))
    train, test = dataset.train, dataset.test
    torch.manual_seed(0)
    model = mocap3d.create_model("videopose3d_27", channels=8)
    pose2d, truth = test[0].pose2d, test[0].pose3d.root_relative()
    recipe = mocap3d.Recipe("reading", batch_size=train.frames // 4, steps=6, loss="mpjpe")

    def training() -> object:
        with tempfile.TemporaryDirectory() as out:
            return mocap3d.fit(model, train, recipe, test, device="cpu", out=out)

    return {
        "train": training,
        "evaluate": lambda: str(mocap3d.evaluate(model, test, "videopose3d")),
        "lift and show": lambda: mocap3d.show(mocap3d.lift(pose2d, model), truth),
    }


def main() -> None:
    """Print the costs, and the size of the house."""
    for name, task in tasks().items():
        found = cost(task)
        print(f"{name}: {len(found.files)} files, {found.lines} lines of functions entered")
        for path, lines in found.functions.items():
            note = "" if path in found.files else "  (not counted as a file)"
            print(f"    {len(lines):4}  {path}{note}")
    sizes = house()
    sealed = sum(lines for path, lines in sizes.items() if path.startswith(SEALED))
    print(f"{sum(sizes.values()):,} lines of code in {len(sizes)} files, {sealed:,} of them in sealed rooms")
    for path, lines in sorted(sizes.items(), key=lambda item: -item[1])[:8]:
        print(f"    {lines:4}  {path}")


if __name__ == "__main__":
    main()
