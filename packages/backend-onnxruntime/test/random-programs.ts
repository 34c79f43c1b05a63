import * as tf from '@tensorflow/tfjs';

/** A small seeded generator of integers (xorshift), so that a program is the same on every engine. */
export class Dice {
  #state: number;

  constructor(seed: number) {
    this.#state = (seed * 2654435761 + 1) >>> 0 || 1;
  }

  /** An integer in [0, sides). */
  roll(sides: number): number {
    let x = this.#state;
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    this.#state = x >>> 0;
    return this.#state % sides;
  }

  pick<T>(list: readonly T[]): T {
    return list[this.roll(list.length)]!;
  }
}

type Step = (x: tf.Tensor, dice: Dice, others: readonly tf.Tensor[]) => tf.Tensor | undefined;

const noise = (shape: readonly number[], dice: Dice): tf.Tensor =>
  tf.randomNormal([...shape], 0, 0.5, 'float32', dice.roll(1000) + 1);

/** Sizes whose product is `size`. */
function factors(size: number, dice: Dice): number[] {
  const shape: number[] = [];
  for (let rest = size; rest > 1; ) {
    const divisors = Array.from({ length: rest }, (_, i) => i + 1).filter((d) => d > 1 && rest % d === 0);
    const next = shape.length === 4 ? rest : dice.pick(divisors);
    shape.push(next);
    rest /= next;
  }
  if (dice.roll(3) === 0 && shape.length < 5) shape.splice(dice.roll(shape.length + 1), 0, 1);
  return shape;
}

function shuffled(rank: number, dice: Dice): number[] {
  const left = Array.from({ length: rank }, (_, axis) => axis);
  return Array.from({ length: rank }, () => left.splice(dice.roll(left.length), 1)[0]!);
}

/** What the cpu backend's gradients of resizing are right for. */
function oneSquareImage({ rank, size, shape }: tf.Tensor): boolean {
  return rank === 4 && size <= 5000 && shape[0] === 1 && shape[1] === shape[2];
}

