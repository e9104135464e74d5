"""The open benchmark: frozen parts, one record a run, and a table from records."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import pytest

import mocap3d
from mocap3d.bench import open_benchmark as bench
from mocap3d.bench import records
from mocap3d.cli import main
from tests.toys import sticks

# part -> clips, frames, recordings, first letters of the SHA-256 of its clips' names
FROZEN = {
    "train": (2596, 496664, 477, "04a13afa4a98f92e"),
    "person": (64, 8344, 15, "8d783e0ad6312f2b"),
    "motion": (164, 74744, 34, "88e60a0a272178da"),
    "phones": (360, 140728, 45, "4276429d030070a2"),
    "skeleton": (40, 21360, 10, "887be0cabe3ec972"),
    "development": (136, 26690, 77, "1a53efb4b61df374"),
}


def names(clips) -> str:
    text = "\n".join(f"{clip.take} {clip.camera.name} {len(clip)}" for clip in clips)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def test_the_parts_are_frozen(mocap_root):
    parts = bench.load()
    assert set(parts) == set(FROZEN)
    for name, part in parts.items():
        found = len(part), part.frames, len({clip.take.partition(":")[0] for clip in part}), names(part)
        assert found == FROZEN[name], name


def test_no_recording_is_in_two_parts(mocap_root):
    parts = {name: {clip.take.partition(":")[0] for clip in part} for name, part in bench.load().items()}
    for name in ("person", "motion", "skeleton", "development"):
        assert not parts["train"] & parts[name]
    assert not parts["train"] & parts["phones"] and not parts["person"] & parts["motion"]
    real = mocap3d.load_dataset("open-mocap", hold_out="recordings")
    actions = {clip.action for clip in real if bench.part_of(clip) == "train"}
    asked = {clip.action for clip in real if bench.part_of(clip) == "motion"}
    assert actions & asked == {"dance"}  # modern dance of CMU 05, and one other dance of Bandai's: see the page
    seen = {clip.action for clip in real if bench.part_of(clip) == "person"}
    assert seen == {"walk", "run"} and seen <= actions


@pytest.mark.parametrize(
    "source, split, action, part",
    [
        ("bandai", "train", "walk", "train"),
        ("bandai", "known", "walk", "development"),
        ("cmu-asfamc-01", "train", "playground", None),
        ("cmu-asfamc-01", "known", "playground", None),
        ("cmu-asfamc-02", "test", "walk", "skeleton"),
        ("cmu-cc-002", "check", "run", "person"),
        ("cmu-cc-002", "check", "wash", "motion"),
        ("cmu-cc-001", "check", "playground", "motion"),
        ("cmu-cc-007", "test", "walk", "person"),
        ("bandai-held-out", "test", "kick", "motion"),
    ],
)
def test_where_a_clip_belongs(source, split, action, part):
    clip = replace(sticks(1)[0], source=source, split=split, action=action)
    assert bench.part_of(clip) == part


@pytest.fixture
def toy(monkeypatch):
    """The benchmark on sticks, with four steps of training."""
    parts = {name: sticks(2, seed=i, split="test", sources=2) for i, name in enumerate(bench.COLUMNS)}
    parts["phones"] = replace(parts["phones"], clips=parts["phones"].clips[::4])
    monkeypatch.setattr(bench, "load", lambda root=None: {"train": sticks(2), **parts})
    short = {wide: tuple(replace(r, steps=2, batch_size=8) for r in rs) for wide, rs in bench.RECIPES.items()}
    monkeypatch.setattr(bench, "RECIPES", short)


def test_each_run_leaves_one_record_and_is_not_repeated(toy, tmp_path, monkeypatch):
    record = bench.run("simple_baseline", out=tmp_path, device="cpu", progress=False)
    assert [path.name for path in tmp_path.iterdir()] == ["open-benchmark-2-simple_baseline-0.json"]
    assert set(record["numbers"]) == set(bench.COLUMNS) and record["seed"] == 0
    for column, key in bench.RANKED.items():
        assert record["numbers"][column][key] > 0
        sources = record["numbers"][column]["recordings"]
        means = [sum(w * e for w, e in r.values()) / sum(w for w, _ in r.values()) for r in sources.values()]
        assert record["numbers"][column][key] == pytest.approx(sum(means) / len(means), abs=0.02)
    monkeypatch.setattr(bench, "fit", lambda *a, **k: pytest.fail("trained again"))
    assert bench.run("simple_baseline", out=tmp_path, progress=False) == record
    timed = bench.title_of("simple_baseline", 0, 2.0)
    assert timed == "open-benchmark-2-simple_baseline-2min-0"  # minutes are another row


def test_baselines_and_models_of_whole_clips(toy, tmp_path):
    constant = bench.run("mean_pose", out=tmp_path, progress=False)
    assert constant["size"].startswith("0 parameters, no steps")
    for name in ("motionbert_tiny", bench.PRETRAINED):
        record = bench.run(name, out=tmp_path, device="cpu", progress=False)
        assert "2 then 2 steps" in record["size"]


@pytest.mark.parametrize("name", bench.NAMES)
def test_every_model_can_be_made(name):
    assert bench.make(name).input_skeleton == "h36m17"


def test_the_pretrained_row_starts_from_the_weights_in_the_package():
    model, weights = bench.make(bench.PRETRAINED), mocap3d.load_shipped("pretrained").state_dict()
    assert model.space == "metric" and model.normalise == "ray"
    state = model.state_dict()
    assert (state["embed.weight"] == weights["embed.weight"]).all()
    assert (state["frame_embedding"] == weights["frame_embedding"][:, :27]).all()
    assert (state["head.weight"] != weights["head.weight"]).any()


def test_the_command_prints_the_table(toy, tmp_path, capsys):
    assert main(["open-benchmark", "--out", str(tmp_path)]) == 0
    assert "no records yet" in capsys.readouterr().out
    command = ["open-benchmark", "--model", "mean_pose", "simple_baseline", "videopose3d_1", "--seeds", "0", "1"]
    assert main([*command, "--out", str(tmp_path), "--device", "cpu"]) == 0
    printed = capsys.readouterr().out
    assert len(list(tmp_path.iterdir())) == 5  # a constant pose has no seeds
    lines = printed.splitlines()
    assert lines[0] == "open benchmark, version 2" and "±" in printed and "95 % interval" not in lines[1]
    (gain,) = [line for line in lines[8:] if line.startswith("videopose3d_1")]
    assert gain.count("[") == len(bench.COLUMNS)
    page = bench.table(tmp_path)._repr_html_()
    assert page.count("<table>") == 2 and "videopose3d_1" in page


def test_the_table_is_sorted_and_takes_the_spread_over_seeds(tmp_path):
    def write(model, seed, error):
        numbers = {
            column: {"mpjpe_mm": error, "p_mpjpe_mm": error / 2, "recordings": {"a": {"r": [1, error]}}}
            for column in bench.COLUMNS
        }
        of = {"data": "", "protocol": "", "size": "", "seconds": 60, "numbers": numbers, "model": model}
        records.write(tmp_path, bench.title_of(model, seed), seed=seed, minutes=None, **of)

    for seed, error in ((0, 50), (1, 52)):
        write("videopose3d_1", seed, error)
        write("simple_baseline", seed, error + 10)
    found = bench.table(tmp_path)
    assert list(found.rows) == ["videopose3d_1", "simple_baseline"]
    assert found.errors[1][1] == "51.0 ± 1.4 / 25.5 ± 0.7" and found.errors[1][-2:] == ["2", "1.0"]
    assert found.gains[1][1] == "+10.0 [+10.0, +10.0]"


def test_an_unknown_model_is_named(capsys, tmp_path):
    assert main(["open-benchmark", "--model", "alexnet", "--out", str(tmp_path)]) == 2
    assert "no model 'alexnet'" in capsys.readouterr().err


def test_the_records_of_the_project_belong_to_this_version():
    from pathlib import Path

    folder = Path(__file__).resolve().parents[2] / "docs" / "results"
    rows = bench.table(folder).rows
    for name, found in rows.items():
        assert len({record["data"] for record in found}) == 1, name
    assert len({record["data"] for found in rows.values() for record in found}) <= 1
