/** The text's tokens, fetched in stretches as they are seen. */
import { ask, get, keyOf, use, type MapTokens } from '../api.ts';

const STRETCH = 1024;

export class Tokens {
  private readonly stretches = new Map<number, string[] | null>();
  private readonly unuse: (() => void)[] = [];

  constructor(private readonly map: string, private readonly changed: () => void) {}

  private fetch(stretch: number) {
    if (this.stretches.has(stretch)) return;
    this.stretches.set(stretch, null);
    const request = get(`/api/maps/${this.map}/tokens?start=${stretch * STRETCH}&count=${STRETCH}`);
    this.unuse.push(use(keyOf(request)));
    ask<MapTokens>(request).then(
      (answer) => {
        this.stretches.set(stretch, answer.tokens.map((t) => t.text));
        this.changed();
      },
      () => this.stretches.delete(stretch),
    );
  }

  want(...places: number[]) {
    for (const place of places) this.fetch(Math.floor(place / STRETCH));
  }

  label(place: number): string {
    this.want(place);
    const text = this.stretches.get(Math.floor(place / STRETCH))?.[place % STRETCH];
    if (text === undefined) return '…';
    return text.replace(/^▁/, '').replaceAll('\n', '¶') || '▁';
  }

  close() {
    this.unuse.forEach((each) => each());
  }
}
