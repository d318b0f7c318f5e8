"""The machines of one training: how many there are, which of them this is, and where they meet.

    IDIOM_NODE_RANK=0 python -m components train      # on trainer-0
    IDIOM_NODE_RANK=1 python -m components train      # on trainer-1, within ten minutes

with `train: {nodes: 2, rendezvous: "trainer-0:29500"}`: the same stage, parameters and inputs on each. Node 0 holds the
first rank, which alone writes: the checkpoints, the pair, the log, and (by the stage) the MLflow run; the other nodes
publish nothing. All ranks read the tokenizer, ID tables and checkpoints that it wrote, so the work folder must be one
shared folder, on which a file that was renamed into place is seen at once everywhere (Lustre, or NFS mounted with
`actimeo=0`); training/devices/shared_folder.py refuses any other. The pair's folder is touched by node 0 alone. A
failure on one node breaks the connections of the others, which end too and report the error that its rank left in the
work folder.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

from components.errors import BadInput
from components.settings.train import Train

_RANK_VARIABLES = ("IDIOM_NODE_RANK", "NODE_RANK", "SLURM_NODEID")


@dataclass(frozen=True)
class Nodes:
    """This machine among those of a training."""

    count: int = 1
    rank: int = 0
    rendezvous: str = ""
    """host:port of node 0; only where `count` is more than 1."""

    @property
    def first(self) -> bool:
        """Whether this machine publishes."""
        return self.rank == 0

    @classmethod
    def of(cls, train: Train, environment: Mapping[str, str] = os.environ) -> Nodes:
        """As settings and environment say. Raises `BadInput` where they leave open which this is, or where to meet."""
        if train.nodes == 1:
            return cls()
        rank = train.node_rank
        if rank is None:
            found = [name for name in _RANK_VARIABLES if environment.get(name, "").isdigit()]
            if not found:
                raise BadInput(
                    f"train.nodes is {train.nodes}, and nothing says which of them this machine is",
                    where="train.node_rank",
                    mend=f"set it, or {_RANK_VARIABLES[0]} in the environment: 0 on the first machine, 1 on the next",
                )
            rank = int(environment[found[0]])
        if rank >= train.nodes:
            raise BadInput(
                f"this machine is node {rank}, there are {train.nodes} nodes",
                where="train.nodes, train.node_rank",
                mend="nodes are numbered from 0",
            )
        meeting = train.rendezvous
        if meeting is None and {"MASTER_ADDR", "MASTER_PORT"} <= set(environment):
            meeting = f"{environment['MASTER_ADDR']}:{environment['MASTER_PORT']}"
        if meeting is None:
            raise BadInput(
                f"{train.nodes} nodes do not know where to meet",
                where="train.rendezvous",
                mend="set it to host:port of node 0, the same on all nodes",
            )
        return cls(train.nodes, rank, meeting)

    def torchrun(self) -> list[str]:
        """What torchrun has to know. A static rendezvous: node 0 is who says so, not who came first."""
        if self.count == 1:
            return ["--standalone"]
        host, _, port = self.rendezvous.rpartition(":")
        return [
            f"--nnodes={self.count}",
            f"--node-rank={self.rank}",
            f"--master-addr={host.strip('[]')}",
            f"--master-port={port}",
        ]
