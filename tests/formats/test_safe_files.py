"""Other people's files: good ones come back as they were written, bad ones run nothing."""

from __future__ import annotations

import copyreg
import io
import os
import pickle
import struct
import sys
import types
import zipfile
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mocap3d.formats.pickles import STAND_INS, InertClass, Placeholder, StandIn, Unpickler, UnsafeFileError
from mocap3d.formats.safe_files import load_npy, load_npz, load_pickle, load_torch

LEGACY = {"_use_new_zipfile_serialization": False}


class Call:
    """An object whose pickle says: call this, with these."""

    def __init__(self, function, *args) -> None:
        self.call = function, args

    def __reduce__(self):
        return self.call

    def __call__(self) -> None:
        """Pickle lets only callables be called; this one never is."""


@pytest.fixture
def canary(tmp_path: Path) -> Path:
    """A file that exists if any of the malicious ones below ran."""
    path = tmp_path / "it_ran"
    yield path
    assert not path.exists()


def attacks(canary: Path) -> dict[str, object]:
    """Objects whose pickle makes the canary when read with pickle.load."""
    code = f"open({str(canary)!r}, 'w').close()"
    system, evaluate = Call(os.system, f"touch {canary}"), Call(eval, code)
    made = {
        "system": system,
        "eval": evaluate,
        "exec": Call(exec, code),
        "import": Call(__import__, "antigravity"),
        "getattr chain": Call(Call(getattr, Call(__import__, "os"), "system"), f"touch {canary}"),
        "getattr of dtype": Call(getattr, np.dtype, "__class__"),
        "pathlib": Call(Path.touch, canary),
        "nested": {"epoch": 3, "state_dict": OrderedDict(w=[(1, {"x": [system]})])},
        "as dict key": {1: 2, "k": {"deep": (evaluate,)}},
        "as numpy's argument": Call(np._core.multiarray._reconstruct, evaluate, (0,), b"b"),
        "as numpy's shape": Call(np._core.multiarray._reconstruct, np.ndarray, evaluate, b"b"),
        "as dtype": Call(np.dtype, evaluate),
        "in an object array": np.array([1, system], dtype=object),
        "in a random state": Call(np.random._pickle.__randomstate_ctor, evaluate),
        "numpy.load": Call(np.load, str(canary)),
        "as tensor": Call(torch._utils._rebuild_tensor_v2, evaluate, 0, (1,), (1,), False, OrderedDict()),
        "as parameter": Call(torch._utils._rebuild_parameter, evaluate, False, OrderedDict()),
        "by type": Call(torch._tensor._rebuild_from_type_v2, os.system, torch.Tensor, (f"touch {canary}",), {}),
        "torch inside": Call(torch.storage._load_from_bytes, pickle.dumps(system)),
        "list of it": Call(list, evaluate),
        "map": Call(map, os.system, [f"touch {canary}"]),
        "a function": os.system,
        "a class": Path,
        "a module": torch.nn.Linear(1, 1),
    }
    return made


NAMES = list(attacks(Path("x")))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("protocol", range(6))
def test_malicious_pickles_do_nothing(name: str, protocol: int, tmp_path: Path, canary: Path) -> None:
    try:
        content = pickle.dumps(attacks(canary)[name], protocol)
    except (pickle.PicklingError, TypeError):
        pytest.skip("not to be written in this protocol")
    path = tmp_path / "file.pkl"
    path.write_bytes(content)
    with pytest.raises(UnsafeFileError):
        load_pickle(path)


def test_the_zoo_is_alive(tmp_path: Path) -> None:
    """The same attacks do run with pickle.load: else the tests above would prove nothing."""
    ran = 0
    for name, attack in attacks(tmp_path / "ran").items():
        if name in ("import", "map"):
            continue
        content = pickle.dumps(attack)
        try:
            pickle.loads(content)  # noqa: S301
        except Exception:  # most fail after the harm is done
            pass
        ran += (tmp_path / "ran").exists()
        (tmp_path / "ran").unlink(missing_ok=True)
    assert ran >= 13


