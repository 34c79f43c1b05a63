/** A vector value (v128) of the function being written: the number of its local. */
export type Value = number & { readonly kind: 'v128' };

const SIMD = 0xfd;
/** Instructions on 128-bit vectors by their names in the WebAssembly text format. */
const OPCODES = {
  'i8x16.shuffle': 0x0d,
  'f32x4.lt': 0x43,
  'i32x4.eq': 0x37,
  'v128.and': 0x4e,
  'v128.or': 0x50,
  'v128.xor': 0x51,
  'v128.bitselect': 0x52,
  'f32x4.demote_f64x2_zero': 0x5e,
  'f64x2.promote_low_f32x4': 0x5f,
  'i32x4.shl': 0xab,
  'i32x4.shr_u': 0xad,
  'i32x4.add': 0xae,
  'i32x4.sub': 0xb1,
  'f32x4.sqrt': 0xe3,
  'f32x4.add': 0xe4,
  'f32x4.sub': 0xe5,
  'f32x4.mul': 0xe6,
  'f64x2.add': 0xf0,
  'f64x2.sub': 0xf1,
  'f64x2.mul': 0xf2,
  'i32x4.trunc_sat_f32x4_s': 0xf8,
  'f32x4.convert_i32x4_s': 0xfa,
  'f64x2.convert_low_i32x4_s': 0xfe,
} as const;

/**
 * Writes a WebAssembly module with one function `run(end)`, which does `body` at each address 0, stride, 2 stride, ...
 * below `end` of its exported memory. Values are written down once and may be used any number of times.
 */
export class WasmLoop {
  readonly #code: number[] = [];
  #values = 0;

  /** The result of an instruction. */
  op(name: keyof typeof OPCODES, ...operands: readonly Value[]): Value {
    for (const operand of operands) this.#get(operand);
    this.#code.push(SIMD, ...unsigned(OPCODES[name]));
    return this.#set();
  }

  /** Each lane shifted by a constant. */
  shift(name: 'i32x4.shl' | 'i32x4.shr_u', value: Value, bits: number): Value {
    this.#get(value);
    this.#code.push(0x41, ...signed(bits), SIMD, ...unsigned(OPCODES[name]));
    return this.#set();
  }

  /** The two lower lanes of a, then the two lower lanes of b (`low`), or the same of the upper ones, of four. */
  halves(half: 'low' | 'high', a: Value, b: Value): Value {
    const from = half === 'low' ? 0 : 8;
    this.#get(a);
    this.#get(b);
    this.#code.push(SIMD, OPCODES['i8x16.shuffle']);
    for (let i = 0; i < 8; i++) this.#code.push(from + i);
    for (let i = 0; i < 8; i++) this.#code.push(16 + from + i);
    return this.#set();
  }

  int32(value: number): Value {
    return this.#constant(Int32Array.of(value, value, value, value));
  }

  float32(value: number): Value {
    return this.#constant(Float32Array.of(value, value, value, value));
  }

  float64(value: number): Value {
    return this.#constant(Float64Array.of(value, value));
  }

  /** The 16 bytes at the current address + offset. */
  load(offset: number): Value {
    this.#code.push(0x20, ADDRESS, SIMD, 0x00, 4, ...unsigned(offset));
    return this.#set();
  }

  store(offset: number, value: Value): void {
    this.#code.push(0x20, ADDRESS);
    this.#get(value);
    this.#code.push(SIMD, 0x0b, 4, ...unsigned(offset));
  }

  /** The module's bytes. */
  module(stride: number, pages: number): Uint8Array<ArrayBuffer> {
    const I32 = 0x7f;
    const V128 = 0x7b;
    const body = [
      ...[2, 1, I32, ...unsigned(this.#values), V128], // locals: the address, then the values
      ...[0x02, 0x40, 0x03, 0x40], // block, loop
      ...[0x20, ADDRESS, 0x20, END, 0x4f, 0x0d, 1], // leave when address >= end
      ...this.#code,
      ...[0x20, ADDRESS, 0x41, ...signed(stride), 0x6a, 0x21, ADDRESS], // address += stride
      ...[0x0c, 0, 0x0b, 0x0b, 0x0b], // again; ends of loop, block and function
    ];
    return Uint8Array.of(
      ...[0, 0x61, 0x73, 0x6d, 1, 0, 0, 0],
      ...section(1, [1, 0x60, 1, I32, 0]), // types: (i32) -> ()
      ...section(3, [1, 0]), // functions
      ...section(5, [1, 0, ...unsigned(pages)]), // memory
      ...section(7, [2, ...name('run'), 0, 0, ...name('memory'), 2, 0]), // exports
      ...section(10, [1, ...unsigned(body.length), ...body]), // code
    );
  }

  #constant(lanes: Int32Array | Float32Array | Float64Array): Value {
    this.#code.push(SIMD, 0x0c, ...new Uint8Array(lanes.buffer));
    return this.#set();
  }

  #get(value: Value): void {
    this.#code.push(0x20, ...unsigned(value));
  }

  #set(): Value {
    const value = FIRST_VALUE + this.#values++;
    this.#code.push(0x21, ...unsigned(value));
    return value as Value;
  }
}

/** Local 0 is the argument, local 1 the address. */
const END = 0;
const ADDRESS = 1;
const FIRST_VALUE = 2;

function section(id: number, content: readonly number[]): number[] {
  return [id, ...unsigned(content.length), ...content];
}

function name(text: string): number[] {
  return [text.length, ...Array.from(text, (c) => c.charCodeAt(0))];
}

/** LEB128 of a natural number. */
function unsigned(value: number): number[] {
  return value < 128 ? [value] : [(value & 127) | 128, ...unsigned(value >>> 7)];
}

/** Signed LEB128 of a natural number: one more bit, which is 0. */
function signed(value: number): number[] {
  return value < 64 ? [value] : [(value & 127) | 128, ...signed(value >>> 7)];
}
