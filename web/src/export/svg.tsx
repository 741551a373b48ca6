/** Pictures as Preact SVG with explicit attributes, so that the one on the page and the one in a file are made by the same code. */
import { render, type ComponentChildren, type VNode } from 'preact';
import type { Palette } from '../theme.ts';

export const FONT = "'Inter Variable', Inter, system-ui, -apple-system, 'Segoe UI', sans-serif";

const pen = document.createElement('canvas').getContext('2d')!;

/** The width of a text in pixels, as the page's font draws it. */
export function textWidth(text: string, size: number, weight = 400): number {
  pen.font = `${weight} ${size}px ${FONT}`;
  return pen.measureText(text).width;
}

/** Cuts a text to a width, with an ellipsis. */
export function fit(text: string, width: number, size: number): string {
  if (textWidth(text, size) <= width) return text;
  let end = text.length;
  while (end > 1 && textWidth(`${text.slice(0, end)}…`, size) > width) end--;
  return `${text.slice(0, end)}…`;
}

/** How far a picture may be made smaller to fit, before it is scrolled instead. */
const SMALLEST = 0.62;

/** The frame of a picture. A live one has parts that can be focused, so it is a group; others are images. */
export function Svg({ width, height, palette, title, children, background, live, shrinks }: { width: number; height: number; palette: Palette; title: string; children: ComponentChildren; background?: boolean; live?: boolean; shrinks?: boolean }) {
  return (
    <svg xmlns="http://www.w3.org/2000/svg" viewBox={`0 0 ${width} ${height}`} width={width} height={height} font-family={FONT} font-size="13" fill={palette.text} role={live ? 'group' : 'img'} aria-label={title}
      style={shrinks ? { width: '100%', height: 'auto', maxWidth: `${width}px`, minWidth: `${Math.round(width * SMALLEST)}px` } : undefined}>
      {!live && <title>{title}</title>}
      {background && <rect width={width} height={height} fill={palette.panel} />}
      {children}
    </svg>
  );
}

/** A picture as the text of an SVG file. */
export function svgText(picture: VNode): string {
  const host = document.createElement('div');
  render(picture, host);
  const svg = host.querySelector('svg');
  const text = svg ? new XMLSerializer().serializeToString(svg) : '';
  render(null, host);
  return `<?xml version="1.0" encoding="UTF-8"?>\n${text}\n`;
}

/** Pictures one below the other, each with a line above it. */
export function Stack({ pictures, palette, title }: { pictures: { label: string; width: number; height: number; picture: VNode }[]; palette: Palette; title: string }) {
  const width = Math.max(...pictures.map((each) => each.width));
  let y = 0;
  const placed = pictures.map((each) => {
    const top = y + 34;
    y = top + each.height;
    return { ...each, top };
  });
  return (
    <Svg width={width} height={y + 8} palette={palette} title={title} background>
      {placed.map(({ label, top, picture }) => (
        <g key={label}>
          <text x="16" y={top - 10} font-size="15" font-weight="640">{label}</text>
          <g transform={`translate(0 ${top})`}>{picture}</g>
        </g>
      ))}
    </Svg>
  );
}
