/** Pictures of each view in light and dark, for the documentation: `npm run screenshots -- FOLDER`. */
import { mkdirSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { close, inPage } from './explorer.ts';
import { eachView } from './walk.ts';

const folder = resolve(process.argv[2] ?? '../docs/screenshots');
mkdirSync(folder, { recursive: true });
for (const theme of ['light', 'dark'] as const) {
  await inPage((page) => eachView(page, async (name) => {
    await page.screenshot({ path: join(folder, `${name}-${theme}.png`) });
  }), { colorScheme: theme, viewport: { width: 1280, height: 800 }, reducedMotion: 'reduce' });
}
await close();
