"""``hpa clean``: what a run set can do without."""

import argparse

from hpa_lib import locks, paths
from hpa_lib.data import disk
from hpa_lib.reporting import leftovers


def clean(options: argparse.Namespace) -> int:
    """Print what can be deleted, with its size and what that costs later; delete it with ``--yes``."""
    out = paths.find_out(options.out)
    found = leftovers.find(out)
    for size, path, why in found:
        print(f"{disk.show_bytes(size):>10}  {path.relative_to(out)}: {why}")
    total = disk.show_bytes(sum(size for size, _, _ in found))
    if not options.yes:
        print(f"{total:>10}  in all" + ("; nothing is deleted without --yes" if found else ": nothing to delete"))
        return 0
    with locks.workflow(out), locks.step(out, locks.DATA):  # no step is running
        for _, path, _ in leftovers.find(out):
            leftovers.remove(path)
    print(f"{total:>10}  deleted")
    return 0
