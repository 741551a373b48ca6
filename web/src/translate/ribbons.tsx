/** Source words above, target words below, between them ribbons as thick as the weight. What leaves a word is stacked, so its thickness is the word's use. */
import { Svg, textWidth } from '../export/svg.tsx';
import { number, percent } from '../format.ts';
import type { Palette } from '../theme.ts';
import { columnPlace, lit, rowPlace, type Place } from '../ui/focus.ts';
import { untouched, type Shown } from './share.ts';

export interface Links {
  /** Words that are looked at: columns. */
  source: readonly string[];
  /** Words that look: rows. */
  target: readonly string[];
  weights: readonly (readonly number[])[];
  /** For each source word, the sum of its column. */
  coverage: readonly number[];
  /** For each target word; none where the model gave none. */
  probabilities: readonly number[] | null;
}

const THICK = 16;
const BOX = { height: 30, gap: 8, pad: 10 };
const TOP = 46;
const SPAN = 130;

interface Box {
  x: number;
  width: number;
}

function boxes(words: readonly string[], needs: number[]): Box[] {
  let x = 0;
  return words.map((word, i) => {
    const width = Math.max(textWidth(word, 14, 480) + BOX.pad * 2, needs[i] + 8, 34);
    const box = { x, width };
    x += width + BOX.gap;
    return box;
  });
}

const centre = (b: Box) => b.x + b.width / 2;
const widthOf = (list: Box[]) => (list.length ? list[list.length - 1].x + list[list.length - 1].width : 0);

/** Where everything stands; independent of what is focused. */
export function layout(links: Links, shown: Shown) {
  const sum = (pick: 'row' | 'column', i: number) => shown.edges.filter((e) => e[pick] === i).reduce((s, e) => s + e.weight * THICK, 0);
  const sources = boxes(links.source, links.source.map((_, i) => sum('column', i)));
  const targets = boxes(links.target, links.target.map((_, i) => sum('row', i)));
  const width = Math.max(widthOf(sources), widthOf(targets), 200);
  for (const list of [sources, targets]) {
    const shift = (width - widthOf(list)) / 2;
    for (const box of list) box.x += shift;
  }
  const above = sources.map((b, i) => centre(b) - sum('column', i) / 2);
  const below = targets.map((b, i) => centre(b) - sum('row', i) / 2);
  const ribbons = shown.edges.map((edge) => {
    const thick = edge.weight * THICK;
    const [x0, x1] = [above[edge.column], below[edge.row]];
    above[edge.column] += thick;
    below[edge.row] += thick;
    const [y0, y1] = [TOP + BOX.height, TOP + BOX.height + SPAN];
    const [c0, c1] = [y0 + SPAN * 0.45, y1 - SPAN * 0.45];
    const r = (x: number) => x.toFixed(1);
    return { ...edge, path: `M${r(x0)} ${y0}C${r(x0)} ${c0} ${r(x1)} ${c1} ${r(x1)} ${y1}L${r(x1 + thick)} ${y1}C${r(x1 + thick)} ${c1} ${r(x0 + thick)} ${c0} ${r(x0 + thick)} ${y0}Z` };
  });
  return { sources, targets, ribbons, width, height: TOP + BOX.height * 2 + SPAN + 44 };
}

export type Layout = ReturnType<typeof layout>;

interface Props {
  links: Links;
  at: Layout;
  palette: Palette;
  focus: ReadonlySet<Place>;
  title: string;
  onHover?: (place: Place | null) => void;
  onPick?: (place: Place, add: boolean) => void;
  background?: boolean;
}

