import type { DType } from './dtypes.js';
import { widen } from './widen.js';

/**
 * Little-endian elements -> float64, exactly. `bytes` must start at offset 0 of its own buffer; the answer may share it.
 * Throws a RangeError for a 64-bit integer that float64 cannot hold exactly.
 */
export function toFloat64(bytes: Uint8Array<ArrayBuffer>, dtype: DType): Float64Array {
  switch (dtype) {
    case 'F64':
      return new Float64Array(bytes.buffer, 0, bytes.byteLength / 8);
    case 'U32':
      return Float64Array.from(new Uint32Array(bytes.buffer, 0, bytes.byteLength / 4));
    case 'I64':
      return fromBig(new BigInt64Array(bytes.buffer, 0, bytes.byteLength / 8));
    case 'U64':
      return fromBig(new BigUint64Array(bytes.buffer, 0, bytes.byteLength / 8));
    default:
      return Float64Array.from(widen(bytes, dtype));
  }
}

function fromBig(values: BigInt64Array | BigUint64Array): Float64Array {
  const out = new Float64Array(values.length);
  for (let i = 0; i < values.length; i++) {
    out[i] = Number(values[i]!);
    if (!Number.isSafeInteger(out[i]))
      throw new RangeError(`element ${i} is ${values[i]}, which float64 cannot hold exactly`);
  }
  return out;
}
