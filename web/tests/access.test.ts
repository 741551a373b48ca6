/** axe-core finds nothing serious in any view, in light and in dark. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { after, test } from 'node:test';
import type { Page } from 'playwright-core';
import { close, inPage } from './explorer.ts';
import { eachView } from './walk.ts';

after(close);

const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');

interface Violation {
  id: string;
  impact: string | null;
  nodes: { target: string[]; failureSummary?: string }[];
}

async function isAccessible(page: Page, name: string) {
  await page.evaluate(axe);
  const violations = await page.evaluate(async () => {
    const { axe } = window as unknown as { axe: { run: (context: Document, options: object) => Promise<{ violations: Violation[] }> } };
    return (await axe.run(document, { resultTypes: ['violations'] })).violations;
  });
  const serious = violations.filter((v) => v.impact === 'serious' || v.impact === 'critical');
  assert.deepEqual(serious.map((v) => `${v.id}: ${v.nodes.slice(0, 3).map((n) => `${n.target.join(' ')} ${n.failureSummary?.split('\n')[1] ?? ''}`).join('; ')}`), [], name);
}

for (const theme of ['light', 'dark'] as const) {
  test(`axe finds nothing serious: ${theme}`, () => inPage(async (page) => {
    await eachView(page, async (name) => {
      await isAccessible(page, `${name}, ${theme}`);
      // On a phone, parts of a page may be scrolled sideways, the page itself not.
      const size = page.viewportSize()!;
      await page.setViewportSize({ width: 400, height: 800 });
      assert.ok(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth), `${name} is wider than a phone`);
      await page.setViewportSize(size);
    });
    for (const dialog of ['Help', 'Save…']) {
      await page.getByRole('button', { name: dialog }).click();
      await isAccessible(page, `the dialog ${dialog}, ${theme}`);
      await page.keyboard.press('Escape');
    }
  }, { colorScheme: theme, bypassCSP: true }));
}