/** Everything here is continuous, so that rounding stays rounding. */
const STEPS: Readonly<Record<string, Step>> = {
  tanh: (x) => tf.tanh(x),
  sigmoid: (x) => tf.sigmoid(x),
  square: (x) => tf.square(tf.tanh(x)),
  relu: (x) => tf.relu(x),
  softplus: (x) => tf.softplus(x),
  leaky: (x) => tf.leakyRelu(x, 0.1),
  clip: (x) => tf.clipByValue(x, -0.7, 0.9),
  scale: (x, dice) => tf.mul(x, (dice.roll(7) - 3) / 4),
  shift: (x, dice) => tf.add(x, (dice.roll(7) - 3) / 4),
  addVector: (x, dice) => (x.rank < 1 ? undefined : tf.add(x, noise([x.shape.at(-1)!], dice))),
  timesRow: (x, dice) =>
    x.rank < 2
      ? undefined
      : tf.mul(x, noise([x.shape[0]!, ...x.shape.slice(1, -1).map(() => 1), x.shape.at(-1)!], dice)),
  addColumn: (x, dice) => (x.rank < 2 ? undefined : tf.add(x, noise([...x.shape.slice(0, -1), 1], dice))),
  divide: (x, dice) => tf.div(x, tf.add(tf.square(noise(x.shape, dice)), 1)),
  join: (x, dice, others) => {
    const same = others.filter((other) => String(other.shape) === String(x.shape));
    return same.length === 0 ? undefined : tf.sub(x, dice.pick(same));
  },
  product: (x, dice, others) => {
    const same = others.filter((other) => String(other.shape) === String(x.shape));
    return same.length === 0 ? undefined : tf.mul(x, tf.tanh(dice.pick(same)));
  },
  transpose: (x, dice) => tf.transpose(x, shuffled(x.rank, dice)),
  reshape: (x, dice) => tf.reshape(x, factors(x.size, dice)),
  flattenMiddle: (x) => (x.rank !== 4 ? undefined : tf.reshape(x, [x.shape[0]!, -1, x.shape[3]!])),
  slice: (x, dice) => {
    const begin = x.shape.map((size) => dice.roll(size));
    return tf.slice(
      x,
      begin,
      x.shape.map((size, axis) => 1 + dice.roll(size - begin[axis]!)),
    );
  },
  halfChannels: (x) => (x.rank < 1 || x.shape.at(-1)! % 2 !== 0 ? undefined : tf.split(x, 2, x.rank - 1)[1]),
  strided: (x, dice) =>
    x.rank < 1
      ? undefined
      : tf.stridedSlice(
          x,
          x.shape.map(() => 0),
          x.shape,
          x.shape.map(() => 1 + dice.roll(2)),
        ),
  concat: (x, dice, others) => {
    if (x.rank < 1 || x.size > 20000) return undefined;
    const axis = dice.roll(x.rank);
    const fits = others.filter(
      (other) => other.rank === x.rank && other.shape.every((size, at) => at === axis || size === x.shape[at]),
    );
    return tf.concat([x, fits.length === 0 ? tf.neg(x) : dice.pick(fits)], axis);
  },
  stack: (x) => (x.rank > 4 || x.size > 20000 ? undefined : tf.stack([x, tf.tanh(x)], x.rank >> 1)),
  pad: (x, dice) =>
    x.rank < 1 || x.rank > 4 || x.size > 20000
      ? undefined
      : tf.pad(
          x,
          x.shape.map((): [number, number] => [dice.roll(2), dice.roll(2)]),
          dice.roll(2) / 2,
        ),
  tile: (x, dice) =>
    x.rank < 1 || x.rank > 4 || x.size > 5000
      ? undefined
      : tf.tile(
          x,
          x.shape.map(() => 1 + dice.roll(2)),
        ),
  reverse: (x, dice) => (x.rank < 1 ? undefined : tf.reverse(x, dice.roll(x.rank))),
  sum: (x, dice) => (x.rank < 1 ? undefined : tf.mul(tf.sum(x, dice.roll(x.rank), dice.roll(2) === 0), 0.1)),
  mean: (x, dice) => (x.rank < 2 ? undefined : tf.mean(x, [dice.roll(x.rank - 1), x.rank - 1], dice.roll(2) === 0)),
  positions: (x) => (x.rank !== 4 ? undefined : tf.sub(x, tf.mean(x, [1, 2], true))),
  max: (x, dice) => (x.rank < 1 ? undefined : tf.max(x, dice.roll(x.rank), dice.roll(2) === 0)),
  softmax: (x) => (x.rank < 1 ? undefined : tf.softmax(x)),
  cumsum: (x, dice) => (x.rank < 1 ? undefined : tf.mul(tf.cumsum(x, dice.roll(x.rank)), 0.1)),
  matMul: (x, dice) =>
    x.rank < 2
      ? undefined
      : tf.mul(tf.matMul(x, noise([...x.shape.slice(0, -2).map(() => 1), x.shape.at(-1)!, 16], dice)), 0.2),
  gram: (x) => (x.rank !== 3 || x.size > 20000 ? undefined : tf.mul(tf.matMul(x, x, false, true), 0.05)),
  conv: (x, dice) => {
    if (x.rank !== 4 || x.size > 20000) return undefined;
    const filter = noise([dice.pick([1, 3]), dice.pick([1, 3]), x.shape[3]!, dice.pick([3, 16, 32])], dice);
    const y = tf.conv2d(x as tf.Tensor4D, filter as tf.Tensor4D, dice.pick([1, 1, 2]), 'same');
    return tf.mul(y, 0.2);
  },
  pool: (x, dice) => {
    if (x.rank !== 4 || x.shape[1]! < 2 || x.shape[2]! < 2) return undefined;
    const pool = dice.roll(2) === 0 ? tf.avgPool : tf.maxPool;
    return pool(x as tf.Tensor4D, 2, 2, 'valid');
  },
  upsample: (x) =>
    !oneSquareImage(x)
      ? undefined
      : tf.image.resizeNearestNeighbor(x as tf.Tensor4D, [2 * x.shape[1]!, 2 * x.shape[2]!]),
  bilinear: (x, dice) =>
    !oneSquareImage(x) ? undefined : tf.image.resizeBilinear(x as tf.Tensor4D, [1 + dice.roll(9), 1 + dice.roll(9)]),
  toImage: (x) => {
    if (x.rank === 4 || x.size % 64 !== 0) return undefined;
    return tf.reshape(x, [1, 2, x.size / 32, 16]);
  },
  gather: (x, dice) => (x.rank < 1 ? undefined : tf.gather(x, tf.tensor1d([dice.roll(x.shape[0]!), 0], 'int32'))),
  select: (x, dice) => {
    const chosen = tf.greater(tf.tensor1d(Array.from({ length: x.shape.at(-1) ?? 1 }, () => dice.roll(2))), 0.5);
    return x.rank < 1 ? undefined : tf.where(chosen, x, tf.tanh(x));
  },
  clone: (x) => tf.clone(x),
};

/**
 * Steps whose gradients tfjs-core lacks (strided), gets wrong for some axes (cumsum), or gives to all elements that are
 * equal, which rounding decides (max).
 */
const WITHOUT_GRADIENT: ReadonlySet<string> = new Set(['strided', 'cumsum', 'max']);

export interface ProgramOptions {
  /** Called with every value that the program makes. */
  readonly visit?: (x: tf.Tensor) => void;
  /** Leaves steps out that have no gradient. */
  readonly differentiable?: boolean;
}

/** Applies `length` random steps to random values of a pool that starts with `inputs`; the last four values come out. */
export function randomProgram(
  seed: number,
  length: number,
  inputs: readonly tf.Tensor[],
  { visit, differentiable = false }: ProgramOptions = {},
): { outputs: tf.Tensor[]; steps: string[] } {
  const dice = new Dice(seed);
  const values = [...inputs];
  const steps: string[] = [];
  const names = Object.keys(STEPS).filter((name) => !differentiable || !WITHOUT_GRADIENT.has(name));
  while (steps.length < length) {
    const at = dice.roll(3) === 0 ? dice.roll(values.length) : values.length - 1;
    const name = dice.pick(names);
    const made = STEPS[name]!(values[at]!, dice, values);
    if (made === undefined || made.size > 200_000) continue;
    steps.push(`${name}(${at}) -> [${made.shape}]`);
    values.push(made);
    visit?.(made);
  }
  return { outputs: values.slice(-4), steps };
}
