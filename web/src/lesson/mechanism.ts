/** The stages of the four mechanisms: simplified, trainable, causal, multi-head; and cross-attention beside self-attention. */
import type { LessonAnswer } from '../api.ts';
import { tokenLabel } from '../heads/weights.ts';
import { ahead, run, split, transpose, type Head, type Matrix, type Projections, type Result, type Setup } from './compute.ts';
import { name, plain, product, result, sum, value, type Part } from './formula.tsx';
import { asking, askingVectors, dropoutFactors, inputVectors, parameters, sentence, type Settings } from './state.ts';
import type { Block, Chapter, Operand, Role, Stage, Tensor } from './tensor.ts';

const dims = (n: number) => Array.from({ length: n }, (_, i) => String(i + 1));

function tensor(id: string, title: string, role: Role, rows: string[], columns: string[], values: Matrix, more: Partial<Tensor> = {}): Tensor {
  return { id, title, role, rows, columns, values, signed: role !== 'weight', ...more };
}

const MOST_ROWS = 16;

/** One side of the comparison: what asks, what is asked, and all that came out. */
interface Side {
  prefix: string;
  asks: string[];
  asked: string[];
  x: Tensor;
  y: Tensor;
  result: Result;
  heads: Projections[] | null;
  setup: Setup;
  joint: { heads: Projections[]; output: Setup['output'] } | null;
}

function side(s: Settings, cross: boolean): Side {
  const [asked, memory] = [sentence(), inputVectors()];
  const [asks, queries] = cross ? [asking(), askingVectors()] : [asked, memory];
  const joint = s.chapter === 'simplified' ? null : parameters(s);
  const heads = joint && (s.heads === 'split' ? split(joint.heads[0], 2) : joint.heads);
  const setup: Setup = {
    queries, memory, heads, scaled: s.scaled, mask: s.mask, normalise: s.normalise,
    dropout: s.dropout ? dropoutFactors(asks.length, asked.length) : null,
    output: joint?.output ?? null,
  };
  const y = tensor('x', 'input x', 'x', asked, dims(3), memory, { edits: 'x' });
  const x = cross ? tensor('y', 'input y', 'x', asks, dims(3), queries, { edits: 'y' }) : y;
  return { prefix: cross ? 'cross.' : '', asks, asked, x, y, result: run(setup), heads, setup, joint };
}

/** The first layer of a trained encoder, one head of it, for a sentence of the reader's own. */
function ofModel(s: Settings, answer: LessonAnswer): Side {
  const words = answer.tokens.map(tokenLabel);
  const { query, key, value } = answer;
  const heads: Projections[] = [{
    query: transpose(query.weight), key: transpose(key.weight), value: transpose(value.weight),
    biases: { query: query.bias, key: key.bias, value: value.bias },
  }];
  const setup: Setup = { queries: answer.x, memory: answer.x, heads, scaled: s.scaled, mask: s.mask, normalise: 'softmax', dropout: null, output: null };
  const x = tensor('x', 'input x', 'x', words, dims(answer.dim), answer.x);
  return { prefix: '', asks: words, asked: words, x, y: x, result: run(setup), heads, setup, joint: null };
}

const dot = (a: number[], b: number[], aRole: Role, bRole: Role): Part[] =>
  sum(a.map((x, i) => product(value(aRole, x), value(bRole, b[i]), b[i] < 0)));

