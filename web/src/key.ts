/** The key for servers that listen beyond this machine. It comes behind the `#` of the printed address, and stays in this tab: it never enters an address
 * that is shown or a saved page. */
import { signal } from '@preact/signals';

const STORED = 'heedful.key';

/** What was percent-encoded; a text that never was stays as it is. */
export function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

function first(): string | null {
  const given = location.hash.match(/^#key=(.+)$/)?.[1];
  try {
    if (!given) return sessionStorage.getItem(STORED);
    sessionStorage.setItem(STORED, decoded(given));
  } catch {
    // Storage may be forbidden; the key then lasts as long as the page.
  }
  if (!given) return null;
  history.replaceState(null, '', location.pathname);
  return decoded(given);
}

export const apiKey = signal(first());

export function giveKey(key: string) {
  apiKey.value = key.trim() || null;
  try {
    sessionStorage.setItem(STORED, key.trim());
  } catch {
    // As above.
  }
}
