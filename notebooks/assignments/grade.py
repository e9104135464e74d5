"""Grade assignments: run each notebook in a process of its own, check its answers, and write a table of marks.

    python notebooks/assignments/grade.py SUBMISSIONS --only 1 --out marks_1.csv

SUBMISSIONS holds <student>/<notebook>.ipynb, or <any name>/<student>/<notebook>.ipynb, as zips and platforms unpack.
Give --course as to make.py.

A notebook's cells are run from top to bottom, a failing one does not stop the others; then the answers are looked up by
name and checked one by one. Checks are those of this folder: a submission's own checks.py is not read, and noted if it
was edited. Every notebook has --seconds of processor time, a quarter of it for each cell and each check, three times as
long by the clock, and --memory on top of what the libraries take (on Linux; elsewhere time alone ends it). What was
earned before a notebook is stopped counts.

This survives mistakes: wrong results, crashes, endless loops, too much memory. It does NOT isolate hostile code, which
runs as you, reads your files, and can write its own marks. For people you do not trust, run it in a container without a
network, which sees nothing but the submissions (docs/TEACHING.md has the command), and read what earns full marks.
"""

from __future__ import annotations

import argparse
import csv
import importlib.util
import json
import math
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import checks
import nbformat

HERE = Path(__file__).resolve().parent
TIME, MEMORY, FILES = 120, 2000, 100  # seconds; MB; MB a file
IMPORTS = 600  # seconds by the clock that importing the libraries may take on a busy machine


class OutOfTime(BaseException):  # so that `except Exception` in a submission does not catch it
    pass


@contextmanager
def at_most(seconds: float) -> Iterator[None]:
    """Raise OutOfTime in the code within after so much processor time, where the system has an alarm for it."""

    def ring(*_: object) -> None:
        raise OutOfTime

    if not hasattr(signal, "setitimer"):
        yield
        return
    signal.signal(signal.SIGPROF, ring)
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)


def limit(seconds: int, memory: int) -> None:
    """Limit this process: processor time in seconds, memory in MB beyond what it has, and the size of files."""
    try:
        import resource
    except ImportError:  # Windows
        return
    end = math.ceil(time.process_time()) + seconds
    resource.setrlimit(resource.RLIMIT_CPU, (end, end + 5))
    resource.setrlimit(resource.RLIMIT_FSIZE, (FILES * 2**20,) * 2)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    pages = Path("/proc/self/statm")
    if pages.exists():
        most = int(pages.read_text().split()[0]) * resource.getpagesize() + memory * 2**20
        resource.setrlimit(resource.RLIMIT_AS, (most, most))


def work(notebook: Path, number: int, seed: int, seconds: int, memory: int, out: Path) -> None:
    """In a process of its own: run a notebook and write a line of JSON for each note and each checked answer."""
    from IPython.core.interactiveshell import InteractiveShell

    spec = importlib.util.spec_from_file_location("own_checks", HERE / "checks.py")
    own = importlib.util.module_from_spec(spec)  # not the one that the notebook imports, and may change
    spec.loader.exec_module(own)

    def report(**line: object) -> None:
        with out.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")

    try:
        cells = [cell.source for cell in nbformat.read(notebook, as_version=4).cells if cell.cell_type == "code"]
    except Exception as error:  # nbformat raises errors of many kinds
        return report(note=f"no notebook can be read from it: {type(error).__name__}")
    task, checks.quiet = own.TASKS[number](seed), True
    given = vars(checks) | checks.CHECKS
    shell = InteractiveShell()
    limit(seconds, memory)
    out.touch()  # the clock starts: importing the libraries is nobody's fault
    for i, source in enumerate(cells, 1):
        try:
            with at_most(seconds / 4):
                result = shell.run_cell(source)
            if isinstance(problem := result.error_in_exec or result.error_before_exec, OutOfTime):
                report(note=f"code cell {i} ran for more than {seconds / 4:g} s")
            elif problem:
                report(note=f"code cell {i} raised {type(problem).__name__}")
        except (OutOfTime, SystemExit):
            report(note=f"code cell {i} was stopped")
    names = shell.user_ns
    if names.get("SEED") != seed:
        report(note="SEED was changed, or belongs to another name or --course")
    if vars(checks) | checks.CHECKS != given or getattr(names.get("check"), "__module__", None) != "checks":
        report(note="the checks were changed while it ran: not used")
    for part, (name, points, _) in own.CHECKS.items():
        if part.startswith(str(number)):
            try:
                with at_most(seconds / 4):
                    wrong = own.judge(part, names.get(name, ...), task)
            except (OutOfTime, SystemExit):
                wrong = f"it took more than {seconds / 4:g} s, or left"
            report(part=part, points=points if wrong is None else 0, wrong=wrong)


