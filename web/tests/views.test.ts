/** Each view as a person uses it: by mouse, by keyboard alone, saved as files that open, and reopened from its address. */
import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { pathToFileURL } from 'node:url';
import type { Page } from 'playwright-core';
import { close, explorer, inPage } from './explorer.ts';
import { longText, models, report } from './materials.ts';

after(close);

/** A long text is read on all cores, which tests share with the browser. */
const MAP = 90_000;

const folder = mkdtempSync(join(tmpdir(), 'heedful-page-'));

async function saved(page: Page, format: string): Promise<string> {
  await page.getByRole('button', { name: 'Save…' }).click();
  const [download] = await Promise.all([page.waitForEvent('download'), page.getByRole('button', { name: new RegExp(`^${format}:`) }).click()]);
  const path = join(folder, `${Date.now()}-${download.suggestedFilename()}`);
  await download.saveAs(path);
  return path;
}

/** Saves the view in all formats and opens what was saved. `probe` reads from the page what the saved page must show too. */
async function exportsWork(page: Page, probe: (page: Page) => Promise<string>) {
  const svg = await saved(page, 'SVG');
  const text = readFileSync(svg, 'utf8');
  assert.doesNotMatch(text, /<script|href="http|var\(--/);
  await inPage(async (other) => {
    await other.goto(pathToFileURL(svg).href);
    const size = await other.evaluate(() => {
      const root = document.documentElement;
      return { name: root.localName, width: root.getBoundingClientRect().width, shapes: root.querySelectorAll('rect, path, image').length, words: root.querySelectorAll('text').length };
    });
    assert.equal(size.name, 'svg');
    assert.ok(size.width > 50 && size.shapes > 0 && size.words > 0, JSON.stringify(size));
  });
  const png = readFileSync(await saved(page, 'PNG'));
  assert.equal(png.subarray(1, 4).toString('latin1'), 'PNG');
  assert.ok(png.readUInt32BE(16) > 100 && png.length > 2000);
  const csv = readFileSync(await saved(page, 'CSV'), 'utf8');
  assert.ok(csv.split('\r\n').length > 3);
  const json = JSON.parse(readFileSync(await saved(page, 'JSON'), 'utf8')) as { title: string; address: string };
  assert.match(json.title, /^heedful/);
  assert.ok(page.url().endsWith(json.address));
  const html = await saved(page, 'HTML');
  // What the pointer shows where it happens to be is in no address.
  await page.mouse.move(0, 0);
  const shown = await probe(page);
  await inPage(async (other) => {
    const asked: string[] = [];
    other.on('request', (r) => asked.push(r.url()));
    await other.goto(pathToFileURL(html).href);
    await other.waitForSelector('.saved');
    await comesToShow(other, probe, shown);
    assert.deepEqual(asked.filter((url) => !/^(file|data|blob):/.test(url)), []);
  });
}

/** Waits until the page shows this; a page that is opened has to ask the server first. */
async function comesToShow(page: Page, probe: (page: Page) => Promise<string>, shown: string) {
  for (let i = 0; i < 60 && (await probe(page)) !== shown; i++) await page.waitForTimeout(150);
  assert.equal(await probe(page), shown);
}

async function reopens(page: Page, probe: (page: Page) => Promise<string>) {
  const shown = await probe(page);
  await inPage(async (other) => {
    await other.goto(page.url());
    await comesToShow(other, probe, shown);
  });
  await page.bringToFront();
}

const labels = (selector: string) => (page: Page) => page.locator(selector).evaluateAll((all) => all.map((e) => e.getAttribute('aria-label') ?? e.textContent ?? '').join('\n'));

test('translate: ribbons, pins, heat map, candidates, and forcing a word to look elsewhere', () => inPage(async (page) => {
  await page.goto('#/translate');
  const words = '.words-picture [data-place]';
  await page.waitForSelector(words);
  const before = await page.getByTestId('translation').innerText();
  await page.getByLabel(/^Text/).fill('Die Katze trinkt die Milch.');
  await page.waitForFunction((old) => document.querySelector('[data-testid=translation]')!.textContent !== old && !document.querySelector('.translation.old'), before);
  assert.match(page.url(), /text=Die\+Katze/);
  await page.waitForFunction(() => document.querySelector('[data-place=c1]')?.textContent?.includes('Katze'));

  // Hovering previews, clicking pins, Shift-click adds, Escape clears.
  await page.locator('[data-place="r0"]').hover();
  await page.locator('.reading strong').waitFor();
  await page.locator('[data-place="r0"]').click();
  assert.match(page.url(), /pin=r0/);
  await page.locator('[data-place="r1"]').click({ modifiers: ['Shift'] });
  assert.match(page.url(), /pin=r0%2Cr1/);
  assert.match(await page.locator('.reading strong').innerText(), /sum/);
  await reopens(page, labels(words));
  await page.locator('[data-place="r1"]').focus();
  await page.keyboard.press('Escape');
  assert.doesNotMatch(page.url(), /pin=/);

  // The share of the weight that is shown.
  const ribbons = () => page.locator('.words-picture path').count();
  const some = await ribbons();
  await page.getByRole('slider').fill('100');
  assert.ok(await ribbons() > some);
  assert.match(await page.locator('.reading').innerText(), /Hidden: 0 %/);

  // By keyboard alone: arrows walk the words, Enter pins.
  await page.locator('[data-place="c0"]').focus();
  await page.keyboard.press('ArrowRight');
  await page.keyboard.press('Enter');
  assert.match(page.url(), /pin=c1/);
  await page.keyboard.press('ArrowDown');
  assert.equal(await page.evaluate(() => (document.activeElement as HTMLElement).dataset.place![0]), 'r');
  await page.keyboard.press('Escape');

  // The heat map holds the same numbers, and coverage below.
  await page.getByRole('radio', { name: 'heat map' }).click();
  await page.getByText('coverage').waitFor();

  // Other candidates.
  const candidates = page.locator('.candidates li button');
  assert.ok(await candidates.count() >= 2);
  await candidates.nth(1).click();
  assert.match(page.url(), /candidate=1/);
  await candidates.nth(0).click();

  // The first target word is made to look at the last word but one.
  await page.getByRole('button', { name: 'Force…' }).click();
  await page.locator('[data-place="r0"]').click();
  await page.locator('[data-place="c3"]').click();
  await page.getByText(/^Forced:/).waitFor();
  assert.match(page.url(), /force=0%3A3/);
  await page.getByRole('button', { name: 'Let go' }).click();
  await page.getByText(/^Forced:/).waitFor({ state: 'detached' });

  // Another candidate, by keyboard alone: what is forced is that one, and the keyboard stays where it was.
  await candidates.nth(1).click();
  const second = await page.getByTestId('translation').innerText();
  await page.keyboard.press('f');
  await page.locator('[data-place="r0"]').focus();
  await page.keyboard.press('Enter');
  await page.getByText('Now choose the source word').waitFor();
  await page.locator('[data-place="c0"]').focus();
  await page.keyboard.press('End');
  await page.keyboard.press('Enter');
  const note = await page.getByText(/^Forced:/).innerText();
  assert.ok(note.endsWith(`Without it: ${second}`) || note.endsWith('The words stay the same.'), note);
  assert.match(await page.evaluate(() => (document.activeElement as HTMLElement).dataset.place ?? 'nowhere'), /^c/);
  await page.getByRole('button', { name: 'Let go' }).click();
  await page.getByText(/^Forced:/).waitFor({ state: 'detached' });
  assert.equal(await page.getByTestId('translation').innerText(), second);
  await candidates.nth(0).click();
  await exportsWork(page, labels('.words-picture [data-place]'));
}));

test('translate: a text that was emptied stays empty; a very long sentence can be seen whole', () => inPage(async (page) => {
  await page.goto('#/translate');
  const text = page.getByLabel(/^Text/);
  await page.waitForSelector('.words-picture [data-place]');
  await text.fill('');
  await page.getByText('Type a sentence').waitFor();
  assert.equal(await text.inputValue(), '');
  await page.keyboard.type(`${'Der alte Hund schläft heute unter dem alten Tisch, und '.repeat(6)}die Katze trinkt.`);
  await page.getByRole('button', { name: 'see it as a heat map' }).click();
  const picture = page.locator('.words-picture');
  await page.getByTestId('heat-cells').waitFor();
  assert.ok(await picture.evaluate((e) => e.scrollWidth <= e.clientWidth));
}));

test('translate: a source word is hardly looked at when no word of the translation gave it 0.15', () => inPage(async (page) => {
  // The server's answer, with weights of which the second word gets little from each, though more than that in all.
  await page.route('**/api/translate', async (route) => {
    const answer = await (await route.fetch()).json();
    for (const sentence of answer.sentences) for (const candidate of sentence.candidates) {
      const share = 1 / candidate.words.length;
      candidate.alignment.weights = candidate.words.map(() => sentence.words.map((_: string, c: number) => (c === 0 ? 0.9 : c === 1 ? 0.1 : 0)));
      candidate.alignment.coverage = sentence.words.map((_: string, c: number) => (c === 0 ? 0.9 : c === 1 ? 0.1 : 0) / share);
    }
    await route.fulfill({ json: answer });
  });
  await page.goto(`#/translate?${new URLSearchParams({ text: 'Die Katze trinkt Milch.' })}`);
  await page.waitForSelector('.words-picture [data-place]');
  assert.match((await page.locator('[data-place=c1]').getAttribute('aria-label'))!, /hardly looked at/);
  assert.doesNotMatch((await page.locator('[data-place=c0]').getAttribute('aria-label'))!, /hardly looked at/);
  assert.match(await page.locator('.reading').innerText(), /Hardly looked at: “Katze”, “trinkt”, “Milch”, “.”\./);
}));

test('translate: two models beside each other, one of them without attention, and the difference of two', { skip: models.length === 0 && 'HEEDFUL_MODELS names no further models' }, () => inPage(async (page) => {
  const { models: loaded } = await (await fetch(`${await explorer(true)}api/models`)).json() as { models: { id: string; architecture: string }[] };
  const id = (architecture: string) => loaded.find((m) => m.architecture === architecture)!.id;
  await page.goto(`#/translate?${new URLSearchParams({ model: id('transformer') })}`);
  await page.waitForSelector('.words-picture [data-place]');
  const beside = page.getByLabel('Beside it');
  await beside.selectOption(id('rnn'));
  await page.getByText('Nothing to look into').waitFor();
  await page.getByText('one hidden state', { exact: true }).waitFor();
  await beside.selectOption(id('rnn_attention'));
  await page.waitForFunction(() => document.querySelectorAll('.words-picture').length === 2);
  // One pointer for both.
  await page.locator('.words-picture').first().locator('[data-place="c0"]').hover();
  await page.waitForFunction(() => [...document.querySelectorAll('[data-place=c0]')].every((e) => e.getAttribute('aria-pressed') === 'true'));
  // Made to say the same words, they can be subtracted.
  await page.getByRole('radio', { name: 'difference' }).click();
  await page.locator('h3', { hasText: ' minus ' }).waitFor();
  const probe = labels('.words-picture [data-place]');
  const shown = await probe(page);
  await inPage(async (other) => {
    await other.goto(page.url());
    await comesToShow(other, probe, shown);
  }, {}, true);
}, {}, true));

test('lesson: saved and reopened', () => inPage(async (page) => {
  await page.goto('#/lesson?chapter=causal&rows=all&stage=weights');
  const cells = labels('[data-matrix="weights"] td, [data-matrix="weights"] th');
  await page.waitForSelector('[data-matrix="weights"]');
  await reopens(page, cells);
  await exportsWork(page, cells);
}));

test('lesson: a sentence of one\'s own with the weights of the built-in model', () => inPage(async (page) => {
  await page.goto('#/lesson?chapter=model&stage=weights&rows=all');
  await page.waitForSelector('[data-matrix="weights"] [data-cell]');
  const rows = await page.locator('[data-matrix="weights"] tbody tr').evaluateAll((all) => all.map((row) => [...row.querySelectorAll('td')].reduce((sum, cell) => sum + Number(cell.textContent), 0)));
  for (const sum of rows) assert.ok(Math.abs(sum - 1) < 2e-3, `a row sums to ${sum}`);
}));

test('heads: the grid, a head, a query, and what is set aside', () => inPage(async (page) => {
  await page.goto('#/heads');
  await page.waitForSelector('[data-head]');
  const cells = page.locator('[data-head]');
  assert.ok(await cells.count() > 1);
  await page.locator('[data-head="1.1"]').click();
  assert.match(page.url(), /head=2&layer=2/);
  await page.getByText(/layer 2, head 2/).first().waitFor();
  await page.keyboard.press('[');
  assert.doesNotMatch(page.url(), /head=/);
  await page.keyboard.press('}');
  await page.locator('h3').first().click();
  await page.keyboard.press('ArrowDown');
  await page.getByTestId('query').waitFor();
  // The grid by keyboard.
  await page.locator('[data-head][tabindex="0"]').focus();
  await page.keyboard.press('ArrowRight');
  assert.match(page.url(), /head=2/);
  // Which token is looked at by most heads, and by each of them; the end can be set aside.
  const votes = async () => {
    const said = await page.getByTestId('popular').innerText();
    return { said, heads: Number(said.match(/of (\d+) heads/)![1]) };
  };
  assert.equal((await votes()).heads, await cells.count());
  await page.getByLabel('Coloured by').selectOption('received');
  await page.getByLabel('Set aside').selectOption('special');
  await page.getByText(/Looked at most, special tokens set aside/).waitFor();
  assert.doesNotMatch((await votes()).said, /⟨end⟩/);
  const named = await cells.locator('small').allInnerTexts();
  assert.equal(named.length, await cells.count());
  const most = [...new Set(named)].map((token) => named.filter((other) => other === token).length).reduce((a, b) => Math.max(a, b));
  assert.ok(most >= Number((await votes()).said.match(/by (\d+)/)![1]));
  // Setting special tokens aside takes their weight away; the row then sums to what is left, or to 1 again.
  await page.getByLabel('Set aside').selectOption('special');
  await page.getByText(/Set aside: special tokens/).waitFor();
  assert.match(await page.locator('.reading', { hasText: /Set aside:/ }).innerText(), /rows sum to what is left/);
  await page.getByRole('switch', { name: 'rows sum to 1 again' }).click();
  assert.match(await page.locator('.reading', { hasText: /Set aside:/ }).innerText(), /rows sum to 1 again/);
  await page.getByRole('switch', { name: 'log colours' }).click();
  for (const kind of ['decoder looks at itself', 'decoder looks at the source']) {
    await page.getByRole('radio', { name: kind }).click();
    await page.getByText(new RegExp(`${kind}, layer`)).first().waitFor();
  }
  await page.getByRole('radio', { name: 'ribbons' }).click();
  await page.getByText(/Keys above, queries below/).waitFor();
  const probe = labels('[data-head], .words-picture [data-place]');
  await reopens(page, probe);
  await exportsWork(page, probe);
}));

test('heads: a text of some hundred tokens', () => inPage(async (page) => {
  await page.goto(`#/heads?text=${encodeURIComponent(longText(330).replaceAll('\n', ''))}`);
  const weights = () => page.locator('canvas').evaluateAll((all) => all.reduce((most, e) => Math.max(most, (e as HTMLCanvasElement).width * (e as HTMLCanvasElement).height), 0));
  await page.locator('canvas').first().waitFor({ timeout: MAP });
  assert.ok(await weights() > 130_000, `${await weights()} weights`);
  await page.locator('[data-head="1.1"]').click();
  await page.getByText(/layer 2, head 2/).first().waitFor();
}));

test('map: a long text, zoomed, searched and asked', () => inPage(async (page) => {
  await page.goto('#/map');
  await page.locator('#maptext').fill(longText(3000));
  await page.getByLabel('Name').fill('the test');
  await page.getByRole('button', { name: 'Make the map' }).click();
  const map = page.getByTestId('map');
  await map.waitFor({ timeout: MAP });
  const complete = () => page.waitForFunction(() => document.querySelector('[data-testid=map]')?.getAttribute('data-complete') === 'yes');
  await complete();
  // It is not of one colour.
  const colours = () => page.evaluate(() => {
    const canvas = document.querySelector<HTMLCanvasElement>('[data-testid=map]')!;
    const { data } = canvas.getContext('2d')!.getImageData(0, 0, canvas.width, canvas.height);
    const seen = new Set<number>();
    for (let i = 0; i < data.length; i += 4) seen.add((data[i] << 16) | (data[i + 1] << 8) | data[i + 2]);
    return seen.size;
  });
  await page.waitForTimeout(200);
  assert.ok(await colours() > 20);
  const box = (await map.boundingBox())!;
  await page.mouse.move(box.x + box.width / 2, box.y + box.height / 2);
  for (let i = 0; i < 8; i++) await page.mouse.wheel(0, -400);
  await page.waitForURL(/at=/);
  await complete();
  await page.mouse.down();
  await page.mouse.move(box.x + box.width / 2 - 120, box.y + box.height / 2 - 60, { steps: 4 });
  await page.mouse.up();
  assert.match(await page.locator('.map-pointed').innerText(), /looks at/);
  await page.mouse.click(box.x + box.width / 2, box.y + box.height / 2);
  await page.getByTestId('row').locator('li').first().waitFor();
  await page.getByTestId('column').locator('li').first().waitFor();
  // Keys alone: all, in, choose the middle, search, jump.
  await map.focus();
  await page.keyboard.press('0');
  await page.keyboard.press('+');
  await page.keyboard.press('ArrowRight');
  await page.keyboard.press('Enter');
  await page.keyboard.press('/');
  await page.keyboard.type('river');
  await page.locator('.search li').first().waitFor();
  await page.keyboard.press('Tab');
  await page.keyboard.press('Enter');
  await page.waitForURL(/cell=/);
  await page.getByTestId('column').locator('li').first().waitFor();
  // Does the second mention look at the first? By keys: the second is gone to, then the first is asked about.
  const first = page.url();
  await page.locator('.search .found').nth(1).focus();
  await page.keyboard.press('Enter');
  await page.waitForURL((url) => url.href !== first);
  const query = page.url().match(/cell=(\d+)/)![1];
  await page.locator('.search').getByRole('button', { name: `as key: how much does token ${Number(query) + 1} look there?` }).first().focus();
  await page.keyboard.press('Enter');
  await page.waitForFunction((q) => new RegExp(`cell=${q}%2C(?!${q}\\b)`).test(location.hash), query);
  await page.getByTestId('pair').getByText(/^Weight [\d.e-]+, [\d.,]+ times as much as if it looked everywhere alike/).waitFor();
  await complete();
  await page.waitForTimeout(500);
  const probe = labels('[data-testid=row] li, [data-testid=column] li');
  await reopens(page, probe);
  await exportsWork(page, probe);
  // A saved page has no more than what was seen: who moves on sees gaps and is told why, and the page stays alive.
  const html = pathToFileURL(await saved(page, 'HTML')).href;
  await inPage(async (other) => {
    await other.goto(html);
    await other.getByTestId('map').focus();
    for (const key of ['0', '+', 'ArrowRight', '-']) await other.keyboard.press(key);
    await other.getByText(/there is no server to ask for more/).first().waitFor();
  }, { viewport: { width: 1900, height: 1000 } });
  // What is no longer needed can be forgotten.
  await page.getByRole('button', { name: 'another text' }).click();
  await page.getByRole('button', { name: 'Forget the test' }).first().click();
  await page.getByRole('button', { name: 'Forget the test' }).waitFor({ state: 'detached' });
}));

async function openReport(page: Page, content: unknown) {
  await page.goto('#/ladder');
  const file = join(folder, 'report.json');
  writeFileSync(file, JSON.stringify(content));
  await page.locator('input[type=file]').setInputFiles(file);
  await page.waitForSelector('[data-bucket]');
}

test('ladder: a report as a page', () => inPage(async (page) => {
  await openReport(page, report());
  assert.equal(await page.locator('[data-bucket]').count(), 3);
  await page.locator('[data-bucket="2"]').click();
  assert.match(page.url(), /bucket=2/);
  assert.equal(await page.locator('.sentence').count(), 1);
  await page.getByRole('button', { name: 'where it looked' }).click();
  await page.waitForSelector('.sentence [data-place]');
  await page.locator('[data-bucket="2"]').focus();
  await page.keyboard.press('ArrowLeft');
  await page.keyboard.press('Enter');
  assert.match(page.url(), /bucket=1/);
  await page.getByRole('radio', { name: 'chrF' }).click();
  assert.match(page.url(), /metric=chrF/);
  const svg = readFileSync(await saved(page, 'SVG'), 'utf8');
  assert.match(svg, /chrF by sentence length/);
  assert.match(readFileSync(await saved(page, 'CSV'), 'utf8'), /chrF by words/);
  // A report that was opened here is in no server: the saved page carries it.
  await exportsWork(page, labels('[data-bucket], .sentence dd'));
  // It stays while other views are looked at.
  await page.keyboard.press('Escape');
  await page.keyboard.press('g');
  await page.getByRole('link', { name: 'Ladder' }).click();
  await page.waitForSelector('[data-bucket]');
}));

test('ladder: from which length on a rung is behind, and whether that is more than chance', () => inPage(async (page) => {
  await openReport(page, report());
  const table = page.getByTestId('differences');
  assert.match(await table.innerText(), /rnn is behind transformer from 11-20 words on, more than chance/);
  assert.deepEqual(await table.locator('td span').evaluateAll((all) => all.map((e) => [e.className, e.firstChild!.textContent])), [['told', '+10.0'], ['untold', '+1.0'], ['told', '+6.0'], ['told', '+14.0']]);
  // Keys alone: a length, its sentences, where the model looked.
  await table.getByRole('button', { name: '21+' }).focus();
  await page.keyboard.press('Enter');
  assert.match(page.url(), /bucket=2/);
  await page.getByRole('button', { name: 'Read 1 sentence of 21+ words' }).focus();
  await page.keyboard.press('Enter');
  await page.keyboard.press('Tab');
  await page.keyboard.press('Enter');
  await page.waitForSelector('.looked [data-place]');
}));

test('ladder: a sentence too long for ribbons is shown as a heat map', () => inPage(async (page) => {
  const long = report();
  const words = Array.from({ length: 60 }, (_, i) => `Wort${i}`);
  const weights = words.map((_, r) => words.map((__, c) => (r === c ? 1 : 0)));
  const target = long.sentences[2].translations[1];
  Object.assign(long.sentences[2], { source_words: words });
  Object.assign(target, { target_words: words, alignment: { weights, outside: words.map(() => 0), coverage: words.map(() => 1) } });
  await openReport(page, long);
  await page.locator('[data-bucket="2"]').click();
  await page.getByRole('button', { name: 'where it looked' }).click();
  const picture = page.locator('.looked .words-picture');
  await page.getByTestId('heat-cells').waitFor();
  assert.ok(await picture.evaluate((e) => e.scrollWidth <= e.clientWidth), 'all words are seen at once');
  await page.locator('.looked').getByRole('radio', { name: 'ribbons' }).click();
  await page.getByRole('button', { name: 'see it as a heat map' }).click();
  await page.getByTestId('heat-cells').waitFor();
}));

test('everywhere: help, tables, theme and views by keyboard', () => inPage(async (page) => {
  await page.goto('#/lesson');
  await page.waitForSelector('.matrix');
  await page.keyboard.press('?');
  await page.getByRole('dialog', { name: 'Help' }).waitFor();
  assert.ok(await page.locator('.key').count() > 10);
  await page.keyboard.press('Escape');
  await page.keyboard.press('t');
  await page.getByTestId('tables').locator('td').first().waitFor();
  assert.match(page.url(), /table=1/);
  const theme = () => page.evaluate(() => document.documentElement.dataset.theme);
  const before = await theme();
  await page.keyboard.press('d');
  assert.notEqual(await theme(), before);
  // Letters can be told to do nothing, which is remembered.
  const letters = async () => {
    await page.getByRole('button', { name: 'Help' }).click();
    await page.getByRole('checkbox', { name: /Keys of one character/ }).click();
    await page.keyboard.press('Escape');
  };
  await letters();
  await page.reload();
  await page.waitForSelector('.matrix');
  await page.keyboard.press('g');
  assert.match(page.url(), /#\/lesson/);
  await letters();
  await page.keyboard.press('g');
  assert.match(page.url(), /#\/heads/);
  await page.keyboard.press('e');
  await page.getByRole('dialog', { name: 'Save what is shown' }).waitFor();
  await page.keyboard.press('Escape');
  // The first Tab stop leads to the content, with a visible outline.
  await page.goto('about:blank');
  await page.goto('#/lesson?chapter=causal');
  await page.waitForSelector('.matrix');
  await page.keyboard.press('Tab');
  assert.equal(await page.evaluate(() => document.activeElement?.textContent), 'To the content');
  assert.notEqual(await page.evaluate(() => getComputedStyle(document.activeElement!).outlineStyle), 'none');
}));

test('everywhere: an address that is no address opens the first view', () => inPage(async (page) => {
  await page.goto('#/%');
  await page.locator('main[aria-label=Translate]').waitFor();
}));

test('text is never markup', () => inPage(async (page) => {
  const text = '<img src=x onerror=alert(1)> <b>fett</b> &amp;';
  await page.goto(`#/translate?${new URLSearchParams({ text })}`);
  await page.waitForSelector('.words-picture [data-place]');
  assert.equal(await page.locator('main img, main b').count(), 0);
  const html = await saved(page, 'HTML');
  await inPage(async (other) => {
    let alerts = 0;
    other.on('dialog', (d) => { alerts++; void d.dismiss(); });
    await other.goto(pathToFileURL(html).href);
    await other.waitForSelector('.words-picture [data-place]');
    assert.equal(alerts, 0);
    assert.equal(await other.locator('main img, main b').count(), 0);
  });
}));

