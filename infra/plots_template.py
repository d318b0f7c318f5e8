"""Make infra/plots.html, the page of `dvc plots show`, with Vega inside: it opens without a network.

    npm pack vega@5.33.1 vega-lite@5.23.0 vega-embed@6.29.0        # then unpack each into a folder of its name
    python infra/plots_template.py FOLDER

DVC's own page fetches the three from a content delivery network. `.dvc/config` names this one.
"""

from __future__ import annotations

import sys
from pathlib import Path

PAGE = Path(__file__).with_name("plots.html")
LIBRARIES = ("vega", "vega-lite", "vega-embed")
"""In the order in which a browser has to read them."""

TOP = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Plots</title>
{refresh_tag}
<style>
body { font: 15px/1.5 system-ui, sans-serif; margin: 1.5rem; background: #fff; color: #16191c; }
body > div { margin: 0 0 1.2rem; overflow-x: auto; }
img { max-width: 100%; height: auto; }
</style>
<!-- Made by infra/plots_template.py. It holds vega, vega-lite and vega-embed under the licence that follows.

"""
BOTTOM = """</head>
<body>
{plot_divs}
</body>
</html>
"""


def main(folder: Path) -> None:
    """Write the page from the unpacked packages in `folder`."""
    licence = (folder / "vega-lite" / "package" / "LICENSE").read_text(encoding="utf-8")
    scripts = [
        (folder / name / "package" / "build" / f"{name}.min.js").read_text(encoding="utf-8") for name in LIBRARIES
    ]
    lines = [script.partition("//# sourceMappingURL")[0].strip() for script in scripts]
    body = "".join(f"<script>{line}</script>\n" for line in lines)
    PAGE.write_text(f"{TOP}{licence}-->\n{body}{BOTTOM}", encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