/** The stages of one side; `at` is the head that is looked at. */
function blocks(s: Settings, of: Side, at: number): [string, Block][] {
  const h: Head = of.result.heads[at];
  const { asks, asked } = of;
  const suffix = of.result.heads.length > 1 ? ` of head ${at + 1}` : '';
  const id = (name: string) => `${of.prefix}${name}${of.result.heads.length > 1 ? `.${at + 1}` : ''}`;
  const make = (name: string, title: string, role: Role, rows: string[], columns: string[], values: Matrix) =>
    tensor(id(name), title + suffix, role, rows, columns, values);
  const trainable = of.heads !== null;
  const width = dims(h.q[0].length);

  const q = trainable ? make('query', 'queries q', 'q', asks, width, h.q) : of.x;
  const k = trainable ? make('key', 'keys k', 'k', asked, width, h.k) : of.y;
  const v = trainable ? make('value', 'values v', 'v', asked, dims(h.v[0].length), h.v) : of.y;
  const [qRole, kRole, vRole]: Role[] = trainable ? ['q', 'k', 'v'] : ['x', 'x', 'x'];
  const [qName, kName, vName] = trainable ? ['q', 'k', 'v'] : ['x', 'x', 'x'];
  const list: [string, Block][] = [];

  if (of.heads) {
    const projection = (stage: string, letter: string, role: Role, input: Tensor, target: Tensor, w: Matrix, queryLike: boolean) =>
      list.push([stage, {
        operands: [
          { tensor: input, uses: 'row' },
          // A trained model's matrices have thousands of numbers: the formula names them, a table would drown the rest.
          ...(w.length > MOST_ROWS ? [] : [{ tensor: make(`W_${stage}`, `W_${letter}`, role, dims(w.length), dims(w[0].length), w), uses: 'column' as const, sign: '×' }]),
        ],
        tensor: target,
        rowwise: queryLike,
        formula: (i, c) => [
          [...name(role, letter, input.rows[i]), `[${c + 1}] = `, ...name('x', 'x', input.rows[i]), ' · ', ...name(role, 'W', letter), `[·, ${c + 1}]`],
          ['= ', ...dot(input.values[i], w.map((row) => row[c]), 'x', role), ...(of.heads![at].biases ? [' + b[', String(c + 1), ']'] : [])],
          ['= ', result(target.values[i][c])],
        ],
      }]);
    const w = of.heads[at];
    projection('query', 'q', 'q', of.x, q, w.query, true);
    projection('key', 'k', 'k', of.y, k, w.key, false);
    projection('value', 'v', 'v', of.y, v, w.value, false);
  }

  let current = make('scores', 'scores', 'weight', asks, asked, h.scores);
  list.push(['scores', {
    operands: [{ tensor: q, uses: 'row' }, { tensor: k, uses: 'rowOfColumn', sign: '·' }],
    tensor: { ...current, signed: true },
    rowwise: true,
    formula: (i, j) => [
      ['score(', { role: qRole, text: asks[i] }, ', ', { role: kRole, text: asked[j] }, ') = ', ...name(qRole, qName, asks[i]), ' · ', ...name(kRole, kName, asked[j])],
      ['= ', ...dot(h.q[i], h.k[j], qRole, kRole)],
      ['= ', result(h.scores[i][j])],
    ],
  }]);

  /** A stage that makes each number of a matrix of pairs out of its own place or row. */
  const next = (stage: string, title: string, values: Matrix | null, signed: boolean, uses: Operand['uses'], formula: Block['formula']) => {
    if (!values) return;
    const made = { ...make(stage, title, 'weight', asks, asked, values), signed };
    list.push([stage, { operands: [{ tensor: current, uses }], tensor: made, rowwise: true, formula }]);
    current = made;
  };

  next('mask', 'masked scores', h.masked, true, 'cell', (i, j) =>
    ahead(i, j)
      ? [[{ role: 'k', text: asked[j] }, ' comes after ', { role: 'q', text: asks[i] }, ': the score becomes ', result(-Infinity)]]
      : [[{ role: 'k', text: asked[j] }, ' is not ahead of ', { role: 'q', text: asks[i] }, ': the score stays ', result(h.masked![i][j])]]);
  const root = h.k[0].length;
  const unscaled = current.values;
  next('scale', 'scaled scores', h.scaled, true, 'cell', (i, j) => [
    ['score / ', { root: [name('k', 'd', 'k')].flat() }, ' = ', { over: [value('weight', unscaled[i][j])], under: [{ root: [String(root)] }] }],
    ['= ', result(h.scaled![i][j])],
  ]);
  const logits = current.values;
  next('weights', s.normalise === 'sum' ? 'scores over their sum' : 'attention weights', h.weights, false, 'row', (i, j) => {
    const seen = logits[i].filter((x) => x > -Infinity);
    const e = (x: number): Part[] => ['e', { sup: [value('weight', x)] }];
    const term = (x: number): Part[] => (s.normalise === 'sum' ? [value('weight', x)] : e(x));
    return [
      [...name('weight', 'α', `${asks[i]}, ${asked[j]}`), ' = ', s.normalise === 'sum' ? 'score / sum of the row' : 'softmax over the row'],
      ['= ', { over: term(logits[i][j]), under: sum((s.normalise === 'sum' ? logits[i] : seen).map(term)) }],
      ['= ', result(h.weights[i][j])],
    ];
  });
  next('maskWeights', 'masked weights', h.maskedWeights, false, 'cell', (i, j) =>
    ahead(i, j)
      ? [[{ role: 'k', text: asked[j] }, ' comes after ', { role: 'q', text: asks[i] }, ': the weight becomes ', result(0)], [`The row now sums to ${plain([value('weight', h.maskedWeights![i].reduce((a, b) => a + b, 0))])}.`]]
      : [[{ role: 'k', text: asked[j] }, ' is not ahead of ', { role: 'q', text: asks[i] }, ': the weight stays ', result(h.maskedWeights![i][j])], [`The row now sums to ${plain([value('weight', h.maskedWeights![i].reduce((a, b) => a + b, 0))])}.`]]);
  next('renormalise', 'renormalised weights', h.renormalised, false, 'row', (i, j) => {
    const row = h.maskedWeights![i];
    return [
      ['weight / sum of the row = ', { over: [value('weight', row[j])], under: sum(row.filter((_, c) => !ahead(i, c)).map((w) => [value('weight', w)])) }],
      ['= ', result(h.renormalised![i][j])],
    ];
  });
  const before = current.values;
  next('dropout', 'weights after dropout', h.dropped, false, 'cell', (i, j) => {
    const factor = of.setup.dropout![i][j];
    return [
      [factor ? 'kept, and made 1 / (1 − 0.5) times as large' : 'dropped', ': ', value('weight', before[i][j]), ` × ${factor} = `, result(h.dropped![i][j])],
    ];
  });

  const weights = current;
  list.push(['context', {
    operands: [{ tensor: weights, uses: 'row' }, { tensor: v, uses: 'column', sign: '×' }],
    tensor: make('context', 'context vectors', vRole, asks, dims(h.v[0].length), h.context),
    rowwise: true,
    formula: (i, c) => [
      [...name('plain', 'z', asks[i]), `[${c + 1}] = Σ `, ...name('weight', 'α'), ' · ', ...name(vRole, vName), `[${c + 1}]`],
      ['= ', ...dot(weights.values[i], h.v.map((row) => row[c]), 'weight', vRole)],
      ['= ', result(h.context[i][c])],
    ],
  }]);

  if (of.result.heads.length > 1) {
    const contexts = of.result.heads.map((head, n) =>
      tensor(`${of.prefix}context.${n + 1}`, `context of head ${n + 1}`, 'v', asks, dims(head.context[0].length), head.context));
    const each = contexts[0].columns.length;
    const joined = tensor(`${of.prefix}joined`, 'heads side by side', 'v', asks, contexts.flatMap((c, n) => c.columns.map((d) => `${n + 1}.${d}`)), of.result.joined);
    list.push(['joined', {
      operands: contexts.map((t, n) => ({ tensor: t, uses: 'row' as const, sign: n ? '⊕' : undefined })),
      tensor: joined,
      rowwise: true,
      formula: (i, c) => [[`Number ${c + 1} of the row is number ${(c % each) + 1} of head ${Math.floor(c / each) + 1}: `, result(of.result.joined[i][c])]],
    }]);
    if (of.result.output && of.setup.output) {
      const { weight, bias } = of.setup.output;
      const out = of.result.output;
      list.push(['output', {
        operands: [
          { tensor: joined, uses: 'row' },
          { tensor: tensor(`${of.prefix}W_out`, 'W_out', 'plain', dims(weight.length), dims(weight[0].length), weight), uses: 'column', sign: '×' },
          { tensor: tensor(`${of.prefix}b_out`, 'bias', 'plain', ['b'], dims(bias.length), [bias]), uses: 'column', sign: '+' },
        ],
        tensor: tensor(`${of.prefix}output`, 'output', 'plain', asks, dims(out[0].length), out),
        rowwise: true,
        formula: (i, c) => [
          [...name('plain', 'o', asks[i]), `[${c + 1}] = `, ...name('v', 'z', asks[i]), ' · ', ...name('plain', 'W', 'out'), `[·, ${c + 1}] + b[${c + 1}]`],
          ['= ', ...dot(joined.values[i], weight.map((row) => row[c]), 'v', 'plain'), ' + ', value('plain', bias[c])],
          ['= ', result(out[i][c])],
        ],
      }]);
    }
  }
  return list;
}

