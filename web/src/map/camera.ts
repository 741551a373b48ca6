/** Where the map is looked at from: queries downwards, keys to the right, in tokens. */
export interface Camera {
  /** The key and the query in the middle. */
  key: number;
  query: number;
  /** Pixels for one token. */
  zoom: number;
}

export interface Size {
  width: number;
  height: number;
}

export const MOST_ZOOM = 48;

export const fitted = (tokens: number, size: Size): Camera => ({ key: tokens / 2, query: tokens / 2, zoom: Math.min(size.width, size.height) / tokens });

export function limited(camera: Camera, tokens: number, size: Size): Camera {
  const least = fitted(tokens, size).zoom * 0.8;
  const zoom = Math.min(MOST_ZOOM, Math.max(least, camera.zoom));
  return { key: Math.min(tokens, Math.max(0, camera.key)), query: Math.min(tokens, Math.max(0, camera.query)), zoom };
}

export const toScreen = (camera: Camera, size: Size, key: number, query: number): [number, number] => [
  (key - camera.key) * camera.zoom + size.width / 2,
  (query - camera.query) * camera.zoom + size.height / 2,
];

export const toTokens = (camera: Camera, size: Size, x: number, y: number): { key: number; query: number } => ({
  key: (x - size.width / 2) / camera.zoom + camera.key,
  query: (y - size.height / 2) / camera.zoom + camera.query,
});

/** Zooms so that what is under the pointer stays there. */
export function zoomAt(camera: Camera, size: Size, x: number, y: number, factor: number): Camera {
  const under = toTokens(camera, size, x, y);
  const zoom = Math.min(MOST_ZOOM, camera.zoom * factor);
  return { zoom, key: under.key - (x - size.width / 2) / zoom, query: under.query - (y - size.height / 2) / zoom };
}

/** The level whose pixels are nearest to the screen's, not coarser. */
export function levelFor(camera: Camera, levels: number, density: number): number {
  return Math.min(levels - 1, Math.max(0, Math.ceil(Math.log2(camera.zoom * density) - 0.2) + levels - 1));
}

/** Tiles of a level that are seen, the nearest to the middle first. */
export function seen(camera: Camera, size: Size, level: number, levels: number, tile: number, tokens: number) {
  const span = tile * 2 ** (levels - 1 - level);
  const last = Math.ceil(tokens / span) - 1;
  const from = toTokens(camera, size, 0, 0);
  const to = toTokens(camera, size, size.width, size.height);
  const clamp = (x: number) => Math.min(last, Math.max(0, Math.floor(x / span)));
  const list: { level: number; row: number; column: number }[] = [];
  for (let row = clamp(from.query); row <= clamp(to.query); row++) for (let column = clamp(from.key); column <= clamp(to.key); column++) list.push({ level, row, column });
  const distance = (t: { row: number; column: number }) => Math.hypot((t.row + 0.5) * span - camera.query, (t.column + 0.5) * span - camera.key);
  return { span, tiles: list.sort((a, b) => distance(a) - distance(b)) };
}
