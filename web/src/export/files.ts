/** Files out of what is shown: SVG, PNG, CSV, JSON, and one HTML file that is the page itself with the answers that it needs. */
import { printed } from '../address.ts';
import { answers } from '../api.ts';
import { recorded, type Recorded } from '../recorded.ts';
import { palette } from '../theme.ts';
import { csv, type Exportable } from './exportable.ts';
import { svgText } from './svg.tsx';

export const FORMATS = ['svg', 'png', 'csv', 'json', 'html'] as const;
export type Format = (typeof FORMATS)[number];

const TYPES: Record<Format, string> = { svg: 'image/svg+xml', png: 'image/png', csv: 'text/csv;charset=utf-8', json: 'application/json', html: 'text/html' };

function download(blob: Blob, name: string) {
  const url = URL.createObjectURL(blob);
  const anchor = Object.assign(document.createElement('a'), { href: url, download: name });
  anchor.click();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}

async function dataUrl(url: string): Promise<string> {
  const blob = await (await fetch(url)).blob();
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(reader.result as string);
    reader.onerror = () => reject(reader.error);
    reader.readAsDataURL(blob);
  });
}

/** The page's style sheet with the fonts that are in use inside it. */
async function styles(): Promise<string> {
  const element = document.querySelector('style#page');
  if (element) return element.textContent ?? '';
  const sheet = document.querySelector<HTMLLinkElement>('link[rel=stylesheet]');
  if (!sheet) return '';
  let css = await (await fetch(sheet.href)).text();
  for (const [whole, url] of [...css.matchAll(/url\(["']?([^"')]+\.woff2)["']?\)/g)]) {
    css = css.replace(whole, `url(${await dataUrl(new URL(url, sheet.href).href)})`);
  }
  return css;
}

async function script(): Promise<string> {
  const element = document.querySelector<HTMLScriptElement>('script[type=module]');
  if (!element) return '';
  return element.src ? (await fetch(element.src)).text() : (element.textContent ?? '');
}

async function png(svg: string, scale = 2): Promise<Blob> {
  // A picture in a picture has no access to the page's fonts, so it carries them.
  const faces = (await styles()).match(/@font-face\s*{[^}]*Inter Variable[^}]*}/g) ?? [];
  const withFonts = svg.replace(/(<svg[^>]*>)/, (tag) => `${tag}<style>${faces.join('')}</style>`);
  const image = new Image();
  image.src = URL.createObjectURL(new Blob([withFonts], { type: TYPES.svg }));
  await image.decode();
  const canvas = document.createElement('canvas');
  [canvas.width, canvas.height] = [image.naturalWidth * scale, image.naturalHeight * scale];
  const context = canvas.getContext('2d')!;
  context.fillStyle = palette.value.panel;
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.drawImage(image, 0, 0, canvas.width, canvas.height);
  URL.revokeObjectURL(image.src);
  return new Promise((resolve, reject) => canvas.toBlob((blob) => (blob ? resolve(blob) : reject(new Error('The picture is too large for a PNG.'))), TYPES.png));
}

/** Text inside a script element must not close it. */
const inScript = (text: string) => text.replaceAll('</script', '<\\/script').replaceAll('<!--', '<\\!--');

async function html(shown: Exportable): Promise<string> {
  const recording: Recorded = { address: printed.value, saved: recorded?.saved ?? new Date().toISOString().slice(0, 10), answers: answers() };
  const json = JSON.stringify(recording).replaceAll('<', '\\u003c');
  const escaped = shown.title.replaceAll('&', '&amp;').replaceAll('<', '&lt;');
  const picture = svgText(shown.picture(palette.value)).replace(/^<\?xml[^>]*>\s*/, '');
  return [
    '<!doctype html>', '<html lang="en">', '<head>', '<meta charset="utf-8">', '<meta name="viewport" content="width=device-width, initial-scale=1">',
    `<title>${escaped}</title>`, '<meta name="generator" content="heedful">',
    `<style id="page">${(await styles()).replaceAll('</style', '<\\/style')}</style>`, '</head>', '<body>',
    `<div id="app"></div>`, `<noscript>${picture}</noscript>`,
    `<script type="application/json" id="recorded">${json}</script>`,
    `<script type="module">${inScript(await script())}</script>`, '</body>', '</html>', '',
  ].join('\n');
}

/** Saves what is shown as a file. */
export async function save(shown: Exportable, format: Format) {
  const svg = () => svgText(shown.picture(palette.value));
  const content: Record<Format, () => string | Promise<string | Blob>> = {
    svg,
    png: () => png(svg()),
    csv: () => csv(shown.tables()),
    json: () => `${JSON.stringify({ title: shown.title, address: printed.value, ...(shown.data() as object) }, null, 1)}\n`,
    html: () => html(shown),
  };
  download(new Blob([await content[format]()], { type: TYPES[format] }), `${shown.name}.${format}`);
}
