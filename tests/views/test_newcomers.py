"""Files of new items, read for `add-items`: whose a file is, which of several counts, and by which encoder."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from components.errors import BadInput
from components.registry.extension import _nearest
from components.settings import voices
from components.settings.params import Ingest
from components.settings.views import Media, Views
from components.views.newcomers import of_new
from components.voices.view import View
from tests.media.test_media import wav
from tests.views.test_build import drawn, made, pictured


def test_a_file_that_a_column_gives_to_another_item_is_not_taken(tmp_path: Path) -> None:
    """Prevents: a new item 17 that is seen as whatever `17.png` shows, which a column says is of item P4."""
    layout = pictured(tmp_path)
    made(layout)
    named = Ingest(media={"shot": Media(files="shots", column="image")})
    assert of_new(["i03"], Views(), named, layout.views, tmp_path / "raw", layout) == {}


def test_the_first_file_of_an_item_counts_as_in_ingest(tmp_path: Path) -> None:
    """Prevents: another vector of the same item after the next `views`, and a crash by a sound among pictures."""
    layout = pictured(tmp_path)
    _, views = made(layout)
    shots, ingest = tmp_path / "raw" / "shots", Ingest(media={"shot": Media(files="shots")})
    (shots / "NEW.png").write_bytes(drawn(0))
    (shots / "NEW.wav").write_bytes(wav(np.sin(np.arange(4000.0))))
    (shots / "NEW.webp").write_bytes(drawn(1))
    (shots / "HEARD.wav").write_bytes(wav(np.sin(np.arange(4000.0))))
    found = of_new(["NEW", "HEARD"], Views(), ingest, layout.views, tmp_path / "raw", layout)["shot"]
    assert list(found) == ["NEW"]
    np.testing.assert_allclose(found["NEW"], np.asarray(views["shot"])[0], atol=1e-6)


def test_another_encoder_than_the_champions_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Prevents: a traceback of shapes where views.pictures was changed after the champion was trained."""
    layout = pictured(tmp_path)
    made(layout)
    monkeypatch.setattr("components.views.colours.Colours.width", 1280)
    with pytest.raises(BadInput, match="colours reads 1,280"):
        of_new(["i03"], Views(), Ingest(media={"shot": Media(files="shots")}), layout.views, tmp_path / "raw", layout)


def test_a_new_item_is_named_beside_those_of_like_text_not_of_like_pictures() -> None:
    """Prevents: with no voice of text, IDs that tell a new item apart from those that look like it alone, or from none
    at all where the first view is one of relations."""
    catalogue: Any = SimpleNamespace(table=range(3))
    seen = View(catalogue, {"dense": np.eye(3, dtype=np.float32)}, voices.View(of="shot"))
    hybrid: Any = SimpleNamespace(reader=SimpleNamespace(voices={"view:shot": seen}))
    assert _nearest(hybrid, {"view:shot": [np.eye(3, dtype=np.float32)[1]]}, 1, 3) == [0, 1, 2]
