/** The lesson on the screen equals the lecture's numbers, digit by digit; and follows when a number is changed. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { after, test } from 'node:test';
import type { Page } from 'playwright-core';
import { close, inPage } from './explorer.ts';

after(close);

type Numbers = number | null | Numbers[];
type Fact = Numbers | { published: Numbers; computed: Numbers };
const facts = JSON.parse(readFileSync(new URL('../../crates/heedful/tests/data/lecture_facts.json', import.meta.url), 'utf8')) as Record<string, Record<string, Fact>>;

const flat = (numbers: Numbers): (number | null)[] => (Array.isArray(numbers) ? numbers.flatMap(flat) : [numbers]);
const published = (fact: Fact): (number | null)[] => flat(typeof fact === 'object' && fact !== null && 'published' in fact ? fact.published : fact);

/** As the page writes numbers; null stands for minus infinity. */
const written = (x: number | null) => (x === null ? '−∞' : (Number(x.toFixed(4)) === 0 ? '0.0000' : x.toFixed(4).replace('-', '−')));

async function cells(page: Page, matrix: string): Promise<string[]> {
  return page.locator(`[data-matrix="${matrix}"]`).last().locator('[data-cell]').allInnerTexts();
}

async function shows(page: Page, address: string, matrix: string, fact: Fact, name: string) {
  await page.goto(`#/lesson?rows=all&${address}`);
  await page.waitForSelector(`[data-matrix="${matrix}"]`);
  assert.deepEqual(await cells(page, matrix), published(fact).map(written), name);
}

const stages: [string, string, string, string][] = [
  // address, matrix on the page, part of the facts, fact
  ['chapter=simplified&stage=scores', 'scores', 'simplified', 'attn_scores'],
  ['chapter=simplified&stage=weights', 'weights', 'simplified', 'attn_weights'],
  ['chapter=simplified&stage=context', 'context', 'simplified', 'context_vecs'],
  ['chapter=trainable&stage=query', 'query', 'selfattn_v1', 'queries'],
  ['chapter=trainable&stage=query', 'W_query', 'selfattn_v1', 'W_query'],
  ['chapter=trainable&stage=key', 'key', 'selfattn_v1', 'keys'],
  ['chapter=trainable&stage=key', 'W_key', 'selfattn_v1', 'W_key'],
  ['chapter=trainable&stage=value', 'value', 'selfattn_v1', 'values'],
  ['chapter=trainable&stage=value', 'W_value', 'selfattn_v1', 'W_value'],
  ['chapter=trainable&stage=scores', 'scores', 'selfattn_v1', 'attn_scores'],
  ['chapter=trainable&stage=weights', 'weights', 'selfattn_v1', 'attn_weights'],
  ['chapter=trainable&stage=context', 'context', 'selfattn_v1', 'context_vecs'],
  ['chapter=trainable&weights=v2&stage=query', 'query', 'selfattn_v2', 'queries'],
  ['chapter=trainable&weights=v2&stage=key', 'key', 'selfattn_v2', 'keys'],
  ['chapter=trainable&weights=v2&stage=value', 'value', 'selfattn_v2', 'values'],
  ['chapter=trainable&weights=v2&stage=scores', 'scores', 'selfattn_v2', 'attn_scores'],
  ['chapter=trainable&weights=v2&stage=weights', 'weights', 'selfattn_v2', 'attn_weights'],
  ['chapter=trainable&weights=v2&stage=context', 'context', 'selfattn_v2', 'context_vecs'],
  ['chapter=trainable&weights=causal&stage=context', 'context', 'exercise_3_1', 'context_vecs'],
  ['chapter=causal&mask=after&stage=maskWeights', 'maskWeights', 'causal_steps', 'masked_simple'],
  ['chapter=causal&mask=after&stage=renormalise', 'renormalise', 'causal_steps', 'masked_simple_norm'],
  ['chapter=causal&stage=mask', 'mask', 'causal_steps', 'masked_scores'],
  ['chapter=causal&stage=weights', 'weights', 'causal_steps', 'attn_weights'],
  ['chapter=causal&weights=causal&stage=mask', 'mask', 'causal', 'masked_scores'],
  ['chapter=causal&weights=causal&stage=weights', 'weights', 'causal', 'attn_weights'],
  ['chapter=causal&weights=causal&stage=context', 'context', 'causal', 'context_vecs'],
  ['chapter=heads&stage=joined', 'joined', 'mha_wrapper', 'context_vecs'],
  ['chapter=heads&heads=split&stage=joined', 'joined', 'mha', 'concat_heads'],
  ['chapter=heads&heads=split&stage=output', 'W_out', 'mha', 'out_proj_weight_transposed'],
  ['chapter=heads&heads=split&stage=output', 'b_out', 'mha', 'out_proj_bias'],
  ['chapter=heads&heads=split&stage=output', 'output', 'mha', 'context_vecs'],
];
const weight = facts.mha.out_proj_weight as number[][];
facts.mha.out_proj_weight_transposed = weight[0].map((_, c) => weight.map((row) => row[c]));

