/** A heat map with words along two sides: numbers in the cells where they fit, a row of column sums, marks on what is focused. */
import { memo } from 'preact/compat';
import { useEffect, useRef } from 'preact/hooks';
import { readableOn } from '../colour.ts';
import { Svg, fit, textWidth } from '../export/svg.tsx';
import { number } from '../format.ts';
import type { Palette } from '../theme.ts';
import { columnPlace, rowPlace, type Place } from './focus.ts';

export interface HeatProps {
  rows: readonly string[];
  columns: readonly string[];
  values: readonly (readonly number[])[];
  /** From a number to a colour. */
  colour: (value: number) => string;
  /** Below the map, a number for each column. */
  sums?: { label: string; values: readonly number[]; colour: (value: number) => string };
  palette: Palette;
  title: string;
  focus: ReadonlySet<Place>;
  onHover?: (place: Place | null, row?: number, column?: number) => void;
  onPick?: (place: Place, add: boolean) => void;
  background?: boolean;
  /** Decimals of the numbers in the cells. */
  decimals?: number;
}

/** From so many cells on, a live map draws them as pixels under the picture: moving over it then costs nothing. */
const MANY = 900;

/** Sizes that depend on the words alone. */
export function heatLayout(rows: readonly string[], columns: readonly string[], sums: boolean) {
  const longest = (words: readonly string[], least = 24) => Math.min(130, Math.max(least, ...words.map((w) => textWidth(w, 12))));
  const cell = columns.length <= 14 ? 40 : columns.length <= 28 ? 24 : 12;
  const font = cell >= 24 ? 12 : 10;
  return { left: Math.ceil(longest(rows, sums ? 52 : 24)) + 14, top: Math.ceil(longest(columns)) * 0.75 + 22, cell, font, height: cell === 40 ? 28 : cell };
}

export function heatSize(rows: readonly string[], columns: readonly string[], sums: boolean) {
  const { left, top, cell, height } = heatLayout(rows, columns, sums);
  return { width: Math.ceil(left + columns.length * cell + 60), height: Math.ceil(top + rows.length * height + (sums ? 40 : 12)) };
}

const Cells = memo(function Cells({ values, colour, left, top, cell, height, decimals }: { values: HeatProps['values']; colour: HeatProps['colour']; left: number; top: number; cell: number; height: number; decimals: number }) {
  return (
    <g>
      {values.flatMap((row, r) => row.map((value, c) => {
        const fill = colour(value);
        return (
          <g key={`${r}.${c}`}>
            <rect x={left + c * cell} y={top + r * height} width={cell - 1} height={height - 1} fill={fill} />
            {cell === 40 && <text x={left + (c + 0.5) * cell} y={top + (r + 0.5) * height + 4} text-anchor="middle" font-size="11" fill={readableOn(fill)}>{number(value, decimals)}</text>}
          </g>
        );
      }))}
    </g>
  );
});

