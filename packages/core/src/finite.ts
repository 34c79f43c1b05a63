import type { StoredTensor } from './host-tensor.js';

/**
 * What is not finite in a tensor: undefined when all is, else for example `3 of 4096 numbers are not finite; number 17 is
 * NaN`. 16-bit floats are looked at as their bits; integers are always finite. One pass at the speed of the memory.
 */
export function notFinite({ data, dtype }: Pick<StoredTensor, 'data'> & { dtype?: string }): string | undefined {
  if (data instanceof Int32Array) return undefined;
  if (data instanceof Float32Array) {
    if (isFiniteSum(data)) return undefined;
    return describe(data.length, (i) => data[i]!);
  }
  if (!(data instanceof Uint16Array)) return undefined; // Bits of another kind, which their reader has checked.
  const exponent = dtype === 'bfloat16' ? 0x7f80 : 0x7c00;
  if (isFiniteBits(data, exponent)) return undefined;
  return describe(data.length, (i) => halfValue(data[i]!, exponent));
}

/** A number times 0 is 0, or NaN when it is not finite. Four sums, which do not wait for each other. */
function isFiniteSum(data: Float32Array): boolean {
  let [a, b, c, d] = [0, 0, 0, 0];
  const end = data.length - (data.length % 4);
  for (let i = 0; i < end; i += 4) {
    a += data[i]! * 0;
    b += data[i + 1]! * 0;
    c += data[i + 2]! * 0;
    d += data[i + 3]! * 0;
  }
  for (let i = end; i < data.length; i++) a += data[i]! * 0;
  return a + b + c + d === 0;
}

/** An exponent of ones is NaN or an infinity: adding its lowest bit carries into bit 15 then, and only then. */
function isFiniteBits(data: Uint16Array, exponent: number): boolean {
  const lowest = 0x8000 - exponent;
  let carried = 0;
  for (let i = 0; i < data.length; i++) carried |= (data[i]! & exponent) + lowest;
  return (carried & 0x8000) === 0;
}

/** NaN or an infinity of 16 bits, else a number that only has to be finite. */
function halfValue(bits: number, exponent: number): number {
  if ((bits & exponent) !== exponent) return 0;
  const fraction = bits & 0x7fff & ~exponent;
  return fraction !== 0 ? Number.NaN : bits & 0x8000 ? -Infinity : Infinity;
}

function describe(length: number, at: (i: number) => number): string {
  let count = 0;
  let first = -1;
  for (let i = 0; i < length; i++) {
    if (Number.isFinite(at(i))) continue;
    if (first < 0) first = i;
    count++;
  }
  return `${count} of ${length} numbers ${count === 1 ? 'is' : 'are'} not finite; number ${first} is ${at(first)}`;
}
