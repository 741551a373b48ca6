/** Everything shown is in the address: `#/view?name=value&...`. A value that is the default is left out. */
import { computed, signal, type ReadonlySignal } from '@preact/signals';
import { decoded } from './key.ts'; // It also takes the key out of the address before that is read.
import { recorded } from './recorded.ts';

export interface Address {
  view: string;
  params: ReadonlyMap<string, string>;
}

function parse(hash: string): Address {
  const [path, query = ''] = hash.replace(/^#?\/?/, '').split('?', 2);
  return { view: decoded(path), params: new Map(new URLSearchParams(query)) };
}

function print({ view, params }: Address): string {
  const query = new URLSearchParams([...params].sort(([a], [b]) => (a < b ? -1 : 1))).toString();
  return `#/${encodeURIComponent(view)}${query && `?${query}`}`;
}

export const address = signal<Address>(parse(location.hash || recorded?.address || ''));

// One way to write an address, whatever order it was typed in.
if (location.hash || recorded) history.replaceState(null, '', print(address.peek()));

window.addEventListener('hashchange', () => {
  const next = parse(location.hash);
  if (print(next) !== print(address.peek())) address.value = next;
});

/** The address as text, without the host. */
export const printed: ReadonlySignal<string> = computed(() => print(address.value));

function show(next: Address, push: boolean) {
  address.value = next;
  history[push ? 'pushState' : 'replaceState'](null, '', print(next));
}

/** Opens another view; going back returns to this one. */
export function open(view: string, params: Record<string, string> = {}) {
  show({ view, params: new Map(Object.entries(params)) }, true);
}

/** The address of a view, for a link. */
export function link(view: string, params: Record<string, string> = {}): string {
  return print({ view, params: new Map(Object.entries(params)) });
}

/** Changes several parameters at once; `null` brings the default back. */
export function change(changes: Record<string, string | null>, push = false) {
  const { view, params } = address.peek();
  const next = new Map(params);
  for (const [name, value] of Object.entries(changes)) {
    if (value === null) next.delete(name);
    else next.set(name, value);
  }
  show({ view, params: next }, push);
}

/** A value that lives in the address. */
export interface Param<T> {
  value: T;
}

function param<T>(name: string, fallback: T, read: (text: string) => T | undefined, write: (value: T) => string): Param<T> {
  const current = computed(() => {
    const text = address.value.params.get(name);
    return text === undefined ? fallback : (read(text) ?? fallback);
  });
  return {
    get value() {
      return current.value;
    },
    set value(value: T) {
      const text = write(value);
      change({ [name]: text === write(fallback) ? null : text });
    },
  };
}

export const text = (name: string, fallback = ''): Param<string> => param(name, fallback, (t) => t, (t) => t);

/** A text that may be absent, which is not the same as empty. */
export const optional = (name: string): Param<string | null> => ({
  get value() {
    return address.value.params.get(name) ?? null;
  },
  set value(value: string | null) {
    change({ [name]: value });
  },
});

export const choice = <T extends string>(name: string, choices: readonly T[], fallback: T = choices[0]): Param<T> =>
  param(name, fallback, (t) => choices.find((c) => c === t), (t) => t);

export const flag = (name: string, fallback = false): Param<boolean> =>
  param(name, fallback, (t) => t === '1', (on) => (on ? '1' : '0'));

export const integer = (name: string, fallback: number, least = 0, most = Number.MAX_SAFE_INTEGER): Param<number> =>
  param(name, fallback, (t) => (/^-?\d+$/.test(t) ? Math.min(most, Math.max(least, Number(t))) : undefined), String);

/** A list of indices, as `1,4,5`. */
export const indices = (name: string): Param<number[]> =>
  param(name, [], (t) => t.split(',').filter((part) => /^\d+$/.test(part)).map(Number), (list) => list.join(','));
