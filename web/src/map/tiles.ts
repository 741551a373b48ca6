/** Tiles of one head's map: asked for when they are seen, dropped when they are not, coloured when they are drawn. */
import { askNumbers, get, keepNumbers, keyOf, Refused, use, type MapInfo } from '../api.ts';
import { recorded } from '../recorded.ts';

export interface Tile {
  level: number;
  row: number;
  column: number;
}

interface Loaded {
  numbers: Float32Array;
  exact: boolean;
  largest: number;
  /** The tile in colour, and what the colours were. */
  image: HTMLCanvasElement | null;
  colours: string;
}

/** How values become colours. */
export interface Colours {
  /** Changes when the colours do. */
  key: string;
  /** 256 colours, three bytes each. */
  table: Uint8ClampedArray;
  /** The place of a value in the table, 0..1; `level` because a pixel of a coarser level stands for more keys. */
  position: (value: number, level: number) => number;
}

const AT_ONCE = 6;

/** After how many milliseconds what was refused is asked for again: a map that is being read is soon there, a server may come back, nothing else helps. */
const patience = (status: number) => (recorded ? Infinity : status === 409 || status === 503 ? 1000 : status === 0 || status >= 500 ? 5000 : Infinity);
/** About 100 MB. */
const MOST_TILES = 400;

export class TileStore {
  private readonly loaded = new Map<string, Loaded>();
  private readonly flying = new Map<string, AbortController>();
  /** Not to be asked for, or not yet. */
  private readonly refused = new Set<string>();
  private wanted: Tile[] = [];
  private seen: Tile[] = [];
  private shown: (() => void)[] = [];
  problem: string | null = null;

  constructor(readonly map: MapInfo, readonly layer: number, readonly head: number, private readonly changed: () => void) {}

  private path = ({ level, row, column }: Tile) => `/api/maps/${this.map.id}/tiles/${this.layer}/${this.head}/${level}/${row}/${column}`;

  /** Says what is seen, the nearest to the middle first, and what else is wanted; tiles that no longer are will not be waited for. */
  want(seen: Tile[], also: Tile[]) {
    this.seen = seen;
    this.wanted = [...also, ...seen];
    const keys = new Set(this.wanted.map(this.path));
    for (const [key, control] of this.flying) if (!keys.has(key)) control.abort();
    this.pump();
  }

  private pump() {
    for (const tile of this.wanted) {
      if (this.flying.size >= AT_ONCE) return;
      const key = this.path(tile);
      if (this.flying.has(key) || this.loaded.has(key) || this.refused.has(key)) continue;
      const control = new AbortController();
      this.flying.set(key, control);
      askNumbers(get(key), control.signal).then(
        ({ numbers, exact }) => {
          let largest = 0;
          for (const x of numbers) if (x > largest) largest = x;
          this.loaded.set(key, { numbers, exact, largest, image: null, colours: '' });
          for (const old of this.loaded.keys()) {
            if (this.loaded.size <= MOST_TILES) break;
            this.loaded.delete(old);
          }
          this.problem = null;
        },
        (error: unknown) => {
          if (control.signal.aborted) return;
          const status = error instanceof Refused ? error.status : -1;
          this.refused.add(key);
          if (patience(status) < Infinity) {
            setTimeout(() => {
              this.refused.delete(key);
              if (!this.closed) this.pump();
            }, patience(status));
          }
          // That it is still being read is no problem.
          if (status !== 409 && status !== 503) this.problem = error instanceof Error ? error.message : String(error);
        },
      ).finally(() => {
        this.flying.delete(key);
        if (this.closed) return;
        this.changed();
        this.pump();
      });
    }
  }

  /** Whether all that is seen is there. */
  get complete() {
    return this.wanted.every((tile) => this.loaded.has(this.path(tile)));
  }

  get exact() {
    return this.wanted.every((tile) => this.loaded.get(this.path(tile))?.exact ?? true);
  }

  /** Previews are asked for anew once the head is pooled. */
  dropPreviews() {
    for (const [key, tile] of this.loaded) if (!tile.exact) this.loaded.delete(key);
    this.changed();
  }

  largestSeen(): number {
    return Math.max(1e-12, ...this.seen.map((tile) => this.loaded.get(this.path(tile))?.largest ?? 0));
  }

  value(tile: Tile, y: number, x: number): number | null {
    return this.loaded.get(this.path(tile))?.numbers[y * this.map.tile + x] ?? null;
  }

  image(tile: Tile, colours: Colours): HTMLCanvasElement | null {
    const loaded = this.loaded.get(this.path(tile));
    if (!loaded) return null;
    if (loaded.image && loaded.colours === colours.key) return loaded.image;
    const size = this.map.tile;
    const image = loaded.image ?? Object.assign(document.createElement('canvas'), { width: size, height: size });
    const context = image.getContext('2d')!;
    const pixels = context.createImageData(size, size);
    const { data } = pixels;
    for (let i = 0; i < loaded.numbers.length; i++) {
      const at = Math.round(Math.min(1, Math.max(0, colours.position(loaded.numbers[i], tile.level))) * 255) * 3;
      data[i * 4] = colours.table[at];
      data[i * 4 + 1] = colours.table[at + 1];
      data[i * 4 + 2] = colours.table[at + 2];
      data[i * 4 + 3] = 255;
    }
    context.putImageData(pixels, 0, 0);
    loaded.image = image;
    loaded.colours = colours.key;
    return image;
  }

  /** Puts the tiles that are seen among what a saved page carries. */
  record() {
    this.shown.forEach((unuse) => unuse());
    this.shown = this.wanted.flatMap((tile) => {
      const request = get(this.path(tile));
      const loaded = this.loaded.get(this.path(tile));
      if (!loaded) return [];
      const unuse = use(keyOf(request));
      keepNumbers(request, loaded.numbers, loaded.exact);
      return [unuse];
    });
  }

  private closed = false;

  close() {
    this.closed = true;
    this.wanted = [];
    for (const control of this.flying.values()) control.abort();
    this.shown.forEach((unuse) => unuse());
  }
}
