/** Goes through the views, each with something to see. */
import { mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Page } from 'playwright-core';
import { longText, report } from './materials.ts';

const settled = (page: Page) => page.waitForFunction(() => !document.querySelector('.waiting, .old'));

/** Opens each view and calls `visit` with its name. */
export async function eachView(page: Page, visit: (name: string) => Promise<void>, text = longText(1200), word = 'river', content: unknown = report()) {
  const go = async (address: string, selector: string, name: string) => {
    await page.goto(address);
    await page.waitForSelector(selector);
    await settled(page);
    await page.waitForTimeout(150);
    await visit(name);
  };
  await go('#/translate?pin=r1', '.words-picture [data-place]', 'translate');
  await go('#/translate?picture=heat', '.words-picture [data-place]', 'translate-heat');
  await go('#/lesson?chapter=story&stage=memory&rows=all', '.matrix', 'lesson-story');
  await go('#/lesson?chapter=trainable&stage=scores', '.matrix', 'lesson');
  await go('#/lesson?chapter=cross&stage=weights&rows=all', '.matrix', 'lesson-cross');
  await go('#/lesson?chapter=model&stage=weights&rows=all', '.matrix', 'lesson-model');
  await go('#/heads?pin=r4', '[data-testid=query]', 'heads');
  await go('#/heads?kind=cross&picture=ribbons&table=1', '[data-testid=tables] td', 'heads-ribbons');
  await page.goto('#/map');
  await page.locator('#maptext').fill(text);
  await page.getByRole('button', { name: 'Make the map' }).click();
  await page.getByTestId('map').waitFor({ timeout: 90_000 });
  await page.waitForFunction(() => document.querySelector('[data-testid=map]')?.getAttribute('data-complete') === 'yes');
  const map = page.url();
  await page.waitForTimeout(300);
  await go(`${map.slice(map.indexOf('#'))}&cell=700%2C640&q=${word}`, '[data-testid=column] li', 'map');
  // The server is left as it was.
  await page.getByRole('button', { name: 'another text' }).click();
  await page.getByRole('button', { name: /^Forget/ }).first().click();
  const file = join(mkdtempSync(join(tmpdir(), 'heedful-page-')), 'report.json');
  writeFileSync(file, JSON.stringify(content));
  await page.goto('#/ladder');
  await page.locator('input[type=file]').setInputFiles(file);
  await page.waitForSelector('[data-bucket]');
  await visit('ladder');
}
