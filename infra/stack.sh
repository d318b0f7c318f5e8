#!/usr/bin/env bash
# Has the PostgreSQL that the local stack runs, and the faketime of a test: Debian's packages. `make stack` and `make test`
# call it.
# The rest of the stack comes with the environment (pyproject.toml, extra `stack`).
set -euo pipefail

missing=()
command -v initdb >/dev/null || compgen -G '/usr/lib/postgresql/*/bin/initdb' >/dev/null || missing+=(postgresql)
command -v faketime >/dev/null || missing+=(faketime)
if [ "${#missing[@]}" -eq 0 ]; then exit 0; fi

if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null; then
    {
        if [ "${missing[*]}" = faketime ]; then exit 0; fi # one test is skipped without it
        echo "error: no PostgreSQL found, which the local stack runs (looked for initdb)"
        echo "  where: PATH, /usr/lib/postgresql"
        echo "  mend:  sudo apt install postgresql"
    } >&2
    exit 2
fi
echo "installing ${missing[*]} (about 60 MB of disk)"
apt-get update -qq </dev/null
# Debian starts a server of its own on installation unless it is told not to.
mkdir -p /etc/postgresql-common
[ -e /etc/postgresql-common/createcluster.conf ] || echo "create_main_cluster = false" >/etc/postgresql-common/createcluster.conf
DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" </dev/null >/dev/null
