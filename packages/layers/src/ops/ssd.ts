import { InvalidArgumentError } from '@mezzotint/core';
import * as tf from '@tensorflow/tfjs-core';

export interface SsdOptions {
  /** The state before the first token, `[N, h, p, S]`; zeros when absent. */
  readonly initial?: tf.Tensor4D | undefined;
  /** Tokens of a chunk; 64 when absent. Decides the speed, and the result to rounding only. */
  readonly chunk?: number | undefined;
}

export interface SsdOutput {
  /** `[N, L, h, p]`. */
  readonly y: tf.Tensor4D;
  /** The state after the last token, `[N, h, p, S]`. */
  readonly state: tf.Tensor4D;
}

/**
 * The state space dual of Mamba-2, whose decay is one number a head, so that a chunk is three matrix products:
 *
 *     h_t = exp(delta_t A) h_(t-1) + delta_t x_t B_t^T        y_t = h_t C_t
 *
 * Dao and Gu 2024, section 6 and listing 1. x `[N, L, h, p]`, delta `[N, L, h]` (at least 0), a `[h]` (below 0), b and c
 * `[N, L, g, S]` with g groups, each of h / g heads. In a chunk, y = (M o C B^T) (delta x) with M_ts = exp(sum of delta A over
 * s < r <= t); between chunks the state goes on. Linear in L.
 *
 * @throws InvalidArgumentError when the shapes do not fit each other
 */
export function ssd(
  x: tf.Tensor4D,
  delta: tf.Tensor3D,
  a: tf.Tensor1D,
  b: tf.Tensor4D,
  c: tf.Tensor4D,
  { initial, chunk = 64 }: SsdOptions = {},
): SsdOutput {
  checkShapes(x, delta, a, b, c, initial);
  const [n, length, heads, p] = x.shape;
  const [groups, states] = b.shape.slice(2) as [number, number];
  const size = Math.min(chunk, length);
  return tf.tidy(() => {
    const cut = (t: tf.Tensor4D) => chunksOf(t, size); //                            [N, h, l, .] a chunk
    const logDecays = cut(tf.expandDims(tf.mul(delta, a), 3) as tf.Tensor4D); //     [N, h, l, 1]
    const inputs = cut(tf.mul(x, tf.expandDims(delta, 3))); //                       [N, h, l, p]
    const [bs, cs] = [b, c].map((t) => cut(perHead(t, heads / groups))) as [tf.Tensor4D[], tf.Tensor4D[]]; // [N, h, l, S]
    const lower = lowerOnes(size); //                                                1 where s <= t
    let state: tf.Tensor4D = initial ?? tf.zeros([n, heads, p, states]);
    const ys = inputs.map((u, i) => {
      const [b, c, logDecay] = [bs[i]!, cs[i]!, logDecays[i]!];
      const sums = prefixSums(logDecay, lower); // [N, h, l, 1]
      // exp(sums_t - sums_s) where s <= t; the other side is never exponentiated, since it grows.
      const between = tf.mul(tf.sub(sums, tf.transpose(sums, [0, 1, 3, 2])), lower);
      const decays = tf.mul(tf.exp(between), lower); //                              [N, h, l, l]
      const within = tf.matMul(tf.mul(tf.matMul(c, b, false, true), decays), u); //  [N, h, l, p]
      const entered = tf.mul(tf.matMul(c, state, false, true), tf.exp(sums)); //     [N, h, l, p]
      const total = tf.slice(sums, [0, 0, size - 1, 0]); //                          [N, h, 1, 1]
      const fresh = tf.matMul(tf.mul(u, tf.exp(tf.sub(total, sums))), b, true, false); // [N, h, p, S]
      state = tf.add(tf.mul(state, tf.exp(total)), fresh);
      return tf.add(within, entered) as tf.Tensor4D;
    });
    const y = tf.slice(tf.concat(ys, 2), [0, 0, 0, 0], [-1, -1, length, -1]); //      [N, h, L, p]
    return { y: tf.transpose(y, [0, 2, 1, 3]), state };
  });
}

/** `[N, L, g, S] -> [N, L, h, S]`: each group once for each of its heads. */
function perHead(t: tf.Tensor4D, times: number): tf.Tensor4D {
  if (times === 1) return t;
  const [n, length, groups, states] = t.shape;
  const repeated = tf.tile(tf.reshape(t, [n * length, groups, 1, states]), [1, 1, times, 1]);
  return tf.reshape(repeated, [n, length, groups * times, states]);
}

/** `[N, L, h, w]` -> chunks `[N, h, l, w]`, filled up with zeros: with delta = 0 a token leaves the state as it is. */
function chunksOf(t: tf.Tensor4D, size: number): tf.Tensor4D[] {
  const count = Math.ceil(t.shape[1] / size);
  const behind = count * size - t.shape[1];
  const heads = tf.transpose(t, [0, 2, 1, 3]);
  const padded = behind === 0 ? heads : tf.pad(heads, [[0, 0], [0, 0], [0, behind], [0, 0]]); // biome-ignore format: pairs
  // The gradient of a split into one is missing.
  return count === 1 ? [padded] : tf.split(padded, count, 2);
}

/** `[l, l]`: 1 on the diagonal and below it. */
function lowerOnes(l: number): tf.Tensor2D {
  return tf.tensor2d(
    Float32Array.from({ length: l * l }, (_, i) => Number(i % l <= Math.floor(i / l))),
    [l, l],
  );
}

/** Sums up to and with each token, `[N, h, l, 1]`; a product with ones, since not every engine has a cumulative sum. */
function prefixSums(t: tf.Tensor4D, lower: tf.Tensor2D): tf.Tensor4D {
  const [n, heads, l] = t.shape;
  return tf.reshape(tf.matMul(tf.reshape(t, [n * heads, l]), lower, false, true), [n, heads, l, 1]);
}

function checkShapes(
  x: tf.Tensor,
  delta: tf.Tensor,
  a: tf.Tensor,
  b: tf.Tensor,
  c: tf.Tensor,
  initial: tf.Tensor | undefined,
): void {
  const [n, length, heads, p] = x.shape as [number, number, number, number];
  const [groups, states] = b.shape.slice(2) as [number, number];
  const problems: string[] = [];
  const expect = (name: string, t: tf.Tensor, shape: readonly unknown[]) => {
    if (String(t.shape) !== String(shape)) problems.push(`expected ${name} [${shape}], got [${t.shape}]`);
  };
  if (x.rank !== 4 || length === 0) problems.push(`expected x [N, L, h, p] with at least one token, got [${x.shape}]`);
  if (b.rank !== 4 || heads % groups !== 0) {
    problems.push(`expected b [N, L, g, S] with g groups that divide the ${heads} heads, got [${b.shape}]`);
  }
  if (problems.length === 0) {
    expect('delta', delta, [n, length, heads]);
    expect('a', a, [heads]);
    expect('b', b, [n, length, groups, states]);
    expect('c', c, [n, length, groups, states]);
    if (initial) expect('initial', initial, [n, heads, p, states]);
  }
  if (problems.length > 0) throw new InvalidArgumentError('ssd', problems);
}
