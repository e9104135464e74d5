"""Fetch the open motion capture that the course uses: CMU and Bandai-Namco, from their public homes.

    python data_scripts/fetch_open_mocap.py --root data
    python data_scripts/fetch_open_mocap.py --root data --only bandai --dry-run

Each file is checked against a SHA-256 in open_mocap_files.json (taken over the text with carriage returns
before line feeds left out, because copies of the CMU files differ in nothing else). The Bandai-Namco and BVH
sums were compared with the commits named in their addresses; the ASF/AMC sums come from a public copy, since
CMU publishes none. What comes without a sum (the rest of the archive, with --complete) is trusted the first
time and its sum kept in fetched.json, so that a later change is noticed.
Stop it whenever you like: the same command carries on where it stopped.
"""

from __future__ import annotations

import argparse
import errno
import hashlib
import http.client
import json
import lzma
import os
import re
import shutil
import stat
import struct
import sys
import time
import urllib.error
import urllib.request
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from tqdm import tqdm

TABLE = Path(__file__).with_name("open_mocap_files.json")
LEDGER = "fetched.json"
CHUNK = 1 << 16
TIMEOUT_S = 30.0
ATTEMPTS = 5
MAX_ARCHIVE_BYTES = 4 << 30
MAX_UNPACKED_BYTES = 8 << 30
MAX_RATIO = 200  # motion written out as text packs to a tenth or so; a thousandfold is an attack
# All that the zipfile module was seen to raise on damaged archives (tested with random damage), and a full disk.
UNREADABLE_ZIP = (zipfile.BadZipFile, zlib.error, lzma.LZMAError, struct.error)
UNREADABLE_ZIP += (EOFError, NotImplementedError, OSError, OverflowError, RuntimeError, ValueError)

UNWRITABLE = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT, errno.EISDIR, errno.ENOTDIR)

CMU_TERMS = """  Licence: free for all uses; not to be resold, even in converted form. Acknowledge:
  "The data used in this project was obtained from mocap.cs.cmu.edu.
   The database was created with funding from NSF EIA-0196217." """
SOURCES = {
    "cmu-asfamc": f"CMU Graphics Lab Motion Capture Database, subjects 01 and 02 (ASF/AMC)\n{CMU_TERMS}",
    "cmu-bvh": "The same database as BVH on one common avatar, subjects 001, 002, 005, 007\n"
    f"  From the IClone-CMU-Mocap project on GitHub. CMU's terms hold:\n{CMU_TERMS}",
    "bandai": """Bandai-Namco-Research-Motiondataset 1 and 2 (a part; all of it with --complete)
  Licence: CC BY-NC 4.0, not for commercial use. Cite:
  Kobayashi, Liao, Inoue, Yojima, Takahashi: Motion Capture Dataset for Practical Use of AI-based
  Motion Editing and Stylization, 2023, arXiv:2306.08861.""",
}


class FetchError(Exception):
    """Something that stops the download, in words for the person who runs it."""


@dataclass(frozen=True)
class Wanted:
    """One file: its address, its place under the root, and what is known of it."""

    url: str
    place: str
    size: int
    sha256: str


def read_table(path: Path, only: list[str] | None) -> tuple[list[Wanted], list[dict]]:
    """The files and the archives of the chosen sources, from the table beside this script."""
    table = json.loads(path.read_text(encoding="utf-8"))
    groups = [group for group in table["groups"] if not only or group["source"] in only]
    files = [
        Wanted(group["url"] + name, f"{group['folder']}/{name}", size, digest)
        for group in groups
        for name, (size, digest) in group["files"].items()
    ]
    return files, [archive for archive in table["archives"] if not only or archive["source"] in only]


def text_sha256(path: Path) -> str:
    """SHA-256 of a file, carriage returns before line feeds left out."""
    return hashlib.sha256(path.read_bytes().replace(b"\r\n", b"\n")).hexdigest()


