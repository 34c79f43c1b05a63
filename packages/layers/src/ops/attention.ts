import { type AttentionInputs, activeHooks, InvalidArgumentError } from '@mezzotint/core';
import * as tf from '@tensorflow/tfjs-core';
import { isRecording, KERNELS, runForward, runGrad } from '../kernels.js';
import { withGradient } from './with-gradient.js';

export interface AttentionOptions {
  /** Added to the scores before the softmax, `[N or 1, h or 1, T, S]`. */
  readonly mask?: tf.Tensor4D | undefined;
  /** Factor of the scores; 1 / sqrt(d) when absent. */
  readonly scale?: number | undefined;
  /** The module that asks, so that guidance can tell one attention from another (`withHooks` of core). */
  readonly by?: object | undefined;
}

/**
 * Softmax attention: o = softmax(scale q k^T + mask) v. Vaswani et al. 2017, eq. 1.
 * q `[N, h, T, d]`, k `[N, h, S, d]`, v `[N, h, S, e]`; gives `[N, h, T, e]`. A hook that is in force (`withHooks` of
 * core) may answer in its place.
 *
 * @throws InvalidArgumentError when the shapes do not fit each other
 */
export function attention(q: tf.Tensor4D, k: tf.Tensor4D, v: tf.Tensor4D, options: AttentionOptions = {}): tf.Tensor4D {
  const { mask, scale = 1 / Math.sqrt(q.shape[3]), by } = options;
  checkShapes(q, k, v, mask);
  const inputs: AttentionInputs = { q, k, v, mask, scale };
  const hook = activeHooks()?.attention;
  if (hook === undefined) return attend(inputs);
  return hook({
    ...inputs,
    by,
    attend(changed) {
      const all = { ...inputs, ...changed };
      checkShapes(all.q, all.k, all.v, all.mask);
      return attend(all);
    },
  });
}

function attend({ q, k, v, mask, scale }: AttentionInputs): tf.Tensor4D {
  return withGradient(
    mask === undefined ? [q, k, v] : [q, k, v, mask],
    ([q, k, v, mask]) => {
      const fused = runForward(KERNELS.attention, { q, k, v, mask }, { scale })?.[0];
      if (fused !== undefined) return { value: fused, saved: [fused] };
      if (!isRecording()) return { value: inParts(q!, k!, v!, mask, scale) };
      const [value, share] = forward(q!, k!, v!, mask, scale);
      return { value, saved: [value, share] };
    },
    (dy, [q, k, v, mask], [o, share]) =>
      runGrad(KERNELS.attention, { q, k, v, o, dy, mask }, { scale }) ??
      backward(dy, q!, k!, v!, mask, o!, share ?? weights(q!, k!, mask, scale), scale),
    ([q, k, v, mask]) => forward(q!, k!, v!, mask, scale),
  ) as tf.Tensor4D;
}

/** The value `[N, h, T, e]` and the weights of v, `[N, h, T, S]`. */
function forward(q: tf.Tensor, k: tf.Tensor, v: tf.Tensor, mask: tf.Tensor | undefined, scale: number) {
  const share = weights(q, k, mask, scale);
  return [tf.matMul(share, v), share] as const;
}

/** How many weights of v may exist at once when no gradient wants them: 64 MB of them. */
const LIMIT = 2 ** 24;

/** The value, for as many queries at a time as keep the weights below the limit. */
function inParts(q: tf.Tensor, k: tf.Tensor, v: tf.Tensor, mask: tf.Tensor | undefined, scale: number): tf.Tensor {
  const [n, heads, t] = q.shape as [number, number, number];
  const step = Math.max(1, Math.floor(LIMIT / (n * heads * k.shape[2]!)));
  if (step >= t) return forward(q, k, v, mask, scale)[0];
  const parts: tf.Tensor[] = [];
  for (let from = 0; from < t; from += step) {
    const rows = (whole: tf.Tensor) => tf.slice(whole, [0, 0, from], [-1, -1, Math.min(step, t - from)]);
    parts.push(tf.tidy(() => forward(rows(q), k, v, mask === undefined ? mask : rows(mask), scale)[0]));
  }
  return tf.concat(parts, 2);
}

/** softmax(scale q k^T + mask). The factor goes to q, which is smaller than the scores. */
function weights(q: tf.Tensor, k: tf.Tensor, mask: tf.Tensor | undefined, scale: number): tf.Tensor {
  const scores = tf.matMul(tf.mul(q, scale), k, false, true);
  return tf.softmax(mask === undefined ? scores : tf.add(scores, mask));
}

/** dS = P (dP - rowsum(dy o)) with dP = dy v^T: rowsum(P dP) equals rowsum(dy o), which is smaller to compute. */
function backward(
  dy: tf.Tensor,
  q: tf.Tensor,
  k: tf.Tensor,
  v: tf.Tensor,
  mask: tf.Tensor | undefined,
  o: tf.Tensor,
  share: tf.Tensor,
  scale: number,
): tf.Tensor[] {
  const inner = tf.sum(tf.mul(dy, o), 3, true); // [N, h, T, 1]
  const dScores = tf.mul(share, tf.sub(tf.matMul(dy, v, false, true), inner)); // [N, h, T, S]
  const dq = tf.mul(tf.matMul(dScores, k), scale);
  const dk = tf.mul(tf.matMul(dScores, q, true, false), scale);
  const dv = tf.matMul(share, dy, true, false);
  return mask === undefined ? [dq, dk, dv] : [dq, dk, dv, sumTo(dScores, mask.shape)];
}

/** Sums over the axes that were broadcast. */
function sumTo(t: tf.Tensor, shape: readonly number[]): tf.Tensor {
  const axes = shape.flatMap((size, axis) => (size === 1 && t.shape[axis] !== 1 ? [axis] : []));
  return axes.length === 0 ? t : tf.sum(t, axes, true);
}

function checkShapes(q: tf.Tensor, k: tf.Tensor, v: tf.Tensor, mask: tf.Tensor | undefined): void {
  const [n, heads, , d] = q.shape;
  const s = k.shape[2];
  const problems: string[] = [];
  if (q.rank !== 4) problems.push(`expected q [N, h, T, d], got [${q.shape}]`);
  if (k.rank !== 4 || k.shape[0] !== n || k.shape[1] !== heads || k.shape[3] !== d) {
    problems.push(`expected k [${n}, ${heads}, S, ${d}] to fit q [${q.shape}], got [${k.shape}]`);
  }
  if (v.rank !== 4 || v.shape[0] !== n || v.shape[1] !== heads || v.shape[2] !== s) {
    problems.push(`expected v [${n}, ${heads}, ${s}, e] to fit k [${k.shape}], got [${v.shape}]`);
  }
  const full = [n, heads, q.shape[2], s];
  if (mask !== undefined && !(mask.rank === 4 && mask.shape.every((m, i) => m === full[i] || (i < 2 && m === 1)))) {
    problems.push(`expected mask [${n} or 1, ${heads} or 1, ${full[2]}, ${s}], got [${mask.shape}]`);
  }
  if (problems.length > 0) throw new InvalidArgumentError('attention', problems);
}
