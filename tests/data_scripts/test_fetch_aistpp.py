"""fetch_aistpp.py against a server on loopback: the licence first, then only the files that the reader needs."""

from __future__ import annotations

import io
import zipfile
from http.server import BaseHTTPRequestHandler

import pytest

from data_scripts import fetch_aistpp as fetcher
from tests.toys import local_server

FILES = {
    "aist_plusplus_final/keypoints2d/gWA_sFM_cAll_d27_mWA2_ch21.pkl": b"two",
    "aist_plusplus_final/keypoints3d/gWA_sFM_cAll_d27_mWA2_ch21.pkl": b"three",
    "aist_plusplus_final/cameras/mapping.txt": b"gWA_sFM_cAll_d27_mWA2_ch21 setting1\n",
    "aist_plusplus_final/cameras/setting1.json": b"[]",
    "aist_plusplus_final/splits/pose_test.txt": b"gWA_sFM_cAll_d27_mWA2_ch21\n",
    "aist_plusplus_final/ignore_list.txt": b"",
    "aist_plusplus_final/motions/gWA_sFM_cAll_d27_mWA2_ch21.pkl": b"not needed",
}


def archive(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        for name, content in files.items():
            file.writestr(name, content)
    return buffer.getvalue()


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.server.asked += 1
        self.send_response(200)
        self.send_header("Content-Length", str(len(self.server.body)))
        self.end_headers()
        self.wfile.write(self.server.body)

    def log_message(self, *arguments):
        pass


@pytest.fixture
def server():
    with local_server(Handler) as httpd:
        httpd.body, httpd.asked = archive(FILES), 0
        httpd.url = f"http://127.0.0.1:{httpd.server_port}/fullset.zip"
        yield httpd


def test_what_the_reader_needs_is_put_in_place(server, tmp_path, capsys) -> None:
    arguments = ["--root", str(tmp_path / "aistpp"), "--yes"]
    assert fetcher.main(arguments, server.url) == 0
    printed = capsys.readouterr().out
    assert printed.startswith("AIST++") and printed.index("CC BY 4.0") < printed.index("All in place (6 new)")
    found = {path.relative_to(tmp_path / "aistpp").as_posix() for path in (tmp_path / "aistpp").rglob("*.*")}
    wanted = {name.partition("/")[2] for name in FILES if "/motions/" not in name}
    assert found == wanted | {"fetched.json"}
    assert fetcher.main(arguments, server.url) == 0 and server.asked == 1  # nothing to do
    (tmp_path / "aistpp" / "cameras" / "setting1.json").unlink()
    assert fetcher.main(arguments, server.url) == 0 and server.asked == 2
    server.body = archive(FILES | {"aist_plusplus_final/cameras/setting1.json": b"[1]"})
    (tmp_path / "aistpp" / "cameras" / "setting1.json").unlink()
    assert fetcher.main(arguments, server.url) == 1 and "--accept-changed" in capsys.readouterr().err
    assert fetcher.main([*arguments, "--accept-changed"], server.url) == 0


def test_nothing_is_fetched_without_consent(server, tmp_path, capsys) -> None:
    assert fetcher.main(["--root", str(tmp_path)], server.url) == 1
    assert server.asked == 0 and "add --yes" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"<html>sign in</html>", "could not be unpacked"),
        (archive({"../keypoints2d/x.pkl": b"1"}), "outside its folder"),
        (archive({"readme.txt": b"1"}), "no file of the expected names"),
    ],
)
def test_wrong_archives(server, tmp_path, capsys, body, words) -> None:
    server.body = body
    assert fetcher.main(["--root", str(tmp_path), "--yes"], server.url) == 1
    assert words in capsys.readouterr().err
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]
