/** Colour scales: from a number in 0..1 to a colour, and the text colour that can be read on it. */
import { interpolateCividis, interpolateViridis } from 'd3-scale-chromatic';
import type { Palette } from './theme.ts';

export const SCALES = ['purple', 'viridis', 'cividis'] as const;
export type ScaleName = (typeof SCALES)[number];

export type Rgb = [number, number, number];

export function rgb(colour: string): Rgb {
  if (colour[0] === '#') return [1, 3, 5].map((i) => parseInt(colour.slice(i, i + 2), 16)) as Rgb;
  return colour.match(/[\d.]+/g)!.slice(0, 3).map(Number) as Rgb;
}

export function hex([r, g, b]: Rgb): string {
  return `#${[r, g, b].map((c) => Math.round(c).toString(16).padStart(2, '0')).join('')}`;
}

export function mix(from: string, to: string, share: number): string {
  const [a, b] = [rgb(from), rgb(to)];
  return hex([0, 1, 2].map((i) => a[i] + (b[i] - a[i]) * share) as Rgb);
}

const clamp = (t: number) => Math.min(1, Math.max(0, t));

/** A sequential scale. Purple goes from the panel's colour to the weights' role, so that zero looks like nothing. */
export function sequential(name: ScaleName, palette: Palette): (t: number) => string {
  if (name === 'viridis') return (t) => hex(rgb(interpolateViridis(clamp(t))));
  if (name === 'cividis') return (t) => hex(rgb(interpolateCividis(clamp(t))));
  const full = palette.name === 'light' ? '#4a2a86' : '#c9b0f5';
  return (t) => mix(palette.panel, full, clamp(t));
}

/** A signed scale for -1..1: the negative colour, the panel's, the given role's. */
export function diverging(palette: Palette, role: string = palette.weight): (t: number) => string {
  return (t) => mix(palette.panel, t < 0 ? palette.negative : role, clamp(Math.abs(t)));
}

/** Relative luminance (WCAG 2.2). */
export function luminance(colour: string): number {
  const [r, g, b] = rgb(colour).map((c) => (c / 255 <= 0.04045 ? c / 255 / 12.92 : ((c / 255 + 0.055) / 1.055) ** 2.4));
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
}

/** Black or white, whichever is easier to read on `colour`: the contrast is at least 4.58, where luminance is 0.179. */
export function readableOn(colour: string): string {
  return luminance(colour) > 0.179 ? '#000000' : '#ffffff';
}

/** Where a weight stands on a linear scale, or on a logarithmic one that ends at 1/1000 of the largest. */
export function position(weight: number, largest: number, logarithmic: boolean): number {
  if (!(weight > 0) || !(largest > 0)) return 0;
  if (!logarithmic) return weight / largest;
  return clamp(1 + Math.log10(weight / largest) / 3);
}

/** A table of 256 colours as bytes, for pixels. */
export function table(scale: (t: number) => string): Uint8ClampedArray {
  const bytes = new Uint8ClampedArray(256 * 3);
  for (let i = 0; i < 256; i++) bytes.set(rgb(scale(i / 255)), i * 3);
  return bytes;
}
