#!/usr/bin/env bash
# What the page must pass: `web/ci.sh PROGRAM`, PROGRAM being the built `heedful`.
# Types, and that the page in crates/heedful-explorer/dist is what these sources build; then a browser, Debian's Chromium, is driven through every view.
# Needs Node 20 with npm, and a Chromium that CHROMIUM names (default /usr/bin/chromium).
set -euo pipefail
program=$(realpath "${1:?usage: web/ci.sh PROGRAM}")
cd "$(dirname "$0")"

step() { printf '\n== %s\n' "$*"; "$@"; }

step npm ci --no-audit --no-fund
step npm run typecheck
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
step npx vite build --outDir "$work/dist" --emptyOutDir
if ! step diff -r "$work/dist" ../crates/heedful-explorer/dist; then
    echo "crates/heedful-explorer/dist is not what web/ builds: run 'npm ci && npm run build' in web/ and commit the result." >&2
    exit 1
fi

# Two more models, to be looked at beside the built-in one: one without attention, one with it. What they say does not matter.
words=(der die Hund Katze Mann Kind sieht schläft)
for i in $(seq 0 699); do
    a=${words[i % 8]} b=${words[(i / 8) % 8]} c=${words[(i / 3) % 8]}
    printf '%s %s %s\t%s %s %s\n' "$a" "$b" "$c" "$c" "$b" "$a"
done > "$work/pairs.tsv"
toy() {
    step "$program" train "$work/pairs.tsv" -o "$work/$1" --preset="$1" --set=data.source_language=de --set=data.target_language=en --set=data.held_out=20 \
        --set=tokenizer.vocabulary=320 --set=model.hidden=32 --set=model.embedding=32 --set=training.updates=20 --set=training.validate_every=20 > "$work/$1.log" 2>&1 \
        || { cat "$work/$1.log"; exit 1; }
}
toy rnn
toy rnn-attention

HEEDFUL="$program" HEEDFUL_MODELS="$work/rnn/model.safetensors:$work/rnn-attention/model.safetensors" step npm test