@pytest.mark.parametrize(
    ("name", "word"),
    [
        ("system", r"(posix|nt)\.system"),
        ("nested", r"(posix|nt)\.system"),
        ("eval", r"builtins\.eval"),
        ("getattr chain", r"builtins\.__import__"),
        ("getattr of dtype", r"builtins\.getattr of numpy\.dtype"),
        ("a class", r"pathlib.*Path"),
        ("torch inside", r"torch\.storage\._load_from_bytes"),
        ("a module", r"torch\.nn\.modules\.linear\.Linear"),
    ],
)
def test_refusal_names_the_global(name: str, word: str, tmp_path: Path, canary: Path) -> None:
    path = tmp_path / "file.pkl"
    path.write_bytes(pickle.dumps(attacks(canary)[name]))
    with pytest.raises(UnsafeFileError, match=f"file.pkl.*{word}"):
        load_pickle(path)


@pytest.mark.parametrize("name", ["system", "nested", "in an object array", "as tensor", "by type", "a module"])
@pytest.mark.parametrize("options", [{}, LEGACY], ids=["zip", "stream"])
def test_malicious_torch_files(name: str, options: dict, tmp_path: Path, canary: Path) -> None:
    content = {"w": torch.ones(3), "evil": attacks(canary)[name]}
    torch.save(content, tmp_path / "file.pth", **options)
    with pytest.raises(UnsafeFileError):
        load_torch(tmp_path / "file.pth")


def test_malicious_first_pickle_of_a_stream(tmp_path: Path, canary: Path) -> None:
    (tmp_path / "file.pth").write_bytes(pickle.dumps(attacks(canary)["system"]) + b"more")
    with pytest.raises(UnsafeFileError, match="system"):
        load_torch(tmp_path / "file.pth")


@pytest.mark.parametrize("name", ["system", "nested", "in an object array", "as numpy's shape"])
def test_malicious_npz(name: str, tmp_path: Path, canary: Path) -> None:
    item = np.empty((), dtype=object)
    item[()] = attacks(canary)[name]
    np.savez_compressed(tmp_path / "file.npz", positions_3d=item)
    np.save(tmp_path / "file.npy", item)
    for load, file in ((load_npz, "file.npz"), (load_npy, "file.npy")):
        with pytest.raises(UnsafeFileError, match="file.np"):
            load(tmp_path / file)


def opcodes(*parts: bytes) -> bytes:
    return b"".join(parts) + b"."


