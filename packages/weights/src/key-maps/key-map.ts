/**
 * What happens to the numbers between the left layout and the right one.
 * `same`: nothing. `fused`: left is right's parts stacked along axis 0. `transposed`: left is right's transpose.
 * `pointwise`: a matrix is a 1x1 convolution `[O, I, 1, 1]` on the left (vectors stay). `halves-swapped`: the two halves
 * along axis 0 change places (shift and scale). `copies`: right has the same tensor under several names.
 */
export type KeyOp = 'same' | 'fused' | 'transposed' | 'pointwise' | 'halves-swapped' | 'copies';

/** One line of a key map: names, or the beginnings of names up to a dot, on both sides. What follows is kept. */
export interface KeyPair {
  readonly left: string;
  readonly right: readonly string[];
  readonly op: KeyOp;
  /** Sizes of the parts of a `fused` tensor in proportion; equal when absent. */
  readonly shares?: readonly number[];
}

/** A tensor that one layout has and the other one does without. */
export interface LeftOut {
  /** Its name, or the beginning of its name up to a dot. */
  readonly name: string;
  readonly side: Side;
  readonly why: string;
}

/** A tensor that one layout has and the other one computes. */
export interface Made {
  readonly name: string;
  readonly side: Side;
  readonly shape: readonly number[];
  make(): Float32Array;
}

/** The sides of a key map. */
export type Side = 'left' | 'right';

/** Two layouts of one model, line by line. */
export interface KeyMap {
  /** For example `unet: original <-> diffusers`. */
  readonly name: string;
  readonly pairs: readonly KeyPair[];
  readonly leftOut: readonly LeftOut[];
  readonly made?: readonly Made[];
}

/** A pair of names that hold the same numbers. */
export function same(left: string, right: string): KeyPair {
  return { left, right: [right], op: 'same' };
}

/** A pair of names whose numbers differ by `op`. */
export function pair(left: string, op: KeyOp, ...right: string[]): KeyPair {
  return { left, right, op };
}

/** Pairs from a table of beginnings below two common beginnings. */
export function below(left: string, right: string, table: readonly KeyPair[]): KeyPair[] {
  return table.map((row) => ({
    ...row,
    left: `${left}.${row.left}`,
    right: row.right.map((name) => `${right}.${name}`),
  }));
}
