import type { DType } from '../numbers/dtypes.js';

/** Blocks of weights with scales of their own, as ggml has them. */
export type GgufBlockType = 'Q4_0' | 'Q4_1' | 'Q5_0' | 'Q5_1' | 'Q8_0' | 'Q2_K' | 'Q3_K' | 'Q4_K' | 'Q5_K' | 'Q6_K';

/** An element type of a GGUF file that can be read. */
export type GgufType = Extract<DType, 'F32' | 'F16' | 'BF16' | 'F64' | 'I8' | 'I16' | 'I32' | 'I64'> | GgufBlockType;

/** Elements and bytes of a block; of plain types, of one element. */
export interface GgufTypeSize {
  readonly elements: number;
  readonly bytes: number;
}

export const GGUF_SIZES: Readonly<Record<GgufType, GgufTypeSize>> = {
  F32: { elements: 1, bytes: 4 },
  F16: { elements: 1, bytes: 2 },
  BF16: { elements: 1, bytes: 2 },
  F64: { elements: 1, bytes: 8 },
  I8: { elements: 1, bytes: 1 },
  I16: { elements: 1, bytes: 2 },
  I32: { elements: 1, bytes: 4 },
  I64: { elements: 1, bytes: 8 },
  Q4_0: { elements: 32, bytes: 18 },
  Q4_1: { elements: 32, bytes: 20 },
  Q5_0: { elements: 32, bytes: 22 },
  Q5_1: { elements: 32, bytes: 24 },
  Q8_0: { elements: 32, bytes: 34 },
  Q2_K: { elements: 256, bytes: 84 },
  Q3_K: { elements: 256, bytes: 110 },
  Q4_K: { elements: 256, bytes: 144 },
  Q5_K: { elements: 256, bytes: 176 },
  Q6_K: { elements: 256, bytes: 210 },
};

/** ggml's numbers of the types. */
const NUMBERS: Readonly<Record<number, GgufType>> = {
  0: 'F32',
  1: 'F16',
  2: 'Q4_0',
  3: 'Q4_1',
  6: 'Q5_0',
  7: 'Q5_1',
  8: 'Q8_0',
  10: 'Q2_K',
  11: 'Q3_K',
  12: 'Q4_K',
  13: 'Q5_K',
  14: 'Q6_K',
  24: 'I8',
  25: 'I16',
  26: 'I32',
  27: 'I64',
  28: 'F64',
  30: 'BF16',
};

/** Types that exist and are not read, so that the refusal says their names. */
const UNREAD: Readonly<Record<number, string>> = {
  9: 'Q8_1',
  15: 'Q8_K',
  16: 'IQ2_XXS',
  17: 'IQ2_XS',
  18: 'IQ3_XXS',
  19: 'IQ1_S',
  20: 'IQ4_NL',
  21: 'IQ3_S',
  22: 'IQ2_S',
  23: 'IQ4_XS',
  29: 'IQ1_M',
  34: 'TQ1_0',
  35: 'TQ2_0',
  39: 'MXFP4',
};

/** The type with ggml's number, or what is wrong with it. */
export function ggufType(number: number): GgufType | { readonly problem: string } {
  const type = NUMBERS[number];
  if (type !== undefined) return type;
  const known = Object.keys(GGUF_SIZES).join(', ');
  return { problem: `the type ${UNREAD[number] ?? number} cannot be read (known: ${known})` };
}

/** True for a type whose elements are in blocks. */
export function isGgufBlockType(type: string): type is GgufBlockType {
  return Object.hasOwn(GGUF_SIZES, type) && GGUF_SIZES[type as GgufType].elements > 1;
}
