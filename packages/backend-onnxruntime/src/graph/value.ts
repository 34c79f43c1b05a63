import { sizeOf } from '@mezzotint/core';
import type { StoredType } from '../memory/buffer-pool.js';
import type { HostBuffer } from '../memory/host-buffer.js';
import type { LazyNode } from './node.js';

/** What will be in a tensor: either elements in memory, or the node that computes them. */
export class Value {
  readonly shape: readonly number[];
  readonly type: StoredType;
  /** Elements, once there. */
  buffer: HostBuffer | undefined;
  /** The node that computes it, while it is pending. */
  node: LazyNode | undefined;
  /** Every element is this number, which graphs may build on. */
  fill: 0 | 1 | undefined;
  /** How many tensors outside hold it. */
  handles = 0;
  /** How many pending nodes read it. */
  uses = 0;
  /** Left out of a flush because its tensor was a temporary of an open tidy; the next flush keeps it. */
  skipped = false;
  /** Why it cannot be computed; reading it throws this. */
  failure: Error | undefined;

  constructor(shape: readonly number[], type: StoredType) {
    this.shape = shape;
    this.type = type;
  }

  get size(): number {
    return sizeOf(this.shape);
  }

  get pending(): boolean {
    return this.buffer === undefined;
  }

  get wanted(): boolean {
    return this.handles > 0 || this.uses > 0;
  }
}
