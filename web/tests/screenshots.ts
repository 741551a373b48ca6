/** Pictures of each view in light and dark, for the documentation: `npm run screenshots [FOLDER]`. Debian's pngquant makes them small.
 * `HEEDFUL_REPORT` names a `report.json` for the ladder; without it, the ladder's numbers are made up. */
import { execFileSync } from 'node:child_process';
import { mkdirSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { close, inPage } from './explorer.ts';
import { report } from './materials.ts';
import { eachView } from './walk.ts';

const SHOWN = ['translate', 'translate-heat', 'lesson', 'lesson-story', 'heads', 'map', 'ladder'];
const folder = resolve(process.argv[2] ?? '../docs/screenshots');
mkdirSync(folder, { recursive: true });
/** Licences say the same things again and again, which a map shows well. */
const LICENCE = readFileSync(new URL('../../LICENSE-APACHE', import.meta.url), 'utf8').slice(0, 6000);
const LADDER: unknown = process.env.HEEDFUL_REPORT ? JSON.parse(readFileSync(process.env.HEEDFUL_REPORT, 'utf8')) : report();
for (const theme of ['light', 'dark'] as const) {
  await inPage((page) => eachView(page, async (name) => {
    if (!SHOWN.includes(name)) return;
    const path = join(folder, `${name}-${theme}.png`);
    await page.screenshot({ path });
    execFileSync('pngquant', ['--force', '--output', path, '--strip', '64', path]);
  }, LICENCE, 'License', LADDER), { colorScheme: theme, viewport: { width: 1280, height: 800 }, reducedMotion: 'reduce' });
}
await close();
