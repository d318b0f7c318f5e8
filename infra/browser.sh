#!/usr/bin/env bash
# Has the Chromium that the tests open pages in, and a font for it: Debian's packages. `make browser` and `make test` call it.
#   CHROMIUM=/path/to/chrome make test     takes another one
set -euo pipefail

for name in "${CHROMIUM:-chromium}" chromium-browser google-chrome; do
    if command -v "$name" >/dev/null; then exit 0; fi
done

if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null; then
    {
        echo "error: no Chromium found, which the tests open pages in (looked for: ${CHROMIUM:-chromium}, chromium-browser, google-chrome)"
        echo "  where: PATH"
        echo "  mend:  sudo apt install chromium fonts-dejavu-core, or CHROMIUM=/path/to/chrome make test"
    } >&2
    exit 2
fi
echo "installing chromium (about 400 MB of disk)"
apt-get update -qq </dev/null
DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium fonts-dejavu-core </dev/null >/dev/null
