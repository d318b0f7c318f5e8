"""The command line as a person meets it: a process, its words, its exit code."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner, Result

from components import __version__
from flows.cli import app


def idiom(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_help_lists_every_command() -> None:
    """A person finds each command without the README."""
    done = subprocess.run([sys.executable, "-m", "flows.cli", "--help"], capture_output=True, text=True, check=True)
    old = ("init", "retrain", "repro", "recommend", "score", "ablate", "serve", "ui", "doctor")
    for name in (*old, "ingest", "forget", "add-items", "monitor", "backfill"):
        assert f" {name} " in done.stdout
    assert "Operate" in done.stdout and "Commands" not in done.stdout, "a command under no heading"


def test_the_command_line_itself_imports_typer_alone() -> None:
    """Prevents an import of torch or Prefect (2 to 8 s) before the first word; --help takes 0.15 s."""
    heavy = {"torch", "prefect", "mlflow", "polars", "yaml", "rich"}
    code = f"import sys, flows.cli; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """A folder of raw files as a shop might export them."""
    folder = tmp_path / "My Shop"
    folder.mkdir()
    items = ["item_id,title,brand"] + [f"i{n},Product number {n},Brand {n % 3}" for n in range(12)]
    rows = ["user_id,item_id,timestamp"]
    rows += [
        f"u{user},i{(user * 5 + step * 7) % 12},{1_400_000_000 + 86_400 * step}"
        for user in range(12)
        for step in range(6)
    ]
    (folder / "items.csv").write_text("\n".join(items) + "\n")
    (folder / "interactions.csv").write_text("\n".join(rows) + "\n")
    return folder


def test_init_links_and_writes_what_the_stages_accept(tmp_path: Path, shop: Path) -> None:
    """Prevents: a params.yaml that `load` or DVC refuses, and an old one that is lost."""
    from components.settings.file import load

    workspace = tmp_path / "workspace"
    workspace.mkdir()
    (workspace / "params.yaml").write_text("dataset: before\n")
    done = idiom("init", shop, "--workspace", workspace, "--sample-users", "7")
    assert done.exit_code == 0, done.output
    params = load(workspace / "params.yaml")
    assert (params.dataset, params.ingest.format, params.clean.sample_users) == ("my-shop", "table", 7)
    assert params.register.model_name == "idiom-my-shop"
    link = workspace / "data" / "raw" / "my-shop"
    assert link.is_symlink() and link.resolve() == shop.resolve()
    assert (workspace / "params.yaml.bak").read_text() == "dataset: before\n"
    sections = set(yaml.safe_load((workspace / "params.yaml").read_text()))
    assert {"ingest", "validate", "clean", "train", "index", "evaluate", "register"} <= sections


def test_what_commands_leave_behind_does_not_dirty_git(repository: Path) -> None:
    """Prevents: a working tree that is never clean after `idiom init` or `dvc plots show`, and is trusted no more."""
    left = ["params.yaml.bak", "dvc_plots/index.html", "artifacts/demo/register/registration.json", "mlflow.db"]
    left += ["data/quarantine/demo/0a1b/report.json"]
    asked = ["git", "check-ignore", "--no-index", *left]
    assert subprocess.run(asked, cwd=repository, capture_output=True, text=True).stdout.split() == left


def test_init_does_not_take_over_a_name(tmp_path: Path, shop: Path) -> None:
    """Prevents: two shops' folders of the same name, the second silently replacing the first."""
    workspace = tmp_path / "workspace"
    link = workspace / "data" / "raw" / "my-shop"
    link.parent.mkdir(parents=True)
    link.symlink_to(tmp_path / "another shop")
    refused = idiom("init", shop, "--workspace", workspace)
    assert refused.exit_code == 2 and "--force" in refused.output
    assert link.readlink() == tmp_path / "another shop"
    assert not (workspace / "params.yaml").exists()
    assert idiom("init", shop, "--workspace", workspace, "--force").exit_code == 0
    assert link.resolve() == shop.resolve()


def test_init_of_what_is_no_data_changes_nothing(tmp_path: Path) -> None:
    """Prevents: a params.yaml written for a mistyped or an empty folder."""
    (tmp_path / "params.yaml").write_text("dataset: before\n")
    (tmp_path / "empty").mkdir()
    for path in (tmp_path / "nowhere", tmp_path / "empty"):
        done = idiom("init", path, "--workspace", tmp_path)
        assert done.exit_code == 2 and "mend:" in done.output, done.output
    assert (tmp_path / "params.yaml").read_text() == "dataset: before\n"


