/** PyTorch's random numbers on a CPU: MT19937 (Matsumoto and Nishimura 1998) seeded by one number, so that a seed gives the lecture's weights. */
export class Twister {
  private readonly state = new Uint32Array(624);
  private next = 624;

  constructor(seed: number) {
    this.state[0] = seed;
    for (let i = 1; i < 624; i++) {
      const previous = this.state[i - 1] ^ (this.state[i - 1] >>> 30);
      this.state[i] = Math.imul(previous, 1_812_433_253) + i;
    }
  }

  private draw(): number {
    const s = this.state;
    if (this.next === 624) {
      for (let i = 0; i < 624; i++) {
        const y = (s[i] & 0x80000000) | (s[(i + 1) % 624] & 0x7fffffff);
        s[i] = s[(i + 397) % 624] ^ (y >>> 1) ^ (y & 1 ? 0x9908b0df : 0);
      }
      this.next = 0;
    }
    let y = s[this.next++];
    y ^= y >>> 11;
    y ^= (y << 7) & 0x9d2c5680;
    y ^= (y << 15) & 0xefc60000;
    return (y ^ (y >>> 18)) >>> 0;
  }

  /** `torch.rand`: `[rows, columns]` in 0..1. */
  rand(rows: number, columns: number): number[][] {
    return Array.from({ length: rows }, () => Array.from({ length: columns }, () => (this.draw() & 0xffffff) / 2 ** 24));
  }

  /** The weight of `nn.Linear(inputs, outputs)`, or a bias: `[rows, columns]` in ±1/√inputs. */
  linear(inputs: number, rows: number, columns: number): number[][] {
    const bound = Math.fround(1 / Math.sqrt(inputs));
    const width = Math.fround(bound + bound);
    return this.rand(rows, columns).map((row) => row.map((u) => Math.fround(Math.fround(u * width) - bound)));
  }

  /** The factors of `nn.Dropout(rate)` on a plain CPU kernel: 0, or 1 / (1 - rate). */
  dropout(rows: number, columns: number, rate: number): number[][] {
    const keep = () => {
      const high = this.draw();
      const low = this.draw();
      return ((high & 0x1fffff) * 2 ** 32 + low) / 2 ** 53 < 1 - rate;
    };
    return Array.from({ length: rows }, () => Array.from({ length: columns }, () => (keep() ? 1 / (1 - rate) : 0)));
  }
}
