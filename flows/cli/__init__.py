"""The command line `idiom`, a file a heading of `idiom --help`.

Exit codes: 0 done; 2 bad input or parameter; 3 a gate refused; 130 interrupted with the checkpoint saved; 1 others.
"""

from flows.cli import train, data, recommend, versions, operate  # noqa: F401, I001  in the order of the help
from flows.cli.command import app

__all__ = ["app"]
