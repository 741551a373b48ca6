/** Light or dark, and the colours of pictures, which exported files need as values rather than as variables. */
import { computed, effect, signal } from '@preact/signals';

export type Theme = 'light' | 'dark';

export interface Palette {
  name: Theme;
  page: string;
  panel: string;
  text: string;
  muted: string;
  line: string;
  /** Fills of words that are not in a role. */
  box: string;
  q: string;
  k: string;
  v: string;
  weight: string;
  x: string;
  /** Colour of negative numbers on a signed scale. */
  negative: string;
  hidden: string;
  focus: string;
}

/** Roles keep their hue in both themes; each text colour has a contrast of at least 4.5 on `page` and `panel`. */
export const palettes: Record<Theme, Palette> = {
  light: {
    name: 'light', page: '#faf9f6', panel: '#ffffff', text: '#22242a', muted: '#5d616b', line: '#d9d7d0', box: '#efede7',
    q: '#2866bd', k: '#b0560a', v: '#0d7565', weight: '#6d4ba3', x: '#4a4e58', negative: '#b0560a', hidden: '#e9e7e0', focus: '#2866bd',
  },
  dark: {
    name: 'dark', page: '#15171c', panel: '#1d2027', text: '#e8e6e1', muted: '#a3a7b2', line: '#363a45', box: '#2a2e37',
    q: '#7fb0f5', k: '#f0a45c', v: '#4fc4ae', weight: '#b99bea', x: '#c3c7d1', negative: '#f0a45c', hidden: '#2a2d35', focus: '#7fb0f5',
  },
};

const KEY = 'heedful.theme';
const dark = matchMedia('(prefers-color-scheme: dark)');
const system = signal<Theme>(dark.matches ? 'dark' : 'light');
dark.addEventListener('change', () => (system.value = dark.matches ? 'dark' : 'light'));

function stored(): Theme | null {
  try {
    const value = localStorage.getItem(KEY);
    return value === 'light' || value === 'dark' ? value : null;
  } catch {
    return null; // Storage may be forbidden, as it is for a file opened from disk in some browsers.
  }
}

const chosen = signal<Theme | null>(stored());

export const theme = computed<Theme>(() => chosen.value ?? system.value);
export const palette = computed<Palette>(() => palettes[theme.value]);

export function toggleTheme() {
  chosen.value = theme.peek() === 'dark' ? 'light' : 'dark';
  try {
    localStorage.setItem(KEY, chosen.value);
  } catch {
    // The choice then lasts as long as the page.
  }
}

effect(() => {
  document.documentElement.dataset.theme = theme.value;
});
