/** A dense tensor in host memory, row-major. What files hold and what state dicts are made of. */
export interface HostTensor {
  readonly shape: readonly number[];
  readonly data: Float32Array | Int32Array;
}

/** Floats of 16 bits, as files hold them: IEEE 754 binary16, or the upper half of a float32. */
export type HalfType = 'float16' | 'bfloat16';

/**
 * Matrices in blocks of 32 weights along a row with one float16 scale each: w = (q - 8) scale with codes of 4 bits, w =
 * (q - 128) scale with codes of 8. GGUF's Q4_0 and Q8_0.
 */
export type BlockType = 'q4_0' | 'q8_0';

/** Types that may stay as they are stored, where the engine computes with them. */
export type KeptType = HalfType | BlockType;

/** A matrix `[rows, columns]` in blocks. Codes are row-major; of 4 bits, the first of two in the low half of a byte. */
export interface BlockTensor {
  readonly shape: readonly number[];
  readonly dtype: BlockType;
  readonly data: Uint8Array;
  /** The bits of float16, one a block. */
  readonly scales: Uint16Array;
}

/** A tensor as it is stored: 16-bit floats as their bits, matrices in blocks, all else as `HostTensor` has it. */
export type StoredTensor =
  | (HostTensor & { readonly dtype: 'float32' | 'int32' })
  | { readonly shape: readonly number[]; readonly dtype: HalfType; readonly data: Uint16Array }
  | BlockTensor;

/** True for a tensor in blocks. */
export function isBlockTensor(tensor: StoredTensor): tensor is BlockTensor {
  return tensor.dtype === 'q4_0' || tensor.dtype === 'q8_0';
}

/** Tensors by name, in the layout of the checkpoint files that users have (convolutions OIHW). */
export type StateDict = Readonly<Record<string, HostTensor>>;

/**
 * Named tensors that are read one at a time, so that a file larger than memory can be loaded: the shapes are known
 * at once, the numbers when asked for.
 */
export interface WeightSource {
  /** What it is called in errors, for example the file's path. */
  readonly name: string;
  readonly tensors: ReadonlyMap<string, { readonly shape: readonly number[]; readonly dtype: string }>;
  /** Reads one tensor, widened to float32 (or int32 for integers). Throws when the file is damaged. */
  read(name: string): HostTensor | Promise<HostTensor>;
  /**
   * `read` for a caller who keeps the array: one of its own, in which 16-bit floats and blocks of the types in `keep` are as
   * they are stored. Absent where a source has nothing to give away (the arrays of a state dict are their maker's).
   */
  take?(name: string, keep?: readonly KeptType[]): StoredTensor | Promise<StoredTensor>;
}

/** Number of elements of a shape; 1 for a scalar. */
export function sizeOf(shape: readonly number[]): number {
  return shape.reduce((n, d) => n * d, 1);
}

/** A state dict as a source; what is a source already stays as it is. */
export function asWeightSource(weights: StateDict | WeightSource): WeightSource {
  if (typeof (weights as WeightSource).read === 'function') return weights as WeightSource;
  const state = weights as StateDict;
  return {
    name: 'state dict',
    tensors: new Map(
      Object.entries(state).map(([name, { shape, data }]) => [
        name,
        { shape, dtype: data instanceof Int32Array ? 'int32' : 'float32' },
      ]),
    ),
    read: (name) => state[name]!,
  };
}
