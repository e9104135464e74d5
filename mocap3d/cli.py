"""The command line: `python -m mocap3d doctor`."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from mocap3d.diagnostics import doctor


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        arguments: the words after `mocap3d`; None takes them from the command line.
    Returns:
        the exit status, 0 where all is well.
    """
    parser = argparse.ArgumentParser(prog="mocap3d", description="3D human pose lifting, learned by doing")
    commands = parser.add_subparsers(dest="command", required=True, metavar="command")
    commands.add_parser("doctor", help="check what works on this machine, and how to fix what does not")
    parser.parse_args(arguments)
    return 0 if doctor() else 1
