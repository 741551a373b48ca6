/** Formulas with the numbers in their places: a list of parts, shown as text with roles, read out as text alone. */
import type { ComponentChildren } from 'preact';
import { number } from '../format.ts';
import type { Role } from './tensor.ts';

export type Part =
  | string
  | { role: Role; text: string }
  | { over: Part[]; under: Part[] }
  | { sup: Part[] }
  | { sub: Part[] }
  | { root: Part[] }
  | { result: string };

export const value = (role: Role, x: number, decimals = 4): Part => ({ role, text: number(x, decimals) });
export const name = (role: Role, text: string, index?: string): Part[] => (index ? [{ role, text }, { sub: [index] }] : [{ role, text }]);
export const result = (x: number): Part => ({ result: number(x) });

/** Joins terms with a sign between them; of a long sum, the first and the last two terms stand. */
export function sum(terms: Part[][], sign = ' + ', most = 8): Part[] {
  const shown = terms.length > most ? [...terms.slice(0, most - 2), ['…'], ...terms.slice(-1)] : terms;
  return shown.flatMap((term, i) => (i ? [sign, ...term] : term));
}

/** `a · b`, with a negative second factor in brackets. */
export const product = (a: Part, b: Part, negative: boolean): Part[] => (negative ? [a, ' · (', b, ')'] : [a, ' · ', b]);

export function plain(parts: Part[]): string {
  return parts
    .map((part) => {
      if (typeof part === 'string') return part;
      if ('text' in part) return part.text;
      if ('result' in part) return part.result;
      if ('over' in part) return `(${plain(part.over)}) / (${plain(part.under)})`;
      if ('sup' in part) return `^(${plain(part.sup)})`;
      if ('root' in part) return `√(${plain(part.root)})`;
      return `_${plain(part.sub)}`;
    })
    .join('');
}

function render(parts: Part[]): ComponentChildren {
  return parts.map((part, i) => {
    if (typeof part === 'string') return part;
    if ('text' in part) return <span key={i} class={`role-${part.role}`}>{part.text}</span>;
    if ('result' in part) return <output key={i} class="result">{part.result}</output>;
    if ('sup' in part) return <sup key={i}>{render(part.sup)}</sup>;
    if ('sub' in part) return <sub key={i}>{render(part.sub)}</sub>;
    if ('root' in part) return <span key={i} class="root">√<span>{render(part.root)}</span></span>;
    return (
      <span key={i} class="fraction">
        <span>{render(part.over)}</span>
        <span class="under">{render(part.under)}</span>
      </span>
    );
  });
}

export function Formula({ lines }: { lines: Part[][] }) {
  return (
    <div class="formula" data-testid="formula" tabIndex={0} role="group" aria-label="Formula">
      {lines.map((line, i) => (
        <div key={i} class="formula-line">{render(line)}</div>
      ))}
    </div>
  );
}
