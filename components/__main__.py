"""Run one stage in the current workspace: `python -m components STAGE` (what dvc.yaml calls), or `STAGE-of CATALOGUE`.

Exit codes: 0 done; 2 bad input or parameter; 3 a gate refused; 130 interrupted with the checkpoint saved.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from components import __version__
from components.errors import Interrupted, StageError, unknown
from components.machine import refused_by_the_machine
from components.processes.environment import prepare
from components.storage.artifacts import publish_json


def main(arguments: list[str]) -> int:
    """Run the stage named by `arguments` and return its exit code."""
    if arguments == ["--version"]:
        print(f"idiom {__version__}")
        return 0
    prepare()

    from components import catalogues, stages
    from components.processes.cost import Meter
    from components.settings.file import load

    of_one = arguments[:1] and arguments[0] in catalogues.STAGES
    if len(arguments) != (2 if of_one else 1) or arguments[0] in ("-h", "--help"):
        usage = f"{{{','.join(stages.STAGES)}}} | {{{','.join(catalogues.STAGES)}}} CATALOGUE | --version"
        print(f"usage: python -m components {usage}", file=sys.stderr)
        return 0 if arguments[:1] in (["-h"], ["--help"]) else 2
    if arguments[0] not in stages.STAGES and not of_one:
        print(f"error: {unknown('stage', arguments[0], stages.STAGES, where='python -m components')}", file=sys.stderr)
        return 2
    workspace, name = Path.cwd(), "@".join(arguments)  # as DVC calls the stage
    try:
        params, meter = load(workspace / "params.yaml"), Meter()
        if of_one:
            catalogues.run(arguments[0], workspace, params, arguments[1])
        else:
            stages.run(arguments[0], workspace, params)
        stages.keep_cost(name, workspace, params, meter.figures())
    except StageError as error:
        return _report(name, error)
    except KeyboardInterrupt:
        mend = "; ".join(filter(None, ["the same command runs this stage again", _kept(name, workspace)]))
        return _report(name, Interrupted("interrupted", where=str(workspace), mend=mend))
    except Exception as error:
        refused = refused_by_the_machine(error, workspace, kept=_kept(name, workspace))
        if refused is None:
            raise
        return _report(name, refused)
    return 0


def _kept(stage: str, workspace: Path) -> str:
    """What became of the stage's outputs of before: a stage replaces them when it is done, DVC removes them before."""
    if os.environ.get("DVC_STAGE") != stage:
        return "what was published before still stands"
    lock = workspace / "dvc.lock"
    before = lock.is_file() and f"\n  {stage}:\n" in lock.read_text(encoding="utf-8")
    return f"DVC has removed this stage's last outputs, `dvc checkout {stage}` brings them back" if before else ""


def _report(stage: str, error: StageError) -> int:
    """Tell the person at the terminal, or whoever started the stage and tells them; returns the exit code for DVC."""
    from components.stages import ERROR_FILE

    if path := os.environ.get(ERROR_FILE):
        try:
            publish_json(Path(path), {"stage": stage, **error.facts()})
            return error.exit_code
        except OSError:  # the disk that is full, for one
            pass
    print(f"{stage}: {error}", file=sys.stderr)
    return error.exit_code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
