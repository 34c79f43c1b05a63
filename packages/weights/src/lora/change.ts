import { type HostTensor, InvalidFileError, named, notFinite, sizeOf, type WeightSource } from '@mezzotint/core';
import type { NotedStrength } from './notes.js';
import type { LoraLayer } from './parse.js';

/** A layer's change of one weight. */
export interface Change {
  readonly layer: LoraLayer;
  readonly rank: number;
  /** alpha / rank. */
  readonly strength: number;
}

/** What is wrong with a layer's matrices for the weight `[out, in, …kernel]`: up has out rank elements, down rank times the rest. */
export function misfit(lora: WeightSource, layer: LoraLayer, weight: readonly number[]): string | undefined {
  const shapeOf = (name: string) => lora.tensors.get(name)!.shape;
  const down = shapeOf(layer.down);
  const up = shapeOf(layer.up);
  const rank = down[0] ?? 0;
  const [outputs, inputs, ...kernel] = weight;
  const pixel = (shape: readonly number[]) => shape.slice(2).every((d) => d === 1);
  if (rank === 0 || weight.length < 2 || !pixel(up) || up[1] !== rank || up[0] !== outputs) {
    return `has down [${down}] and up [${up}], which do not fit [${weight}]`;
  }
  if (layer.mid === undefined) {
    if (sizeOf(down) !== rank * sizeOf(weight.slice(1))) {
      return `has down [${down}] and up [${up}], which do not fit [${weight}]`;
    }
  } else {
    const mid = shapeOf(layer.mid);
    if (down[1] !== inputs || !pixel(down) || String(mid) !== String([rank, rank, ...kernel])) {
      return `has down [${down}], mid [${mid}] and up [${up}], which do not fit [${weight}]`;
    }
  }
  if (layer.magnitude !== undefined && magnitudeAxis(layer.magnitude, shapeOf(layer.magnitude), weight) === undefined) {
    return `has lengths [${shapeOf(layer.magnitude)}], which do not fit [${weight}]`;
  }
  return undefined;
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
  const rank = lora.tensors.get(layer.down)!.shape[0]!;
  const shape = layer.alpha === undefined ? [] : lora.tensors.get(layer.alpha)!.shape;
  if (sizeOf(shape) !== 1) return `has an alpha of shape [${shape}], expected one number`;
  const own = layer.alpha === undefined ? undefined : (await lora.read(layer.alpha)).data[0];
  const alpha = own ?? noted?.alpha ?? defaultAlpha ?? rank;
  if (!Number.isFinite(alpha)) return `has alpha ${alpha}`;
  return { layer, rank, strength: alpha / (noted?.rootOfRank ? Math.sqrt(rank) : rank) };
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
  { layer, rank, strength }: Change,
  scale: number,
): Promise<HostTensor> {
  const [up, down] = [await readFinite(lora, layer.up), await readFinite(lora, layer.down)];
  const whole = layer.mid === undefined ? down.data : throughKernel(down.data, await readFinite(lora, layer.mid), rank);
  const sum = addProduct(weight, up.data, whole, rank, scale * strength);
  if (layer.magnitude === undefined) return sum;
  const magnitude = await readFinite(lora, layer.magnitude);
  return withLengths(sum, magnitude.data, magnitudeAxis(layer.magnitude, magnitude.shape, weight.shape)!);
}

/** W + factor up down, W as a matrix `[O, I]`, up `[O, R]`, down `[R, I]`; sums in float64. */
function addProduct(
  weight: HostTensor,
  up: HostTensor['data'],
  down: ArrayLike<number>,
  rank: number,
  factor: number,
): HostTensor {
  const outputs = weight.shape[0]!;
  const inputs = weight.data.length / outputs;
  const data = Float32Array.from(weight.data);
  const row = new Float64Array(inputs);
  for (let o = 0; o < outputs; o++) {
    row.fill(0);
    for (let r = 0; r < rank; r++) {
      const u = up[o * rank + r]! * factor;
      const start = r * inputs;
      for (let i = 0; i < inputs; i++) row[i]! += u * down[start + i]!;
    }
    for (let i = 0; i < inputs; i++) data[o * inputs + i]! += row[i]!;
  }
  return { shape: weight.shape, data };
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
