"""Models from scratch and from disk; what is refused."""

from __future__ import annotations

import json
import math
import re
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import GPT2Config, GPT2LMHeadModel

from components.errors import BadInput
from components.networks.backbone import build, load_model, save_model
from components.settings.sizes import SIZES, parse_size
from tests.textid.conftest import tiny_bart, tiny_t5

SIZE = "d_model=16,layers=1,heads=2"


def test_a_new_model_starts_at_the_loss_of_a_uniform_guess() -> None:
    """Prevents the wrong scale of tied embeddings: without T5's d_model^-0.5 the first loss is many times larger."""
    model = build("scratch", size="tiny", vocabulary_size=1000, seed=1)
    ids = torch.arange(3, 63).view(4, 15)
    loss = model(input_ids=ids, labels=ids.flip(0)).loss.item()
    assert loss == pytest.approx(math.log(1000), rel=0.15)
    assert 0.9e6 < sum(weight.numel() for weight in model.parameters()) < 2e6
    assert not model.training


def test_weights_depend_on_the_seed_and_leave_the_generator_of_the_caller_alone() -> None:
    """Prevents two models of one training with equal weights, and a build that shifts every later draw."""
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    one, same, other = (build("scratch", size=SIZE, vocabulary_size=50, seed=seed) for seed in (1, 1, 2))
    assert torch.equal(torch.rand(1), expected)
    assert all(torch.equal(left, right) for left, right in zip(one.parameters(), same.parameters(), strict=True))
    assert not torch.equal(one.shared.weight, other.shared.weight)


@pytest.mark.parametrize("family", ["encoder-decoder", "decoder-only"])
@pytest.mark.parametrize("size", SIZES)
def test_the_documented_sizes_are_the_real_ones(size: str, family: Any) -> None:
    """Prevents a page that promises a model of a quarter of the size that will be trained."""
    page = (Path(__file__).resolve().parents[2] / "docs" / "backbones.md").read_text(encoding="utf-8")
    with torch.device("meta"):  # shapes alone: base has hundreds of megabytes
        model = build("scratch", family=family, size=size, vocabulary_size=4096)
    millions = f"{sum(weight.numel() for weight in model.parameters()) / 1e6:.1f} M"
    row = next(line for line in page.splitlines() if line.startswith(f"| `{size}` "))
    assert row.split("|")[3 if family == "encoder-decoder" else 4].strip() == millions


def test_sizes() -> None:
    """Prevents a size that is silently another one."""
    assert parse_size("small") == {"d_model": 512, "layers": 6, "heads": 8, "d_ff": 2048}
    assert parse_size("d_model=192, layers=3") == {"d_model": 192, "layers": 3, "heads": 4, "d_ff": 768}
    for wrong in ("huge", "d_model=0", "d_model=-8", "layers=2;heads=2", "d_model=10,heads=3", ""):
        with pytest.raises(ValueError, match="size"):
            parse_size(wrong)