def test_repro_says_what_the_stage_said(mini: Any) -> None:
    """Prevents: DVC's 255 for everything."""
    mini.behave("clean", exit=3, what="the verdict says no")
    done = subprocess.run(
        [sys.executable, "-m", "flows.cli", "repro", "--workspace", str(mini.root)], capture_output=True, text=True
    )
    assert done.returncode == 3
    assert "clean: the verdict says no\n  where: there\n  mend:  this way" in done.stderr.split("error: ")[-1]
    assert done.stderr.count("the verdict says no") == 1, done.stderr
    assert "Traceback" not in done.stderr


def test_repro_up_to_a_stage(mini: Any) -> None:
    """Prevents: `--stage validate`, the quick look at new data, that trains for an hour."""
    assert idiom("repro", "--stage", "validate", "--workspace", mini.root).exit_code == 0
    assert mini.out("validate").exists() and not mini.out("clean").exists()


def test_an_unknown_stage_is_said_once(mini: Any) -> None:
    """Prevents: three reports of one typing error, DVC's, its end once more, and ours."""
    done = idiom("repro", "--stage", "trian", "--workspace", mini.root)
    assert done.exit_code == 2
    assert done.output.count("trian") == 1 and "did you mean train?" in done.output
    assert not mini.out("ingest").exists()


@pytest.mark.parametrize("module", ["flows.cli", "flows", "components", "components.training", "components.scoring"])
def test_every_entry_says_its_version(module: str) -> None:
    """Prevents: a report of a bug in a version that nobody can name; and three versions that differ."""
    done = subprocess.run([sys.executable, "-m", module, "--version"], capture_output=True, text=True, check=True)
    assert done.stdout == f"idiom {__version__}\n"


def test_the_version_is_one(repository: Path) -> None:
    project = tomllib.loads((repository / "pyproject.toml").read_text())["project"]
    changelog = (repository / "CHANGELOG.md").read_text()
    assert project["version"] == __version__
    assert next(line for line in changelog.splitlines() if line.startswith("## ")).startswith(f"## {__version__}")


def test_a_mistyped_stage_of_the_module_is_named() -> None:
    """Prevents: a line of usage that does not say what was wrong."""
    done = subprocess.run([sys.executable, "-m", "components", "trian"], capture_output=True, text=True)
    assert done.returncode == 2 and "there is no stage 'trian'" in done.stderr and "did you mean train?" in done.stderr


def test_repro_says_what_the_data_warn_of(mini: Any) -> None:
    """Prevents: a warning in a JSON file, which warns nobody; also where DVC found the stages unchanged."""
    mini.warn()
    for _ in range(2):
        done = idiom("repro", "--stage", "validate", "--workspace", mini.root)
        assert done.exit_code == 0
        assert (
            "warning  few_ties_in_time: Few users have ties. Observed 0.7, at most 0.5. Mend: bring times."
            in done.output
        )
        assert (
            "warning  2 of 320 records of the interactions are set aside: 2 have no id (row 3, row 4)." in done.output
        )
        assert "warning  3 held-out interactions are with items outside the training core" in done.output


def test_a_warning_that_was_just_printed_is_not_repeated(mini: Any) -> None:
    """Prevents: each warning twice, one line after the other."""
    mini.warn()
    warning = "few_ties_in_time: Few users have ties. Observed 0.7, at most 0.5. Mend: bring times."
    script = (mini.root / "stage.py").read_text()
    (mini.root / "stage.py").write_text(f"{script}\nprint('warning (validate): {warning}')\n")
    done = subprocess.run(
        [sys.executable, "-m", "flows.cli", "repro", "--stage", "ingest", "--workspace", str(mini.root)],
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr.count(warning)) == (0, 1), done.stderr
    assert "Running stage 'ingest':" in done.stderr and "lock file" not in done.stderr


def test_ctrl_c_of_repro_waits_for_the_checkpoint(mini: Any) -> None:
    """Prevents: Ctrl-C that kills DVC and the training with it, an hour of work lost."""
    mini.behave("train", sleep=60)
    process = subprocess.Popen(
        [sys.executable, "-m", "flows.cli", "repro", "--workspace", str(mini.root)], stderr=subprocess.PIPE, text=True
    )
    while not (mini.root / "train.started").exists():
        assert process.poll() is None
        time.sleep(0.05)
    time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=20)
    assert process.returncode == 130
    assert "the checkpoint is saved" in said
    assert (mini.root / "train.checkpoint").exists()


def test_recommend_wants_one_source_of_history(tmp_path: Path) -> None:
    """Prevents: item ids that are ignored because a user was named too."""
    both = idiom("recommend", "i1", "--user", "u1", "--workspace", tmp_path)
    neither = idiom("recommend", "--workspace", tmp_path)
    assert both.exit_code == neither.exit_code == 2
    assert "one of them" in both.output and "one of them" in neither.output


