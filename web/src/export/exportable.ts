/** What a view offers: its picture, its numbers as tables, and its data. The shell turns them into files and into the table view. */
import { signal } from '@preact/signals';
import type { VNode } from 'preact';
import { useEffect, useRef } from 'preact/hooks';
import type { Palette } from '../theme.ts';

export interface DataTable {
  title: string;
  columns: string[];
  /** The first cell of a row names it. */
  rows: (string | number)[][];
}

export interface Exportable {
  /** Names the file. */
  name: string;
  title: string;
  picture: (palette: Palette) => VNode;
  tables: () => DataTable[];
  data: () => unknown;
}

export const current = signal<Exportable | null>(null);

/** Offers what the calling view shows, as long as it is shown. `null` while there is nothing yet. */
export function useExportable(offered: Exportable | null) {
  const latest = useRef(offered);
  latest.current = offered;
  useEffect(() => {
    current.value = offered && {
      get name() { return latest.current!.name; },
      get title() { return latest.current!.title; },
      picture: (palette) => latest.current!.picture(palette),
      tables: () => latest.current?.tables() ?? [],
      data: () => latest.current!.data(),
    };
    return () => {
      current.value = null;
    };
  }, [offered === null]);
  useEffect(() => {
    revision.value++;
  });
}

/** Grows whenever the shown view was drawn anew. */
export const revision = signal(0);

/** Tables as one CSV text (RFC 4180): each with its title above, an empty line between. */
export function csv(tables: DataTable[]): string {
  const cell = (value: string | number) => {
    const text = String(value);
    return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
  };
  return tables.map((t) => [[t.title], t.columns, ...t.rows].map((row) => row.map(cell).join(',')).join('\r\n')).join('\r\n\r\n') + '\r\n';
}
