"""The cache: the same result or none, whatever happened to the file."""

import json
import os

import numpy as np
import pytest

from mocap3d.data import cache
from mocap3d.data.cache import LABELS, cached

LABEL = dict.fromkeys(sorted(LABELS), "a") | {"frames": 1}


@pytest.fixture
def build():
    calls = []

    def make():
        calls.append(1)
        return np.arange(6, dtype=np.float32).reshape(1, 2, 3), [LABEL.copy()], ["a note"]

    make.calls = calls
    return make


def same(result):
    points, pieces, notes = result
    return points.tolist() == [[[0, 1, 2], [3, 4, 5]]] and pieces == [LABEL] and notes == ["a note"]


def test_second_call_reads_and_another_key_builds(build, tmp_path):
    assert same(cached("x", [1], build, tmp_path)) and same(cached("x", [1], build, tmp_path))
    assert len(build.calls) == 1
    assert same(cached("x", [2], build, tmp_path)) and len(build.calls) == 2
    assert not [name for name in os.listdir(tmp_path) if not name.endswith(".npz")]


@pytest.mark.parametrize("damage", ["truncate", "flip", "empty", "text", "swap"])
def test_a_damaged_file_is_built_again(build, tmp_path, damage):
    cached("x", [1], build, tmp_path)
    (path,) = tmp_path.iterdir()
    whole = path.read_bytes()
    if damage == "swap":  # a whole, valid file whose numbers are not those that were checksummed
        with np.load(path) as file:
            content = {key: file[key] for key in file.files}
        content["points"] = content["points"] + 1
        np.savez(path, **content)
    else:
        spot = whole.index(np.float32(3).tobytes())
        path.write_bytes(
            {
                "truncate": whole[: len(whole) // 2],
                "empty": b"",
                "text": b"not a zip",
                "flip": whole[:spot] + b"\xff" + whole[spot + 1 :],
            }[damage]
        )
    assert same(cached("x", [1], build, tmp_path)) and len(build.calls) == 2
    assert same(cached("x", [1], build, tmp_path)) and len(build.calls) == 2


@pytest.mark.parametrize(
    "wrong",
    [
        {"points": np.zeros((1, 2, 3))},
        {"points": np.zeros((1, 6), np.float32)},
        {"points": np.full((1, 2, 3), np.nan, np.float32)},
        {"pieces": [LABEL | {"frames": 2}]},
        {"pieces": [LABEL | {"take": 3}]},
        {"pieces": [{"frames": 1}]},
        {"pieces": "a"},
        {"pieces": None},
        {"notes": [1]},
    ],
    ids=lambda wrong: next(iter(wrong)),
)
def test_something_else_with_a_right_checksum_is_built_again(build, tmp_path, wrong):
    cached("x", [1], build, tmp_path)
    (path,) = tmp_path.iterdir()
    points, pieces, notes = (
        {"points": np.zeros((1, 2, 3), np.float32), "pieces": [LABEL], "notes": []} | wrong
    ).values()
    text = json.dumps({"pieces": pieces, "notes": notes})
    cache._write(path, points, text)
    assert same(cached("x", [1], build, tmp_path)) and len(build.calls) == 2


def test_files_of_earlier_versions_are_still_read(build, tmp_path):
    """Their checksum is a keyed BLAKE2; it is still compared, not waved through."""
    cached("x", [1], build, tmp_path)
    (path,) = tmp_path.iterdir()
    with np.load(path) as file:
        content = {key: file[key] for key in file.files}
    np.savez(path, **content | {"checksum": np.array("d7cf868096ced723d3c03b1a7b974bff")})
    assert same(cached("x", [1], build, tmp_path)) and len(build.calls) == 1
    np.savez(path, **content | {"checksum": np.array("d7cf868096ced723d3c03b1a7b974bf0")})
    assert same(cached("x", [1], build, tmp_path)) and len(build.calls) == 2


def test_a_folder_that_cannot_be_written_costs_only_time(build, tmp_path, capsys):
    blocked = tmp_path / "file"
    blocked.write_text("in the way")
    assert same(cached("x", [1], build, blocked / "cache"))
    assert "MOCAP3D_CACHE" in capsys.readouterr().out