HEAD = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(I0\ntS'b'\ntR"
F8 = b"cnumpy\ndtype\n(S'f8'\nI00\nI01\ntR"
BAD = {
    "array larger than its content": opcodes(HEAD, b"(I1\n(L1099511627776L\nt", F8, b"I00\nS'x'\ntb"),
    "array of negative size": opcodes(HEAD, b"(I1\n(I-1\nt", F8, b"I00\nS'x'\ntb"),
    "array of many axes": opcodes(HEAD, b"(I1\n(" + b"I1\n" * 70 + b"t", F8, b"I00\nS'12345678'\ntb"),
    "fewer objects than claimed": opcodes(HEAD, b"(I1\n(I9\nt", F8.replace(b"f8", b"O8"), b"I00\n]tb"),
    "objects as bytes": opcodes(HEAD, b"(I1\n(I1\nt", F8.replace(b"f8", b"O8"), b"I00\nS'AAAAAAAA'\ntb"),
    "object as bytes": opcodes(b"cnumpy.core.multiarray\nscalar\n(", F8.replace(b"f8", b"O8"), b"S'AAAAAAAA'\ntR"),
    "objects in a buffer": opcodes(
        b"cnumpy.core.numeric\n_frombuffer\n(S'AAAAAAAA'\n", F8.replace(b"f8", b"O8"), b"(I1\ntS'C'\ntR"
    ),
    "array changed afterwards": opcodes(HEAD, *2 * (b"(I1\n(I1\nt", F8, b"I00\nS'12345678'\ntb")),
    "type with flags": opcodes(F8, b"(I3\nS'<'\nN(S'a'\ntNI-1\nI-1\nI63\ntb"),
    "structured type": opcodes(F8.replace(b"f8", b"f8,O")),
    "number larger than its content": opcodes(
        b"cnumpy.core.multiarray\nscalar\n(", F8.replace(b"f8", b"S999999999"), b"S'x'\ntR"
    ),
    "negative text": b"T" + struct.pack("<i", -5) + b"x.",
    "memo, unread": b"\x80\x02Nr" + struct.pack("<I", 2**32 - 1) + b"0j" + struct.pack("<I", 7) + b".",
    "integer of many digits": b"L" + b"9" * 10_000 + b"L\n.",
    "not a pickle": b"\x00\x01\x02",
    "mark missing": b"t.",
    "stack empty": b"0.",
    "extension": b"\x82\x01.",
    "buffer outside": b"\x80\x05\x97.",
    "view of a buffer": b"\x80\x05C\x01x\x98.",
    "persistent id": b"Pabc\n.",
    "bytes of a number": b"cbuiltins\nbytes\n(I9\ntR.",
    "bytearray of a number": b"cbuiltins\nbytearray\n(I9\ntR.",
    "text in an encoding that would be imported": b"c_codecs\nencode\n(S'x'\nS'antigravity'\ntR.",
    "object of a class that is never made": b"\x80\x02cbuiltins\nobject\n)\x81.",
}


@pytest.mark.parametrize("name", BAD)
def test_bad_pickles(name: str, tmp_path: Path) -> None:
    path = tmp_path / "file.pkl"
    path.write_bytes(BAD[name])
    with pytest.raises(UnsafeFileError, match="file.pkl: ") as error:
        load_pickle(path)
    assert "memory" not in str(error.value)  # refused before numpy tries


def test_flags_of_a_type_are_not_believed(tmp_path: Path) -> None:
    """numpy itself would take these eight bytes for a pointer to an object."""
    flags = b"(I3\nS'<'\nNNNI-1\nI-1\nI63\ntb"
    path = tmp_path / "file.pkl"
    path.write_bytes(opcodes(HEAD, b"(I1\n(I1\nt", F8, flags, b"I00\nS'AAAAAAAA'\ntb"))
    loaded = load_pickle(path)
    assert loaded.dtype.flags == np.dtype("f8").flags and loaded.tobytes() == b"AAAAAAAA"


def entry(module: str, name: str) -> bytes:
    return b"\x80\x02" + f"c{module}\n{name}\n".encode()


STATES = {
    "dict": b"}X\x04\x00\x00\x00makeNs",
    "slots": b"N}(X\x04\x00\x00\x00makeNX\x0c\x00\x00\x00__defaults__)X\x04\x00\x00\x00nameK\x01u\x86",
    "class": b"N}X\x09\x00\x00\x00__class__cbuiltins\nlist\ns\x86",
}


@pytest.mark.parametrize("state", STATES)
def test_build_on_every_name_changes_nothing(state: str, tmp_path: Path) -> None:
    """BUILD sets attributes. Neither this reader nor pickle's other implementation can change a stand-in by it."""

    def snapshot() -> list:
        functions = [stand_in.make for stand_in in STAND_INS.values()]
        inner = [(getattr(f, "__defaults__", 0), dict(getattr(f, "__dict__", {}))) for f in functions]
        kinds = [dict(vars(kind)) for kind in (StandIn, InertClass, Placeholder, Unpickler)]
        return [[(type(s), s.name, s.make) for s in STAND_INS.values()], inner, kinds, dict(STAND_INS)]

    class InC(pickle.Unpickler):
        def find_class(self, module: str, name: str) -> object:
            return STAND_INS[module, name]

    before, path = snapshot(), tmp_path / "file.pkl"
    for module, name in STAND_INS:
        content = entry(module, name) + STATES[state] + b"b."
        path.write_bytes(content)
        with pytest.raises(UnsafeFileError, match="it changes .* from inside"):
            load_pickle(path)
        with pytest.raises(UnsafeFileError, match="it changes .* from inside"):
            InC(io.BytesIO(content)).load()
        for call in (b")R", b")\x81"):  # what it builds, if it builds anything
            path.write_bytes(entry(module, name) + call + STATES[state] + b"b.")
            try:
                load_pickle(path)
            except UnsafeFileError:
                pass
    assert snapshot() == before


def test_nothing_comes_out_of_the_extension_registry(tmp_path: Path, canary: Path) -> None:
    path = tmp_path / "file.pkl"
    copyreg.add_extension(os.system.__module__, "system", 0x7654)
    try:
        pickle.loads(pickle.dumps(os.system, 2))  # now it is in the registry's cache too
        path.write_bytes(pickle.dumps(Call(os.system, f"touch {canary}"), 2))
        assert b"system" not in path.read_bytes()
        with pytest.raises(UnsafeFileError, match="outside the file"):
            load_pickle(path)
    finally:
        copyreg.remove_extension(os.system.__module__, "system", 0x7654)
        copyreg.clear_extension_cache()


def zip_of(path: Path, name: str, content: bytes, method: int = zipfile.ZIP_DEFLATED) -> None:
    with zipfile.ZipFile(path, "w", method) as archive:
        archive.writestr(name, content)


def npy(shape: str, descr: str = "'<f4'", content: bytes = b"", length: int | None = None) -> bytes:
    header = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}".encode().ljust(117) + b"\n"
    return b"\x93NUMPY\1\0" + struct.pack("<H", len(header) if length is None else length) + header + content