const TEXT: Record<string, { label: string; title: string; text: (s: Settings) => string[] }> = {
  query: { label: 'query', title: 'Each token asks: its query', text: () => [
    'A query is the input vector times a matrix that training finds. It stands for what this token looks for in the others.'] },
  key: { label: 'key', title: 'Each token can be found: its key', text: () => [
    'Keys are what queries are compared with, like the index of a book. They come from the same inputs through a second matrix.'] },
  value: { label: 'value', title: 'Each token has something to give: its value', text: () => [
    'Values are what will be mixed. A third matrix: what a token is found by and what it gives need not be the same.'] },
  scores: { label: 'scores', title: 'How well does each token fit?', text: (s) => s.chapter === 'simplified'
    ? ['The score of two tokens is the dot product of their vectors: large when they point the same way.',
       'There is nothing to train here yet. A token is its own query, key and value.']
    : ['The dot product of a query and a key. In matrix form all of them are one product, q kᵀ: this is where the work, and the n × n, lies.'] },
  mask: { label: 'mask', title: 'No looking ahead', text: () => [
    'While a text is being written, the next words do not exist yet. Scores above the diagonal become −∞, and e to the −∞ is 0: the softmax gives the future no weight, and each row still sums to 1.'] },
  scale: { label: 'scale', title: 'Divide by √d', text: () => [
    'Dot products grow with the number of dimensions. Large scores push the softmax to a single 1 and its gradients to 0; dividing by the root of the key width keeps them in reach. Switch it off and look at the weights.'] },
  weights: { label: 'softmax', title: 'From scores to weights', text: (s) => s.normalise === 'sum'
    ? ['The simplest way to weights that sum to 1: divide by the sum. It breaks when scores are negative, which is why the softmax is used.']
    : ['The softmax makes all weights positive, and each row sums to 1: a share of attention. Scores near each other share; a score well above the rest takes nearly all.'] },
  maskWeights: { label: 'mask', title: 'No looking ahead, after the softmax', text: () => [
    'The first way to a causal mask: compute all weights and set those ahead to 0. The rows no longer sum to 1.'] },
  renormalise: { label: 'renormalise', title: 'Make the rows sum to 1 again', text: () => [
    'Each row is divided by what is left of it. The result equals masking with −∞ before the softmax: the sum over the future cancels out. But it computes weights only to throw them away.'] },
  dropout: { label: 'dropout', title: 'Dropout, while training', text: () => [
    'Half of the weights are set to 0 at random, so that no token relies on a single other. The rest is doubled, so the sum stays the same on average. When the model is used, nothing is dropped.'] },
  context: { label: 'context', title: 'Mix: the context vector', text: () => [
    'Each token gets a new vector: the values of all tokens, mixed by its weights. It has read the sentence.'] },
  joined: { label: 'join', title: 'Heads side by side', text: (s) => s.heads === 'stacked'
    ? ['Stacked heads: each head has matrices of its own and runs by itself; their contexts are put side by side, so the result is as many times wider.']
    : ['Split heads: one large projection is cut into heads. The same idea with one matrix product in place of several; the width stays.'] },
  output: { label: 'output', title: 'A last projection', text: () => [
    'A linear layer lets the heads speak with each other. It is not strictly needed, but nearly all models have it.'] },
};

