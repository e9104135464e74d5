"""Writing in one step, the checksum that files on disk hold, and quoting from files."""

from __future__ import annotations

import stat

import numpy as np
import pytest

from mocap3d.files import checksum, excerpt, write_whole


def test_a_file_is_there_whole_or_not_at_all(tmp_path):
    path = tmp_path / "new" / "a.txt"
    assert write_whole(path, lambda part: part.write_text("one")) == path and path.read_text() == "one"

    def break_off(part):
        part.write_text("tw")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_whole(path, break_off)
    assert path.read_text() == "one" and list(path.parent.iterdir()) == [path]
    plain = tmp_path / "plain"
    plain.touch()
    assert stat.S_IMODE(path.stat().st_mode) == stat.S_IMODE(plain.stat().st_mode)


def test_the_checksum_is_crc32_whatever_the_parts():
    assert checksum(b"123456789") == 0xCBF43926  # the check value of CRC-32/ISO-HDLC
    array = np.arange(51, dtype=np.float32).reshape(1, 17, 3)
    whole = checksum(array.data)
    assert whole == checksum(array.tobytes()) == checksum(array[:, 5:].copy().data, checksum(array[:, :5].copy().data))
    assert whole == 0xC2EEE52F and checksum(array[:0].data) == 0  # the former is in files on people's disks


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("x", "'x'"),
        ("x" * 40, f"'{'x' * 40}'"),
        ("x" * 41, f"'{'x' * 37}...'"),
        (b"ab\xff\n", r"'ab\\xff\n'"),
        (b"x" * 100, f"'{'x' * 37}...'"),
        ("\x1b[31m\u0394\ud800", r"'\x1b[31m\u0394\ud800'"),
        ("", "''"),
    ],
)
def test_an_excerpt_is_short_and_printable(value, shown):
    assert excerpt(value) == shown
    assert len(excerpt(value, 10)) <= 12 or not str(value).isprintable() or isinstance(value, bytes)
