"""The cache: the same result or none, whatever happened to the file."""

import os

import numpy as np
import pytest

from mocap3d.data.cache import cached


@pytest.fixture
def build():
    calls = []

    def make():
        calls.append(1)
        return np.arange(6, dtype=np.float32).reshape(1, 2, 3), [{"take": "a"}], ["a note"]

    make.calls = calls
    return make


def same(result):
    points, pieces, notes = result
    return points.tolist() == [[[0, 1, 2], [3, 4, 5]]] and pieces == [{"take": "a"}] and notes == ["a note"]


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


def test_files_of_earlier_versions_are_still_read(build, tmp_path):
    """Their checksum is a keyed BLAKE2; it is still compared, not waved through."""
    cached("x", [1], build, tmp_path)
    (path,) = tmp_path.iterdir()
    with np.load(path) as file:
        content = {key: file[key] for key in file.files}
    np.savez(path, **content | {"checksum": np.array("f78c6c5d4e9ea2ba02b2d23e12f4b91d")})
    assert same(cached("x", [1], build, tmp_path)) and len(build.calls) == 1
    np.savez(path, **content | {"checksum": np.array("f78c6c5d4e9ea2ba02b2d23e12f4b91e")})
    assert same(cached("x", [1], build, tmp_path)) and len(build.calls) == 2


def test_a_folder_that_cannot_be_written_costs_only_time(build, tmp_path, capsys):
    blocked = tmp_path / "file"
    blocked.write_text("in the way")
    assert same(cached("x", [1], build, blocked / "cache"))
    assert "MOCAP3D_CACHE" in capsys.readouterr().out