const COMPARE = [
  'In self-attention, left, the sentence asks itself. In cross-attention, right, another sentence asks, here the translation so far: queries come from it, keys and values from the source. The arithmetic is the same.',
];

export function mechanism(s: Settings, answer: LessonAnswer | null): Chapter {
  const self = answer ? ofModel(s, answer) : side(s, false);
  const sides = s.chapter === 'cross' ? [self, side({ ...s, mask: 'none' }, true)] : [self];
  const at = Math.min(s.head, self.result.heads.length - 1);
  const lists = sides.map((of) => blocks(s, of, at));
  const stages: Stage[] = lists[0].map(([id, block]) => {
    const { label, title, text } = TEXT[id];
    const others = lists.slice(1).flatMap((list) => list.filter(([other]) => other === id).map(([, b]) => ({ ...b, title: 'Cross-attention' })));
    return { id, label, title, text: [...(others.length ? COMPARE : []), ...text(s)], blocks: others.length ? [{ ...block, title: 'Self-attention' }, ...others] : [block] };
  });
  return { id: s.chapter, label: s.chapter, stages, inputs: inputs(s, sides) };
}

/** All that can be edited. */
function inputs(s: Settings, sides: Side[]): Tensor[] {
  if (s.chapter === 'model') return [];
  const list = [sides[0].y, ...sides.slice(1).map((of) => of.x)];
  const joint = sides[0].joint;
  joint?.heads.forEach((head, h) => {
    const of = joint.heads.length > 1 ? ` of head ${h + 1}` : '';
    const add = (letter: string, edits: string, role: Role, w: Matrix) =>
      list.push(tensor(`${edits}${h}`, `W_${letter}${of}`, role, dims(3), dims(w[0].length), w, { edits: `${edits}${h}` }));
    add('q', 'q', 'q', head.query);
    add('k', 'k', 'k', head.key);
    add('v', 'v', 'v', head.value);
  });
  if (joint?.output) {
    list.push(tensor('o', 'W_out', 'plain', dims(2), dims(2), joint.output.weight, { edits: 'o' }));
    list.push(tensor('b', 'bias of the output', 'plain', ['b'], dims(2), [joint.output.bias], { edits: 'b' }));
  }
  if (s.dropout) list.push(tensor('drop', 'dropout factors', 'plain', sides[0].asks, sides[0].asked, sides[0].setup.dropout!, { edits: 'drop' }));
  return list;
}
