/** The arithmetic of the lesson: small, in double precision, every step kept. Matrices are lists of rows. */
export type Matrix = number[][];

export const multiply = (a: Matrix, b: Matrix): Matrix => a.map((row) => b[0].map((_, c) => row.reduce((sum, x, i) => sum + x * b[i][c], 0)));
export const transpose = (a: Matrix): Matrix => a[0].map((_, c) => a.map((row) => row[c]));
export const columns = (a: Matrix, from: number, to: number): Matrix => a.map((row) => row.slice(from, to));

export function softmaxRow(row: number[]): number[] {
  const largest = Math.max(...row);
  if (largest === -Infinity) return row.map(() => 0);
  const exponentials = row.map((s) => Math.exp(s - largest));
  const sum = exponentials.reduce((a, b) => a + b, 0);
  return exponentials.map((e) => e / sum);
}

export function sumRow(row: number[]): number[] {
  const sum = row.reduce((a, b) => a + b, 0);
  return row.map((s) => (sum === 0 ? 0 : s / sum));
}

/** The trainable matrices of a head, `[inputs, outputs]`: q = x W. */
export interface Projections {
  query: Matrix;
  key: Matrix;
  value: Matrix;
  biases?: { query: number[]; key: number[]; value: number[] };
}

export interface Setup {
  /** What asks. */
  queries: Matrix;
  /** What is asked: the same as `queries` in self-attention. */
  memory: Matrix;
  /** None in the simplified mechanism, where a token is its own query, key and value. */
  heads: Projections[] | null;
  scaled: boolean;
  mask: 'none' | 'before' | 'after';
  normalise: 'softmax' | 'sum';
  /** Factors of the weights, or none. */
  dropout: Matrix | null;
  /** The last projection of multi-head attention, `[inputs, outputs]`, and its bias. */
  output: { weight: Matrix; bias: number[] } | null;
}

/** One head, step by step. Steps that the setup leaves out are `null`. */
export interface Head {
  q: Matrix;
  k: Matrix;
  v: Matrix;
  scores: Matrix;
  masked: Matrix | null;
  scaled: Matrix | null;
  weights: Matrix;
  maskedWeights: Matrix | null;
  renormalised: Matrix | null;
  dropped: Matrix | null;
  context: Matrix;
}

export interface Result {
  heads: Head[];
  /** The contexts of all heads, side by side. */
  joined: Matrix;
  output: Matrix | null;
}

export const ahead = (row: number, column: number) => column > row;

function runHead(setup: Setup, projections: Projections | null): Head {
  const project = (x: Matrix, name: 'query' | 'key' | 'value') => {
    const bias = projections?.biases?.[name];
    const y = projections ? multiply(x, projections[name]) : x;
    return bias ? y.map((row) => row.map((number, c) => number + bias[c])) : y;
  };
  const [q, k, v] = [project(setup.queries, 'query'), project(setup.memory, 'key'), project(setup.memory, 'value')];
  const scores = multiply(q, transpose(k));
  const masked = setup.mask === 'before' ? scores.map((row, i) => row.map((s, j) => (ahead(i, j) ? -Infinity : s))) : null;
  const scaled = setup.scaled ? (masked ?? scores).map((row) => row.map((s) => s / Math.sqrt(k[0].length))) : null;
  const weights = (scaled ?? masked ?? scores).map(setup.normalise === 'sum' ? sumRow : softmaxRow);
  const maskedWeights = setup.mask === 'after' ? weights.map((row, i) => row.map((w, j) => (ahead(i, j) ? 0 : w))) : null;
  const renormalised = maskedWeights?.map(sumRow) ?? null;
  const final = renormalised ?? weights;
  const dropped = setup.dropout ? final.map((row, i) => row.map((w, j) => w * setup.dropout![i][j])) : null;
  return { q, k, v, scores, masked, scaled, weights, maskedWeights, renormalised, dropped, context: multiply(dropped ?? final, v) };
}

export function run(setup: Setup): Result {
  const heads = (setup.heads ?? [null]).map((projections) => runHead(setup, projections));
  const joined = setup.queries.map((_, i) => heads.flatMap((head) => head.context[i]));
  const output = setup.output && multiply(joined, setup.output.weight).map((row) => row.map((x, c) => x + setup.output!.bias[c]));
  return { heads, joined, output };
}

/** Splits matrices of `heads x width` columns into heads of `width` columns. */
export function split({ query, key, value }: Projections, heads: number): Projections[] {
  const width = query[0].length / heads;
  return Array.from({ length: heads }, (_, h) => {
    const part = (w: Matrix) => columns(w, h * width, (h + 1) * width);
    return { query: part(query), key: part(key), value: part(value) };
  });
}

/** A recurrent encoder, `h_t = tanh(x_t W + h_{t-1} U)`, and how much of each word is still in each state. */
export interface Encoder {
  states: Matrix;
  /** `[state, word]`: the norm of the derivative of the state by the word's input, as a share of the row. */
  memory: Matrix;
}

export function encode(x: Matrix, w: Matrix, u: Matrix): Encoder {
  const width = u.length;
  const states: Matrix = [];
  const memory: Matrix = [];
  // One Jacobian `[inputs, width]` per word, carried from state to state.
  let jacobians: Matrix[] = [];
  x.forEach((input, t) => {
    const before = states[t - 1] ?? new Array<number>(width).fill(0);
    const sum = multiply([input], w)[0].map((a, c) => a + before.reduce((s, h, i) => s + h * u[i][c], 0));
    const state = sum.map(Math.tanh);
    const slope = state.map((h) => 1 - h * h);
    const through = (jacobian: Matrix) => jacobian.map((row) => row.map((d, c) => d * slope[c]));
    jacobians = [...jacobians.map((jacobian) => through(multiply(jacobian, u))), through(w)];
    states.push(state);
    const norms = jacobians.map((jacobian) => Math.hypot(...jacobian.flat()));
    memory.push(sumRow(x.map((_, j) => norms[j] ?? 0)));
  });
  return { states, memory };
}

/** Additive attention (Bahdanau et al. 2015): `e_j = v · tanh(W s + U h_j)`. */
export function additive(s: number[], states: Matrix, w: Matrix, u: Matrix, v: number[]) {
  const query = multiply([s], w)[0];
  const keys = multiply(states, u);
  const hidden = keys.map((key) => key.map((k, c) => Math.tanh(k + query[c])));
  const energies = hidden.map((row) => row.reduce((sum, h, c) => sum + h * v[c], 0));
  const weights = softmaxRow(energies);
  return { query, keys, hidden, energies, weights, context: multiply([weights], states)[0] };
}
