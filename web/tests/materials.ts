/** What the tests are made with: further models, a long text, a report. */

/** Models beside the built-in one, named by `HEEDFUL_MODELS`, separated by colons. */
export const models: readonly string[] = (process.env.HEEDFUL_MODELS ?? '').split(':').filter(Boolean);

const WORDS = 'der Fluss river fließt durch das Tal und die alte Stadt am Ufer schläft noch wenn der Morgen kommt'.split(' ');

/** A text of so many words that is the same every time and does not repeat itself at once. */
export function longText(words: number): string {
  let state = 1;
  const text = Array.from({ length: words }, (_, i) => {
    state = (Math.imul(state, 1103515245) + 12345) >>> 0;
    return WORDS[(state >>> 16) % WORDS.length] + (i % 12 === 11 ? '.\n' : '');
  });
  return text.join(' ');
}

/** A report as `heedful compare` writes it, with three lengths. */
export function report() {
  const lengths = ['1-10', '11-20', '21+'];
  const rung = (name: string, score: number, fall: number) => ({
    name, parameters: 3_000_000, updates: 9000, epochs: 2.5, tokens: 20_000_000,
    time: { minutes: 20, validation_minutes: 1, cpu_minutes: 38, tokens_per_second: 16_000, translation_seconds: 12, translation_cpu_seconds: 20 },
    curve: [1, 2, 3, 4].map((i) => ({ update: i * 2000, seconds: i * 300, cpu_seconds: i * 550, loss: 5 - i, bleu: score * (i / 4), chrf: score * (i / 4) + 15 })),
    scores: ['BLEU', 'chrF2'].map((metric, m) => ({
      metric, score: score + m * 20, interval: [score + m * 20 - 1, score + m * 20 + 1], signature: 'nrefs:1',
      by_source_length: lengths.map((words, i) => ({ words, sentences: 300 - i * 90, score: score + m * 20 - i * fall, interval: [score + m * 20 - i * fall - 2, score + m * 20 - i * fall + 2] })),
    })),
  });
  const weights = [[0.8, 0.1, 0.1], [0.1, 0.7, 0.2], [0, 0.2, 0.8]];
  const alignment = { weights, outside: [0, 0, 0], coverage: [0.9, 1, 1.1] };
  return {
    corpus: { training_files: ['train.tsv'], training_pairs: 100_000, validation_pairs: 500, test_files: ['test.tsv'], test_sentences: 500, tested_on_validation: false, vocabulary: 8000, source_language: 'de', target_language: 'en' },
    budget: { minutes: 20, updates: 100_000 }, seed: 1,
    rungs: [rung('rnn', 18, 6), rung('rnn with attention', 24, 2), rung('transformer', 28, 1)],
    differences: ([[null, 10, 8.5, 11.4, 0.001], ['1-10', 1, -1, 3, 0.2], ['11-20', 6, 4, 8, 0.001], ['21+', 14, 11, 17, 0.001]] as const)
      .map(([words, difference, low, high, p_value]) => ({ first: 'rnn', second: 'transformer', metric: 'BLEU', words, difference, interval: [low, high], p_value })),
    sentences: lengths.map((words, i) => ({
      source: `Satz ${i + 1} .`, reference: `Sentence ${i + 1} .`, words: [5, 15, 25][i], origin: `the first test sentence of median length among those of ${words} words`, source_words: ['Satz', String(i + 1), '.'],
      translations: [{ rung: 'rnn', text: 'Set .', target_words: ['Set', '.'], alignment: null }, { rung: 'transformer', text: `Sentence ${i + 1} .`, target_words: ['Sentence', String(i + 1), '.'], alignment }],
    })),
    findings: ['transformer is better than rnn by 10.0 BLEU [8.5, 11.4] on the same sentences.'],
  };
}
