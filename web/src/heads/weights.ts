/** What is done to weights before they are shown, and always said: columns set aside, rows brought back to a sum of 1. */
import type { Token } from '../api.ts';

/** A token as people read it: the mark of a word's start goes, a piece inside a word gets a dot. */
export function tokenLabel({ text }: Token): string {
  if (text === '</s>') return '⟨end⟩';
  if (text === '<s>') return '⟨start⟩';
  if (text.startsWith('▁')) return text.slice(1) || '▁';
  return `·${text}`;
}

export const ASIDE = ['nothing', 'first', 'special'] as const;
export type Aside = (typeof ASIDE)[number];

export const isSpecial = (token: Token) => token.word === null && /^<\/?s>$/.test(token.text);

export function asideColumns(aside: Aside, keys: readonly Token[]): number[] {
  if (aside === 'first') return [0];
  return aside === 'special' ? keys.flatMap((token, i) => (isSpecial(token) ? [i] : [])) : [];
}

export interface Prepared {
  weights: number[][];
  /** The share of all weight that was set aside. */
  aside: number;
}

export function prepare(weights: readonly (readonly number[])[], columns: readonly number[], renormalise: boolean): Prepared {
  if (!columns.length) return { weights: weights.map((row) => [...row]), aside: 0 };
  let [total, taken] = [0, 0];
  const prepared = weights.map((row) => {
    const sum = row.reduce((a, b) => a + b, 0);
    const without = row.map((w, c) => (columns.includes(c) ? 0 : w));
    const left = without.reduce((a, b) => a + b, 0);
    total += sum;
    taken += sum - left;
    return renormalise && left > 0 ? without.map((w) => (w / left) * sum) : without;
  });
  return { weights: prepared, aside: total > 0 ? taken / total : 0 };
}
