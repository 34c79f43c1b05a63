import { InvalidArgumentError } from '@mezzotint/core';
import * as tf from '@tensorflow/tfjs-core';
import { withGradient } from './with-gradient.js';

export interface SelectiveScanOptions {
  /** The state before the first token, `[N, E, S]`; zeros when absent. */
  readonly initial?: tf.Tensor3D | undefined;
  /** Tokens of a chunk; chosen by the sizes when absent. Decides the speed, and the result to rounding only. */
  readonly chunk?: number | undefined;
  /** Chunks that are computed side by side; likewise. */
  readonly chunks?: number | undefined;
}

export interface SelectiveScanOutput {
  /** `[N, L, E]`. */
  readonly y: tf.Tensor3D;
  /** The state after the last token, `[N, E, S]`. */
  readonly state: tf.Tensor3D;
}

/**
 * The selective state space of Mamba: for each channel i and state n
 *
 *     h_t = exp(delta_t,i A_i,n) h_(t-1) + delta_t,i B_t,n x_t,i        y_t,i = sum_n C_t,n h_t,i,n
 *
 * Gu and Dao 2023, eq. 2 and algorithm 2. x `[N, L, E]`, delta `[N, L, E]` (at least 0: after its softplus), a `[E, S]` (below 0),
 * b and c `[N, L, S]`. Work and, in training, memory are linear in L: chunks side by side, each token by token from nothing;
 * then the states that enter the chunks, one after the other; then each chunk again from its own. Nothing is divided by a
 * decay, so nothing overflows, and the result is the recurrence's but for rounding.
 *
 * @throws InvalidArgumentError when the shapes do not fit each other
 */
export function selectiveScan(
  x: tf.Tensor3D,
  delta: tf.Tensor3D,
  a: tf.Tensor2D,
  b: tf.Tensor3D,
  c: tf.Tensor3D,
  { initial, ...options }: SelectiveScanOptions = {},
): SelectiveScanOutput {
  checkShapes(x, delta, a, b, c, initial);
  const [n, length, width] = x.shape;
  const states = a.shape[1];
  const plan = planOf(n, length, width * states, options);
  return tf.tidy(() => {
    // One tensor comes out of an op with a gradient, so the two results are joined and taken apart again.
    const both = withGradient(
      initial ? [x, delta, a, b, c, initial] : [x, delta, a, b, c],
      ([x, delta, a, b, c, initial]) => forward(plan, cut(plan, x!, delta!, a!, b!, c!), initial),
      (dy, [x, delta, a, b, c, initial], [entries]) => {
        const parts = cut(plan, x!, delta!, a!, b!, c!);
        const gradients = backward(plan, parts, entries!, ...apart(dy, n, length, width, states));
        return initial ? gradients : gradients.slice(0, 5);
      },
      ([x, delta, a, b, c, initial]) => forward(plan, cut(plan, x!, delta!, a!, b!, c!), initial).saved!,
    );
    const [y, state] = apart(both, n, length, width, states);
    return { y, state: tf.transpose(state, [0, 2, 1]) };
  });
}

/** `[N, L E + S E]` -> y `[N, L, E]` and the state `[N, S, E]`. */
function apart(both: tf.Tensor, n: number, length: number, width: number, states: number): [tf.Tensor3D, tf.Tensor3D] {
  const [y, state] = tf.split(both, [length * width, states * width], 1) as [tf.Tensor, tf.Tensor];
  return [tf.reshape(y, [n, length, width]), tf.reshape(state, [n, states, width])];
}

/** How a sequence is cut: `segments` one after the other, each of `chunks` side by side, each of `chunk` tokens. */
interface Plan {
  readonly n: number;
  readonly length: number;
  readonly chunk: number;
  readonly chunks: number;
  readonly segments: number;
}

/** How many numbers the states of a segment's tokens may have: 32 MB. */
const LIMIT = 2 ** 23;

function planOf(n: number, length: number, size: number, given: SelectiveScanOptions): Plan {
  const tokens = Math.min(length, Math.max(16, 2 ** Math.floor(Math.log2(LIMIT / (n * size)))));
  // A token of a chunk takes about eight operations, the state that enters a chunk three.
  const chunk = Math.min(length, given.chunk ?? Math.max(1, Math.round(Math.sqrt((3 / 8) * tokens))));
  const chunks = given.chunks ?? Math.ceil(tokens / chunk);
  return { n, length, chunk, chunks, segments: Math.ceil(length / (chunk * chunks)) };
}

/** The tokens at one place of all chunks of a segment, M = N chunks: rows `[M, 1, E]`, columns `[M, S, 1]`. */
interface Place {
  readonly x: tf.Tensor;
  readonly delta: tf.Tensor;
  readonly b: tf.Tensor;
  readonly c: tf.Tensor;
}

interface Parts {
  /** A, transposed: `[S, E]`, so that the long axis is the last. */
  readonly a: tf.Tensor;
  readonly places: readonly (readonly Place[])[];
}

