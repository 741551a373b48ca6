/** What is pointed at: hovering previews, clicking pins, Shift-click adds, Escape clears. Shared by all pictures of a view. */
import { computed, signal, type ReadonlySignal } from '@preact/signals';
import { text } from '../address.ts';

/** A row or a column of a matrix: `r3`, `c0`. */
export type Place = string;

export const rowPlace = (i: number): Place => `r${i}`;
export const columnPlace = (i: number): Place => `c${i}`;

const pinned = text('pin');
const hovered = signal<Place | null>(null);

const parse = (list: string) => (list ? list.split(',').filter((p) => /^[rc]\d+$/.test(p)) : []);

export const pins: ReadonlySignal<readonly Place[]> = computed(() => parse(pinned.value));

/** What is shown as focused: the preview while there is one, else the pins. */
export const focused: ReadonlySignal<ReadonlySet<Place>> = computed(() => new Set(hovered.value ? [hovered.value] : pins.value));

export const hover = (place: Place | null) => {
  hovered.value = place;
};

export function pin(place: Place, add: boolean) {
  const before = parse(pinned.value);
  const has = before.includes(place);
  const next = add ? (has ? before.filter((p) => p !== place) : [...before, place]) : has && before.length === 1 ? [] : [place];
  hovered.value = null;
  pinned.value = next.join(',');
}

export function clearFocus() {
  hovered.value = null;
  if (pinned.value) pinned.value = '';
}

export const rowsOf = (places: ReadonlySet<Place>) => [...places].filter((p) => p[0] === 'r').map((p) => Number(p.slice(1)));
export const columnsOf = (places: ReadonlySet<Place>) => [...places].filter((p) => p[0] === 'c').map((p) => Number(p.slice(1)));

/** Whether the weight of `row` on `column` belongs to what is focused: all does when nothing is. */
export const lit = (places: ReadonlySet<Place>, row: number, column: number) => places.size === 0 || places.has(`r${row}`) || places.has(`c${column}`);
