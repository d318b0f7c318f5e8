"""Run the scoring of a JSON file, with the learning rooms' libraries only:

    python -m components.scoring SCORING.json --workers 2
    python -m components.scoring SCORING.json --workers 2 --torchrun

The file holds at least {"model": "bundle", "histories": "histories.parquet", "out": "scores"}.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from components import __version__
from components.console import Console
from components.errors import StageError
from components.processes.environment import prepare
from components.processes.signals import Stop
from components.progress import reporting
from components.scoring.ranks import on_ranks
from components.scoring.run import score_all
from components.scoring.settings import Scoring
from components.scoring.workers import score_shards


def main() -> int:
    """Exit code of the scoring named on the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--version", action="version", version=f"idiom {__version__}")
    parser.add_argument("scoring", type=Path, help="what components/scoring/settings.py describes, as JSON")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--torchrun", action="store_true", help="as ranks of torchrun; see ranks.py for several nodes")
    given = parser.parse_args()
    prepare()
    try:
        with Stop().listening() as stop, reporting(Console()) as progress:
            team = on_ranks if given.torchrun else score_shards
            scoring = Scoring.load(given.scoring)
            summary = score_all(
                scoring, workers=given.workers, progress=progress, stopped=lambda: stop.requested, team=team
            )
    except StageError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    print(f"{summary.users} users in {summary.seconds:.1f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
