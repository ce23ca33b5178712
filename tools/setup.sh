#!/bin/sh
# Makes the virtual environment of this checkout. Called by make; says what is missing and how to get it.
set -eu
venv=$1
python=${PYTHON:-python3}

fail() { printf 'setup: %s\n' "$*" >&2; exit 1; }

command -v "$python" >/dev/null 2>&1 || fail "'$python' was not found. Install Python 3.11 or newer (Debian, Ubuntu: apt install python3 python3-venv)."
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
  || fail "'$python' is $("$python" -V 2>&1), but Python 3.11 or newer is needed. Name another one: make PYTHON=python3.12 …"
version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
for module in venv ensurepip; do
  "$python" -c "import $module" >/dev/null 2>&1 \
    || fail "Python's module '$module' is missing. Debian, Ubuntu: apt install python$version-venv."
done

printf 'setup: Python packages into %s (once, about a minute)\n' "$venv"
"$python" -m venv "$venv" || fail "'$python -m venv $venv' failed; the reason stands above."
log=$venv/setup.log
if ! "$venv/bin/pip" --disable-pip-version-check --quiet install --require-hashes -r requirements.lock >"$log" 2>&1; then
  cat "$log" >&2
  fail "installing requirements.lock failed; the reason stands above. A package registry must be reachable (pip's own settings count)."
fi
"$venv/bin/pip" --disable-pip-version-check --quiet install --no-deps --no-build-isolation --editable . >"$log" 2>&1 \
  || { cat "$log" >&2; fail "installing this checkout failed; the reason stands above."; }