@pytest.mark.parametrize("on", ["torchrun", "processes"])
def test_an_address_of_dask_is_never_dropped(tmp_path: Path, on: str) -> None:
    """Prevents: `--on torchrun --dask ADDRESS` that scores here and alone while a cluster waits."""
    done = idiom("score", "--on", on, "--dask", "tcp://a:1", "--workspace", tmp_path)
    assert done.exit_code == 2
    assert "--dask needs --on dask" in done.output


def test_an_unknown_parameter_is_named_without_a_traceback(tmp_path: Path) -> None:
    """Prevents: a pydantic traceback for a typing error."""
    (tmp_path / "params.yaml").write_text("clean: {min_user_interaction: 5}\n")
    done = idiom("recommend", "i1", "--workspace", tmp_path)
    assert done.exit_code == 2
    assert "min_user_interaction" in done.output and "Traceback" not in done.output


def test_doctor_finds_what_is_wrong(mini: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Prevents: a doctor that calls everything fine: a wrong version, a dead server and missing data are told."""
    from flows import doctor

    versions = {"sqlalchemy": "2.1.3", "fastapi": "0.150.0", "polars": "9.9"}
    monkeypatch.setattr(doctor, "_version", versions.get)
    monkeypatch.setattr(doctor, "accelerator", lambda workspace: iter(()))
    monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:1/api")
    (mini.root / "constraints.txt").write_text("polars==2.1.0\n")
    done = idiom("doctor", "--workspace", mini.root)
    assert done.exit_code == 1
    lines = done.output.splitlines()
    assert any(line.startswith("fail") and "sqlalchemy 2.1.3" in line and "scheduler" in line for line in lines)
    assert any(line.startswith("ok") and "fastapi 0.150.0" in line for line in lines)
    assert any(line.startswith("warn") and "polars 9.9 (pinned 2.1.0)" in line for line in lines)
    assert any(line.startswith("fail") and "127.0.0.1:1" in line for line in lines)
    assert any(line.startswith("fail") and "no raw data" in line for line in lines)


@pytest.mark.parametrize("content", ["", '{"write": {"artifacts/x": {"pid": 99', "null", '["x"]'])
def test_a_broken_list_of_locks_is_mended(mini: Any, content: str) -> None:
    """Prevents: every night that ends with "JSON structure is corrupted" until somebody removes a file by hand."""
    from flows import doctor

    lock = mini.root / ".dvc" / "tmp" / "rwlock"
    lock.parent.mkdir(exist_ok=True)
    lock.write_text(content)
    (finding,) = doctor.locks(mini.root)
    assert finding.status == "fail" and "idiom doctor --fix" in finding.mend and lock.exists()
    (finding,) = doctor.locks(mini.root, fix=True)
    assert (finding.status, finding.what.startswith("mended: ")) == ("ok", True)
    assert not lock.exists()
    lock.write_text(content)
    assert idiom("repro", "--stage", "ingest", "--workspace", mini.root).exit_code == 0


def test_a_list_of_locks_that_somebody_holds_is_left(mini: Any) -> None:
    """Prevents: a doctor that takes the lock away from a training that runs."""
    from flows import doctor

    lock = mini.root / ".dvc" / "tmp" / "rwlock"
    lock.parent.mkdir(exist_ok=True)
    whole = json.dumps({"write": {"artifacts/x": {"pid": os.getpid(), "cmd": "dvc repro"}}, "read": {}})
    for content, status in ((whole, "ok"), (whole[:-9], "fail")):
        lock.write_text(content)
        for fix in (False, True):
            (finding,) = doctor.locks(mini.root, fix)
            assert (finding.status, str(os.getpid()) in finding.what) == (status, True)
            assert lock.read_text() == content
    lock.write_text(whole.replace(str(os.getpid()), "999999999"))
    (finding,) = doctor.locks(mini.root)
    assert finding.status == "ok" and "processes that ended" in finding.what and lock.exists()
    (finding,) = doctor.locks(mini.root, fix=True)
    assert finding.what.startswith("mended: ") and not lock.exists()
    (finding,) = doctor.locks(mini.root)
    assert (finding.status, finding.what) == ("ok", "no run holds DVC's locks")


def test_doctor_is_content_with_this_environment(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Prevents: pins of pyproject.toml, constraints.txt and the doctor that contradict each other."""
    from flows import doctor

    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    found = [finding for check in (doctor.python, doctor.pins, doctor.graph) for finding in check(repository)]
    assert [finding for finding in found if finding.status != "ok"] == []


def test_ui_note_is_followed_only_while_its_server_answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Prevents: a retrain that waits for the server of an `idiom ui` that was killed yesterday."""
    from flows.servers import adopt_running_prefect

    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    note = tmp_path / ".prefect" / "ui.json"
    note.parent.mkdir()
    note.write_text(json.dumps({"api": "http://127.0.0.1:1/api"}))
    adopt_running_prefect(tmp_path)
    assert "PREFECT_API_URL" not in os.environ
