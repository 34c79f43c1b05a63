import { type HostTensor, InvalidFileError, named, notFinite, sizeOf, type WeightSource } from '@mezzotint/core';
import type { NotedStrength } from './notes.js';
import type { Factor, LoraLayer } from './parse.js';

/** A layer's change of one weight. */
export interface Change {
  readonly layer: LoraLayer;
  /** alpha / rank. */
  readonly strength: number;
}

/** What is wrong with a layer's tensors for the weight `[out, in, …kernel]`. */
export function misfit(lora: WeightSource, layer: LoraLayer, weight: readonly number[]): string | undefined {
  if (weight.length < 2) return `is for a matrix or a convolution, not for [${weight}]`;
  const shapeOf = (name: string) => lora.tensors.get(name)!.shape;
  const problem = changeMisfit(lora, layer, weight);
  if (problem !== undefined) return problem;
  if (layer.magnitude !== undefined && magnitudeAxis(layer.magnitude, shapeOf(layer.magnitude), weight) === undefined) {
    return `has lengths [${shapeOf(layer.magnitude)}], which do not fit [${weight}]`;
  }
  return undefined;
}

function changeMisfit(lora: WeightSource, { change, rows }: LoraLayer, weight: readonly number[]): string | undefined {
  const shapeOf = (name: string) => lora.tensors.get(name)!.shape;
  const [outputs, inputs, ...kernel] = weight as [number, number, ...number[]];
  const pixel = (shape: readonly number[]) => shape.slice(2).every((d) => d === 1);
  switch (change.kind) {
    case 'low-rank': {
      const [down, up] = [shapeOf(change.down), shapeOf(change.up)];
      const rank = down[0] ?? 0;
      const enough = rows === 'first' ? (up[0] ?? 0) <= outputs : up[0] === outputs;
      if (rank === 0 || !pixel(up) || up[1] !== rank || !enough) {
        return `has down [${down}] and up [${up}], which do not fit [${weight}]`;
      }
      if (change.mid === undefined) {
        if (sizeOf(down) === rank * sizeOf(weight.slice(1))) return undefined;
        return `has down [${down}] and up [${up}], which do not fit [${weight}]`;
      }
      const mid = shapeOf(change.mid);
      if (down[1] === inputs && pixel(down) && String(mid) === String([rank, rank, ...kernel])) return undefined;
      return `has down [${down}], mid [${mid}] and up [${up}], which do not fit [${weight}]`;
    }
    case 'kronecker': {
      const [one, two] = [factorShape(shapeOf, change.w1), factorShape(shapeOf, change.w2)];
      const fits = one && two && one[0] * two[0] === outputs && one[1] * two[1] === sizeOf(weight.slice(1));
      return fits
        ? undefined
        : `has Kronecker factors [${one ?? 'unfit'}] and [${two ?? 'unfit'}], which do not fit [${weight}]`;
    }
    case 'hadamard': {
      const shapes = [change.w1, change.w2].map((factor) => factorShape(shapeOf, factor));
      const fits = shapes.every((shape) => shape && shape[0] === outputs && shape[1] === sizeOf(weight.slice(1)));
      return fits
        ? undefined
        : `has products [${shapes[0] ?? 'unfit'}] and [${shapes[1] ?? 'unfit'}], which do not fit [${weight}]`;
    }
  }
}

/** Rows and columns of a factor; undefined where its two matrices do not fit each other. */
function factorShape(shapeOf: (name: string) => readonly number[], factor: Factor): [number, number] | undefined {
  const [rows = 0, ...rest] = shapeOf(factor[0]);
  if (factor.length === 1) return rest.length > 0 ? [rows, sizeOf(rest)] : undefined;
  const [rank, ...columns] = shapeOf(factor[1]);
  return rest.length === 1 && rest[0] === rank && columns.length > 0 ? [rows, sizeOf(columns)] : undefined;
}

/** The rank of a layer's change; undefined for Kronecker factors that are whole. */
export function rankOf(lora: WeightSource, { change }: LoraLayer): number | undefined {
  const rows = (name: string | undefined) => (name === undefined ? undefined : lora.tensors.get(name)!.shape[0]);
  switch (change.kind) {
    case 'low-rank':
      return rows(change.down);
    case 'kronecker':
      return rows(change.w1[1]) ?? rows(change.w2[1]);
    case 'hadamard':
      return rows(change.w1[1]);
  }
}