test('every matrix of the lesson shows the lecture\'s numbers', () => inPage(async (page) => {
  for (const [address, matrix, part, fact] of stages) await shows(page, address, matrix, facts[part][fact], `${address}: ${part}.${fact}`);
}));

test('weights of each split head', () => inPage(async (page) => {
  const perHead = facts.mha.attn_weights_per_head as Numbers[];
  for (const head of [0, 1]) await shows(page, `chapter=heads&heads=split&head=${head}&stage=weights`, `weights.${head + 1}`, perHead[head], `head ${head + 1}`);
}));

test('dropout as it was drawn for the lecture', () => inPage(async (page) => {
  const dropout = facts.causal_steps.dropout as unknown as { dropped_weights: Fact };
  await shows(page, 'chapter=causal&dropout=1&stage=dropout', 'dropout', dropout.dropped_weights, 'dropped weights');
}));

test('one row is shown first: the lecture\'s second token, and its formula ends in its number', () => inPage(async (page) => {
  const simplified = facts.simplified;
  for (const [address, fact] of [['stage=scores', 'attn_scores_2'], ['stage=weights', 'attn_weights_2'], ['stage=weights&normalise=sum', 'attn_weights_2_sum_normalised'], ['stage=context', 'context_vec_2']] as const) {
    await page.goto(`#/lesson?chapter=simplified&${address}`);
    const matrix = address.startsWith('stage=scores') ? 'scores' : address.startsWith('stage=context') ? 'context' : 'weights';
    const known = page.locator(`[data-matrix="${matrix}"]`).last().locator('[data-cell^="1."]');
    const numbers = published(simplified[fact]).map(written);
    assert.deepEqual(await known.allInnerTexts(), numbers, fact);
    for (let c = 0; c < numbers.length; c++) {
      await known.nth(c).click();
      assert.equal(await page.locator('.formula output').innerText(), numbers[c], `${fact}, column ${c + 1}`);
    }
  }
}));

test('a changed number changes all that follows from it, and is in the address', () => inPage(async (page) => {
  await page.goto('#/lesson?chapter=simplified&stage=scores&rows=all');
  const input = page.getByRole('textbox', { name: 'input x, journey, 1', exact: true });
  await input.fill('1');
  // journey · journey = 1 + 0.87² + 0.66²; journey · Your = 0.43 + 0.87 · 0.15 + 0.66 · 0.89
  const row = page.locator('[data-matrix="scores"] [data-cell^="1."]');
  assert.deepEqual((await row.allInnerTexts()).slice(0, 2), ['1.1479', '2.1925']);
  assert.match(page.url(), /edit=x.1.0%3D1/);
  await page.reload();
  assert.equal((await row.allInnerTexts())[1], '2.1925');
  await page.getByRole('button', { name: 'Back to the lecture\'s numbers' }).click();
  assert.equal((await row.allInnerTexts())[1], '1.4950');
}));

test('without the scale, and masked before or after, the numbers follow', () => inPage(async (page) => {
  await page.goto('#/lesson?chapter=causal&stage=weights&rows=all');
  const before = await cells(page, 'weights');
  await page.getByRole('switch', { name: 'scale by √d' }).click();
  await page.goto('#/lesson?chapter=causal&stage=weights&rows=all&scale=0');
  const unscaled = await cells(page, 'weights');
  assert.notDeepEqual(before, unscaled);
  // Both orders of mask and softmax end in the same weights, with the scale or without it.
  await page.goto('#/lesson?chapter=causal&mask=after&stage=renormalise&rows=all&scale=0');
  assert.deepEqual(await cells(page, 'renormalise'), unscaled);
}));

test('the player goes through a chapter by keys alone', () => inPage(async (page) => {
  await page.goto('#/lesson?chapter=simplified');
  await page.waitForSelector('[data-matrix="scores"]');
  const at = () => page.locator('.stages [aria-current]').innerText();
  assert.equal(await at(), 'scores');
  await page.keyboard.press('ArrowRight');
  assert.equal(await at(), 'softmax');
  await page.keyboard.press('ArrowRight');
  assert.equal(await at(), 'context');
  for (let i = 0; i < 8; i++) await page.keyboard.press('ArrowRight');
  assert.match(page.url(), /rows=all/);
  await page.keyboard.press('3');
  assert.match(page.url(), /chapter=causal/);
  await page.keyboard.press(' ');
  assert.match(page.url(), /play=1/);
}));
