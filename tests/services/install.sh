#!/usr/bin/env bash
# Install the Debian packages that the tests with the marker "service" need. Quick if they are there already.
set -euo pipefail

# A program of each package shows whether it is there; the servers' programs are not on every PATH.
declare -A programs=(
  [postgresql]='/usr/lib/postgresql/*/bin/postgres'
  [redis-server]='/usr/bin/redis-server'
  [mariadb-server]='/usr/sbin/mariadbd'
  [chromium]='/usr/bin/chromium'
  [chromium-driver]='/usr/bin/chromedriver'
)

missing=()
for package in "${!programs[@]}"; do
  compgen -G "${programs[$package]}" > /dev/null || missing+=("$package")
done
if [ ${#missing[@]} -eq 0 ]; then
  exit 0
fi

if ! command -v apt-get > /dev/null; then
  echo "There is no apt-get here. Install what corresponds to the Debian packages ${missing[*]}." >&2
  exit 1
fi
as_root=()
if [ "$(id -u)" -ne 0 ]; then
  if ! sudo --non-interactive true 2> /dev/null; then
    echo "These packages are missing, and installing them needs root. As root, run:" >&2
    echo "  apt-get update && apt-get install -y --no-install-recommends ${missing[*]}" >&2
    exit 1
  fi
  as_root=(sudo --non-interactive)
fi

echo "installing ${missing[*]}"
# With this runlevel the packages do not start their servers; the tests start servers of their own.
settings=(DEBIAN_FRONTEND=noninteractive RUNLEVEL=1)
"${as_root[@]}" env "${settings[@]}" apt-get update -qq
"${as_root[@]}" env "${settings[@]}" apt-get install -y -qq --no-install-recommends "${missing[@]}" > /dev/null
