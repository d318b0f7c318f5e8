"""`idiom init PATH`: look at a folder of raw files, link it into the workspace, write params.yaml for it."""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components.errors import BadInput
from components.settings.file import from_dict, load
from components.settings.params import Params
from components.storage.artifacts import publishing

SECTIONS = ("validate", "views", "clean", "train", "index", "rank", "evaluate", "voices", "register")
"""dvc.yaml names each of them, so each stands in params.yaml, empty where the defaults hold."""

ON_A_CPU: dict[str, Any] = {
    "family": "decoder-only",
    "size": "d_model=128,layers=3,heads=4,d_ff=384",
    "generator": {"cold_start_steps": 800},
    "recommender": {"batch_size": 16, "epochs": 8, "lr": 0.002},
}
"""What two cores can bear; README has the figures for 3,000 users of Amazon Beauty. With a GPU the defaults are within
reach. One causal forward teaches every item of a history, which is several times as many targets a second as the
encoder-decoder's; small steps, because a small catalogue has few of them.
"""


@dataclass(frozen=True)
class Initialised:
    """The result of `initialise`: reasons in lines for people; the link and the copy of the old params.yaml, if any."""

    dataset: str
    lines: list[str]
    link: Path | None
    backup: Path | None


def initialise(
    workspace: Path,
    path: Path,
    *,
    sample_users: int = 0,
    force: bool = False,
    more: Mapping[str, Mapping[str, Any]] | None = None,
) -> Initialised:
    """Write `workspace`/params.yaml for the raw files in `path`, linked to data/raw/NAME if they lie elsewhere.

    more: whole sections, in place of what is suggested for these. Raises `BadInput` for files that no reader
    understands, and for a link of that name that points elsewhere (`force` replaces it). Everything is checked before
    anything is written.
    """
    from components.data.ingest.sniff import suggest

    if not path.is_dir():
        raise BadInput("there is no such folder", where=str(path), mend="name the folder with the raw files")
    found = suggest(path)
    params = {"dataset": "", "seed": 17, "ingest": {}, **{name: {} for name in SECTIONS}} | found["params"]
    inside = path.resolve().is_relative_to(workspace.resolve())
    if inside:
        params["ingest"]["path"] = path.resolve().relative_to(workspace.resolve()).as_posix()
    if sample_users:
        params["clean"] = {**params["clean"], "sample_users": sample_users}
    if shutil.which("nvidia-smi") is None:
        params["train"] = ON_A_CPU | params["train"]
    params |= {name: dict(section) for name, section in (more or {}).items()}
    # Its versions must not become challengers of another catalogue's champion.
    params["register"] = {"model_name": f"idiom-{params['dataset']}", **params["register"]}
    from_dict(params, where="what `idiom init` would write")

    link = None if inside else _link(workspace / params["ingest"]["path"], path.resolve(), force=force)
    return Initialised(
        params["dataset"], found["lines"], link, _write(workspace / "params.yaml", params, found["lines"])
    )


def settings_of(
    path: Path,
    workspace: Path,
    say: Callable[[str], object],
    *,
    keep: bool,
    sample_users: int = 0,
    more: Mapping[str, Mapping[str, Any]] | None = None,
) -> Params:
    """`params.yaml` of a workspace for the shop in `path`, as `initialise` writes it; with `keep` as it stands, where
    it is there. Raises `BadInput` where it is of another folder, and as `initialise`."""
    file = workspace / "params.yaml"
    if keep and file.is_file():
        params = load(file)
        if (workspace / params.ingest.path).resolve() != path.resolve():
            mend = "name its own folder, or leave out --keep"
            raise BadInput(f"these settings are not of {path}: {params.ingest.path}", where=str(file), mend=mend)
        say(f"settings {file}, as they stand")
        return params
    workspace.mkdir(parents=True, exist_ok=True)
    for line in initialise(workspace, path, sample_users=sample_users, force=True, more=more).lines:
        say(line)
    say(f"settings {file}; mended by hand, they hold with --keep")
    return load(file)


def _link(link: Path, target: Path, *, force: bool) -> Path:
    """Make `link` point to `target`, in one step. An equal link is left as it is."""
    if link.is_symlink():
        if link.resolve() == target:
            return link
        if not force:
            raise BadInput(
                f"a link of this name points elsewhere: {link.readlink()}",
                where=str(link),
                mend="--force replaces it (the data stays), or give the folder another name",
            )
    elif link.exists():
        raise BadInput(
            "there is data of this name already", where=str(link), mend=f"idiom init {link}, or move it away"
        )
    link.parent.mkdir(parents=True, exist_ok=True)
    temporary = link.with_name(f".{link.name}.{uuid.uuid4().hex[:8]}")
    temporary.symlink_to(target, target_is_directory=True)
    temporary.replace(link)
    return link


def _write(path: Path, params: dict[str, Any], lines: list[str]) -> Path | None:
    """Publish the parameters with the explanation as comments; returns where the old file was kept."""
    import yaml

    backup = None
    if path.is_file():
        backup = path.with_name(f"{path.name}.bak")
        with publishing(backup) as temporary:
            shutil.copyfile(path, temporary)
    head = [
        "Written by `idiom init`; components/settings/ documents every key and its default.",
        *lines,
    ]
    comment = "".join(f"# {part}\n" for line in head for part in line.splitlines())
    with publishing(path) as temporary:
        body = yaml.safe_dump(params, sort_keys=False, allow_unicode=True, width=120)
        temporary.write_text(comment + body, encoding="utf-8")
    return backup