@pytest.mark.parametrize(
    "content",
    [
        npy("(1099511627776,)"),
        npy("(2, 3)", content=b"x" * 23),
        npy("(-1,)"),
        npy("(1099511627776,)", "'S0'"),
        npy("(2,)", "'<U999999999'", b"xxx"),
        npy("(1,)", "[('a', '<f4')]", b"1234"),
        npy("(1,)", "[('a', '|O')]", pickle.dumps([1])),
        npy("(1,)", "'<M8[s]'", b"12345678"),
        npy("(1,)", "'3<f4'", b"x" * 12),
        npy("(2,)", "'|O'", pickle.dumps([1, 2])),
        npy("(3,)", "'|O'", pickle.dumps(np.array([1, 2], object))),
        npy("(1,)", length=60_000),
        npy("__import__('os').getpid()"),
        npy("(" * 90 + ")" * 90),
        b"\x93NUMPY\7\0" + b"x" * 100,
        b"",
        b"text",
    ],
)
def test_bad_arrays(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "file.npy").write_bytes(content)
    zip_of(tmp_path / "file.npz", "x.npy", content)
    for load, file in ((load_npy, "file.npy"), (load_npz, "file.npz")):
        with pytest.raises(UnsafeFileError, match="file.np") as error:
            load(tmp_path / file)
        assert "allow_pickle" not in str(error.value)


def test_bad_archives(tmp_path: Path) -> None:
    path = tmp_path / "file.npz"
    zip_of(path, "evil.exe", b"x")
    with pytest.raises(UnsafeFileError, match="evil.exe"):
        load_npz(path)
    with pytest.raises(UnsafeFileError, match="not one that torch.save writes"):
        load_torch(path)
    zip_of(path, "x.npy", npy("(4,)", content=bytes(16)), zipfile.ZIP_STORED)
    content = path.read_bytes()
    path.write_bytes(content.replace(bytes(16), b"x" * 16))
    with pytest.raises(UnsafeFileError, match="damaged.*BadZipFile"):
        load_npz(path)
    path.write_bytes(b"text")
    with pytest.raises(UnsafeFileError, match="not a zip archive"):
        load_npz(path)


