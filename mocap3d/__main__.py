"""`python -m mocap3d ...` is the same as the `mocap3d` command."""

import sys

from mocap3d.cli import main

sys.exit(main())
