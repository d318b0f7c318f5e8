"""The foundation ranker: taught on some catalogues, turned into an ordinary ranker for another one and a tier.

foundation = Foundation.load(folder)
ranker = foundation.ranker(tier, reader, standard)         # an ordinary `Ranker` (components/ranking/ranker.py)

It is a list network over standardised features and a flag for each group of them that a shop may lack. Flags and what
is missing are constants of a shop, so they fold into the first layer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from components.errors import BadInput
from components.foundation.standard import Measure, Standard
from components.foundation.tiers import FLAGS, Tier, group_of, rank_settings
from components.ranking.features import Feature
from components.ranking.network import ListNetwork
from components.ranking.ranker import Ranker
from components.ranking.reading import Reader, features
from components.settings import foundation as settings
from components.settings.params import to_dict
from components.storage.artifacts import publish_json, publishing, read_json
from components.storage.job import from_json
from components.storage.manifest import verify_manifest, write_manifest
from components.views.texts import copied

KIND = "foundation"
_WEIGHTS, _FACTS = "foundation.safetensors", "foundation.json"
_ENCODER = "encoder"
_MEASURE = ("text_only.mean", "text_only.deviation")
_READS = 3
"""How features of these names are computed. 2: counts below the k-core's k are not told apart, by popularity too.
3: nor by when these events were."""


def all_features(chosen: settings.Foundation) -> list[Feature]:
    """What the networks read, in order: the features of the largest tier without those that no foundation reads."""
    return [each for each in features(rank_settings("stream", chosen)) if group_of(each) is not None]


@dataclass(frozen=True)
class Foundation:
    """Networks and a readable sum over `all_features` and the `FLAGS`, both standardised."""

    networks: tuple[ListNetwork, ...]
    linear: ListNetwork
    chosen: settings.Foundation
    text_measure: Measure
    """Of the features of the tier `text_only`, in which a shop measures nothing."""
    facts: Mapping[str, Any]
    """For people: which sources taught it, with how many lists."""

    def ranker(self, tier: Tier, reader: Reader, standard: Standard) -> Ranker:
        """The ranker of a shop: the same scores from the reader's columns as they are."""
        standard = standard.measured_by(self.text_measure) if tier == "text_only" else standard
        names = [each.name for each in reader.features]
        taught = (*self.networks, self.linear)
        own = [_folded(network, self.chosen, reader.features, standard).taught() for network in taught]
        return Ranker(tuple(names), tuple(own[:-1]), own[-1], "network")

    def save(self, directory: Path) -> None:
        """Publish weights, settings and facts."""
        arrays: dict[str, NDArray[Any]] = {}
        for name, network in (("sum", self.linear), *((str(at), each) for at, each in enumerate(self.networks))):
            arrays |= {f"{name}.{part}": tensor.numpy() for part, tensor in network.state_dict().items()}
        arrays |= dict(zip(_MEASURE, self.text_measure, strict=True))
        with publishing(directory) as temporary:
            temporary.mkdir()
            save_file(arrays, temporary / _WEIGHTS)
            chosen = self.chosen
            if chosen.encoder:
                copied(chosen.encoder, temporary / _ENCODER)
                chosen = replace(chosen, encoder=_ENCODER)
            names = [each.name for each in all_features(self.chosen)]
            publish_json(
                temporary / _FACTS,
                {"settings": to_dict(chosen), "features": names, "flags": [*FLAGS], "reads": _READS, **self.facts},
            )
            write_manifest(temporary, kind=KIND)

    @classmethod
    def load(cls, directory: Path) -> Self:
        """Read what `save` wrote. Raises `BadInput` for something else, a changed file, or other features."""
        mend = "teach it again: idiom foundation SOURCE ... --out FOLDER"
        if verify_manifest(directory).get("kind") != KIND:
            raise BadInput("this is no foundation ranker", where=str(directory), mend=mend)
        try:
            facts = read_json(directory / _FACTS)
            chosen = from_json(settings.Foundation, facts.pop("settings"))
            arrays = load_file(directory / _WEIGHTS)
            if chosen.encoder:
                chosen = replace(chosen, encoder=str(directory / _ENCODER))
            names = [each.name for each in all_features(chosen)]
            same = facts.pop("features") == names and facts.pop("flags") == [*FLAGS]
            if not same or facts.pop("reads", 1) != _READS:
                raise ValueError("it was taught with other features than are computed now")
            width = len(names) + len(FLAGS)
            networks = [
                _restored(arrays, str(at), ListNetwork(width, chosen.hidden, 0.0)) for at in range(chosen.networks)
            ]
            mean, deviation = (arrays[name] for name in _MEASURE)
            linear = _restored(arrays, "sum", ListNetwork(width, (), 0.0))
            return cls(tuple(networks), linear, chosen, (mean, deviation), facts)
        except (OSError, SafetensorError, KeyError, TypeError, ValueError, RuntimeError) as error:
            raise BadInput(f"not a foundation ranker: {error}", where=str(directory), mend=mend) from error


def _restored(arrays: Mapping[str, Any], name: str, network: ListNetwork) -> ListNetwork:
    prefix = f"{name}."
    state = {key.removeprefix(prefix): torch.from_numpy(each) for key, each in arrays.items() if key.startswith(prefix)}
    network.load_state_dict(state)
    return network.eval()


def _folded(
    network: ListNetwork, chosen: settings.Foundation, columns: Sequence[Feature], standard: Standard
) -> ListNetwork:
    """The network over `columns` alone; what is not among them, or in no group that is present, counts 0."""
    place = {each.name: at for at, each in enumerate(all_features(chosen))}
    hidden = [each.out_features for each in network.layers if isinstance(each, torch.nn.Linear)][:-1]
    found = ListNetwork(len(columns), hidden, 0.0)
    state = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    weight = state["layers.0.weight"]
    own = weight.new_zeros(len(weight), len(columns))
    for at, each in enumerate(columns):
        if group_of(each) in standard.present:
            own[:, at] = weight[:, place[each.name]]
    state["layers.0.weight"] = own
    if "layers.0.bias" in state:  # a sum has none: flags are the same for all candidates
        flags = torch.from_numpy(standard.flags()).to(weight.dtype)
        state["layers.0.bias"] = state["layers.0.bias"] + weight[:, len(place) :] @ flags
    state["mean"] = torch.from_numpy(standard.mean).to(weight.dtype)
    state["deviation"] = torch.from_numpy(standard.deviation).to(weight.dtype)
    found.load_state_dict(state)
    return found.eval()
