"""Fetch the annotations of AIST++ from their public home: COCO-17 detections, 3D joints, cameras and splits.

    python data_scripts/fetch_aistpp.py --root data/aistpp

The publisher gives no checksum: that of the first fetch is kept in fetched.json, so that a later change is noticed.
Stop it whenever you like: the same command carries on where it stopped. No video is fetched.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
import sys
import zipfile
from pathlib import Path

from tqdm import tqdm

sys.path.insert(0, str(Path(__file__).resolve().parent))
from fetch_open_mocap import (  # noqa: E402
    LEDGER,
    MAX_ARCHIVE_BYTES,
    UNREADABLE_ZIP,
    FetchError,
    agreed,
    download,
    safe_members,
    write_json,
)

ADDRESS = "https://storage.googleapis.com/aist_plusplus_public/20210308/fullset.zip"
WANTED = re.compile(r"(?:^|/)(keypoints[23]d/[\w-]+\.pkl|(?:cameras|splits)/[\w-]+\.(?:txt|json)|ignore_list\.txt)$")
TERMS = """AIST++ Dance Motion Dataset, annotations (Google LLC)
  Licence: CC BY 4.0. Cite:
  Li, Yang, Ross, Kanazawa: AI Choreographer: Music Conditioned 3D Dance Generation with AIST++, ICCV 2021.
  Tsuchida, Fukayama, Hamasaki, Goto: AIST Dance Video Database, ISMIR 2019.
  The videos themselves have other terms and are not fetched.
"""


def unpack(path: Path, root: Path) -> int:
    """Put what the reader needs from an archive in place; return how many files.

    Raises:
        FetchError: not a zip file, unsafe, or damaged.
    """
    count = 0
    try:
        with zipfile.ZipFile(path) as archive:
            for member in safe_members(archive, path.name):
                if (place := WANTED.search(member.filename)) is None:
                    continue
                target = root / place[1]
                target.parent.mkdir(parents=True, exist_ok=True)
                part = target.with_name(target.name + ".part")
                part.write_bytes(archive.read(member))  # zipfile checks the CRC
                os.replace(part, target)
                count += 1
    except UNREADABLE_ZIP as error:
        raise FetchError(f"{path.name}: could not be unpacked ({error})") from None
    return count


def fetch(root: Path, address: str = ADDRESS, accept_changed: bool = False, **retry) -> int:
    """Download and unpack the archive, unless its files are in place; return how many were unpacked."""
    root.mkdir(parents=True, exist_ok=True)
    book = root / LEDGER
    known = json.loads(book.read_text(encoding="utf-8")) if book.exists() else {}
    there = sum(1 for path in root.rglob("*") if WANTED.search(path.relative_to(root).as_posix()))
    if known and there >= known["files"]:
        return 0
    part = root / "fullset.zip.part"
    with tqdm(unit="B", unit_scale=True, desc="fullset.zip") as bar:
        download(address, part, MAX_ARCHIVE_BYTES, bar, **retry)
    try:
        with part.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        if digest != known.get("sha256", digest) and not accept_changed:
            raise FetchError(f"SHA-256 {digest[:16]}... was {known['sha256'][:16]}...; --accept-changed takes it")
        count = unpack(part, root)
    finally:
        part.unlink()
    if not count:
        raise FetchError(f"{address} holds no file of the expected names; has the publisher changed the layout?")
    write_json(book, {"sha256": digest, "files": count})
    return count


def main(arguments: list[str] | None = None, address: str = ADDRESS, **retry) -> int:
    """Run the command line; the exit status is 0 when everything is in place."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, default=Path("data/aistpp"), help="folder to fill (default: data/aistpp)")
    parser.add_argument("--yes", action="store_true", help="agree to the licence without being asked")
    parser.add_argument("--accept-changed", action="store_true", help="keep an archive whose checksum is another")
    options = parser.parse_args(arguments)
    print(TERMS)
    try:
        if not agreed(options.yes, f"Fetch {address} into {options.root}, on these terms?"):
            return 1
        count = fetch(options.root, address, options.accept_changed, **retry)
    except FetchError as error:
        print(f"Stopped. {error}", file=sys.stderr)
        return 1
    except (OSError, ValueError) as error:
        print(f"Stopped. {options.root} cannot be filled: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nStopped by you; the same command carries on from here.", file=sys.stderr)
        return 130
    print(f'All in place ({count} new). Use it with load_dataset("aistpp", root="{options.root}")')
    return 0


if __name__ == "__main__":
    sys.exit(main())
