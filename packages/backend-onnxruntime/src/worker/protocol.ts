/** What the caller sends to the worker. */
export type Request =
  | { readonly kind: 'call'; readonly id: number; readonly name: string; readonly argument: unknown }
  /** The next item of a stream, please. */
  | { readonly kind: 'next'; readonly id: number }
  | { readonly kind: 'abort'; readonly id: number };

/** What the worker answers. */
export type Response =
  | { readonly kind: 'result'; readonly id: number; readonly value: unknown }
  | { readonly kind: 'item'; readonly id: number; readonly value: unknown }
  | { readonly kind: 'failure'; readonly id: number; readonly error: Error };

/** The second argument of a function that runs in the worker. */
export interface WorkerContext {
  /** Aborted when the caller aborts, or leaves the loop over a stream. */
  readonly signal: AbortSignal;
}

/** Memory that can move to the other side instead of being copied: the buffers of typed arrays that fill them. */
export function transferable(value: unknown, found: Set<ArrayBuffer> = new Set()): Set<ArrayBuffer> {
  if (ArrayBuffer.isView(value)) {
    const { buffer } = value;
    if (buffer instanceof ArrayBuffer && value.byteLength === buffer.byteLength) found.add(buffer);
  } else if (Array.isArray(value)) {
    for (const item of value) transferable(item, found);
  } else if (typeof value === 'object' && value !== null && Object.getPrototypeOf(value) === Object.prototype) {
    for (const item of Object.values(value)) transferable(item, found);
  }
  return found;
}
