/** What a browser has to fetch. */
import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { test } from 'node:test';
import { brotliCompressSync, gzipSync } from 'node:zlib';

const dist = new URL('../../crates/heedful-explorer/dist/', import.meta.url);

test('the page weighs less than 500 KB compressed', () => {
  let [gzip, brotli] = [0, 0];
  for (const entry of readdirSync(dist, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile()) continue;
    const bytes = readFileSync(`${entry.parentPath}/${entry.name}`);
    gzip += gzipSync(bytes, { level: 9 }).length;
    brotli += brotliCompressSync(bytes).length;
  }
  console.log(`page weight: ${(gzip / 1000).toFixed(0)} KB gzip, ${(brotli / 1000).toFixed(0)} KB brotli, fonts and licences included`);
  assert.ok(gzip < 500_000);
});
