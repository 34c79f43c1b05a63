import { sizeOf } from '@mezzotint/core';
import { isRowMajor, type Layout, rowMajor, shapeOf, storedSize } from '../graph/layout.js';
import type { BufferPool, HostArray, StoredType } from './buffer-pool.js';
import { type Narrow, widen } from './narrow.js';
import { rearrange } from './rearrange.js';

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

  /** `release` without keeping the memory for later results: it was of a size that does not come again. */
  drop(): void {
    this.storage.owners--;
  }

  /** True when nobody else looks at the elements. */
  get alone(): boolean {
    return this.storage.owners === 1;
  }

  /** True when nobody else would see the elements change. */
  get exclusive(): boolean {
    return this.alone && this.storage.narrow === undefined;
  }

  /** A copy of the elements in row-major order: the reader may write into it without changing the tensor. */
  read(type: StoredType): HostArray {
    const { data } = this;
    if (!isRowMajor(this.layout)) return gather(data, type, this.layout);
    return data === this.storage.data ? data.slice() : data;
  }
}

/** Copies elements into row-major order, repeating stretched ones. */
export function gather(data: HostArray, type: StoredType, layout: Layout): HostArray {
  const shape = shapeOf(layout);
  const size = sizeOf(shape);
  const out =
    type === 'float32' ? new Float32Array(size) : type === 'int32' ? new Int32Array(size) : new Uint8Array(size);
  if (storedSize(layout) === 1) return out.fill(data[0]!);
  rearrange(data, out, layout, rowMajor(shape));
  return out;
}
