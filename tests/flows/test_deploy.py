"""Whose deployments `idiom deploy` looks after, and removes; test_deployment.py asks a real server."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

from flows.deploy import ours


def test_a_workspace_looks_after_its_own_deployments_alone(tmp_path: Path) -> None:
    """Prevents: `idiom deploy` in /data/shop that removes the deployments of /data/shop-two, whose path begins so."""
    shop, other, link = tmp_path / "shop", tmp_path / "shop-two", tmp_path / "link"
    shop.mkdir()
    link.symlink_to(shop)

    def in_folder(name: str, folder: Path) -> Any:
        step = {"prefect.deployments.steps.set_working_directory": {"directory": str(folder)}}
        return SimpleNamespace(name=name, pull_steps=[step])

    deployed = [
        in_folder("own", shop),
        in_folder("by its other name", link),
        in_folder("alike", other),
        in_folder("inside", shop / "work" / "copy"),
        SimpleNamespace(name="from git", pull_steps=[{"prefect.deployments.steps.git_clone": {"repository": "x"}}]),
        SimpleNamespace(name="none", pull_steps=None),
    ]
    client: Any = SimpleNamespace(read_deployments=lambda **_: deployed)
    assert [each.name for each in ours(client, shop)] == ["own", "by its other name"]