def test_bad_torch_files(tmp_path: Path) -> None:
    path = tmp_path / "file.pth"
    torch.save({"w": torch.zeros(4)}, path)
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    pkl = next(name for name in parts if name.endswith("data.pkl"))

    def check(words: str, pickled: bytes = parts[pkl], **other: bytes) -> None:
        with zipfile.ZipFile(path, "w") as archive:
            for name, content in {**parts, pkl: pickled, **other}.items():
                archive.writestr(name, content)
        with pytest.raises(UnsafeFileError, match=words):
            load_torch(path)

    assert parts[pkl].count(b"K\x04") == 2  # the numbers of the storage, and of the tensor
    two_billion = b"J\xff\xff\xff\x7f"
    check("storage 0 claims", parts[pkl].replace(b"K\x04", two_billion))
    check("claims shape", two_billion.join(parts[pkl].rsplit(b"K\x04", 1)))  # it looks behind its storage
    check("storage 0", **{next(name for name in parts if name.endswith("data/0")): b""})
    check("QuantStorage", parts[pkl].replace(b"FloatStorage", b"QuantStorage"))
    check("big-endian", **{next(name for name in parts if name.endswith("byteorder")): b"big"})
    torch.save({"w": torch.zeros(4)}, path, **LEGACY)
    content = path.read_bytes()
    for bad, words in [
        (content.replace(b"K\x04", two_billion), "cut off"),
        (content[: len(content) - 20], "cut off"),
        (content[: len(content) - 1], "cut off"),
        (content[:30], "cut off"),
        (b"\0" * 257 + b"ustar" + b"\0" * 600, "tar archive"),
        (pickle.dumps({"w": 1}), "not a file that torch.save writes"),
    ]:
        path.write_bytes(bad)
        with pytest.raises(UnsafeFileError, match=words):
            load_torch(path)


DOWNLOADS = {
    "page": (b"<!DOCTYPE html><html><title>Sign in</title></html>", "it is a web page"),
    "page after blank lines": (b"\xef\xbb\xbf\r\n \n<html>", "it is a web page"),
    "error": (b'<?xml version="1.0"?><Error><Code>NoSuchKey</Code></Error>', "it is a web page"),
    "pointer": (b"version https://git-lfs.github.com/spec/v1\noid sha256:aa\nsize 123\n", "it is a Git LFS pointer"),
    "nothing": (b"", "it is empty"),
}


@pytest.mark.parametrize("name", DOWNLOADS)
def test_what_is_downloaded_by_mistake_is_named(name: str, tmp_path: Path) -> None:
    content, words = DOWNLOADS[name]
    path = tmp_path / "file"
    path.write_bytes(content)
    for load in LOADERS.values():
        with pytest.raises(UnsafeFileError, match=f"file: {words}.*ownload it again"):
            load(path)


@pytest.mark.parametrize("content", range(9))
def test_files_that_are_cut_off_are_named(content: int, tmp_path: Path) -> None:
    kind, whole = FILES[content]
    path = tmp_path / "file"
    for part in (0.05, 0.3, 0.5, 0.9, 0.99):
        path.write_bytes(whole[: int(len(whole) * part)])
        with pytest.raises(UnsafeFileError, match="file: it is cut off.*Download it again"):
            LOADERS[kind](path)


@pytest.mark.parametrize(
    "error",
    [
        OSError(22, "Invalid argument"),
        EOFError(),
        RuntimeError("weights_only=False"),
        MemoryError(),
        RecursionError(),
        struct.error(),
        UnicodeDecodeError("utf-8", b"x", 0, 1, "bad"),
        KeyError(9),
    ],
)
def test_whatever_goes_wrong_inside_is_told_in_our_words(
    error: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*args: object) -> None:
        raise error

    monkeypatch.setattr(Unpickler, "load", fail)
    monkeypatch.setattr(zipfile, "ZipFile", fail)
    monkeypatch.setattr(np.lib.format, "read_magic", fail)
    for kind, content in FILES:
        (tmp_path / "file").write_bytes(content)
        with pytest.raises(UnsafeFileError, match="file: it ") as told:
            LOADERS[kind](tmp_path / "file")
        assert "weights_only" not in str(told.value) and told.value.__suppress_context__


def test_missing_file_is_not_a_damaged_one(tmp_path: Path) -> None:
    for load in (load_pickle, load_npy, load_npz, load_torch):
        with pytest.raises(FileNotFoundError):
            load(tmp_path / "nowhere")


