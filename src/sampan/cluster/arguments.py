"""What the processes of an instance share when they start: their command line and their log."""

from __future__ import annotations

import argparse
import logging
from pathlib import Path

from sampan.cluster.errors import ClusterError
from sampan.cluster.instance import RUN_ROOT, STATE_ROOT, Instance, load


def instance_from_arguments(description: str) -> Instance:
    """The instance that the supervisor names on the command line of a child."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--name", required=True)
    parser.add_argument("--state-root", type=Path, default=STATE_ROOT)
    parser.add_argument("--run-root", type=Path, default=RUN_ROOT)
    chosen = parser.parse_args()
    return load(chosen.name, state_root=chosen.state_root, run_root=chosen.run_root)


def instance_or_exit(description: str) -> Instance:
    """The same; ends the process with a word to its log when the instance's settings cannot be read."""
    try:
        return instance_from_arguments(description)
    except ClusterError as error:
        raise SystemExit(f"{error.message} ({error.fix})") from None


def log_to_stderr() -> None:
    """A line a message: time, level, who. The supervisor keeps it in the process's log file."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname).1s %(name)s: %(message)s")
