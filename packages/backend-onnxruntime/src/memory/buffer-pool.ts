import type { ElementType } from '../onnx/model.js';

/** What the host holds a tensor in. Booleans are bytes. */
export type HostArray = Float32Array | Int32Array | Uint8Array;

/** The element types that TensorFlow.js tensors have here. */
export type StoredType = Extract<ElementType, 'float32' | 'int32' | 'bool'>;

/**
 * Keeps freed array buffers for the next result of the same size: fresh memory costs a page fault for every 4 KiB, more
 * than most operators. Holds at most `limit` bytes, and forgets the least recently freed first.
 */
export class BufferPool {
  readonly #free = new Map<number, ArrayBuffer[]>();
  #held = 0;

  constructor(readonly limit: number) {}

  /** Bytes kept for later. */
  get heldBytes(): number {
    return this.#held;
  }

  /** An array of `size` elements; its contents are undefined. */
  take(type: StoredType, size: number): HostArray {
    const bytes = type === 'bool' ? size : size * 4;
    const buffer = this.#pop(bytes) ?? new ArrayBuffer(bytes);
    return type === 'float32'
      ? new Float32Array(buffer)
      : type === 'int32'
        ? new Int32Array(buffer)
        : new Uint8Array(buffer);
  }

  give(array: HostArray): void {
    const buffer = array.buffer;
    if (!(buffer instanceof ArrayBuffer) || array.byteLength !== buffer.byteLength || buffer.byteLength === 0) return;
    if (buffer.byteLength > this.limit) return;
    const list = this.#free.get(buffer.byteLength);
    // A list that gets a buffer moves to the end: the map's order is the order of last use.
    if (list !== undefined) this.#free.delete(buffer.byteLength);
    if (list === undefined) {
      this.#free.set(buffer.byteLength, [buffer]);
    } else {
      list.push(buffer);
      this.#free.set(buffer.byteLength, list);
    }
    this.#held += buffer.byteLength;
    while (this.#held > this.limit) this.#forgetOldest();
  }

  clear(): void {
    this.#free.clear();
    this.#held = 0;
  }

  #pop(bytes: number): ArrayBuffer | undefined {
    const buffer = this.#free.get(bytes)?.pop();
    if (buffer !== undefined) this.#held -= bytes;
    return buffer;
  }

  #forgetOldest(): void {
    for (const [bytes, list] of this.#free) {
      if (list.pop() !== undefined) {
        this.#held -= bytes;
        return;
      }
      this.#free.delete(bytes);
    }
  }
}
