/** The story before the mechanisms: one hidden state has to carry a whole sentence, until the decoder is let to reach back. */
import { additive, encode, multiply, type Matrix } from './compute.ts';
import { name, product, result, sum, value, type Part } from './formula.tsx';
import { inputVectors, sentence, storyParameters } from './state.ts';
import type { Chapter, Role, Stage, Tensor } from './tensor.ts';

const dims = (n: number) => Array.from({ length: n }, (_, i) => String(i + 1));
const DECODER_STEPS = ['output 1', 'output 2', 'output 3'];

function tensor(id: string, title: string, role: Role, rows: string[], columns: string[], values: Matrix, signed = true, edits?: string): Tensor {
  return { id, title, role, rows, columns, values, signed, edits };
}

const terms = (a: number[], b: number[], aRole: Role, bRole: Role): Part[][] => a.map((x, i) => product(value(aRole, x, 2), value(bRole, b[i], 2), b[i] < 0));

export function story(): Chapter {
  const words = sentence();
  const x = inputVectors();
  const p = storyParameters();
  const { states, memory } = encode(x, p.input, p.recurrent);

  // The decoder begins where the encoder ends, and takes what it read into its next state.
  const looks: { state: number[]; look: ReturnType<typeof additive> }[] = [];
  let state = states[states.length - 1];
  for (const _ of DECODER_STEPS) {
    const look = additive(state, states, p.query, p.key, p.energy[0]);
    looks.push({ state, look });
    const [from, read] = [multiply([state], p.recurrent)[0], multiply([look.context], p.context)[0]];
    state = from.map((s, c) => Math.tanh(s + read[c]));
  }
  const X = tensor('x', 'input x', 'x', words, dims(3), x, true, 'x');
  const H = tensor('states', 'hidden states h', 'k', words.map((w, i) => `h${i + 1} ${w}`), dims(4), states);
  const M = tensor('memory', 'share of each word', 'weight', words.map((w, i) => `h${i + 1} ${w}`), words, memory, false);
  const S = tensor('decoder', 'decoder states s', 'q', DECODER_STEPS, dims(4), looks.map((l) => l.state));
  const E = tensor('energies', 'energies e', 'weight', DECODER_STEPS, words, looks.map((l) => l.look.energies));
  const A = tensor('alignment', 'attention weights', 'weight', DECODER_STEPS, words, looks.map((l) => l.look.weights), false);
  const C = tensor('read', 'context vectors', 'v', DECODER_STEPS, dims(4), looks.map((l) => l.look.context));
  const w = tensor('w', 'W (input)', 'plain', dims(3), dims(4), p.input, true, 'w');
  const u = tensor('u', 'U (previous state)', 'plain', dims(4), dims(4), p.recurrent, true, 'u');

  const stages: Stage[] = [
    {
      id: 'words', label: 'word by word', title: 'Translation is not word by word',
      text: ['Words change places between languages, and one word may become several. So a model first reads the whole sentence (the encoder), then writes the other one (the decoder). The question of this story is what passes between the two.'],
      blocks: [],
    },
    {
      id: 'states', label: 'reading', title: 'The encoder reads, one word at a time',
      text: ['A recurrent network keeps one hidden state. Each word changes it: the new state is made from the word and the state before. Step through the rows and watch it fill up.'],
      blocks: [{
        operands: [{ tensor: X, uses: 'row' }, { tensor: w, uses: 'column', sign: '×' }, { tensor: u, uses: 'column', sign: '+ h ×' }],
        tensor: H, rowwise: true,
        formula: (t, c) => {
          const before = states[t - 1];
          const recurrent = p.recurrent.map((row) => row[c]);
          return [
            [...name('k', 'h', String(t + 1)), `[${c + 1}] = tanh(`, ...name('x', 'x', words[t]), ' · W', { sub: [String(c + 1)] }, ...(before ? [' + ', ...name('k', 'h', String(t)), ' · U', { sub: [String(c + 1)] } as Part] : []), ')'],
            ['= tanh(', ...sum(terms(x[t], p.input.map((row) => row[c]), 'x', 'plain')), ...(before ? [' + ', ...sum(terms(before, recurrent, 'k', 'plain'))] : []), ')'],
            ['= ', result(states[t][c])],
          ];
        },
      }],
    },
    {
      id: 'memory', label: 'forgetting', title: 'What is left of the first word?',
      text: ['Without attention the decoder gets the last hidden state and nothing else. The row of each state says how strongly it still depends on each word: the size of its derivative by that word, as a share. In the last row the early words are nearly gone: one vector has to carry everything.'],
      blocks: [{
        operands: [{ tensor: H, uses: 'row' }],
        tensor: M, rowwise: true,
        formula: (t, j) => [
          j > t
            ? [{ role: 'x', text: words[j] }, ' has not been read yet: ', result(0)]
            : ['‖∂', ...name('k', 'h', String(t + 1)), ' / ∂', ...name('x', 'x', words[j]), '‖, as a share of the row = ', result(memory[t][j])],
        ],
      }],
    },
    {
      id: 'energies', label: 'reaching back', title: 'Attention: let the decoder reach back',
      text: ['Bahdanau and colleagues (2015) kept all hidden states. Before each output word, the decoder compares its own state with every state of the encoder: a small network gives each an energy.'],
      blocks: [{
        operands: [{ tensor: S, uses: 'row' }, { tensor: H, uses: 'rowOfColumn', sign: 'with' }],
        tensor: E, rowwise: true,
        formula: (i, j) => {
          const hidden = looks[i].look.hidden[j];
          return [
            [...name('weight', 'e', `${i + 1}, ${words[j]}`), ' = v · tanh(W ', ...name('q', 's', String(i + 1)), ' + U ', ...name('k', 'h', String(j + 1)), ')'],
            ['= ', ...sum(p.energy[0].map((v, c) => product(value('plain', v), value('k', hidden[c]), hidden[c] < 0)))],
            ['= ', result(E.values[i][j])],
          ];
        },
      }],
    },
    {
      id: 'alignment', label: 'weights', title: 'Energies become weights',
      text: ['The softmax turns the energies of a row into shares that sum to 1: how much of each word is read for this output. Read downwards, the rows are an alignment of the two sentences. (These weights are untrained: see the view Translate for trained ones.)'],
      blocks: [{
        operands: [{ tensor: E, uses: 'row' }],
        tensor: A, rowwise: true,
        formula: (i, j) => [
          [...name('weight', 'α', `${i + 1}, ${words[j]}`), ' = softmax over the row'],
          ['= ', { over: ['e', { sup: [value('weight', E.values[i][j])] }], under: sum(E.values[i].map((e): Part[] => ['e', { sup: [value('weight', e)] }])) }],
          ['= ', result(A.values[i][j])],
        ],
      }],
    },
    {
      id: 'read', label: 'context', title: 'What the decoder reads',
      text: ['The context vector mixes all hidden states by the weights. It is new for each output word, so no single vector has to carry the sentence. Two years later came the next thought: leave out the recurrence, and let the words of one sentence look at each other. That is self-attention.'],
      blocks: [{
        operands: [{ tensor: A, uses: 'row' }, { tensor: H, uses: 'column', sign: '×' }],
        tensor: C, rowwise: true,
        formula: (i, c) => [
          [...name('v', 'c', String(i + 1)), `[${c + 1}] = Σ `, ...name('weight', 'α'), ' · ', ...name('k', 'h'), `[${c + 1}]`],
          ['= ', ...sum(terms(A.values[i], states.map((row) => row[c]), 'weight', 'k'))],
          ['= ', result(C.values[i][c])],
        ],
      }],
    },
  ];
  const editable = [
    X, w, u,
    tensor('aw', 'W (decoder state)', 'q', dims(4), dims(4), p.query, true, 'aw'),
    tensor('au', 'U (encoder state)', 'k', dims(4), dims(4), p.key, true, 'au'),
    tensor('av', 'v', 'plain', ['v'], dims(4), p.energy, true, 'av'),
    tensor('c', 'C (context into the next state)', 'plain', dims(4), dims(4), p.context, true, 'c'),
  ];
  return { id: 'story', label: 'story', stages, inputs: editable };
}
