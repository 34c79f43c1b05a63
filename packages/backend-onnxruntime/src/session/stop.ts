import type { GraphBuilder } from '../lowering/builder.js';
import { ELEMENT_TYPES } from '../onnx/model.js';

/** Outputs of so many bytes in all get a stop: an error costs as much as copying some hundred KiB. */
export const WORTH_A_STOP = 2 ** 19;

/**
 * Writes an output that ends a run before its results are copied, and says its name; it has to be the first of the
 * graph's outputs. onnxruntime-node writes into the arrays that it is given, and after the run it copies every output into
 * fresh memory nevertheless: for 33 M numbers that takes 120 ms and leaves 132 MB of garbage.
 * But it copies them one by one, and throws at the first whose type JavaScript lacks. A later version that copies
 * nothing, or knows the type, just runs.
 */
export function emitStop(builder: GraphBuilder): string {
  builder.kernel = 'stop';
  return builder.one('Cast', [builder.scalar(0)], { to: ELEMENT_TYPES.bfloat16 });
}

/** True for the error that the binding throws at a stop. */
export function isStop(cause: unknown): boolean {
  return cause instanceof Error && cause.message.includes(`Tensor type (${ELEMENT_TYPES.bfloat16}) is not supported`);
}
