"""fetch_open_mocap.py against a server on loopback: resume, breaks, wrong sums, refusals, unsafe archives."""

from __future__ import annotations

import errno
import hashlib
import io
import json
import stat
import zipfile
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_scripts import fetch_open_mocap as fetcher
from tests.toys import local_server

MOTION = b"HIERARCHY\r\nROOT made up for this test\r\n" + bytes(range(32, 127)) * 3000
FAST = {"pause_s": 0.01}


class Handler(BaseHTTPRequestHandler):
    """Serves server.files with ranges; server.break_after cuts each of the next answers short."""

    def do_GET(self):
        server = self.server
        server.asked.append((self.path, self.headers.get("Range")))
        if server.busy > 0:
            server.busy -= 1
            return self.send_error(503)
        if self.path not in server.files:
            return self.send_error(404)
        body, status, headers = server.files[self.path], 200, {}
        if (wanted := self.headers.get("Range")) and server.ranges:
            start = int(wanted.removeprefix("bytes=").removesuffix("-"))
            if start >= len(body):
                return self.send_error(416)
            headers["Content-Range"] = f"bytes {start}-{len(body) - 1}/{len(body)}"
            body, status = body[start:], 206
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if server.break_after:
            body = body[: server.break_after.pop(0)]
            self.close_connection = True
        self.wfile.write(body)

    def log_message(self, *arguments):
        pass


@pytest.fixture
def server():
    with local_server(Handler) as httpd:
        httpd.files, httpd.asked, httpd.break_after, httpd.busy, httpd.ranges = {}, [], [], 0, True
        httpd.url = f"http://127.0.0.1:{httpd.server_port}"
        yield httpd


@pytest.fixture
def table(server, tmp_path):
    """A table with one file, MOTION, that the server has."""
    server.files["/subjects/01/01_01.amc"] = MOTION
    path = tmp_path / "table.json"
    digest = hashlib.sha256(MOTION.replace(b"\r\n", b"\n")).hexdigest()
    group = {
        "source": "cmu-asfamc",
        "folder": "cmu/asfamc",
        "url": f"{server.url}/subjects/",
        "files": {"01/01_01.amc": [len(MOTION), digest]},
    }
    path.write_text(json.dumps({"groups": [group], "archives": []}))
    return path


def fetch(table: Path, root: Path, *options: str) -> int:
    return fetcher.main(["--root", str(root), "--yes", *options], table, **FAST)


def place(root: Path) -> Path:
    return root / "cmu/asfamc/01/01_01.amc"


def test_a_file_arrives_whole_and_is_not_fetched_twice(server, table, tmp_path, capsys):
    root = tmp_path / "data"
    assert fetch(table, root) == 0
    assert place(root).read_bytes() == MOTION
    assert [p.name for p in root.rglob("*") if p.is_file()] == ["01_01.amc"]
    assert fetch(table, root) == 0
    assert len(server.asked) == 1
    assert "(0 new)" in capsys.readouterr().out


def test_licence_and_citation_come_before_anything_is_fetched(server, table, tmp_path, capsys):
    assert fetcher.main(["--root", str(tmp_path / "data"), "--dry-run"], table) == 0
    out = capsys.readouterr().out
    assert out.index("NSF EIA-0196217") < out.index("/subjects/01/01_01.amc") < out.index("Would fetch 1 files")
    assert "CC BY-NC 4.0" in out and "arXiv:2306.08861" in out
    assert not server.asked and not (tmp_path / "data").exists()


