"""`fetch-weights` against a server on loopback, with a file of our own in MMPose's layout."""

from __future__ import annotations

import hashlib
import io
from dataclasses import replace
from http.server import BaseHTTPRequestHandler

import numpy as np
import pytest
import torch

import mocap3d
from mocap3d.bench import zoo
from mocap3d.cli import main
from mocap3d.data.cache import weights_file
from tests.toys import local_server

NAME = "videopose3d-27-gt"


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.server.asked.append(self.path)
        if self.server.body is None:
            return self.send_error(404)
        self.send_response(200)
        self.send_header("Content-Length", str(len(self.server.body)))
        self.end_headers()
        self.wfile.write(self.server.body[: self.server.sent])
        self.close_connection = True

    def log_message(self, *_):
        pass


@pytest.fixture
def model():
    torch.manual_seed(0)
    return mocap3d.create_model("videopose3d_27", channels=16).eval()


@pytest.fixture
def server(model, tmp_path, monkeypatch):
    """Sends the model's weights at the address of the row; the cache is empty."""
    file = io.BytesIO()
    torch.save({"meta": {}, "state_dict": mocap3d.export_weights(model, "mmpose")}, file)
    with local_server(Handler) as httpd:
        httpd.body, httpd.asked, httpd.sent = file.getvalue(), [], None
        address = f"http://127.0.0.1:{httpd.server_port}/x-{hashlib.sha256(httpd.body).hexdigest()[:8]}_20210527.pth"
        monkeypatch.setitem(zoo.ROWS, NAME, replace(zoo.ROWS[NAME], checkpoint=address))
        monkeypatch.setenv("MOCAP3D_CACHE", str(tmp_path / "cache"))
        yield httpd


def test_weights_are_fetched_once_and_lift_uses_them(server, model, capsys):
    assert main(["fetch-weights", NAME, "--yes"]) == 0
    printed = capsys.readouterr()
    assert printed.out.startswith(str(weights_file(NAME))) and weights_file(NAME).read_bytes() == server.body
    assert "licence: code Apache-2.0; trained on Human3.6M, academic use only" in printed.err
    assert main(["fetch-weights", NAME, "--yes"]) == 0 and len(server.asked) == 1
    pose2d = mocap3d.synthesize("S9", "Walking", seconds=1).project(mocap3d.h36m_cameras("S9")[0])
    np.testing.assert_array_equal(mocap3d.lift(pose2d, NAME).points, mocap3d.lift(pose2d, model).points)
    file = str(weights_file(NAME))
    np.testing.assert_array_equal(mocap3d.lift(pose2d, file).points, mocap3d.lift(pose2d, model).points)
    weights_file(NAME).write_bytes(server.body[:-1])  # damaged since
    assert main(["fetch-weights", NAME, "--yes"]) == 0 and weights_file(NAME).read_bytes() == server.body


@pytest.mark.parametrize("answer, code", [("y", 0), ("n", 1), ("", 1)])
def test_the_licence_is_shown_and_asked_for(answer, code, server, monkeypatch, capsys):
    monkeypatch.setattr("sys.stdin.isatty", lambda: True)
    asked = []
    monkeypatch.setattr("builtins.input", lambda text: asked.append(text + capsys.readouterr().err) or answer)
    assert main(["fetch-weights", NAME]) == code
    assert "Human3.6M, academic use only" in asked[0] and len(server.asked) == weights_file(NAME).is_file() == 1 - code


def test_without_anybody_to_ask_nothing_is_fetched(server, monkeypatch, capsys):
    monkeypatch.setattr("sys.stdin.isatty", lambda: False)
    assert main(["fetch-weights", NAME]) == 2 and "add --yes" in capsys.readouterr().err
    assert not server.asked


@pytest.mark.parametrize(
    "fault, message", [("cut", "broke off"), ("other", "broke off or is another"), ("none", "404")]
)
def test_what_is_not_the_published_file_is_not_kept(fault, message, server, capsys):
    if fault == "cut":
        server.sent = 1000
    else:
        server.body = b"<html>sign in</html>" if fault == "other" else None
    assert main(["fetch-weights", NAME, "--yes"]) == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith("mocap3d fetch-weights: error: ") and message in last
    assert not [path for path in weights_file(NAME).parent.iterdir()]


def test_names_without_weights(server, capsys):
    assert main(["fetch-weights", "resnet", "--yes"]) == 2
    assert "no row 'resnet'; there are: videopose3d-27-gt" in capsys.readouterr().err
    pose2d = mocap3d.synthesize("S9", "Walking", seconds=1).project(mocap3d.h36m_cameras("S9")[0])
    with pytest.raises(ValueError, match="model='mbert': no file, no network in the package .*see `mocap3d fetch"):
        mocap3d.lift(pose2d, "mbert")
