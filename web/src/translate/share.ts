/** How much of the weight is shown: of each row the heaviest, until the share is reached. */
export interface Edge {
  row: number;
  column: number;
  weight: number;
}

export interface Shown {
  edges: Edge[];
  /** The part of all weight that is not drawn. */
  hidden: number;
}

/** A source word is untouched when no word of the translation gave it this much of its look. Its coverage may be larger: many small looks add up. */
const UNTOUCHED = 0.15;

export const untouched = (weights: readonly (readonly number[])[], column: number) => weights.every((row) => row[column] < UNTOUCHED);

/** At most this many are drawn, the heaviest, whatever the share. */
export const MOST_EDGES = 300;

export function heaviest(weights: readonly (readonly number[])[], share: number): Shown {
  let total = 0;
  let edges: Edge[] = [];
  weights.forEach((row, r) => {
    const sum = row.reduce((a, b) => a + b, 0);
    total += sum;
    let reached = 0;
    for (const column of row.map((_, c) => c).sort((a, b) => row[b] - row[a])) {
      if (reached >= share * sum || row[column] <= 0) break;
      reached += row[column];
      edges.push({ row: r, column, weight: row[column] });
    }
  });
  if (edges.length > MOST_EDGES) edges = edges.sort((a, b) => b.weight - a.weight).slice(0, MOST_EDGES);
  const drawn = edges.reduce((sum, e) => sum + e.weight, 0);
  return { edges: edges.sort((a, b) => a.row - b.row || a.column - b.column), hidden: total > 0 ? Math.max(0, 1 - drawn / total) : 0 };
}