export function Ribbons({ links, at, palette, focus, title, onHover, onPick, background }: Props) {
  const pad = 16;
  const live = onPick !== undefined;
  const fromRows = [...focus].filter((p) => p[0] === 'r').map((p) => Number(p.slice(1)));
  const fromColumns = [...focus].filter((p) => p[0] === 'c').map((p) => Number(p.slice(1)));
  /** What the focused words give to a word of the other side, together. */
  const received = (side: 'c' | 'r', i: number): number | null => {
    const from = side === 'c' ? fromRows : fromColumns;
    if (!from.length) return null;
    return from.reduce((sum, j) => sum + (side === 'c' ? (links.weights[j]?.[i] ?? 0) : (links.weights[i]?.[j] ?? 0)), 0);
  };
  const word = (side: 'c' | 'r', i: number, text: string, box: Box) => {
    const place = side === 'c' ? columnPlace(i) : rowPlace(i);
    const y = side === 'c' ? TOP : TOP + BOX.height + SPAN;
    const on = focus.has(place);
    const gets = received(side, i);
    const leftOut = side === 'c' && untouched(links.weights, i);
    const colour = side === 'c' ? palette.k : palette.q;
    const standing = side === 'c' ? number(links.coverage[i], 2) : links.probabilities ? percent(links.probabilities[i]) : '';
    const figure = gets === null ? standing : number(gets, 2);
    const kind = side === 'c' ? `source word, coverage ${standing}${leftOut ? ', hardly looked at' : ''}` : `target word${standing && `, probability ${standing}`}`;
    const measure = side === 'c' ? Math.min(1.5, links.coverage[i]) / 1.5 : (links.probabilities?.[i] ?? 0);
    const edge = side === 'c' ? y - 8 : y + BOX.height + 8;
    // The numbers stand beside the button, not in it: its name is said once, in its label.
    return (
      <g key={place}>
        <g data-place={place} tabindex={live ? (i === 0 ? 0 : -1) : undefined} role={live ? 'button' : undefined} aria-pressed={live ? on : undefined}
          aria-label={live ? `${text}: ${kind}${gets === null ? '' : `, weight ${figure}`}` : undefined}
          onMouseEnter={onHover && (() => onHover(place))} onMouseLeave={onHover && (() => onHover(null))}
          onClick={onPick && ((e: MouseEvent) => onPick(place, e.shiftKey))}>
          {live && <rect x={box.x - 2} y={side === 'c' ? 4 : y} width={box.width + 4} height={BOX.height + 42} fill="transparent" />}
          <rect x={box.x} y={y} width={box.width} height={BOX.height} rx="6" fill={on ? colour : palette.box} stroke={gets !== null && gets > 0.05 ? palette.weight : leftOut ? palette.muted : 'none'}
            stroke-width={gets !== null && gets > 0.05 ? 2 : 1} stroke-dasharray={leftOut && !(gets !== null && gets > 0.05) ? '3 3' : undefined} />
          <text x={centre(box)} y={y + 20} text-anchor="middle" font-size="14" font-weight="480" fill={on ? palette.panel : palette.text}>{text}</text>
        </g>
        {(side === 'c' || links.probabilities) && (
          <g pointer-events="none" aria-hidden={live ? true : undefined}>
            <rect x={box.x} y={side === 'c' ? edge : edge - 3} width={box.width} height="3" rx="1.5" fill={palette.hidden} />
            <rect x={box.x} y={side === 'c' ? edge : edge - 3} width={box.width * measure} height="3" rx="1.5" fill={side === 'c' ? palette.k : palette.q} />
            <text x={centre(box)} y={side === 'c' ? edge - 6 : edge + 14} text-anchor="middle" font-size="11" fill={gets === null ? palette.muted : palette.weight} font-weight={gets === null ? 400 : 600}>{figure}</text>
          </g>
        )}
      </g>
    );
  };
  return (
    <Svg width={Math.ceil(at.width + pad * 2)} height={at.height + pad} palette={palette} title={title} background={background} live={live} shrinks={live}>
      <g transform={`translate(${pad} ${pad / 2})`}>
        <g>
          {at.ribbons.map((r) => (
            <path key={`${r.row}.${r.column}`} d={r.path} fill={palette.weight} fill-opacity={lit(focus, r.row, r.column) ? 0.35 + 0.5 * Math.min(1, r.weight) : 0.07} pointer-events="none" />
          ))}
        </g>
        {links.source.map((w, i) => word('c', i, w, at.sources[i]))}
        {links.target.map((w, i) => word('r', i, w, at.targets[i]))}
      </g>
    </Svg>
  );
}

const FUNNEL_HEIGHT = 280;

export const funnelSize = (source: readonly string[], target: readonly string[]) => ({
  width: Math.ceil(Math.max(widthOf(boxes(source, source.map(() => 0))), widthOf(boxes(target, target.map(() => 0))), 260) + 32),
  height: FUNNEL_HEIGHT,
});

export const ribbonsSize = (at: Layout) => ({ width: Math.ceil(at.width + 32), height: at.height + 16 });

/** The picture of a model that has no attention: everything goes through one hidden state. */
export function Funnel({ source, target, palette, background, live }: { source: readonly string[]; target: readonly string[]; palette: Palette; background?: boolean; live?: boolean }) {
  const [above, below] = [boxes(source, source.map(() => 0)), boxes(target, target.map(() => 0))];
  const width = Math.max(widthOf(above), widthOf(below), 260);
  const height = FUNNEL_HEIGHT;
  for (const list of [above, below]) {
    const shift = (width - widthOf(list)) / 2;
    for (const box of list) box.x += shift;
  }
  const middle = width / 2;
  const row = (list: Box[], words: readonly string[], y: number) => words.map((w, i) => (
    <g key={i}>
      <rect x={list[i].x} y={y} width={list[i].width} height={BOX.height} rx="6" fill={palette.box} />
      <text x={centre(list[i])} y={y + 20} text-anchor="middle" font-size="14" font-weight="480">{w}</text>
    </g>
  ));
  return (
    <Svg width={Math.ceil(width + 32)} height={height} palette={palette} title="A model without attention: all source words pass through one hidden state" background={background} shrinks={live}>
      <g transform="translate(16 10)">
        {above.map((b, i) => <path key={i} d={`M${centre(b)} 38C${centre(b)} 80 ${middle} 80 ${middle} 112`} fill="none" stroke={palette.muted} stroke-opacity="0.5" stroke-width="2" />)}
        {below.map((b, i) => <path key={i} d={`M${middle} 148C${middle} 180 ${centre(b)} 180 ${centre(b)} 222`} fill="none" stroke={palette.muted} stroke-opacity="0.5" stroke-width="2" />)}
        {row(above, source, 8)}
        {row(below, target, 222)}
        <rect x={middle - 82} y="112" width="164" height="36" rx="18" fill={palette.k} />
        <text x={middle} y="135" text-anchor="middle" font-size="14" font-weight="560" fill={palette.panel}>one hidden state</text>
      </g>
    </Svg>
  );
}