@pytest.mark.parametrize("model", [tiny_t5(), tiny_bart()], ids=["t5", "bart"])
def test_saved_models_come_back_and_have_equal_bytes(model, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    """Prevents a bundle whose hash changes when it is written again."""
    save_model(model, tmp_path / "one")
    again = build(str(tmp_path / "one"))
    save_model(again, tmp_path / "two")
    assert not again.training
    for name in ("config.json", "model.safetensors"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
    ids = torch.tensor([[4, 5, 1]])
    with torch.no_grad():  # with gradient the attention of `again` is ours, which rounds otherwise
        assert torch.equal(
            model(input_ids=ids, decoder_input_ids=ids).logits, again(input_ids=ids, decoder_input_ids=ids).logits
        )


def test_pickled_weights_are_refused(tmp_path: Path) -> None:
    """Prevents code that hides in a checkpoint from running."""
    save_model(tiny_t5(), tmp_path)
    torch.save(tiny_t5().state_dict(), tmp_path / "pytorch_model.bin")
    (tmp_path / "model.safetensors").unlink()
    with pytest.raises(BadInput, match="pickle"):
        load_model(tmp_path)


def test_code_that_comes_with_a_checkpoint_is_not_run(tmp_path: Path) -> None:
    """Prevents remote code: a model type that transformers does not know stays unknown."""
    save_model(tiny_t5(), tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    config |= {"model_type": "mine", "auto_map": {"AutoConfig": "evil.Config", "AutoModelForSeq2SeqLM": "evil.Model"}}
    (tmp_path / "config.json").write_text(json.dumps(config))
    (tmp_path / "evil.py").write_text("raise SystemExit('ran')")
    with pytest.raises(BadInput, match="config cannot be read"):
        load_model(tmp_path)


def test_a_decoder_only_model_is_refused_as_encoder_decoder(tmp_path: Path) -> None:
    """Prevents a failure deep inside training."""
    GPT2LMHeadModel(GPT2Config(vocab_size=20, n_embd=8, n_layer=1, n_head=1)).save_pretrained(tmp_path)
    with pytest.raises(BadInput, match="no encoder-decoder"):
        load_model(tmp_path)


@pytest.mark.parametrize("name", ["google-t5/t5-small", "no such/folder/anywhere", "../nowhere/at/all"])
def test_what_cannot_be_reached_says_so_at_once_and_names_scratch(name: str, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    """Prevents minutes of retries on a machine without a hub."""
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    started = time.monotonic()
    with pytest.raises(BadInput, match="scratch"):
        build(name)
    assert time.monotonic() - started < 8


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[dict[str, Any]]:
    """A hub on this machine that lists a checkpoint to those with a token and gives it to nobody; what it was asked."""
    seen: dict[str, Any] = {"paths": [], "silent": False}
    silence = threading.Event()

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            seen["paths"].append(self.path)
            if seen["silent"]:
                silence.wait(30)
                return
            known = self.headers.get("Authorization") == "Bearer told"
            name = re.fullmatch(r"/api/models/owner/(model|pickle)(/revision/[^/]+)?", self.path)
            # Only our own request, not what the library asks before it downloads.
            listing = known and name is not None and "urllib" in str(self.headers.get("User-Agent"))
            self.send_response(200 if listing else 403)
            self.send_header("X-Error-Code", "GatedRepo")
            self.end_headers()
            if listing and name is not None:
                file = "model.safetensors" if name[1] == "model" else "pytorch_model.bin"
                self.wfile.write(json.dumps({"siblings": [{"rfilename": file}]}).encode())

        do_HEAD = do_GET  # noqa: N815

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setenv("HF_TOKEN", "told")
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    yield seen
    silence.set()
    server.shutdown()
    server.server_close()


def test_a_hub_that_does_not_answer_is_not_waited_for(hub: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """Prevents a night that hangs on a firewall which drops what it does not like: no retries, one request."""
    monkeypatch.setattr("components.networks.hub._SECONDS", 0.2)
    hub["silent"] = True
    with pytest.raises(BadInput, match=r"(?s)cannot be reached.*scratch"):
        build("owner/model")
    assert hub["paths"] == ["/api/models/owner/model"]


def test_a_gated_checkpoint_says_how_to_get_it(hub: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """Prevents a stack trace for whoever has not accepted Llama's terms, and a private model that is not found."""
    with pytest.raises(BadInput, match=r"(?s)owner/model cannot be downloaded: 403.*HF_TOKEN"):
        build("owner/model")
    assert "/api/models/owner/model" in hub["paths"] and len(hub["paths"]) > 1
    monkeypatch.delenv("HF_TOKEN")
    with pytest.raises(BadInput, match="cannot be reached on the hub"):
        build("owner/model")


def test_a_revision_is_asked_for_by_name(hub: dict[str, Any]) -> None:
    """Prevents the newest files where a revision was pinned, and a pickle-only checkpoint without a way out."""
    with pytest.raises(BadInput, match=r"(?s)owner/pickle@v1 has no safetensors.*owner/pickle@refs/pr/1"):
        build("owner/pickle@v1")
    with pytest.raises(BadInput, match="cannot be downloaded"):
        build("owner/model@refs/pr/1")
    assert hub["paths"][:2] == [
        "/api/models/owner/pickle/revision/v1",
        "/api/models/owner/model/revision/refs%2Fpr%2F1",
    ]


def test_offline_is_believed(monkeypatch) -> None:  # type: ignore[no-untyped-def]
    """Prevents a request where the user has asked for none."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(BadInput, match="HF_HUB_OFFLINE"):
        build("google-t5/t5-small")
