/** A matrix of the lesson as a table whose cells are coloured, can be chosen, and, in inputs, changed. */
import { useRef, useState } from 'preact/hooks';
import { diverging, readableOn, sequential } from '../colour.ts';
import { number, short } from '../format.ts';
import type { Palette } from '../theme.ts';
import { palette } from '../theme.ts';
import { edit } from './state.ts';
import type { Role, Tensor } from './tensor.ts';

/** As many columns as can be read as numbers. */
const MOST_COLUMNS = 16;

export const roleColour = (role: Role, p: Palette) => (role === 'plain' ? p.muted : p[role]);

/** From a number of the matrix to its colour. */
export function cellColours(tensor: Tensor, p: Palette): (value: number) => string {
  const finite = tensor.values.flat().filter(Number.isFinite);
  const largest = Math.max(...finite.map(Math.abs), 1e-12);
  if (!tensor.signed) return (x) => (tensor.role === 'weight' ? sequential('purple', p)((x / largest) * 0.6) : diverging(p, roleColour(tensor.role, p))((x / largest) * 0.55));
  const negative = tensor.role === 'k' ? p.q : p.negative;
  const scale = diverging({ ...p, negative }, roleColour(tensor.role, p));
  return (x) => (Number.isFinite(x) ? scale((x / largest) * 0.5) : p.hidden);
}

/** The name of a matrix, `W_q` with a lowered q. */
export function MatrixName({ title }: { title: string }) {
  const [, before, index, after] = title.match(/^(.*?)_(\w+)(.*)$/) ?? [null, title, '', ''];
  return <>{before}{index && <sub>{index}</sub>}{after}</>;
}

export interface Marked {
  /** Rows that take part; all others are faint. */
  rows?: number[];
  columns?: number[];
}

interface Props {
  tensor: Tensor;
  marked?: Marked;
  /** Rows that have been computed; others are dots. */
  shown?: (row: number) => boolean;
  chosen?: { row: number; column: number };
  onChoose?: (row: number, column: number) => void;
}

export function MatrixTable({ tensor, marked, shown = () => true, chosen, onChoose }: Props) {
  const table = useRef<HTMLTableElement>(null);
  const p = palette.value;
  const colour = cellColours(tensor, p);
  const faint = (r: number, c: number) => Boolean((marked?.rows && !marked.rows.includes(r)) || (marked?.columns && !marked.columns.includes(c)));
  const move = (event: KeyboardEvent) => {
    if (!chosen || !onChoose) return;
    const [dr, dc] = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[event.key] ?? [0, 0];
    if (!dr && !dc) return;
    event.preventDefault();
    const row = Math.min(tensor.rows.length - 1, Math.max(0, chosen.row + dr));
    const column = Math.min(tensor.columns.length - 1, Math.max(0, chosen.column + dc));
    onChoose(row, column);
    table.current?.querySelector<HTMLElement>(`[data-cell="${row}.${column}"]`)?.focus();
  };
  // Wide matrices show colours alone; their numbers are in the formula, in the table view and on hovering.
  const compact = tensor.columns.length > MOST_COLUMNS;
  return (
    <table class={`matrix${compact ? ' compact' : ''}`} data-matrix={tensor.id} ref={table} role={onChoose ? 'grid' : undefined} onKeyDown={onChoose ? move : undefined}>
      <caption class={`role-${tensor.role}`}><MatrixName title={tensor.title} /></caption>
      <thead>
        <tr>
          <td />
          {!compact && tensor.columns.map((c, i) => <th key={i} scope="col" class={chosen?.column === i ? 'at' : ''} title={c}>{c}</th>)}
        </tr>
      </thead>
      <tbody>
        {tensor.values.map((row, r) => (
          <tr key={r}>
            <th scope="row" class={chosen?.row === r ? 'at' : ''} title={tensor.rows[r]}>{tensor.rows[r]}</th>
            {row.map((x, c) => {
              if (tensor.edits) return <td key={c}><Editable tensor={tensor} row={r} column={c} colour={colour(x)} /></td>;
              const known = shown(r);
              const here = chosen?.row === r && chosen.column === c;
              const coloured = known && (here || !faint(r, c));
              const background = coloured ? colour(x) : undefined;
              return (
                <td key={c} data-cell={`${r}.${c}`} class={`${coloured ? '' : 'faint '}${here ? 'chosen ' : ''}${known ? '' : 'unknown'}`}
                  style={background ? { backgroundColor: background, color: readableOn(background) } : {}}
                  tabIndex={onChoose ? (here ? 0 : -1) : undefined} aria-selected={onChoose ? here : undefined}
                  onClick={onChoose && (() => onChoose(r, c))}>
                  {compact ? <span class="unseen">{known ? number(x) : 'not yet'}</span> : known ? number(x) : '·'}
                </td>
              );
            })}
          </tr>
        ))}
      </tbody>
    </table>
  );
}

/** A number that can be changed: everything follows while it is typed. An empty field brings the old number back. */
function Editable({ tensor, row, column, colour }: { tensor: Tensor; row: number; column: number; colour: string }) {
  const [draft, setDraft] = useState<string | null>(null);
  const label = `${tensor.title}, ${tensor.rows[row]}, ${tensor.columns[column]}`;
  const input = (text: string) => {
    setDraft(text);
    const value = Number(text.replace(',', '.').replace('−', '-'));
    if (text.trim() === '') edit(tensor.edits!, row, column, null);
    else if (Number.isFinite(value)) edit(tensor.edits!, row, column, value);
  };
  const wrong = draft !== null && draft.trim() !== '' && !Number.isFinite(Number(draft.replace(',', '.').replace('−', '-')));
  return (
    <input type="text" inputMode="decimal" autocomplete="off" aria-label={label} aria-invalid={wrong} data-cell={`${row}.${column}`}
      style={{ backgroundColor: colour, color: readableOn(colour) }} value={draft ?? short(Number(tensor.values[row][column].toFixed(4)))}
      onInput={(e) => input(e.currentTarget.value)} onBlur={() => setDraft(null)} />
  );
}
