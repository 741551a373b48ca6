/** Line charts of the ladder: one line a rung, told apart by colour, dashes, marks and its name at the end. */
import { scaleLinear } from 'd3-scale';
import { line } from 'd3-shape';
import { Svg, textWidth } from '../export/svg.tsx';
import type { Palette } from '../theme.ts';

export interface Point {
  x: number;
  y: number;
  low?: number;
  high?: number;
}

export interface Line {
  name: string;
  points: Point[];
}

interface Props {
  lines: Line[];
  /** Names along the bottom, one for each whole x; else x is a number. */
  ticks?: { label: string; note?: string }[];
  xLabel: string;
  yLabel: string;
  palette: Palette;
  title: string;
  chosen?: number | null;
  onChoose?: (x: number) => void;
  background?: boolean;
}

const SIZE = { width: 680, height: 360, left: 52, right: 150, top: 20, bottom: 62 };

const styles = (p: Palette) => [
  { colour: p.muted, dash: '2 4', mark: 'square' },
  { colour: p.k, dash: '7 4', mark: 'triangle' },
  { colour: p.weight, dash: '', mark: 'circle' },
  { colour: p.v, dash: '10 3 2 3', mark: 'square' },
  { colour: p.q, dash: '1 3', mark: 'triangle' },
] as const;

function Mark({ kind, x, y, colour }: { kind: string; x: number; y: number; colour: string }) {
  if (kind === 'square') return <rect x={x - 4} y={y - 4} width="8" height="8" fill={colour} />;
  if (kind === 'triangle') return <path d={`M${x} ${y - 5.5}L${x + 5} ${y + 4}H${x - 5}Z`} fill={colour} />;
  return <circle cx={x} cy={y} r="4.5" fill={colour} />;
}

/** Moves labels apart that would stand on each other. */
function spread(wanted: number[], distance: number): number[] {
  const order = wanted.map((_, i) => i).sort((a, b) => wanted[a] - wanted[b]);
  const placed = [...wanted];
  for (let i = 1; i < order.length; i++) placed[order[i]] = Math.max(placed[order[i]], placed[order[i - 1]] + distance);
  return placed;
}

export function Chart({ lines, ticks, xLabel, yLabel, palette: p, title, chosen, onChoose, background }: Props) {
  const all = lines.flatMap((l) => l.points);
  const xs = all.map((point) => point.x);
  const right = Math.max(SIZE.right, ...lines.map((l) => textWidth(l.name, 13, 560) + 30));
  const plot = { x0: SIZE.left, x1: SIZE.width - right, y0: SIZE.height - SIZE.bottom, y1: SIZE.top };
  const x = ticks
    ? scaleLinear([-0.5, ticks.length - 0.5], [plot.x0, plot.x1])
    : scaleLinear([0, Math.max(1e-9, ...xs)], [plot.x0, plot.x1]).nice();
  const y = scaleLinear([0, Math.max(1e-9, ...all.map((point) => point.high ?? point.y))], [plot.y0, plot.y1]).nice();
  const draw = line<Point>((d) => x(d.x), (d) => y(d.y));
  const style = styles(p);
  const ends = lines.map((l) => (l.points.length ? y(l.points[l.points.length - 1].y) : plot.y0));
  const labels = spread(ends, 17);
  const column = ticks ? x(1) - x(0) : 0;
  return (
    <Svg width={SIZE.width} height={SIZE.height} palette={p} title={title} background={background} live={onChoose !== undefined} shrinks={!background}>
      {y.ticks(5).map((t) => (
        <g key={t}>
          <path d={`M${plot.x0} ${y(t)}H${plot.x1}`} stroke={p.line} stroke-width="1" />
          <text x={plot.x0 - 8} y={y(t) + 4} text-anchor="end" font-size="12" fill={p.muted}>{t}</text>
        </g>
      ))}
      <text x={plot.x0 - 40} y={12} font-size="12" fill={p.muted}>{yLabel}</text>
      <text x={(plot.x0 + plot.x1) / 2} y={SIZE.height - 8} text-anchor="middle" font-size="12" fill={p.muted}>{xLabel}</text>
      {ticks
        ? ticks.map((tick, i) => (
          <g key={i}>
          <g tabindex={onChoose ? (i === (chosen ?? 0) ? 0 : -1) : undefined} role={onChoose ? 'button' : undefined} aria-pressed={onChoose ? chosen === i : undefined} data-bucket={i}
            aria-label={onChoose ? `${tick.label} words, ${tick.note}; ${lines.map((l) => `${l.name} ${l.points.find((q) => q.x === i)?.y.toFixed(1) ?? 'none'}`).join(', ')}` : undefined} onClick={onChoose && (() => onChoose(i))}>
            <rect x={x(i) - column / 2} y={plot.y1} width={column} height={SIZE.height - plot.y1 - 20} rx="4" fill={chosen === i ? p.box : 'transparent'} fill-opacity="0.7" />
          </g>
          <g pointer-events="none" aria-hidden={onChoose ? true : undefined}>
            <text x={x(i)} y={plot.y0 + 18} text-anchor="middle" font-size="12" font-weight={chosen === i ? 650 : 400}>{tick.label}</text>
            <text x={x(i)} y={plot.y0 + 33} text-anchor="middle" font-size="11" fill={p.muted}>{tick.note}</text>
          </g>
          </g>
        ))
        : x.ticks(6).map((t) => <text key={t} x={x(t)} y={plot.y0 + 18} text-anchor="middle" font-size="12" fill={p.muted}>{t}</text>)}
      {lines.map((l, i) => {
        const { colour, dash, mark } = style[i % style.length];
        const last = l.points.at(-1);
        return (
          <g key={l.name} pointer-events="none">
            {l.points.map((q) => q.low !== undefined && q.high !== undefined && (
              <path key={q.x} d={`M${x(q.x)} ${y(q.low)}V${y(q.high)}`} stroke={colour} stroke-width="2" stroke-opacity="0.45" />
            ))}
            <path d={draw(l.points) ?? ''} fill="none" stroke={colour} stroke-width="2.5" stroke-dasharray={dash || undefined} />
            {(ticks || l.points.length < 40) && l.points.map((q) => <Mark key={q.x} kind={mark} x={x(q.x)} y={y(q.y)} colour={colour} />)}
            {last && (
              <>
                <path d={`M${x(last.x) + 7} ${ends[i]}L${plot.x1 + 12} ${labels[i]}`} stroke={colour} stroke-width="1" stroke-opacity="0.6" />
                <text x={plot.x1 + 16} y={labels[i] + 4} font-size="13" font-weight="560" fill={colour}>{l.name}</text>
              </>
            )}
          </g>
        );
      })}
    </Svg>
  );
}
