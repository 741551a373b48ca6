/** The map itself: drag, wheel, keys; tiles that are not there yet are drawn from coarser ones. */
import { useEffect, useLayoutEffect, useRef, useState } from 'preact/hooks';
import type { MapInfo } from '../api.ts';
import { FONT } from '../export/svg.tsx';
import type { Palette } from '../theme.ts';
import { fitted, levelFor, limited, MOST_ZOOM, seen, toScreen, toTokens, zoomAt, type Camera, type Size } from './camera.ts';
import type { Colours, TileStore } from './tiles.ts';
import type { Tokens } from './tokens.ts';

/** From this size of a token on, words stand along the sides. */
const READABLE = 11;
const MARGIN = 92;

export interface Cell {
  query: number;
  key: number;
}

interface Props {
  map: MapInfo;
  store: TileStore;
  tokens: Tokens;
  colours: () => Colours;
  camera: Camera | null;
  onCamera: (camera: Camera | null) => void;
  chosen: Cell | null;
  onChoose: (cell: Cell) => void;
  palette: Palette;
  /** Changes when a tile or a token arrived. */
  revision: number;
}

export function MapCanvas({ map, store, tokens, colours, camera: given, onCamera, chosen, onChoose, palette, revision }: Props) {
  const canvas = useRef<HTMLCanvasElement>(null);
  const [size, setSize] = useState<Size>({ width: 0, height: 0 });
  const [pointed, setPointed] = useState<Cell | null>(null);
  const drag = useRef<{ x: number; y: number; camera: Camera; moved: boolean } | null>(null);
  const camera = size.width ? limited(given ?? fitted(map.tokens, size), map.tokens, size) : null;
  const latest = useRef(camera);
  latest.current = camera;

  useLayoutEffect(() => {
    const observer = new ResizeObserver(([entry]) => setSize({ width: Math.round(entry.contentRect.width), height: Math.round(entry.contentRect.height) }));
    observer.observe(canvas.current!);
    return () => observer.disconnect();
  }, []);

  const change = (next: Camera) => onCamera(limited(next, map.tokens, size));
  useEffect(() => {
    // Not passive: the page must not scroll while the map zooms.
    const wheel = (e: WheelEvent) => {
      e.preventDefault();
      if (latest.current) change(zoomAt(latest.current, size, e.offsetX, e.offsetY, Math.exp(-e.deltaY * (e.deltaMode ? 0.05 : 0.002))));
    };
    const element = canvas.current!;
    element.addEventListener('wheel', wheel, { passive: false });
    return () => element.removeEventListener('wheel', wheel);
  });

  useEffect(() => {
    if (!camera) return;
    const density = devicePixelRatio || 1;
    const level = levelFor(camera, map.levels, density);
    // The weight of what is chosen is said in numbers, so it is wanted at the finest level.
    store.want(seen(camera, size, level, map.levels, map.tile, map.tokens).tiles, chosen ? [tileOf(map, chosen)] : []);
    const frame = requestAnimationFrame(() => draw(canvas.current!, size, camera, level, density));
    return () => cancelAnimationFrame(frame);
  }, [camera?.key, camera?.query, camera?.zoom, size, store, revision, chosen?.query, chosen?.key, pointed?.query, pointed?.key, palette, colours]);

  const draw = (element: HTMLCanvasElement, { width, height }: Size, cam: Camera, level: number, density: number) => {
    if (element.width !== width * density || element.height !== height * density) [element.width, element.height] = [width * density, height * density];
    const context = element.getContext('2d')!;
    context.setTransform(density, 0, 0, density, 0, 0);
    context.fillStyle = palette.page;
    context.fillRect(0, 0, width, height);
    context.imageSmoothingEnabled = false;
    const scheme = colours();
    const { span, tiles } = seen(cam, size, level, map.levels, map.tile, map.tokens);
    for (const tile of tiles) {
      const [x, y] = toScreen(cam, size, tile.column * span, tile.row * span);
      const side = span * cam.zoom;
      let drawn = false;
      // The tile, or its part of the nearest coarser one.
      for (let up = 0; up <= level && !drawn; up++) {
        const image = store.image({ level: level - up, row: tile.row >> up, column: tile.column >> up }, scheme);
        if (!image) continue;
        const part = map.tile / 2 ** up;
        const [sx, sy] = [(tile.column % 2 ** up) * part, (tile.row % 2 ** up) * part];
        context.drawImage(image, sx, sy, part, part, x, y, side, side);
        drawn = true;
      }
      if (!drawn) {
        context.fillStyle = palette.hidden;
        context.fillRect(x, y, side, side);
      }
    }
    // Beyond the text there is nothing.
    const [right, bottom] = toScreen(cam, size, map.tokens, map.tokens);
    const [left, top] = toScreen(cam, size, 0, 0);
    context.fillStyle = palette.page;
    if (right < width) context.fillRect(right, 0, width - right, height);
    if (bottom < height) context.fillRect(0, bottom, width, height - bottom);
    context.strokeStyle = palette.line;
    context.strokeRect(left, top, right - left, bottom - top);
    const band = (cell: Cell, alpha: number) => {
      const [cx, cy] = toScreen(cam, size, cell.key, cell.query);
      const thick = Math.max(1.5, cam.zoom);
      context.globalAlpha = alpha;
      context.lineWidth = 1.5;
      context.strokeStyle = palette.q;
      context.strokeRect(left, cy, right - left, thick);
      context.strokeStyle = palette.k;
      context.strokeRect(cx, top, thick, bottom - top);
      context.globalAlpha = 1;
    };
    if (pointed) band(pointed, 0.5);
    if (chosen) band(chosen, 1);
    if (cam.zoom >= READABLE) words(context, cam, { width, height });
  };

  const words = (context: CanvasRenderingContext2D, cam: Camera, { width, height }: Size) => {
    const from = toTokens(cam, size, 0, 0);
    const to = toTokens(cam, size, width, height);
    context.fillStyle = palette.panel;
    context.globalAlpha = 0.92;
    context.fillRect(0, 0, MARGIN, height);
    context.fillRect(0, 0, width, MARGIN - 20);
    context.globalAlpha = 1;
    const fontSize = Math.min(13, cam.zoom);
    context.font = `${fontSize}px ${FONT}`;
    for (let q = Math.max(0, Math.floor(from.query)); q < Math.min(map.tokens, to.query); q++) {
      const [, y] = toScreen(cam, size, 0, q);
      if (y < MARGIN - 20) continue;
      context.fillStyle = chosen?.query === q || pointed?.query === q ? palette.q : palette.text;
      context.textAlign = 'right';
      context.fillText(tokens.label(q), MARGIN - 6, y + cam.zoom / 2 + fontSize * 0.35, MARGIN - 10);
    }
    for (let k = Math.max(0, Math.floor(from.key)); k < Math.min(map.tokens, to.key); k++) {
      const [x] = toScreen(cam, size, k, 0);
      if (x < MARGIN) continue;
      context.save();
      context.translate(x + cam.zoom / 2 + fontSize * 0.35, MARGIN - 26);
      context.rotate(-Math.PI / 2);
      context.fillStyle = chosen?.key === k || pointed?.key === k ? palette.k : palette.text;
      context.textAlign = 'left';
      context.fillText(tokens.label(k), 0, 0, MARGIN - 30);
      context.restore();
    }
  };

  const cellAt = (e: { offsetX: number; offsetY: number }): Cell | null => {
    if (!camera) return null;
    const { key, query } = toTokens(camera, size, e.offsetX, e.offsetY);
    const cell = { key: Math.floor(key), query: Math.floor(query) };
    return cell.key >= 0 && cell.key < map.tokens && cell.query >= 0 && cell.query < map.tokens ? cell : null;
  };
  const keys = (e: KeyboardEvent) => {
    if (!camera || e.ctrlKey || e.metaKey || e.altKey) return;
    const step = 80 / camera.zoom;
    const [dx, dy] = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[e.key] ?? [0, 0];
    if (dx || dy) {
      if (e.shiftKey && chosen) onChoose({ query: Math.min(map.tokens - 1, Math.max(0, chosen.query + dy)), key: Math.min(map.tokens - 1, Math.max(0, chosen.key + dx)) });
      else change({ ...camera, key: camera.key + dx * step, query: camera.query + dy * step });
    } else if (e.key === '+' || e.key === '=') change(zoomAt(camera, size, size.width / 2, size.height / 2, 1.6));
    else if (e.key === '-') change(zoomAt(camera, size, size.width / 2, size.height / 2, 1 / 1.6));
    else if (e.key === '0') onCamera(null);
    else if (e.key === 'Enter') onChoose({ query: Math.min(map.tokens - 1, Math.floor(camera.query)), key: Math.min(map.tokens - 1, Math.floor(camera.key)) });
    else return;
    e.preventDefault();
    e.stopPropagation();
  };
  const value = pointed && camera ? valueAt(store, map, camera, pointed) : null;
  return (
    <div class="map-frame">
      <canvas ref={canvas} class="map-canvas" tabIndex={0} role="application" data-arrows data-complete={store.complete ? 'yes' : 'no'} data-testid="map"
        aria-label={`Map of ${map.tokens} by ${map.tokens} tokens. Arrows move, plus and minus zoom, 0 shows all, Enter chooses the middle, Shift and arrows move what is chosen.`}
        onKeyDown={keys}
        onPointerDown={(e) => { if (camera) { drag.current = { x: e.offsetX, y: e.offsetY, camera, moved: false }; e.currentTarget.setPointerCapture(e.pointerId); } }}
        onPointerMove={(e) => {
          const d = drag.current;
          if (d) {
            const [dx, dy] = [e.offsetX - d.x, e.offsetY - d.y];
            if (Math.hypot(dx, dy) > 4) d.moved = true;
            if (d.moved) change({ ...d.camera, key: d.camera.key - dx / d.camera.zoom, query: d.camera.query - dy / d.camera.zoom });
          } else {
            const cell = cellAt(e);
            if (cell?.query !== pointed?.query || cell?.key !== pointed?.key) setPointed(cell);
            if (cell) tokens.want(cell.query, cell.key);
          }
        }}
        onPointerUp={(e) => {
          const cell = cellAt(e);
          if (drag.current && !drag.current.moved && cell) onChoose(cell);
          drag.current = null;
        }}
        onPointerLeave={() => setPointed(null)}
        onDblClick={(e) => camera && change(zoomAt(camera, size, e.offsetX, e.offsetY, Math.min(4, MOST_ZOOM / camera.zoom)))} />
      <div class="map-zoom">
        <button type="button" aria-label="Zoom in" onClick={() => camera && change(zoomAt(camera, size, size.width / 2, size.height / 2, 2))}>+</button>
        <button type="button" aria-label="Zoom out" onClick={() => camera && change(zoomAt(camera, size, size.width / 2, size.height / 2, 0.5))}>−</button>
        <button type="button" aria-label="Show all" onClick={() => onCamera(null)}>all</button>
      </div>
      <p class="map-pointed" aria-hidden="true">
        {pointed ? <><span class="role-q">{tokens.label(pointed.query)}</span> <small>{pointed.query + 1}</small> looks at <span class="role-k">{tokens.label(pointed.key)}</span> <small>{pointed.key + 1}</small>{value && <> · {value}</>}</> : ' '}
      </p>
    </div>
  );
}

/** The tile of the finest level that a weight stands in. */
const tileOf = (map: MapInfo, cell: Cell) => ({ level: map.levels - 1, row: Math.floor(cell.query / map.tile), column: Math.floor(cell.key / map.tile) });

/** One weight; `null` until it is there. */
export const weightOf = (store: TileStore, map: MapInfo, cell: Cell) => store.value(tileOf(map, cell), cell.query % map.tile, cell.key % map.tile);

/** The number under the pointer, from the level that is shown. */
function valueAt(store: TileStore, map: MapInfo, camera: Camera, cell: Cell): string | null {
  const level = levelFor(camera, map.levels, devicePixelRatio || 1);
  const per = 2 ** (map.levels - 1 - level);
  const [py, px] = [Math.floor(cell.query / per), Math.floor(cell.key / per)];
  const value = store.value({ level, row: Math.floor(py / map.tile), column: Math.floor(px / map.tile) }, py % map.tile, px % map.tile);
  if (value === null) return null;
  return per === 1 ? `weight ${value.toPrecision(3)}` : `${value.toPrecision(3)} on ${per} keys, mean of ${per} queries`;
}