def grade(
    folder: Path, number: int, course: str = "", seconds: int = TIME, memory: int = MEMORY, clock: float = 3
) -> dict[str, object]:
    """One notebook of one student: points of each part, and notes.

    Args:
        seconds: of processor time. memory: MB. clock: how many times as long it may take by the clock.
    """
    notebook, parts = folder / checks.NOTEBOOKS[number], [part for part in checks.CHECKS if part[0] == str(number)]
    marks, notes = dict.fromkeys(parts, 0), []
    if not notebook.exists():
        return {"marks": marks, "notes": [f"{notebook.name}: not handed in"]}
    with tempfile.TemporaryDirectory() as scratch:  # where the submission runs: it finds no file of its own there
        out = Path(scratch) / "report.jsonl"
        command = [sys.executable, str(HERE / "grade.py"), "--work", str(notebook.resolve()), str(out), str(number)]
        command += [str(checks.seed_of(folder.name, course)), str(seconds), str(memory)]
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"}
        environment |= {"IPYTHONDIR": scratch, "HOME": scratch, "PYTHONDONTWRITEBYTECODE": "1"}
        quiet = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        process = subprocess.Popen(command, cwd=scratch, env=environment, start_new_session=True, **quiet)
        last = time.monotonic() + IMPORTS
        while (status := process.poll()) is None and time.monotonic() < last:
            last = min(last, time.monotonic() + clock * seconds) if out.exists() else last
            time.sleep(0.1)
        stop(process)
        if status is None:
            notes.append(f"{notebook.name}: stopped, it ran for more than {clock * seconds:g} s")
        elif status:
            notes.append(f"{notebook.name}: its process ended with status {status}")
        lines = out.read_text(encoding="utf-8", errors="replace").split("\n")[:-1] if out.exists() else []
    for line in map(json.loads, lines):  # the last one may have been cut off
        if "note" in line:
            notes.append(f"{notebook.name}: {line['note']}")
        else:
            marks[line["part"]] = line["points"]
            parts.remove(line["part"])
            notes += [f"{line['part']}: {line['wrong']}"] if line["wrong"] else []
    return {"marks": marks, "notes": notes + [f"{part}: the notebook ended before it was checked" for part in parts]}


def stop(process: subprocess.Popen) -> None:
    """End a process and what it started."""
    try:
        os.killpg(process.pid, signal.SIGKILL) if hasattr(os, "killpg") else process.kill()
    except ProcessLookupError:
        pass
    process.wait()


def folders(folder: Path) -> list[Path]:
    """Those inside, but for hidden ones and what macOS adds."""
    return sorted(path for path in folder.iterdir() if path.is_dir() and path.name[0] not in "._")


def handed_in(submissions: Path) -> list[Path]:
    """The students' folders: where one holds no notebook, but a single folder, it is the folder inside."""
    found = []
    for folder in folders(submissions):
        inside = [] if list(folder.glob("*.ipynb")) else folders(folder)
        found += inside if len(inside) == 1 else [folder]
    return found


def grade_all(
    submissions: Path, course: str = "", only: Iterable[int] = checks.NOTEBOOKS, **limits: int
) -> list[dict[str, object]]:
    """A row for each folder of a student: marks by part, total, notes."""
    rows = []
    for folder in handed_in(submissions):
        marks, notes = {}, []
        copy = folder / "checks.py"
        if copy.exists() and copy.read_bytes().split() != (HERE / "checks.py").read_bytes().split():
            notes.append("checks.py was edited, or is of another version: not used")
        for number in only:
            result = grade(folder, number, course, **limits)
            marks |= result["marks"]
            notes += result["notes"]
        rows.append({"student": folder.name, **marks, "total": sum(marks.values()), "notes": "; ".join(notes)})
        print(f"{folder.name}: {rows[-1]['total']} points", flush=True)
    return rows


def main() -> None:
    if sys.argv[1:2] == ["--work"]:
        notebook, out, *numbers = sys.argv[2:]
        number, seed, seconds, memory = map(int, numbers)
        return work(Path(notebook), number, seed, seconds, memory, Path(out))
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("submissions", type=Path, help="folder of students' folders")
    parser.add_argument("--out", type=Path, required=True, help="table to write, .csv")
    parser.add_argument("--course", default="", help="as given to make.py")
    numbers = {"type": int, "nargs": "+", "choices": checks.NOTEBOOKS, "default": [*checks.NOTEBOOKS]}
    parser.add_argument("--only", **numbers, help="numbers of assignments (default: all)")
    parser.add_argument("--seconds", type=int, default=TIME, help=f"of processor time, of a notebook (default {TIME})")
    parser.add_argument("--memory", type=int, default=MEMORY, help=f"of a notebook, MB (default {MEMORY})")
    options = parser.parse_args()
    limits = {"seconds": options.seconds, "memory": options.memory}
    rows = grade_all(options.submissions, options.course, options.only, **limits)
    if not rows:
        sys.exit(f"{options.submissions} holds no folder; it should hold one for each student")
    with options.out.open("w", newline="", encoding="utf-8-sig") as file:  # -sig: spreadsheets then read umlauts
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)


if __name__ == "__main__":
    main()
