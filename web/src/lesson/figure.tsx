/** The lesson's stage as a picture: operands, signs, result, and the formula below. */
import { readableOn } from '../colour.ts';
import { FONT, Svg, fit, textWidth } from '../export/svg.tsx';
import { number } from '../format.ts';
import type { Palette } from '../theme.ts';
import { plain } from './formula.tsx';
import { cellColours, roleColour } from './matrix.tsx';
import type { Block, Stage, Tensor } from './tensor.ts';

const CELL = { width: 54, height: 24 };
const LABEL = 74;
const PAD = 20;

function size(t: Tensor) {
  return { width: LABEL + t.columns.length * CELL.width, height: 44 + t.rows.length * CELL.height };
}

function MatrixPicture({ tensor, palette, x, y }: { tensor: Tensor; palette: Palette; x: number; y: number }) {
  const colour = cellColours(tensor, palette);
  return (
    <g transform={`translate(${x} ${y})`} font-size="12">
      <text x={LABEL} y="12" font-weight="600" fill={roleColour(tensor.role, palette)}>{tensor.title}</text>
      {tensor.columns.map((c, i) => (
        <text key={i} x={LABEL + (i + 0.5) * CELL.width} y="34" text-anchor="middle" fill={palette.muted}>{fit(c, CELL.width - 4, 12)}</text>
      ))}
      {tensor.rows.map((r, i) => (
        <text key={i} x={LABEL - 8} y={44 + (i + 0.5) * CELL.height + 4} text-anchor="end" fill={palette.muted}>{fit(r, LABEL - 8, 12)}</text>
      ))}
      {tensor.values.flatMap((row, r) =>
        row.map((value, c) => {
          const fill = colour(value);
          return (
            <g key={`${r}.${c}`} transform={`translate(${LABEL + c * CELL.width} ${44 + r * CELL.height})`}>
              <rect width={CELL.width - 1} height={CELL.height - 1} rx="2" fill={fill} />
              <text x={CELL.width / 2} y={CELL.height / 2 + 4} text-anchor="middle" fill={readableOn(fill)}>{number(value)}</text>
            </g>
          );
        }),
      )}
    </g>
  );
}

function layout(block: Block) {
  let x = 0;
  const items = block.operands.map(({ tensor, sign }, i) => {
    const gap = i ? textWidth(sign ?? '', 15) + 24 : 0;
    const at = x + gap;
    x = at + size(tensor).width;
    return { tensor, at, sign: i ? sign : undefined, signAt: at - gap / 2 };
  });
  const equals = x + 20;
  const all = [...items, { tensor: block.tensor, at: x + 40, sign: '=', signAt: equals }];
  return { items: all, width: x + 40 + size(block.tensor).width, height: Math.max(...all.map((i) => size(i.tensor).height)) };
}

export function StagePicture({ stage, row, column, palette }: { stage: Stage; row: number; column: number; palette: Palette }) {
  const blocks = stage.blocks.map((block) => ({ block, ...layout(block), lines: block.formula(Math.min(row, block.tensor.rows.length - 1), Math.min(column, block.tensor.columns.length - 1)).map(plain) }));
  const width = PAD * 2 + Math.max(360, ...blocks.map((b) => b.width), ...blocks.flatMap((b) => b.lines.map((l) => textWidth(l, 13))));
  let y = PAD + 34;
  const placed = blocks.map((b) => {
    const top = y + (b.block.title ? 22 : 0);
    y = top + b.height + 16 + b.lines.length * 20 + 24;
    return { ...b, top };
  });
  return (
    <Svg width={Math.ceil(width)} height={Math.ceil(y)} palette={palette} title={stage.title} background>
      <text x={PAD} y={PAD + 14} font-size="17" font-weight="650">{stage.title}</text>
      {placed.map(({ block, items, top, height, lines }, b) => (
        <g key={b} transform={`translate(${PAD} ${top})`}>
          {block.title && <text y="-10" font-weight="600" font-size="14">{block.title}</text>}
          {items.map(({ tensor, at, sign, signAt }, i) => (
            <g key={i}>
              {sign && <text x={signAt} y={height / 2 + 20} text-anchor="middle" font-size="15" fill={palette.muted}>{sign}</text>}
              <MatrixPicture tensor={tensor} palette={palette} x={at} y={0} />
            </g>
          ))}
          {lines.map((line, i) => <text key={i} y={height + 24 + i * 20} font-size="13" font-family={FONT}>{line}</text>)}
        </g>
      ))}
    </Svg>
  );
}

const PAIRS: [string, string][] = [['Kannst', 'Can'], ['du', 'you'], ['mir', 'me'], ['helfen', 'help'], ['diesen', 'this'], ['Satz', 'sentence'], ['zu', 'to'], ['übersetzen', 'translate']];
const GERMAN = PAIRS.map(([german]) => german);
const ENGLISH = ['Can', 'you', 'help', 'me', 'to', 'translate', 'this', 'sentence'];

/** The lecture's sentence in two languages, with lines that cross where the order differs. */
export function WordByWord({ palette }: { palette: Palette }) {
  const width = 760;
  const place = (i: number) => 50 + i * ((width - 100) / 7);
  return (
    <Svg width={width} height={190} palette={palette} title="Kannst du mir helfen diesen Satz zu übersetzen: Can you help me to translate this sentence" background>
      {PAIRS.map(([german, english]) => {
        const [from, to] = [GERMAN.indexOf(german), ENGLISH.indexOf(english)];
        return (
          <path key={german} d={`M${place(from)} 58C${place(from)} 96 ${place(to)} 96 ${place(to)} 134`} fill="none" stroke-width="5" stroke-linecap="round"
            stroke={from === to ? palette.weight : palette.k} stroke-opacity={from === to ? 0.35 : 0.8} />
        );
      })}
      {[GERMAN, ENGLISH].map((words, line) => words.map((word, i) => {
        const half = textWidth(word, 14) / 2 + 10;
        const y = line ? 134 : 28;
        return (
          <g key={word}>
            <rect x={place(i) - half} y={y} width={half * 2} height="30" rx="6" fill={palette.box} />
            <text x={place(i)} y={y + 20} text-anchor="middle" font-size="14">{word}</text>
          </g>
        );
      }))}
    </Svg>
  );
}
