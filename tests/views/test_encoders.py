"""Encoders of pictures: the network reads published weights and no pickled code; a local model of transformers."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from components.errors import BadInput
from components.views import efficientnet, transformer
from components.views.colours import NAMES, Colours, words
from components.views.reduce import reduced

PIXELS = np.random.default_rng(0).integers(0, 255, (3, 64, 64, 3), dtype=np.uint8)


def published(folder: Path, state: object, monkeypatch: pytest.MonkeyPatch) -> None:
    """A package like the one in the registry."""
    models = folder / "site" / efficientnet.PACKAGE / "models"
    models.mkdir(parents=True)
    (models.parent / "__init__.py").touch()
    torch.save(state, models / "weights.pth")
    monkeypatch.syspath_prepend(str(folder / "site"))


def test_weights_are_read_once_and_kept_as_safetensors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    network = efficientnet.Lite0().eval()
    published(tmp_path, network.state_dict() | {"_fc.weight": torch.zeros(2, 1280)}, monkeypatch)
    encoder = efficientnet.load(tmp_path / "work")
    sys.path.remove(str(tmp_path / "site"))
    again = efficientnet.load(tmp_path / "work")  # without the package
    found = encoder.encode(PIXELS)
    with torch.inference_mode():
        wanted = network((torch.from_numpy(PIXELS).permute(0, 3, 1, 2).float() - 127) / 128).numpy()
    assert found.shape == (3, encoder.width) and np.allclose(found, wanted, atol=1e-5)
    assert np.array_equal(found, again.encode(PIXELS)) and encoder.key == again.key


class _Code:
    def __reduce__(self) -> object:
        return os.mkdir, (os.environ["IDIOM_TEST_RAN"],)


def test_code_in_published_weights_is_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IDIOM_TEST_RAN", str(tmp_path / "ran"))
    published(tmp_path, {"a": _Code()}, monkeypatch)
    with pytest.raises(Exception, match=r"(?i)weights"):
        efficientnet.load(tmp_path / "work")
    assert not (tmp_path / "ran").exists()


def test_without_the_package_the_mend_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(efficientnet, "PACKAGE", "a_package_that_nobody_has")
    with pytest.raises(BadInput) as caught:
        efficientnet.load(tmp_path)
    assert "idiom[pictures]" in caught.value.mend


def test_a_local_image_model_is_read_and_another_folder_is_refused(tmp_path: Path) -> None:
    from transformers import ViTConfig, ViTModel

    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    ViTModel(ViTConfig(image_size=64, patch_size=16, **sizes)).save_pretrained(tmp_path / "vit")
    encoder = transformer.load(tmp_path / "vit")
    assert (encoder.side, encoder.width) == (64, 16)
    assert np.allclose(encoder.encode(PIXELS)[1:2], encoder.encode(PIXELS[1:2]), atol=1e-5)
    (tmp_path / "none").mkdir()
    with pytest.raises(BadInput):
        transformer.load(tmp_path / "none")


@pytest.mark.parametrize(
    ("rgb", "name"),
    [
        *[((0, 0, 0), "black"), ((255, 255, 255), "white"), ((128, 128, 128), "grey"), ((250, 10, 10), "red")],
        *[((120, 60, 20), "brown"), ((250, 220, 30), "yellow"), ((20, 60, 230), "blue"), ((250, 20, 160), "pink")],
    ],
)
def test_a_plain_picture_has_the_name_of_its_colour(rgb: tuple[int, int, int], name: str) -> None:
    encoder = Colours()
    pixels: NDArray[np.uint8] = np.tile(np.array(rgb, np.uint8), (1, encoder.side, encoder.side, 1))
    vector = encoder.encode(pixels)[0]
    assert vector.shape == (encoder.width,) and words(vector) == [name] and len(set(NAMES)) == 12


def test_reduced_vectors_are_those_of_a_library() -> None:
    """Blocks of rows give the principal components of the whole; who has nothing stays nothing."""
    draw = np.random.default_rng(1)
    raw = (draw.normal(size=(200, 4)) @ draw.normal(size=(4, 12)) * 9 + 3).astype(np.float32)
    present = draw.random(200) < 0.8
    found = reduced(raw, present, 4, standardised=False)
    centred = raw[present] - raw[present].mean(axis=0)
    _, _, axes = np.linalg.svd(centred, full_matrices=False)
    wanted = centred @ axes[:4].T
    wanted /= np.linalg.norm(wanted, axis=1, keepdims=True)
    assert np.allclose(np.abs(found[present]), np.abs(wanted), atol=1e-3) and not found[~present].any()