def test_without_consent_nothing_is_fetched(server, table, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("sys.stdin", io.StringIO("y\n"))  # not a terminal: a pipe cannot agree
    assert fetcher.main(["--root", str(tmp_path)], table) == 1
    assert "--yes" in capsys.readouterr().err
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr("builtins.input", lambda question: "no")
    assert fetcher.main(["--root", str(tmp_path)], table) == 1
    assert not server.asked


def test_carriage_returns_do_not_matter_to_the_checksum(server, table, tmp_path):
    server.files["/subjects/01/01_01.amc"] = MOTION.replace(b"\r\n", b"\n")
    assert fetch(table, tmp_path) == 0


@pytest.mark.parametrize("ranges", [True, False])
def test_an_interrupted_transfer_is_resumed(server, table, tmp_path, ranges):
    server.ranges, server.break_after = ranges, [100_000, 50_000]
    assert fetch(table, tmp_path) == 0
    assert place(tmp_path).read_bytes() == MOTION
    asked = [wanted for _, wanted in server.asked]
    assert asked == [None, "bytes=100000-", "bytes=150000-" if ranges else "bytes=50000-"]


def test_a_second_start_carries_on_from_the_first(server, table, tmp_path, capsys):
    server.break_after = [1000] * fetcher.ATTEMPTS
    assert fetch(table, tmp_path) == 1
    assert "carries on" in capsys.readouterr().err
    part = place(tmp_path).with_name("01_01.amc.part")
    assert part.read_bytes() == MOTION[: 1000 * fetcher.ATTEMPTS] and not place(tmp_path).exists()
    assert fetch(table, tmp_path) == 0
    assert server.asked[-1][1] == f"bytes={1000 * fetcher.ATTEMPTS}-" and not part.exists()


@pytest.mark.parametrize("stale", [b"the beginning of another file", MOTION + b"and more", MOTION])
def test_a_part_that_cannot_be_resumed_is_started_again(server, table, tmp_path, stale):
    place(tmp_path).parent.mkdir(parents=True)
    place(tmp_path).with_name("01_01.amc.part").write_bytes(stale)
    assert fetch(table, tmp_path) == 0
    assert place(tmp_path).read_bytes() == MOTION


def test_a_wrong_checksum_is_not_kept_unless_accepted(server, table, tmp_path, capsys):
    server.files["/subjects/01/01_01.amc"] = other = MOTION[::-1]
    assert fetch(table, tmp_path) == 1
    assert "checksum" in capsys.readouterr().err
    assert not list(tmp_path.rglob("01_01*"))
    assert fetch(table, tmp_path, "--accept-changed") == 0
    asked = len(server.asked)
    assert fetch(table, tmp_path) == 0  # the sum is in fetched.json now
    assert place(tmp_path).read_bytes() == other and len(server.asked) == asked


def test_a_damaged_file_is_fetched_again(server, table, tmp_path):
    assert fetch(table, tmp_path) == 0
    place(tmp_path).write_bytes(MOTION[:-1])
    assert fetch(table, tmp_path) == 0
    assert place(tmp_path).read_bytes() == MOTION


def test_not_found_says_so_at_once(server, table, tmp_path, capsys):
    server.files.clear()
    assert fetch(table, tmp_path) == 1
    assert "404" in capsys.readouterr().err and len(server.asked) == 1


def test_a_busy_server_is_asked_again(server, table, tmp_path):
    server.busy = 2
    assert fetch(table, tmp_path) == 0 and len(server.asked) == 3


def test_an_endless_answer_is_cut_off(server, table, tmp_path, capsys):
    server.files["/subjects/01/01_01.amc"] = MOTION * 4
    assert fetch(table, tmp_path) == 1
    assert "longer than" in capsys.readouterr().err


def test_no_network_is_told_in_one_sentence(server, table, tmp_path, capsys):
    text = table.read_text().replace(str(server.server_port), "9")  # the discard port: nobody listens
    table.write_text(text)
    assert fetch(table, tmp_path) == 1
    assert "Is there a network" in capsys.readouterr().err


@pytest.mark.parametrize(("name", "content"), [("root", "a file in the way"), ("root/fetched.json", "[1, 2]")])
def test_a_root_that_cannot_be_filled_is_told_in_one_sentence(server, table, tmp_path, capsys, name, content):
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text(content)
    assert fetch(table, tmp_path / "root") == 1
    assert "Stopped. " in capsys.readouterr().err


def test_a_full_disk_is_not_taken_for_a_bad_network(server, table, tmp_path, capsys, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(fetcher, "_receive", full)
    assert fetch(table, tmp_path) == 1
    said = capsys.readouterr().err
    assert "No space left" in said and "network" not in said


# Archives


def zipped(members: dict[str, bytes], link: str = "") -> bytes:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            info = zipfile.ZipInfo(name)
            info.compress_type = zipfile.ZIP_DEFLATED
            if name == link:
                info.external_attr = (stat.S_IFLNK | 0o777) << 16
            archive.writestr(info, content)
    return data.getvalue()


FOLDERS = {"dataset/one": "bandai/dataset-1", "dataset/one/data": "bandai/dataset-1"}
GOOD = {"top/dataset/one/LICENSE": b"terms", "top/dataset/one/data/a.bvh": b"HIERARCHY", "top/readme.md": b"no"}


def unpack(tmp_path: Path, data: bytes, known=None, ledger=None) -> int:
    (tmp_path / "in.zip").write_bytes(data)
    return fetcher.unpack(
        tmp_path / "in.zip", FOLDERS, tmp_path / "root", known or {}, {} if ledger is None else ledger
    )


def test_complete_fetches_the_archive_and_keeps_what_belongs(server, table, tmp_path):
    server.files["/all.zip"], server.break_after = zipped(GOOD), []
    content = json.loads(table.read_text())
    content["archives"] = [{"source": "bandai", "url": f"{server.url}/all.zip", "folders": FOLDERS}]
    table.write_text(json.dumps(content))
    assert fetch(table, tmp_path / "data") == 0
    assert "/all.zip" not in [path for path, _ in server.asked]
    assert fetch(table, tmp_path / "data", "--complete") == 0
    names = sorted(p.name for p in (tmp_path / "data").rglob("*") if p.is_file())
    assert names == ["01_01.amc", "LICENSE", "a.bvh", "fetched.json"]


@pytest.mark.parametrize(
    "name", ["../outside.bvh", "top/../../outside.bvh", "/outside.bvh", "top\\..\\outside.bvh", "C:/outside.bvh"]
)
def test_an_archive_cannot_write_outside(tmp_path, name):
    with pytest.raises(fetcher.FetchError, match="outside its folder"):
        unpack(tmp_path, zipped({**GOOD, name: b"x"}))
    assert not (tmp_path / "root").exists() and not list(tmp_path.rglob("outside*"))


def test_links_and_bombs_are_refused(tmp_path):
    with pytest.raises(fetcher.FetchError, match="is a link"):
        unpack(tmp_path, zipped({**GOOD, "top/dataset/one/data/b.bvh": b"/etc"}, link="top/dataset/one/data/b.bvh"))
    with pytest.raises(fetcher.FetchError, match="unpacks to"):
        unpack(tmp_path, zipped({**GOOD, "top/dataset/one/data/b.bvh": bytes(10_000_000)}))


def test_an_archive_that_lies_about_a_size_or_changed_is_refused(tmp_path):
    data = bytearray(zipped({"top/dataset/one/data/a.bvh": b"HIERARCHY" * 100}))
    for signature, offset in ((b"PK\x03\x04", 22), (b"PK\x01\x02", 24)):
        at = data.index(signature) + offset
        data[at : at + 4] = (90).to_bytes(4, "little")  # says 90 bytes, holds 900
    with pytest.raises(fetcher.FetchError):
        unpack(tmp_path, bytes(data))
    ledger: dict[str, str] = {}
    assert unpack(tmp_path, zipped(GOOD), ledger=ledger) == 2
    with pytest.raises(fetcher.FetchError, match="not the file"):
        unpack(tmp_path, zipped({**GOOD, "top/dataset/one/data/a.bvh": b"OTHER"}), ledger=ledger)


def test_a_refused_member_does_not_become_a_known_one(tmp_path):
    ledger: dict[str, str] = {}
    with pytest.raises(fetcher.FetchError, match="not the file"):
        unpack(tmp_path, zipped(GOOD), known={"bandai/dataset-1/a.bvh": "0" * 64}, ledger=ledger)
    assert "bandai/dataset-1/a.bvh" not in ledger


@given(st.binary(max_size=300), st.integers(0, 400), st.binary(max_size=8))
def test_damaged_archives_give_one_clear_error(tmp_path_factory, junk, at, patch):
    whole = zipped(GOOD)
    for data in (junk, whole[:at] + patch + whole[at + len(patch) :]):
        try:
            unpack(tmp_path_factory.mktemp("zip"), data)
        except fetcher.FetchError:
            pass


# The table that is shipped


def test_the_table_names_every_source_and_plausible_files():
    files, archives = fetcher.read_table(fetcher.TABLE, None)
    assert len({wanted.place for wanted in files}) == len(files)
    for wanted in files:
        assert wanted.url.startswith(("http://", "https://")) and len(wanted.sha256) == 64 and wanted.size > 0
        assert ".." not in Path(wanted.place).parts and not Path(wanted.place).is_absolute()
    only, none = fetcher.read_table(fetcher.TABLE, ["cmu-bvh"])
    assert {wanted.place.split("/")[1] for wanted in only} == {"bvh_cc"} and not none and archives


def test_the_table_agrees_with_the_motion_here(mocap_root):
    files, _ = fetcher.read_table(fetcher.TABLE, None)
    for wanted in files[:: max(1, len(files) // 25)]:
        assert fetcher.text_sha256(mocap_root / wanted.place) == wanted.sha256, wanted.place