# Good files ---------------------------------------------------------------------------------------------------------


def same(a: object, b: object) -> bool:
    """Equal, of the same types, down to the last number."""
    if isinstance(b, torch.nn.Parameter):
        b = b.data
    if type(a) is not type(b):
        return False
    if isinstance(a, torch.Tensor):
        return a.dtype == b.dtype and a.shape == b.shape and torch.equal(a, b)
    if isinstance(a, np.ndarray):
        if a.dtype != b.dtype or a.shape != b.shape:
            return False
        return all(map(same, a.ravel(), b.ravel())) if a.dtype == object else np.array_equal(a, b)
    if isinstance(a, dict):
        return list(a) == list(b) and all(same(a[key], b[key]) for key in a)
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(map(same, a, b))
    return a == b


def plain_objects() -> dict:
    rng = np.random.default_rng(0)
    joints = rng.normal(size=(7, 17, 3)).astype(np.float32)
    return {
        "numbers": [0, 1, -1, 255, 65536, -(2**31), 2**40, -(2**70), 1.5, -0.0, float("inf"), True, False, None, 2j],
        "text": ["", "a", "Ä€𝄞", "x" * 300, b"", b"\0\xff" * 200, bytearray(b"abc")],
        "sets": [{1, 2}, frozenset("ab"), set(), (), (1,), (1, 2), (1, 2, 3), (1, 2, 3, 4)],
        "ordered": OrderedDict(b=1, a=[OrderedDict()]),
        (1, "Directions", "Directions 1.54138969.h5"): joints,
        "views": [
            joints[:, ::2],
            joints.T,
            joints.transpose(1, 2, 0),
            joints[:0],
            np.asfortranarray(joints),
            np.array(3.0),
            joints[0, 0],
        ],
        "types": [np.arange(5).astype(code) for code in "i1 u2 >i4 <u8 >f8 f2 c8 ? S3 >U4".split()],
        "scalars": [np.float64(1.5), np.float32(2), np.int64(3), np.bool_(True), np.str_("ab"), np.complex64(1j)],
        "objects": np.array([{"S1": joints}, [1, "two"], None], dtype=object),
        "dtype": np.dtype(">f4"),
        "slice": [slice(1, None, 2), range(3, 9)],
    }


@pytest.mark.parametrize("protocol", range(6))
def test_plain_pickles(protocol: int, tmp_path: Path) -> None:
    path = tmp_path / "file.pkl"
    expected = plain_objects()
    shared = expected["views"]
    expected["again"] = shared
    content = pickle.dumps(expected, protocol)
    expected = pickle.loads(content)  # numpy turns small arrays of the other byte order into native ones
    for old in (False, True):  # as numpy 2 and as numpy 1 name their modules
        if old:
            content = content.replace(b"numpy._core.", b"numpy.core.")  # protocols 0 to 3 end names by a line
            if protocol > 3:
                break
        path.write_bytes(content)
        loaded = load_pickle(path)
        assert same(loaded, expected)
        assert loaded["again"] is loaded["views"]
    if protocol < 5:
        loaded["views"][0][:] = 0  # can be written to, as after pickle.load


def test_python_2_pickles(tmp_path: Path) -> None:
    path = tmp_path / "file.pkl"
    array = np.arange(3.0)
    raw = "".join(f"\\x{byte:02x}" for byte in array.tobytes())
    data = HEAD + b"(I1\n(I3\nt" + F8 + b"(I3\nS'<'\nNNNI-1\nI-1\nI0\ntbI00\nS'" + raw.encode() + b"'\ntb"
    path.write_bytes(b"(dp0\nS'it\\'s'\n" + data + b"sS'l'\n(lp1\nI01\naL5L\nas.")
    loaded = load_pickle(path)
    assert list(loaded) == ["it's", "l"] and loaded["l"] == [True, 5]
    np.testing.assert_array_equal(loaded["it's"], array)


