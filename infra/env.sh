#!/usr/bin/env bash
# Makes .venv from pyproject.toml and constraints.txt, with uv where it is installed and with pip elsewhere. `make env` calls it.
# The stamp .venv/.made is written last: an environment without one is half made and starts anew.
#   PYTHON=/path/to/python3.11 make env     chooses the interpreter
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# The Makefile puts .venv/bin first: an environment must not be made with the Python of the one that it replaces.
PATH="${PATH//"$PWD/.venv/bin:"/}"

suitable() { "$1" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null; }

find_python() {
    local name
    for name in ${PYTHON:-python3.11 python3 python}; do
        # Running it is the test: a pyenv shim exists for versions that are not installed.
        if suitable "$name"; then command -v "$name"; return; fi
    done
    {
        echo "error: no Python 3.11 found (looked for: ${PYTHON:-python3.11, python3, python})"
        echo "  where: PATH; python3 there is $(python3 --version 2>&1 || true)"
        echo "  mend:  install it (apt install python3.11 python3.11-venv, or pyenv), or PYTHON=/path/to/python3.11 make env"
    } >&2
    return 2
}

# A setting of pip, from its environment variable or its configuration; empty where there is none.
pip_setting() {
    local variable
    variable="PIP_$(tr 'a-z-' 'A-Z_' <<<"$1")"
    echo "${!variable:-$("$python" -m pip config get "global.$1" 2>/dev/null || true)}"
}

install_with_uv() {
    # uv ignores pip's settings: hand over where this machine gets its packages. Like pip, look for the best version in
    # all of the indexes, not in the first that knows the name.
    local options=(--index-strategy unsafe-best-match) value
    value="$(pip_setting index-url)"
    if [ -n "$value" ]; then options+=(--default-index "$value"); fi
    for value in $(pip_setting extra-index-url); do options+=(--index "$value"); done
    for value in $(pip_setting find-links); do options+=(--find-links "$value"); done
    value="$(pip_setting cert)"
    if [ -n "$value" ]; then export SSL_CERT_FILE="${SSL_CERT_FILE:-$value}"; fi
    uv pip install --quiet --python .venv/bin/python "${options[@]}" -c constraints.txt -e '.[dev]'
    uv pip check --quiet --python .venv/bin/python
}

install_with_pip() {
    .venv/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
    .venv/bin/python -m pip check
}

python="$(find_python)"
tool=pip
if command -v uv >/dev/null; then tool=uv; fi
echo "making .venv with $tool and $("$python" --version) (pip: about 2 minutes; 2.5 GB of disk)"

if [ ! -f .venv/.made ] || { [ "$tool" = pip ] && [ ! -x .venv/bin/pip ]; }; then
    rm -rf .venv
    if [ "$tool" = uv ]; then
        uv venv --quiet --python "$python" .venv
    elif ! "$python" -m venv .venv; then
        echo "  mend:  on Debian and Ubuntu the module comes with: apt install python3-venv" >&2
        exit 2
    fi
fi
rm -f .venv/.made
"install_with_$tool"
touch .venv/.made
echo "made: $(.venv/bin/python --version), $(.venv/bin/python -c 'import importlib.metadata as m; print(*(f"{n} {m.version(n)}" for n in ("prefect", "mlflow", "dvc", "torch")), sep=", ")')"
