"""The console script: runs the command line, and says what an interruption did, at whatever moment it comes.

Thin on purpose: Ctrl-C while Python is still importing must not show a traceback either.
"""

from __future__ import annotations

import os
import sys

INTERRUPTED = 130
#: Whoever read our output has gone: as a shell tells of SIGPIPE.
UNREAD = 141


def main() -> None:
    """Exit codes: 0 done, 1 failed, 2 wrong usage, 130 interrupted, 141 nobody read what it printed."""
    try:
        from sampan.cli.main import run

        run()
    except KeyboardInterrupt:
        _tell()
        sys.exit(INTERRUPTED)
    except BrokenPipeError:
        # Python flushes once more at its end, and would say so.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(UNREAD)


def _tell() -> None:
    ends = sys.argv[1:2] in (["down"], ["drain"], ["reset"])  # they start nothing
    print(
        "sampan: interrupted; the same command again does the rest"
        if ends
        else "sampan: interrupted; what was started has been stopped",
        file=sys.stderr,
    )
