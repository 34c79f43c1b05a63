import { isRowMajor, type Layout, physicalDims, shapeOf, storedSize } from '../graph/layout.js';
import type { BufferPool, HostArray, StoredType } from './buffer-pool.js';
import { type Narrow, widen } from './narrow.js';

/** Elements that several tensors may look at in different ways. */
interface Storage {
  /** Absent where the elements are kept in fewer bits. */
  readonly data: HostArray | undefined;
  readonly narrow: Narrow | undefined;
  readonly pool: BufferPool;
  owners: number;
}

/** A tensor's view of its memory, which goes back to the pool with the last view. */
export class HostBuffer {
  private constructor(
    readonly layout: Layout,
    private readonly storage: Storage,
  ) {}

  static of(data: HostArray, layout: Layout, pool: BufferPool): HostBuffer {
    return new HostBuffer(layout, { data, narrow: undefined, pool, owners: 1 });
  }

  /** Elements in fewer bits, in the order of `layout`. */
  static narrow(narrow: Narrow, layout: Layout, pool: BufferPool): HostBuffer {
    return new HostBuffer(layout, { data: undefined, narrow, pool, owners: 1 });
  }

  /** The elements; a widened copy where they are kept in fewer bits. */
  get data(): HostArray {
    return this.storage.data ?? widen(this.storage.narrow!);
  }

  get narrowed(): Narrow | undefined {
    return this.storage.narrow;
  }

  /** Another tensor looks at the same elements. */
  share(layout: Layout): HostBuffer {
    this.storage.owners++;
    return new HostBuffer(layout, this.storage);
  }

  release(): void {
    const { storage } = this;
    storage.owners--;
    if (storage.owners === 0 && storage.data !== undefined) storage.pool.give(storage.data);
  }

  /** True when nobody else would see the elements change. */
  get exclusive(): boolean {
    return this.storage.owners === 1 && this.storage.narrow === undefined;
  }

  /** A copy of the elements in row-major order: whoever reads may write into it, and the tensor stays what it is. */
  read(type: StoredType): HostArray {
    const { data } = this;
    if (!isRowMajor(this.layout)) return gather(data, type, this.layout);
    return data === this.storage.data ? data.slice() : data;
  }
}

/** Copies elements into row-major order, repeating stretched ones. */
export function gather(data: HostArray, type: StoredType, layout: Layout): HostArray {
  const size = shapeOf(layout).reduce((n, d) => n * d, 1);
  const out =
    type === 'float32' ? new Float32Array(size) : type === 'int32' ? new Int32Array(size) : new Uint8Array(size);
  if (storedSize(layout) === 1) return out.fill(data[0]!);
  const flat = layout.axes.flat();
  const strides = stridesOf(layout);
  copy(out, data, flat.map(Math.abs), strides);
  return out;
}

/** Puts row-major elements where `layout`, which must not be stretched, wants them. */
export function scatter(data: HostArray, out: HostArray, layout: Layout): void {
  const flat = layout.axes.flat();
  const strides = stridesOf(layout);
  const inner = flat.length - 1;
  if (inner < 0) {
    out.set(data);
    return;
  }
  const walk = (axis: number, from: number, to: number): number => {
    const size = flat[axis]!;
    const stride = strides[axis]!;
    let at = from;
    if (axis === inner) {
      for (let i = 0; i < size; i++) out[to + i * stride] = data[at++]!;
      return at;
    }
    for (let i = 0; i < size; i++) at = walk(axis + 1, at, to + i * stride);
    return at;
  };
  walk(0, 0, 0);
}

/** Steps in memory for each atom in logical order; 0 for stretched ones. */
function stridesOf(layout: Layout): number[] {
  const strides: number[] = layout.axes.flat().map(() => 0);
  let stride = 1;
  const dims = physicalDims(layout);
  for (let i = layout.order.length - 1; i >= 0; i--) {
    strides[layout.order[i]!] = stride;
    stride *= dims[i]!;
  }
  return strides;
}

function copy(out: HostArray, data: HostArray, sizes: readonly number[], strides: readonly number[]): void {
  const inner = sizes.length - 1;
  let at = 0;
  const walk = (axis: number, from: number): void => {
    const size = sizes[axis]!;
    const stride = strides[axis]!;
    if (axis === inner) {
      for (let i = 0; i < size; i++) out[at++] = data[from + i * stride]!;
      return;
    }
    for (let i = 0; i < size; i++) walk(axis + 1, from + i * stride);
  };
  walk(0, 0);
}