def test_npz_and_npy(tmp_path: Path) -> None:
    """VideoPose3D's files, and the plain ones: dicts in object arrays without axes, text, numbers, Fortran order."""
    objects = plain_objects()
    positions = {"S1": {"Walking 1": objects["views"][0]}}
    plain = {
        "part": objects["views"][4],
        "name": np.array(["S1_Walk", "é"]),
        "none": np.zeros((0, 3)),
        "n": np.array(4),
    }
    for save in (np.savez, np.savez_compressed):
        save(tmp_path / "file.npz", positions_3d=positions, some=objects["objects"], **plain)
        loaded = load_npz(tmp_path / "file.npz")
        assert same(loaded["positions_3d"], positions) and same(loaded["some"], objects["objects"])
        assert all(same(loaded[key], value) for key, value in plain.items())
        loaded["part"][0] = 1  # can be written to
    for value in (*plain.values(), *objects["types"], objects["objects"]):
        np.save(tmp_path / "file.npy", value)
        assert same(load_npy(tmp_path / "file.npy"), value)


def test_random_state_becomes_a_placeholder(tmp_path: Path) -> None:
    for protocol in range(6):
        content = {"epoch": 3, "random_state": np.random.RandomState(0), "lr": np.float64(0.1)}  # noqa: NPY002
        (tmp_path / "file.bin").write_bytes(pickle.dumps(content, protocol))
        loaded = load_pickle(tmp_path / "file.bin")
        assert type(loaded["random_state"]) is Placeholder and loaded["lr"] == 0.1
        assert "randomstate_ctor" in loaded["random_state"].name


@pytest.fixture
def mmengine(monkeypatch: pytest.MonkeyPatch) -> types.ModuleType:
    """A stand-in for mmengine's log buffer, which stores arrays and a table of its own methods."""
    module = types.ModuleType("mmengine.logging.history_buffer")

    class HistoryBuffer:
        def __init__(self) -> None:
            self._log_history, self._max_length = np.array([0.5, 0.25]), 1000000
            self._statistics_methods = {"mean": HistoryBuffer.mean, "min": self.min}

        def mean(self):
            return self._log_history.mean()

        def min(self):
            return self._log_history.min()

    HistoryBuffer.__module__, HistoryBuffer.__qualname__ = module.__name__, "HistoryBuffer"
    for function in (HistoryBuffer.mean, HistoryBuffer.min):
        function.__module__, function.__qualname__ = module.__name__, f"HistoryBuffer.{function.__name__}"
    module.HistoryBuffer = HistoryBuffer
    for name in ("mmengine", "mmengine.logging"):
        monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
    monkeypatch.setitem(sys.modules, module.__name__, module)
    return module


def checkpoint() -> dict:
    """A training checkpoint with most of what people's files hold."""
    model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4))
    moments = {"step": torch.tensor(1.0), "exp_avg": torch.ones(4, 3), "max_exp_avg_sqs": torch.ones(4, 3)}
    group = {"lr": 0.001, "betas": (0.9, 0.999), "amsgrad": True, "foreach": None, "params": [0]}
    weight = torch.arange(12.0).reshape(3, 4)
    return {
        "epoch": 3,
        "err": np.float64(47.25),
        "state_dict": model.state_dict(),
        "optimizer": {"state": {0: moments}, "param_groups": [group]},
        "views": [weight, weight.T, weight[1:, 2], weight[:0], torch.tensor(3), torch.ones(1).expand(5)],
        "types": [torch.arange(3).to(dtype) for dtype in (torch.float16, torch.bfloat16, torch.bool, torch.int16)],
        "parameter": torch.nn.Parameter(torch.ones(2)),
        "size": tuple(torch.Size([1, 2])),
        "dataset_meta": {"sigmas": np.ones(17), "names": ["pelvis"]},
    }


