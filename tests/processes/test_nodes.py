"""Which node of a training this machine is."""

from __future__ import annotations

import pytest

from components.errors import BadInput
from components.processes.nodes import Nodes
from components.settings.train import Train


@pytest.mark.parametrize(
    ("settings", "environment", "expected"),
    [
        ({}, {"NODE_RANK": "3"}, Nodes()),
        ({"nodes": 2, "node_rank": 1, "rendezvous": "a:1"}, {"NODE_RANK": "0"}, Nodes(2, 1, "a:1")),
        ({"nodes": 4, "rendezvous": "a:1"}, {"SLURM_NODEID": "3"}, Nodes(4, 3, "a:1")),
        ({"nodes": 2}, {"IDIOM_NODE_RANK": "0", "MASTER_ADDR": "b", "MASTER_PORT": "2"}, Nodes(2, 0, "b:2")),
    ],
)
def test_where_a_node_stands(settings: dict[str, object], environment: dict[str, str], expected: Nodes) -> None:
    """Prevents an environment that overrides what params.yaml says, or is not read."""
    assert Nodes.of(Train(**settings), environment) == expected  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("settings", "environment", "said"),
    [
        ({"nodes": 2, "rendezvous": "a:1"}, {}, r"IDIOM_NODE_RANK"),
        ({"nodes": 2, "rendezvous": "a:1"}, {"NODE_RANK": "2"}, r"node 2, there are 2"),
        ({"nodes": 2, "node_rank": 0}, {"MASTER_ADDR": "a"}, r"train\.rendezvous"),
    ],
)
def test_a_node_that_is_lost_is_bad_input(settings: dict[str, object], environment: dict[str, str], said: str) -> None:
    """Prevents ten minutes of waiting for a node that cannot come."""
    with pytest.raises(BadInput, match=said):
        Nodes.of(Train(**settings), environment)  # type: ignore[arg-type]


@pytest.mark.parametrize("wrong", ["trainer-0", "trainer-0:", "tcp://a:1", ":29500"])
def test_a_rendezvous_is_a_host_and_a_port(wrong: str) -> None:
    """Prevents a typo that torchrun reports a minute later."""
    with pytest.raises(ValueError, match="host:port"):
        Train(rendezvous=wrong)
