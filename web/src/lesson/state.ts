/** The lesson's settings, all of them in the address, with the lecture's as defaults. */
import { address, change } from '../address.ts';
import { transpose, type Matrix, type Projections } from './compute.ts';
import { Twister } from './twister.ts';

export const CHAPTERS = ['story', 'simplified', 'trainable', 'causal', 'heads', 'cross', 'model'] as const;
export type ChapterId = (typeof CHAPTERS)[number];

export const WEIGHTS = ['v1', 'v2', 'causal', 'own'] as const;
export type WeightSet = (typeof WEIGHTS)[number];
export const WEIGHT_LABELS: Record<WeightSet, string> = {
  v1: 'seed 123, torch.rand (SelfAttention_v1)',
  v2: 'seed 789, nn.Linear (SelfAttention_v2)',
  causal: 'seed 123, nn.Linear (CausalAttention)',
  own: 'nn.Linear with a seed of your own',
};

export interface Settings {
  chapter: ChapterId;
  weights: WeightSet;
  seed: number;
  scaled: boolean;
  mask: 'none' | 'before' | 'after';
  normalise: 'softmax' | 'sum';
  dropout: boolean;
  heads: 'one' | 'stacked' | 'split';
  /** The head that is looked at. */
  head: number;
}

const DEFAULTS: Record<ChapterId, Settings> = {
  story: { chapter: 'story', weights: 'causal', seed: 1, scaled: false, mask: 'none', normalise: 'softmax', dropout: false, heads: 'one', head: 0 },
  simplified: { chapter: 'simplified', weights: 'v1', seed: 1, scaled: false, mask: 'none', normalise: 'softmax', dropout: false, heads: 'one', head: 0 },
  trainable: { chapter: 'trainable', weights: 'v1', seed: 1, scaled: true, mask: 'none', normalise: 'softmax', dropout: false, heads: 'one', head: 0 },
  causal: { chapter: 'causal', weights: 'v2', seed: 1, scaled: true, mask: 'before', normalise: 'softmax', dropout: false, heads: 'one', head: 0 },
  heads: { chapter: 'heads', weights: 'causal', seed: 1, scaled: true, mask: 'before', normalise: 'softmax', dropout: false, heads: 'stacked', head: 0 },
  model: { chapter: 'model', weights: 'v2', seed: 1, scaled: true, mask: 'none', normalise: 'softmax', dropout: false, heads: 'one', head: 0 },
  cross: { chapter: 'cross', weights: 'v2', seed: 1, scaled: true, mask: 'none', normalise: 'softmax', dropout: false, heads: 'one', head: 0 },
};

const one = <T extends string>(value: string | undefined, choices: readonly T[], fallback: T): T => choices.find((c) => c === value) ?? fallback;

export function settings(): Settings {
  const get = (name: string) => address.value.params.get(name);
  const defaults = DEFAULTS[one(get('chapter'), CHAPTERS, 'simplified')];
  const on = (name: string, fallback: boolean) => (get(name) === undefined ? fallback : get(name) === '1');
  const whole = (name: string, fallback: number, most: number) => (/^\d+$/.test(get(name) ?? '') ? Math.min(most, Number(get(name))) : fallback);
  return {
    chapter: defaults.chapter,
    weights: one(get('weights'), WEIGHTS, defaults.weights),
    seed: whole('seed', defaults.seed, 2 ** 32 - 1),
    scaled: on('scale', defaults.scaled),
    mask: one(get('mask'), ['none', 'before', 'after'], defaults.mask),
    normalise: one(get('normalise'), ['softmax', 'sum'], defaults.normalise),
    dropout: on('dropout', defaults.dropout),
    heads: one(get('heads'), ['one', 'stacked', 'split'], defaults.heads),
    head: whole('head', defaults.head, defaults.chapter === 'model' ? 63 : 1),
  };
}

const NAMES = { scaled: 'scale' } as Record<string, string>;

/** Changes one setting; the lecture's value leaves the address. */
export function set<K extends Exclude<keyof Settings, 'chapter'>>(name: K, value: Settings[K]) {
  const written = typeof value === 'boolean' ? (value ? '1' : '0') : String(value);
  change({ [NAMES[name] ?? name]: value === DEFAULTS[settings().chapter][name] ? null : written });
}

