/** Which rung is better at which length, and is that more than chance? Differences on the same sentences, with their ranges. */
import { number } from '../format.ts';
import type { Difference } from './ladder.tsx';

interface Props {
  /** Of one metric. */
  differences: Difference[];
  metric: string;
  /** Lengths, the shortest first. */
  names: string[];
  chosen: number | null;
  choose: (i: number) => void;
}

/** Whether the range is on one side of 0: the choice of test sentences does not explain the difference. */
const told = (d: Difference | undefined): d is Difference => d !== undefined && (d.interval[0] > 0 || d.interval[1] < 0);

const signed = (x: number) => `${x > 0 ? '+' : ''}${number(x, 1)}`;

/** From which length on the first of a pair is told to be behind at every length, in words. */
function behind(pair: { first: string; second: string }, at: (Difference | undefined)[], names: string[]): string {
  const sides = at.map((d) => (told(d) ? Math.sign(d.difference) : 0));
  const last = sides.at(-1) ?? 0;
  const from = sides.findLastIndex((side) => side !== last) + 1;
  const [worse, better] = last > 0 ? [pair.first, pair.second] : [pair.second, pair.first];
  if (last !== 0) return `${worse} is behind ${better} ${from === 0 ? 'at every length' : `from ${names[from]} words on`}, more than chance.`;
  return sides.some(Boolean) ? `${pair.first} and ${pair.second} are told apart at some lengths, not at the longest.` : `${pair.first} and ${pair.second} are not told apart at any length.`;
}

export function Differences({ differences, metric, names, chosen, choose }: Props) {
  const pairs = [...new Map(differences.map((d) => [`${d.first}\n${d.second}`, { first: d.first, second: d.second }])).values()];
  if (!pairs.length) return null;
  const of = ({ first, second }: { first: string; second: string }, words: string | null) => differences.find((d) => d.first === first && d.second === second && d.words === words);
  const lengths = names.filter((words) => differences.some((d) => d.words === words));
  const cell = (d: Difference | undefined) => (d
    ? <span class={told(d) ? 'told' : 'untold'} title={`p = ${d.p_value.toPrecision(2)}`}>{signed(d.difference)}<small>[{number(d.interval[0], 1)}, {number(d.interval[1], 1)}]</small></span>
    : '–');
  return (
    <section class="panel" data-testid="differences">
      <h2>Is it more than chance?</h2>
      <p class="hint">{metric} of the second minus the first, on the same sentences, and its range in 95 of 100 test sets drawn anew. Pale: 0 is in the range, so chance may explain it.</p>
      <div class="scroll" tabIndex={0} role="region" aria-label="Differences by sentence length">
        <table class="numbers differences">
          <thead>
            <tr>
              <th scope="col">second − first</th><th scope="col">all</th>
              {lengths.map((words) => <th key={words} scope="col" class={names[chosen ?? -1] === words ? 'chosen' : undefined}><button type="button" class="link" aria-pressed={names[chosen ?? -1] === words} onClick={() => choose(names.indexOf(words))}>{words}</button></th>)}
            </tr>
          </thead>
          <tbody>
            {pairs.map((pair) => (
              <tr key={`${pair.first}\n${pair.second}`}>
                <th scope="row">{pair.second} − {pair.first}</th>
                <td>{cell(of(pair, null))}</td>
                {lengths.map((words) => <td key={words} class={names[chosen ?? -1] === words ? 'chosen' : undefined}>{cell(of(pair, words))}</td>)}
              </tr>
            ))}
          </tbody>
        </table>
      </div>
      {lengths.length > 0 && <ul class="verdicts">{pairs.map((pair) => <li key={`${pair.first}\n${pair.second}`}>{behind(pair, lengths.map((words) => of(pair, words)), lengths)}</li>)}</ul>}
    </section>
  );
}
