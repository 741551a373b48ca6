/** What the lesson shows: named matrices, the stages that make one out of others, and the chapters that are made of stages. */
import type { Matrix } from './compute.ts';
import type { Part } from './formula.tsx';

export type Role = 'x' | 'q' | 'k' | 'v' | 'weight' | 'plain';

export interface Tensor {
  /** Unique within a stage list: names it in tables, exports and tests. */
  id: string;
  title: string;
  role: Role;
  rows: string[];
  columns: string[];
  values: Matrix;
  /** Negative numbers have a colour of their own. */
  signed: boolean;
  /** Where edits go, if it is an input. */
  edits?: string;
}

export interface Operand {
  tensor: Tensor;
  /** What of it makes the chosen cell: the row of the query, the row that the column names, its column, or all. */
  uses: 'row' | 'rowOfColumn' | 'column' | 'all' | 'cell';
  /** The sign before it. */
  sign?: string;
}

/** Operands and what they make. */
export interface Block {
  title?: string;
  operands: Operand[];
  tensor: Tensor;
  formula: (row: number, column: number) => Part[][];
  /** Rows are shown one by one; otherwise all at once. */
  rowwise: boolean;
}

export interface Stage {
  id: string;
  label: string;
  title: string;
  text: string[];
  blocks: Block[];
}

/** Something wrong that the reader should know of, such as rows that do not sum to 1. */
export interface Chapter {
  id: string;
  label: string;
  stages: Stage[];
  inputs: Tensor[];
}