/** Cuts the inputs: segments, and in each the places of a chunk. */
function cut(plan: Plan, x: tf.Tensor, delta: tf.Tensor, a: tf.Tensor, b: tf.Tensor, c: tf.Tensor): Parts {
  const [xs, deltas, bs, cs] = [x, delta, b, c].map((t) => placesOf(plan, t)) as [Cut, Cut, Cut, Cut];
  return {
    a: tf.transpose(a),
    places: xs.map((segment, s) =>
      segment.map((row, j) => ({
        x: tf.expandDims(row, 1),
        delta: tf.expandDims(deltas[s]![j]!, 1),
        b: tf.expandDims(bs[s]![j]!, 2),
        c: tf.expandDims(cs[s]![j]!, 2),
      })),
    ),
  };
}

type Cut = readonly (readonly tf.Tensor[])[];

/**
 * `[N, L, W]` -> for each segment and place of a chunk `[N chunks, W]`. Tokens behind the end are zeros: with delta = 0 a token
 * leaves the state as it is.
 */
function placesOf({ n, length, chunk, chunks, segments }: Plan, t: tf.Tensor): Cut {
  const width = t.shape[2]!;
  const behind = segments * chunks * chunk - length;
  const padded = behind === 0 ? t : tf.pad(t, [[0, 0], [0, behind], [0, 0]]); // biome-ignore format: pairs
  return tf.split(padded, segments, 1).map((segment) => tf.unstack(tf.reshape(segment, [n * chunks, chunk, width]), 1));
}

/** The inverse of `placesOf`, of tensors `[N chunks, 1 or W, W or 1]`: `[N, L, W]`. */
function joined({ n, length, chunk, chunks }: Plan, cut: Cut, width: number): tf.Tensor {
  const segments = cut.map((places) =>
    tf.reshape(
      tf.stack(
        places.map((t) => tf.reshape(t, [n * chunks, width])),
        1,
      ),
      [n, chunks * chunk, width],
    ),
  );
  return tf.slice(tf.concat(segments, 1), [0, 0, 0], [-1, length, -1]);
}

/** exp(delta A), `[M, S, E]`. */
function decay(a: tf.Tensor, delta: tf.Tensor): tf.Tensor {
  return tf.exp(tf.mul(delta, a));
}

/** delta x B, `[M, S, E]`. */
function fresh({ x, delta, b }: Place): tf.Tensor {
  return tf.mul(tf.mul(delta, x), b);
}

/** decay of a whole chunk: the product of its tokens' decays, `[M, S, E]`. */
function chunkDecay(a: tf.Tensor, places: readonly Place[]): tf.Tensor {
  return decay(a, tf.addN(places.map(({ delta }) => delta)));
}

/**
 * The states that enter the chunks of a segment when each chunk alone ends with `local` and multiplies what enters it by
 * `decays`, all `[N chunks, S, E]`; and the one that leaves the segment, `[N, S, E]`. From the last to the first if `reversed`.
 */
function carry(
  { n, chunks }: Plan,
  local: tf.Tensor,
  decays: tf.Tensor,
  entering: tf.Tensor,
  reversed = false,
): { entries: tf.Tensor; leaving: tf.Tensor } {
  const [, states, width] = local.shape as [number, number, number];
  const byChunk = (t: tf.Tensor) => {
    const list = tf.unstack(tf.reshape(t, [n, chunks, states, width]), 1);
    return reversed ? list.reverse() : list;
  };
  const [ends, factors] = [byChunk(local), byChunk(decays)];
  const entries: tf.Tensor[] = [];
  let state = entering;
  for (const [i, end] of ends.entries()) {
    entries.push(state);
    state = tf.add(end, tf.mul(factors[i]!, state));
  }
  if (reversed) entries.reverse();
  return { entries: tf.reshape(tf.stack(entries, 1), [n * chunks, states, width]), leaving: state };
}

/** y and the last state joined, and the states that enter the chunks, `[segments, N chunks, S, E]`. */
function forward(plan: Plan, { a, places }: Parts, initial: tf.Tensor | undefined) {
  const { n, length } = plan;
  const [states, width] = a.shape as [number, number];
  let state: tf.Tensor = initial ? tf.transpose(initial, [0, 2, 1]) : tf.zeros([n, states, width]);
  const entries: tf.Tensor[] = [];
  const ys: tf.Tensor[][] = [];
  for (const segment of places) {
    const decays = segment.map(({ delta }) => decay(a, delta));
    const inputs = segment.map(fresh);
    let h = inputs[0]!;
    for (let j = 1; j < segment.length; j++) h = tf.add(tf.mul(decays[j]!, h), inputs[j]!);
    const carried = carry(plan, h, chunkDecay(a, segment), state);
    state = carried.leaving;
    entries.push(carried.entries);
    h = carried.entries;
    ys.push(
      segment.map(({ c }, j) => {
        h = tf.add(tf.mul(decays[j]!, h), inputs[j]!);
        return tf.matMul(c, h, true, false); // [M, 1, E]
      }),
    );
  }
  const y = joined(plan, ys, width);
  const value = tf.concat([tf.reshape(y, [n, length * width]), tf.reshape(state, [n, states * width])], 1);
  return { value, saved: [tf.stack(entries)] };
}

