/** Keys that work anywhere in a view, and the list that the help overlay shows. */
import { signal } from '@preact/signals';
import { useEffect, useRef } from 'preact/hooks';

export interface Key {
  /** As `KeyboardEvent.key` names it. */
  keys: string[];
  does: string;
  run: (event: KeyboardEvent) => void;
}

const groups = signal<readonly { readonly title: string; readonly keys: Key[] }[]>([]);
export const keyGroups = groups;

const STORED = 'heedful.keys';

function stored(): boolean {
  try {
    return localStorage.getItem(STORED) !== 'off';
  } catch {
    return true; // Storage may be forbidden.
  }
}

/** Whether letters, digits and signs do something: who speaks to the computer, or mistypes easily, turns that off (WCAG 2.1.4). */
export const characterKeys = signal(stored());

export function toggleCharacterKeys() {
  characterKeys.value = !characterKeys.peek();
  try {
    localStorage.setItem(STORED, characterKeys.value ? 'on' : 'off');
  } catch {
    // The choice then lasts as long as the page.
  }
}

const typing = (target: EventTarget | null) =>
  target instanceof HTMLElement && (target.isContentEditable || /^(INPUT|TEXTAREA|SELECT)$/.test(target.tagName) && (target as HTMLInputElement).type !== 'checkbox' && (target as HTMLInputElement).type !== 'range');

/** Elements that give these keys a meaning of their own. */
const takes = (target: EventTarget | null, key: string) => {
  if (!(target instanceof HTMLElement)) return false;
  if (key === ' ' || key === 'Enter') return target.closest('button, a, summary, input, select') !== null;
  if (key.startsWith('Arrow')) return target.closest('[role=radiogroup], [role=grid], [role=menu], [data-arrows], input[type=range], dialog') !== null;
  return false;
};

document.addEventListener('keydown', (event) => {
  if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey || typing(event.target) || takes(event.target, event.key)) return;
  if (document.querySelector('dialog[open]')) return;
  if (event.key.length === 1 && event.key !== ' ' && !characterKeys.peek()) return;
  for (const group of groups.peek().toReversed()) {
    const key = group.keys.find((k) => k.keys.includes(event.key));
    if (key) {
      event.preventDefault();
      key.run(event);
      return;
    }
  }
});

/** Registers keys while the calling component is shown. */
export function useKeys(title: string, keys: Key[]) {
  const latest = useRef(keys);
  latest.current = keys;
  useEffect(() => {
    const group = {
      title,
      get keys() {
        return latest.current;
      },
    };
    groups.value = [...groups.peek(), group];
    return () => {
      groups.value = groups.peek().filter((g) => g !== group);
    };
  }, [title]);
}
