/** Element types that can be read, by their safetensors names, and the bytes of one element. */
export const BYTES_PER_ELEMENT = {
  F64: 8,
  F32: 4,
  F16: 2,
  BF16: 2,
  F8_E4M3: 1,
  F8_E5M2: 1,
  I64: 8,
  I32: 4,
  I16: 2,
  I8: 1,
  U64: 8,
  U32: 4,
  U16: 2,
  U8: 1,
  BOOL: 1,
} as const;

/** An element type by its safetensors name. */
export type DType = keyof typeof BYTES_PER_ELEMENT;

/** True for the name of an element type that can be read. */
export function isDType(name: unknown): name is DType {
  return typeof name === 'string' && Object.hasOwn(BYTES_PER_ELEMENT, name);
}

/** Element types that can be written. */
export type FloatDType = 'F32' | 'F16' | 'BF16';