/**
 * Gradients of x, delta, a, b, c and the initial state. With g_t the gradient of h_t: g_t = C_t dy_t + a_(t+1) g_(t+1), the
 * same recurrence from the end, computed in the same chunks; the states h are computed again from those that entered them.
 */
function backward(
  plan: Plan,
  { a, places }: Parts,
  entries: tf.Tensor,
  dy: tf.Tensor3D,
  dState: tf.Tensor3D,
): tf.Tensor[] {
  const [states, width] = a.shape as [number, number];
  const dys = placesOf(plan, dy);
  const entered = tf.unstack(entries);
  const [dx, dDelta, dB, dC]: [tf.Tensor[][], tf.Tensor[][], tf.Tensor[][], tf.Tensor[][]] = [[], [], [], []];
  const dAs: tf.Tensor[] = [];
  let after: tf.Tensor = dState; // the gradient of the state that leaves the segment, [N, S, E]
  for (let s = places.length - 1; s >= 0; s--) {
    const segment = places[s]!;
    const dyRows = dys[s]!.map((row) => tf.expandDims(row, 1)); //                   [M, 1, E]
    const decays = segment.map(({ delta }) => decay(a, delta)); //                   [M, S, E]
    const before = [entered[s]!];
    for (const [j, place] of segment.entries()) before.push(tf.add(tf.mul(decays[j]!, before[j]!), fresh(place)));
    // What each chunk alone hands to the one before it.
    let r: tf.Tensor | undefined;
    for (let j = segment.length - 1; j >= 0; j--) {
      const own = tf.mul(segment[j]!.c, dyRows[j]!);
      r = tf.mul(decays[j]!, r ? tf.add(own, r) : own);
    }
    const carried = carry(plan, r!, chunkDecay(a, segment), after, true);
    after = carried.leaving;
    r = carried.entries;
    const rows: [tf.Tensor[], tf.Tensor[], tf.Tensor[], tf.Tensor[]] = [[], [], [], []];
    for (let j = segment.length - 1; j >= 0; j--) {
      const { x, delta, b, c } = segment[j]!;
      const g: tf.Tensor = tf.add(tf.mul(c, dyRows[j]!), r); //                      [M, S, E]
      r = tf.mul(decays[j]!, g);
      const dExponent = tf.mul(r, before[j]!); //                                    gradient of delta A
      const dFresh = tf.matMul(b, g, true, false); //                                of delta x, [M, 1, E]
      dAs.push(tf.sum(tf.mul(dExponent, delta), 0)); //                              [S, E]
      rows[0].push(tf.mul(dFresh, delta));
      rows[1].push(tf.add(tf.mul(dFresh, x), tf.sum(tf.mul(dExponent, a), 1, true)));
      rows[2].push(tf.matMul(g, tf.mul(delta, x), false, true)); //                  [M, S, 1]
      rows[3].push(tf.matMul(before[j + 1]!, dyRows[j]!, false, true));
    }
    for (const [i, list] of [dx, dDelta, dB, dC].entries()) list[s] = rows[i]!.reverse();
  }
  return [
    joined(plan, dx, width),
    joined(plan, dDelta, width),
    tf.transpose(tf.addN(dAs)),
    joined(plan, dB, states),
    joined(plan, dC, states),
    tf.transpose(after, [0, 2, 1]),
  ];
}

function checkShapes(
  x: tf.Tensor,
  delta: tf.Tensor,
  a: tf.Tensor,
  b: tf.Tensor,
  c: tf.Tensor,
  initial: tf.Tensor | undefined,
): void {
  const [n, length, width] = x.shape;
  const states = a.shape[1];
  const problems: string[] = [];
  const expect = (name: string, t: tf.Tensor, shape: readonly unknown[]) => {
    if (String(t.shape) !== String(shape)) problems.push(`expected ${name} [${shape}], got [${t.shape}]`);
  };
  if (x.rank !== 3 || length === 0) problems.push(`expected x [N, L, E] with at least one token, got [${x.shape}]`);
  if (a.rank !== 2) problems.push(`expected a [E, S], got [${a.shape}]`);
  if (problems.length === 0) {
    expect('delta', delta, [n, length, width]);
    expect('a', a, [width, states]);
    expect('b', b, [n, length, states]);
    expect('c', c, [n, length, states]);
    if (initial) expect('initial', initial, [n, width, states]);
  }
  if (problems.length > 0) throw new InvalidArgumentError('selectiveScan', problems);
}