const SENTENCE = ['Your', 'journey', 'starts', 'with', 'one', 'step'];
const VECTORS: Matrix = [
  [0.43, 0.15, 0.89], [0.55, 0.87, 0.66], [0.57, 0.85, 0.64], [0.22, 0.58, 0.33], [0.77, 0.25, 0.1], [0.05, 0.8, 0.55],
];
export const MOST_WORDS = 8;

/** A word that the lecture has no vector for gets one from its letters, with two decimals like the others. */
function vector(word: string): number[] {
  const known = SENTENCE.indexOf(word);
  if (known >= 0) return VECTORS[known].map(Math.fround);
  let seed = 2166136261;
  for (const letter of word) seed = Math.imul(seed ^ letter.codePointAt(0)!, 16777619) >>> 0;
  return new Twister(seed).rand(1, 3)[0].map((u) => Math.fround(Math.round(u * 100) / 100));
}

function words(parameter: string, fallback: string[]): string[] {
  const own = (address.value.params.get(parameter) ?? '').split(/\s+/).filter(Boolean).slice(0, MOST_WORDS);
  return own.length ? own : fallback;
}

export const sentence = () => words('words', SENTENCE);
export const asking = () => words('asking', ['Deine', 'Reise', 'beginnt']);
export const lectureSentence = SENTENCE.join(' ');

/** Numbers that the reader changed: `name.row.column=value`, separated by commas. */
function edits(): Map<string, number> {
  const entries = (address.value.params.get('edit') ?? '').split(',').map((entry) => entry.split('='));
  return new Map(entries.filter(([place, number]) => place && number && Number.isFinite(Number(number))).map(([place, number]) => [place, Number(number)]));
}

export const edited = () => edits().size;

export function edit(name: string, row: number, column: number, value: number | null) {
  const all = edits();
  const place = `${name}.${row}.${column}`;
  if (value === null) all.delete(place);
  else all.set(place, value);
  change({ edit: all.size ? [...all].map(([p, n]) => `${p}=${n}`).join(',') : null });
}

export const undoEdits = () => change({ edit: null });

/** A matrix with the reader's changes. */
export function withEdits(name: string, matrix: Matrix): Matrix {
  const all = edits();
  if (!all.size) return matrix;
  return matrix.map((row, r) => row.map((number, c) => all.get(`${name}.${r}.${c}`) ?? number));
}

export const inputVectors = () => withEdits('x', sentence().map(vector));
export const askingVectors = () => withEdits('y', asking().map(vector));

const linear = (twister: Twister, inputs: number, outputs: number) => transpose(twister.linear(inputs, outputs, inputs));

function draw(twister: Twister, set: WeightSet): Projections {
  const next = () => (set === 'v1' ? twister.rand(3, 2) : linear(twister, 3, 2));
  return { query: next(), key: next(), value: next() };
}

/** The matrices of the mechanism: of each stacked head, or of all heads together, and the last projection. */
export function parameters(s: Settings) {
  const seed = s.weights === 'v2' ? 789 : s.weights === 'own' ? s.seed : 123;
  const twister = new Twister(seed);
  const heads = Array.from({ length: s.heads === 'stacked' ? 2 : 1 }, () => draw(twister, s.weights)).map((head, h) => ({
    query: withEdits(`q${h}`, head.query),
    key: withEdits(`k${h}`, head.key),
    value: withEdits(`v${h}`, head.value),
  }));
  const output = s.heads === 'split' ? { weight: withEdits('o', linear(twister, 2, 2)), bias: withEdits('b', twister.linear(2, 1, 2))[0] } : null;
  return { heads, output };
}

export const dropoutFactors = (rows: number, cols: number) => withEdits('drop', new Twister(123).dropout(rows, cols, 0.5));

/** The small recurrent network of the story: an encoder of four numbers and additive attention over its states. */
export function storyParameters() {
  const twister = new Twister(123);
  const square = (name: string, inputs: number, outputs: number) => withEdits(name, linear(twister, inputs, outputs));
  return {
    input: square('w', 3, 4),
    recurrent: square('u', 4, 4),
    context: square('c', 4, 4),
    query: square('aw', 4, 4),
    key: square('au', 4, 4),
    energy: withEdits('av', twister.linear(1, 1, 4)),
  };
}