def write_json(path: Path, value: object) -> None:
    """Write JSON under a temporary name, then move it into place."""
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_text(json.dumps(value, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    os.replace(temporary, path)


def download(url: str, part: Path, limit: int, bar: tqdm, pause_s: float = 1.0) -> None:
    """Bring one address into a .part file, resuming what is there and trying again after a break.

    Args:
        url: http or https address.
        part: the unfinished file; kept when it fails, so that a later call resumes it.
        limit: most bytes to accept.
        bar: counts the bytes.
        pause_s: seconds before the second attempt; doubled for each further one.
    Raises:
        FetchError: the server refuses, sends too much, or keeps failing.
    """
    for attempt in range(ATTEMPTS):
        try:
            _receive(url, part, limit, bar)
            return
        except urllib.error.HTTPError as error:
            if error.code < 500 and error.code not in (408, 429):
                raise FetchError(f"{url}: the server answers {error.code} {error.reason}") from None
            reason = f"the server answers {error.code} {error.reason}"
        except (OSError, http.client.HTTPException) as error:  # no route, time-out, connection cut
            if getattr(error, "errno", None) in UNWRITABLE:
                raise
            reason = str(getattr(error, "reason", error)) or type(error).__name__
        if attempt < ATTEMPTS - 1:
            time.sleep(pause_s * 2**attempt)
    raise FetchError(
        f"{url}: {reason} ({ATTEMPTS} attempts). Is there a network, or a proxy to name in HTTPS_PROXY? "
        "What has arrived is kept; the same command carries on."
    )


def _receive(url: str, part: Path, limit: int, bar: tqdm) -> None:
    """One attempt: ask for what is missing, append it, and see that all of it came."""
    have = part.stat().st_size if part.exists() else 0
    request = urllib.request.Request(url, headers={"User-Agent": "mocap3d-fetch", "Accept-Encoding": "identity"})
    if have:
        request.add_header("Range", f"bytes={have}-")
    try:
        response = urllib.request.urlopen(request, timeout=TIMEOUT_S)
    except urllib.error.HTTPError as error:
        if error.code != 416:
            raise
        part.unlink()  # longer than, or exactly, what the server has: cannot be told apart, so start again
        raise ConnectionError("the server could not resume the file") from None
    with response:
        start = re.match(r"bytes (\d+)-", response.headers.get("Content-Range", ""))
        resumed = response.status == 206 and start is not None and int(start[1]) == have
        if have and not resumed:
            have = 0
        expected = response.headers.get("Content-Length")
        received = have
        with part.open("ab" if have else "wb") as file:
            while chunk := response.read(CHUNK):
                received += len(chunk)
                if received > limit:
                    raise FetchError(f"{url}: longer than the {limit:,} bytes expected; not kept reading")
                file.write(chunk)
                bar.update(len(chunk))
    if expected is not None and received - have != int(expected):
        raise ConnectionError(f"the connection ended after {received - have:,} of {int(expected):,} bytes")


def fetch_file(wanted: Wanted, root: Path, ledger: dict[str, str], accept_changed: bool, bar: tqdm, **retry) -> bool:
    """Have one file in place and checked; return whether it had to be downloaded."""
    target = root / wanted.place
    known = {wanted.sha256, ledger.get(wanted.place)}
    if target.exists() and text_sha256(target) in known:
        bar.update(wanted.size)
        return False
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(target.name + ".part")
    resumed = part.exists()
    limit = 2 * wanted.size + CHUNK
    download(wanted.url, part, limit, bar, **retry)
    if resumed and text_sha256(part) not in known:
        part.unlink()  # the old beginning may be of another file
        download(wanted.url, part, limit, bar, **retry)
    digest = text_sha256(part)
    if digest not in known:
        if not accept_changed:
            part.unlink()
            raise FetchError(
                f"{wanted.url}: checksum {digest[:16]}... is not the {wanted.sha256[:16]}... expected, so it was "
                "not kept. If you know that the publisher changed the file, --accept-changed takes it."
            )
        ledger[wanted.place] = digest
    os.replace(part, target)
    return True


def safe_members(archive: zipfile.ZipFile, name: str) -> list[zipfile.ZipInfo]:
    """The files of an archive, refused as a whole where any of them could do harm.

    Raises:
        FetchError: a member leaves the folder, is a link, or unpacks to far more than its size.
    """
    members = [member for member in archive.infolist() if not member.is_dir()]
    for member in members:
        path = PurePosixPath(member.filename)
        if path.is_absolute() or ".." in path.parts or "\\" in member.filename or ":" in member.filename:
            raise FetchError(f"{name}: refused, {member.filename!r} would be written outside its folder")
        if stat.S_ISLNK(member.external_attr >> 16):
            raise FetchError(f"{name}: refused, {member.filename!r} is a link")
        if member.file_size > MAX_RATIO * max(member.compress_size, 1024):
            raise FetchError(f"{name}: refused, {member.filename!r} unpacks to {member.file_size:,} bytes")
    total = sum(member.file_size for member in members)
    if total > MAX_UNPACKED_BYTES:
        raise FetchError(f"{name}: refused, it unpacks to {total:,} bytes")
    return members


def unpack(path: Path, folders: dict[str, str], root: Path, known: dict[str, str], ledger: dict[str, str]) -> int:
    """Put the motion files and licences of a downloaded archive in place; return how many.

    Args:
        path: the zip file, as GitHub makes it: everything in one top folder.
        folders: folder inside the top folder -> folder under root.
        root: where the data goes.
        known: place under root -> SHA-256, for the files that have one.
        ledger: place -> SHA-256 seen at an earlier fetch; extended here.
    Raises:
        FetchError: not a zip file, unsafe, damaged, or with a file other than the known one.
    """
    count = 0
    try:
        with zipfile.ZipFile(path) as archive:
            for member in safe_members(archive, path.name):
                inside = PurePosixPath(*PurePosixPath(member.filename).parts[1:])
                folder = folders.get(str(inside.parent))
                if folder is None or not (inside.suffix == ".bvh" or inside.name == "LICENSE"):
                    continue
                _place_member(archive, member, root, f"{folder}/{inside.name}", known, ledger)
                count += 1
    except UNREADABLE_ZIP as error:
        raise FetchError(f"{path.name}: could not be unpacked ({error})") from None
    return count


def _place_member(archive, member, root: Path, place: str, known: dict[str, str], ledger: dict[str, str]) -> None:
    """Write one file of an archive to its place, once its checksum is known to be right."""
    part = root / f"{place}.part"
    part.parent.mkdir(parents=True, exist_ok=True)
    try:
        with archive.open(member) as source, part.open("wb") as file:
            shutil.copyfileobj(source, file, CHUNK)  # zipfile stops at file_size and checks the CRC
        digest = text_sha256(part)
        if digest != (known[place] if place in known else ledger.setdefault(place, digest)):
            raise FetchError(f"{archive.filename}: {place} is not the file that was expected")
        os.replace(part, root / place)
    finally:
        part.unlink(missing_ok=True)


def fetch_archive(archive: dict, root: Path, known: dict[str, str], ledger: dict[str, str], **retry) -> int:
    """Download one archive, unpack what belongs here, and remove it."""
    root.mkdir(parents=True, exist_ok=True)
    part = root / (archive["url"].rsplit("/", 1)[-1] + ".part")
    with tqdm(unit="B", unit_scale=True, desc="archive") as bar:
        download(archive["url"], part, MAX_ARCHIVE_BYTES, bar, **retry)
    try:
        return unpack(part, archive["folders"], root, known, ledger)
    finally:
        part.unlink(missing_ok=True)


def fetch(files: list[Wanted], archives: list[dict], root: Path, accept_changed: bool = False, **retry) -> int:
    """Have every file in place; return how many were downloaded or unpacked."""
    root.mkdir(parents=True, exist_ok=True)
    book = root / LEDGER
    try:
        ledger = json.loads(book.read_text(encoding="utf-8")) if book.exists() else {}
    except ValueError:
        ledger = None
    if not isinstance(ledger, dict):
        raise FetchError(f"{book} is damaged; remove it and start again")
    before = dict(ledger)
    fetched = 0
    try:
        with tqdm(total=sum(f.size for f in files), unit="B", unit_scale=True, desc="motion") as bar:
            for wanted in files:
                fetched += fetch_file(wanted, root, ledger, accept_changed, bar, **retry)
        known = {wanted.place: wanted.sha256 for wanted in files}
        for archive in archives:
            fetched += fetch_archive(archive, root, known, ledger, **retry)
    finally:
        if ledger != before:
            write_json(book, ledger)
    return fetched


def agreed(assume_yes: bool, question: str) -> bool:
    """Ask before downloading; without a person to ask, only --yes counts."""
    if assume_yes:
        return True
    if not sys.stdin.isatty():
        raise FetchError("nobody is there to ask: add --yes to agree to the licences above")
    return input(f"{question} [y/N] ").strip().lower() in ("y", "yes")


def main(arguments: list[str] | None = None, table: Path = TABLE, **retry) -> int:
    """Run the command line; the exit status is 0 when everything asked for is in place."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, default=Path("data"), help="folder to fill (default: data)")
    parser.add_argument("--only", action="append", choices=list(SOURCES), help="one source; may be repeated")
    parser.add_argument("--complete", action="store_true", help="all Bandai-Namco motions: other clips, other scores")
    parser.add_argument("--yes", action="store_true", help="agree to the licences without being asked")
    parser.add_argument("--dry-run", action="store_true", help="only say what would be fetched, and from where")
    parser.add_argument("--accept-changed", action="store_true", help="keep files whose checksum is another")
    options = parser.parse_args(arguments)
    files, archives = read_table(table, options.only)
    archives = archives if options.complete else []
    for source in options.only or SOURCES:
        print(f"{source}: {SOURCES[source]}\n")
    size_mb = sum(wanted.size for wanted in files) / 1e6
    what = f"{len(files)} files, {size_mb:.0f} MB" + (f", and {len(archives)} archive" if archives else "")
    if options.dry_run:
        for wanted in files:
            print(f"{wanted.url} -> {options.root / wanted.place}")
        for archive in archives:
            print(f"{archive['url']} -> {options.root / 'bandai'}")
        print(f"Would fetch {what} into {options.root}.")
        return 0
    try:
        if not agreed(options.yes, f"Fetch {what} into {options.root}, on these terms?"):
            return 1
        fetched = fetch(files, archives, options.root, options.accept_changed, **retry)
    except FetchError as error:
        print(f"Stopped. {error}", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"Stopped. {options.root} cannot be filled: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nStopped by you; the same command carries on from here.", file=sys.stderr)
        return 130
    print(f"All in place ({fetched} new). Use it with MOCAP3D_DATA={options.root.resolve()}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