export function Heat({ rows, columns, values, colour, sums, palette, title, focus, onHover, onPick, background, decimals = 2 }: HeatProps) {
  const { left, top, cell, font, height } = heatLayout(rows, columns, sums !== undefined);
  const live = onPick !== undefined;
  const bottom = top + rows.length * height;
  const many = rows.length * columns.length > MANY;
  const label = (kind: 'r' | 'c', i: number, text: string) => {
    const place = kind === 'r' ? rowPlace(i) : columnPlace(i);
    const on = focus.has(place);
    const turn = kind === 'c' ? `translate(${left + (i + 0.5) * cell + 4} ${top - 8}) rotate(-48)` : `translate(${left - 8} ${top + (i + 0.5) * height + 4})`;
    return (
      <g key={place} data-place={place} transform={turn} tabindex={live ? (i === 0 ? 0 : -1) : undefined} role={live ? 'button' : undefined} aria-pressed={live ? on : undefined}
        aria-label={live ? `${kind === 'r' ? 'row' : 'column'} ${text}` : undefined} onMouseEnter={onHover && (() => onHover(place))} onMouseLeave={onHover && (() => onHover(null))}
        onClick={onPick && ((e: MouseEvent) => onPick(place, e.shiftKey))}>
        <text text-anchor={kind === 'r' ? 'end' : 'start'} font-size={font} font-weight={on ? 650 : 400} fill={on ? (kind === 'r' ? palette.q : palette.k) : palette.text}>{fit(text, 130, font)}</text>
      </g>
    );
  };
  const at = (e: MouseEvent): [number, number] => {
    const box = (e.currentTarget as SVGRectElement).getBoundingClientRect();
    const r = Math.min(rows.length - 1, Math.max(0, Math.floor(((e.clientY - box.top) / box.height) * rows.length)));
    const c = Math.min(columns.length - 1, Math.max(0, Math.floor(((e.clientX - box.left) / box.width) * columns.length)));
    return [r, c];
  };
  const map = (
    <Svg {...heatSize(rows, columns, sums !== undefined)} palette={palette} title={title} background={background} live={live}>
      {columns.map((w, i) => label('c', i, w))}
      {rows.map((w, i) => label('r', i, w))}
      {!(live && many) && <Cells values={values} colour={colour} left={left} top={top} cell={cell} height={height} decimals={decimals} />}
      {sums && (
        <g>
          <text x={left - 8} y={bottom + 24} text-anchor="end" font-size="11" fill={palette.muted}>{sums.label}</text>
          {sums.values.map((value, c) => {
            const fill = sums.colour(value);
            return (
              <g key={c}>
                <rect x={left + c * cell} y={bottom + 8} width={cell - 1} height="24" fill={fill} stroke={palette.line} stroke-width="0.5" />
                {cell === 40 && <text x={left + (c + 0.5) * cell} y={bottom + 24} text-anchor="middle" font-size="11" fill={readableOn(fill)}>{number(value, decimals)}</text>}
              </g>
            );
          })}
        </g>
      )}
      {[...focus].map((place) => {
        const i = Number(place.slice(1));
        if (place[0] === 'r' && i < rows.length) return <rect key={place} x={left - 1} y={top + i * height - 1} width={columns.length * cell + 1} height={height + 1} fill="none" stroke={palette.q} stroke-width="2" pointer-events="none" />;
        if (place[0] === 'c' && i < columns.length) return <rect key={place} x={left + i * cell - 1} y={top - 1} width={cell + 1} height={rows.length * height + 1} fill="none" stroke={palette.k} stroke-width="2" pointer-events="none" />;
        return null;
      })}
      {live && (
        <rect x={left} y={top} width={columns.length * cell} height={rows.length * height} fill="transparent" data-testid="heat-cells"
          onMouseMove={(e) => onHover?.(rowPlace(at(e)[0]), ...at(e))} onMouseLeave={() => onHover?.(null)} onClick={(e) => onPick(rowPlace(at(e)[0]), e.shiftKey)} />
      )}
    </Svg>
  );
  if (!live || !many) return map;
  return (
    <div class="heat">
      <Pixels values={values} colour={colour} left={left} top={top} cell={cell} height={height} />
      {map}
    </div>
  );
}

const Pixels = memo(function Pixels({ values, colour, left, top, cell, height }: { values: HeatProps['values']; colour: HeatProps['colour']; left: number; top: number; cell: number; height: number }) {
  const canvas = useRef<HTMLCanvasElement>(null);
  const [rows, columns] = [values.length, values[0]?.length ?? 0];
  useEffect(() => {
    const context = canvas.current!.getContext('2d')!;
    context.clearRect(0, 0, columns * cell, rows * height);
    values.forEach((row, r) => row.forEach((value, c) => {
      context.fillStyle = colour(value);
      context.fillRect(c * cell, r * height, cell - 1, height - 1);
    }));
  }, [values, colour]);
  return <canvas ref={canvas} width={columns * cell} height={rows * height} style={{ left: `${left}px`, top: `${top}px` }} aria-hidden="true" />;
});