@pytest.mark.parametrize("options", [{}, LEGACY], ids=["zip", "stream"])
@pytest.mark.parametrize("protocol", [2, 4])
def test_checkpoints(options: dict, protocol: int, tmp_path: Path, mmengine: types.ModuleType) -> None:
    expected = checkpoint()
    hub = {"log_scalars": OrderedDict(loss=mmengine.HistoryBuffer()), "runtime_info": OrderedDict(epoch=3)}
    content = {**expected, "message_hub": hub, "random_state": np.random.RandomState(0)}  # noqa: NPY002
    torch.save(content, tmp_path / "file.pth", pickle_protocol=protocol, **options)
    loaded = load_torch(tmp_path / "file.pth")
    assert all(same(loaded[key], value) for key, value in expected.items())
    buffer = loaded["message_hub"]["log_scalars"]["loss"]
    assert buffer.name == "mmengine.logging.history_buffer.HistoryBuffer"
    assert buffer.state["_log_history"].tolist() == [0.5, 0.25] and type(loaded["random_state"]) is Placeholder
    assert not any(value.requires_grad for value in loaded["state_dict"].values())
    first, turned = loaded["views"][:2]
    first[0, 1] = 99.0
    assert turned[1, 0] == 99.0  # tensors that shared their numbers still do


def test_files_of_older_torch(tmp_path: Path) -> None:
    """GPU storages, tensors without hooks, views as storages of their own, and a numpy 1 scalar."""
    path = tmp_path / "file.pth.tar"
    torch.save({"w": torch.arange(4.0), "err": np.float64(2.5)}, path, **LEGACY)
    new = path.read_bytes()
    old = new.replace(b"ctorch\nFloatStorage\n", b"ctorch.cuda\nFloatStorage\n")
    old = old.replace(b"numpy._core.multiarray", b"numpy.core.multiarray")
    assert old.count(b"torch.cuda") == old.count(b"numpy.core") == 1
    path.write_bytes(old)
    loaded = load_torch(path)
    assert loaded["w"].tolist() == [0, 1, 2, 3] and loaded["w"].device.type == "cpu" and loaded["err"] == 2.5


def test_weigq_data_file(tmp_path: Path) -> None:
    data = {(1, "Directions", "Directions.54138969.h5"): np.ones((5, 48)), (5, "Walking", "x"): np.zeros((2, 48))}
    for options in ({}, LEGACY):
        torch.save(data, tmp_path / "train_3d.pth.tar", **options)
        assert same(load_torch(tmp_path / "train_3d.pth.tar"), data)


# Anything at all ----------------------------------------------------------------------------------------------------


def valid_files() -> list[tuple[str, bytes]]:
    files = [("pickle", pickle.dumps(plain_objects(), protocol)) for protocol in (0, 2, 4, 5)]
    torch.manual_seed(0)
    for options in ({}, LEGACY):
        buffer = io.BytesIO()
        torch.save({"w": torch.ones(3, 2), "err": np.float64(1), "m": np.ones(4)}, buffer, **options)
        files.append(("torch", buffer.getvalue()))
    for save in (np.savez, np.savez_compressed):
        buffer = io.BytesIO()
        save(buffer, a=np.ones((3, 2)), b=np.array({"S1": [np.ones(3)]}, dtype=object))
        files.append(("npz", buffer.getvalue()))
    buffer = io.BytesIO()
    np.save(buffer, np.ones((3, 2)))
    return [*files, ("npy", buffer.getvalue())]


LOADERS = {"pickle": load_pickle, "torch": load_torch, "npz": load_npz, "npy": load_npy}


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_changed_files_load_or_are_refused(data: st.DataObject, tmp_path: Path) -> None:
    """Whatever bytes change, nothing but an UnsafeFileError comes out."""
    kind, content = data.draw(st.sampled_from(FILES))
    changed = bytearray(content)
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(changed) - 1))
        changed[at : at + data.draw(st.integers(0, 4))] = data.draw(st.binary(max_size=4))
    if data.draw(st.integers(0, 3)) == 0:
        changed = changed[: data.draw(st.integers(0, len(changed)))]
    path = tmp_path / "file"
    path.write_bytes(changed)
    try:
        LOADERS[kind](path)
    except UnsafeFileError:
        pass


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=st.binary(max_size=200))
def test_any_bytes_load_or_are_refused(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(content)
    for load in LOADERS.values():
        try:
            load(path)
        except UnsafeFileError:
            pass


FILES = valid_files()