/** A layer's change of a weight, or why it does not fit. */
export async function readChange(
  lora: WeightSource,
  layer: LoraLayer,
  weight: readonly number[],
  noted: NotedStrength | undefined,
  defaultAlpha: number | undefined,
): Promise<Change | string> {
  const problem = misfit(lora, layer, weight);
  if (problem !== undefined) return problem;
  const rank = rankOf(lora, layer);
  const shape = layer.alpha === undefined ? [] : lora.tensors.get(layer.alpha)!.shape;
  if (sizeOf(shape) !== 1) return `has an alpha of shape [${shape}], expected one number`;
  const own = layer.alpha === undefined ? undefined : (await lora.read(layer.alpha)).data[0];
  // Whole factors have no rank, and their strength is their own (LyCORIS).
  if (rank === undefined) return { layer, strength: 1 };
  const alpha = own ?? noted?.alpha ?? defaultAlpha ?? rank;
  if (!Number.isFinite(alpha)) return `has alpha ${alpha}`;
  return { layer, strength: alpha / (noted?.rootOfRank ? Math.sqrt(rank) : rank) };
}

/** The weight after the change. Throws an InvalidFileError when the LoRA, or the weight after it, has numbers that are not finite. */
export async function changed(
  weight: HostTensor,
  lora: WeightSource,
  change: Change,
  scale: number,
): Promise<HostTensor> {
  const sum = await product(weight, lora, change, scale);
  const problem = notFinite(sum);
  if (problem === undefined) return sum;
  const { layer } = change.layer;
  throw new InvalidFileError(
    lora.name,
    `${named(layer)}: ${problem} in the weight after it is merged at scale ${scale}`,
  );
}

/** A tensor of a LoRA. */
async function readFinite(lora: WeightSource, name: string): Promise<HostTensor> {
  const tensor = await lora.read(name);
  const problem = notFinite(tensor);
  if (problem !== undefined) throw new InvalidFileError(lora.name, `${named(name)}: ${problem}`);
  return tensor;
}

async function product(
  weight: HostTensor,
  lora: WeightSource,
  { layer, strength }: Change,
  scale: number,
): Promise<HostTensor> {
  const sum = added(weight, await rowsOf(lora, layer), scale * strength);
  if (layer.magnitude === undefined) return sum;
  const magnitude = await readFinite(lora, layer.magnitude);
  return withLengths(sum, magnitude.data, magnitudeAxis(layer.magnitude, magnitude.shape, weight.shape)!);
}

/** A change of a matrix row by row, so that it is never whole in memory. */
interface Rows {
  readonly count: number;
  /** Adds row `o` of the change times `factor`. */
  addTo(row: Float64Array, o: number, factor: number): void;
}

/** W + factor change, W as a matrix `[O, I]`; sums in float64. */
function added(weight: HostTensor, { count, addTo }: Rows, factor: number): HostTensor {
  const inputs = weight.data.length / weight.shape[0]!;
  const data = Float32Array.from(weight.data);
  const row = new Float64Array(inputs);
  for (let o = 0; o < count; o++) {
    row.fill(0);
    addTo(row, o, factor);
    for (let i = 0; i < inputs; i++) data[o * inputs + i]! += row[i]!;
  }
  return { shape: weight.shape, data };
}

async function rowsOf(lora: WeightSource, { change }: LoraLayer): Promise<Rows> {
  switch (change.kind) {
    case 'low-rank': {
      const [up, down] = [await readFinite(lora, change.up), await readFinite(lora, change.down)];
      const rank = down.shape[0]!;
      const mid = change.mid === undefined ? undefined : await readFinite(lora, change.mid);
      const whole = mid === undefined ? down.data : throughKernel(down.data, mid, rank);
      const inputs = whole.length / rank;
      return {
        count: up.shape[0]!,
        addTo(row, o, factor) {
          for (let r = 0; r < rank; r++) {
            const u = up.data[o * rank + r]! * factor;
            for (let i = 0; i < inputs; i++) row[i]! += u * whole[r * inputs + i]!;
          }
        },
      };
    }
    case 'kronecker': {
      const [a, b] = [await factor(lora, change.w1), await factor(lora, change.w2)];
      return {
        count: a.rows * b.rows,
        addTo(row, o, strength) {
          const [p, q] = [Math.floor(o / b.rows), o % b.rows];
          for (let i = 0; i < row.length; i++) {
            const [c, d] = [Math.floor(i / b.columns), i % b.columns];
            row[i]! += strength * a.data[p * a.columns + c]! * b.data[q * b.columns + d]!;
          }
        },
      };
    }
    case 'hadamard': {
      const [a, b] = [await factor(lora, change.w1), await factor(lora, change.w2)];
      return {
        count: a.rows,
        addTo(row, o, strength) {
          const start = o * a.columns;
          for (let i = 0; i < row.length; i++) row[i]! += strength * a.data[start + i]! * b.data[start + i]!;
        },
      };
    }
  }
}

interface Matrix {
  readonly rows: number;
  readonly columns: number;
  readonly data: ArrayLike<number>;
}

/** A factor as a matrix: the whole, or the product of its two. */
async function factor(lora: WeightSource, names: Factor): Promise<Matrix> {
  const a = await readFinite(lora, names[0]);
  const rows = a.shape[0]!;
  if (names.length === 1) return { rows, columns: a.data.length / rows, data: a.data };
  const b = await readFinite(lora, names[1]);
  const rank = b.shape[0]!;
  const columns = b.data.length / rank;
  const data = new Float64Array(rows * columns);
  for (let row = 0; row < rows; row++) {
    for (let r = 0; r < rank; r++) {
      const u = a.data[row * rank + r]!;
      for (let i = 0; i < columns; i++) data[row * columns + i]! += u * b.data[r * columns + i]!;
    }
  }
  return { rows, columns, data };
}

/** The bias after the change: the same strength as the layer's. */
export async function changedBias(
  bias: HostTensor,
  lora: WeightSource,
  { layer, strength }: Change,
  scale: number,
): Promise<HostTensor> {
  const { data } = await readFinite(lora, layer.bias!);
  return { shape: bias.shape, data: Float32Array.from(bias.data, (value, i) => value + scale * strength * data[i]!) };
}

/** A convolution of the rank after down, as one: `[R, R, …kernel]` and `[R, I]` -> `[R, I, …kernel]`. */
function throughKernel(down: HostTensor['data'], { data: mid }: HostTensor, rank: number): Float64Array {
  const inputs = down.length / rank;
  const pixels = mid.length / (rank * rank);
  const whole = new Float64Array(rank * inputs * pixels);
  for (let a = 0; a < rank; a++) {
    for (let b = 0; b < rank; b++) {
      for (let i = 0; i < inputs; i++) {
        const factor = down[b * inputs + i]!;
        for (let p = 0; p < pixels; p++) {
          whole[(a * inputs + i) * pixels + p]! += factor * mid[(a * rank + b) * pixels + p]!;
        }
      }
    }
  }
  return whole;
}

/**
 * Whose lengths a magnitude holds: those of the outputs (axis 0; peft, and LyCORIS as `[O, 1, …]`), or of the inputs
 * (axis 1; LyCORIS as `[1, I, …]`). Undefined when it fits neither.
 */
function magnitudeAxis(name: string, shape: readonly number[], weight: readonly number[]): 0 | 1 | undefined {
  const [outputs, inputs] = weight;
  const size = sizeOf(shape);
  const ofOutputs = name.endsWith('.dora_scale') ? shape[0] === outputs : true;
  if (size === outputs && ofOutputs) return 0;
  return size === inputs && shape[1] === inputs && name.endsWith('.dora_scale') ? 1 : undefined;
}

/** m W / |W|, the rows (or columns) of W with the lengths m. Liu et al. 2024 (DoRA), eq. 5. */
function withLengths(weight: HostTensor, lengths: HostTensor['data'], axis: 0 | 1): HostTensor {
  const [outputs, inputs] = weight.shape as [number, number];
  const pixels = weight.data.length / (outputs * inputs);
  const data = Float32Array.from(weight.data);
  const groupOf = (k: number) => {
    const cell = Math.floor(k / pixels);
    return axis === 0 ? Math.floor(cell / inputs) : cell % inputs;
  };
  const squares = new Float64Array(lengths.length);
  for (let k = 0; k < data.length; k++) squares[groupOf(k)]! += data[k]! ** 2;
  const factors = squares.map((square, g) => (square === 0 ? 0 : lengths[g]! / Math.sqrt(square)));
  for (let k = 0; k < data.length; k++) data[k]! *= factors[groupOf(k)]!;
  return { shape: weight.shape, data };
}
