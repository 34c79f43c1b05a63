import { COS, FOUR_OVER_PI, LN2_HIGH, LN2_LOW, LOG, MINUS_PI_4, SIN, SQRT_HALF, TWO_PI } from './cephes.js';
import { type Value, WasmLoop } from './wasm-assembler.js';

/** How many words the vector kernel takes at a time. */
const CHUNK = 16_384;
const PAGE = 65_536;
/** Bytes of a block of 16. */
const BLOCK = 64;

/** A memory of words that become normals in place. */
export interface NormalsInPlace {
  readonly words: Uint32Array;
  readonly normals: Float32Array;
  /** Turns the first `count` words, a multiple of 16, into normals. */
  run(count: number): void;
}

/** What is used of the host's WebAssembly, which TypeScript's libraries declare with the DOM only. */
interface WasmHost {
  readonly Module: new (bytes: Uint8Array) => object;
  readonly Instance: new (
    module: object,
  ) => { readonly exports: { run(end: number): void; readonly memory: { readonly buffer: ArrayBuffer } } };
}

let made: NormalsInPlace | null | undefined;

/**
 * `boxMuller16` of many blocks on vectors of WebAssembly, the same bits two to three times as fast; null where there
 * are no such vectors.
 */
export function vectorNormals(): NormalsInPlace | null {
  if (made === undefined) made = make();
  return made;
}

function make(): NormalsInPlace | null {
  try {
    const { Instance, Module } = (globalThis as unknown as { WebAssembly: WasmHost }).WebAssembly;
    const { run, memory } = new Instance(new Module(kernel())).exports;
    return {
      words: new Uint32Array(memory.buffer, 0, CHUNK),
      normals: new Float32Array(memory.buffer, 0, CHUNK),
      run: (count) => run(count * 4),
    };
  } catch {
    // No WebAssembly, none with vectors, or a page that forbids it.
    return null;
  }
}

function kernel(): Uint8Array<ArrayBuffer> {
  const loop = new WasmLoop();
  for (const offset of [0, 16]) fourPairs(loop, offset);
  return loop.module(BLOCK, (CHUNK * 4) / PAGE);
}

/** Four pairs of a block of 16 words: radii from the words at `offset`, angles from those 32 bytes on. */
function fourPairs(w: WasmLoop, offset: number): void {
  const one = w.int32(1);
  const low24 = w.int32(0xffffff);

  // Radius: sqrt(-2 log(k 2^-24)), k = 2^24 - u. As float32, k is m 2^e with m in [sqrt(1/2), sqrt(2)).
  const k = w.op('i32x4.sub', w.int32(2 ** 24), w.op('v128.and', w.load(offset), low24));
  const bits = w.op('f32x4.convert_i32x4_s', k);
  const fraction = w.op('v128.or', w.op('v128.and', bits, w.int32(0x7fffff)), w.int32(0x3f000000));
  const small = w.op('f32x4.lt', fraction, w.float32(SQRT_HALF));
  const exponent = w.op('i32x4.sub', w.shift('i32x4.shr_u', bits, 23), w.int32(126 + 24));
  const m = fromFloats(
    w,
    w.op('f32x4.add', w.op('f32x4.sub', fraction, w.float32(1)), w.op('v128.and', fraction, small)),
  );
  const e = fromIntegers(w, w.op('i32x4.add', exponent, small));
  const mm = mul(w, m, m);
  let y = mul(w, polynomial(w, LOG, m), m);
  y = fma(w, y, mm, mul(w, e, splat(w, LN2_LOW)));
  y = fma(w, mm, splat(w, -0.5), y);
  const log = fma(w, e, splat(w, LN2_HIGH), add(w, m, y));
  const radius = w.op('f32x4.sqrt', w.op('f32x4.mul', toFloats(w, log), w.float32(-2)));

  // Angle: 2 pi u, reduced to [0, pi/4] by the even octant q.
  const u = w.op('f32x4.convert_i32x4_s', w.op('v128.and', w.load(offset + 32), low24));
  const theta = w.op('f32x4.mul', w.op('f32x4.mul', u, w.float32(2 ** -24)), w.float32(TWO_PI));
  const octant = w.op('i32x4.trunc_sat_f32x4_s', w.op('f32x4.mul', theta, w.float32(FOUR_OVER_PI)));
  const q = w.op('v128.and', w.op('i32x4.add', octant, one), w.int32(~1));
  const turns = fromIntegers(w, q);
  let x = fromFloats(w, theta);
  for (const part of MINUS_PI_4) x = fma(w, turns, splat(w, part), x);
  const xx = mul(w, x, x);
  let c = mul(w, polynomial(w, COS, xx), xx);
  c = add(w, fma(w, c, xx, mul(w, xx, splat(w, -0.5))), splat(w, 1));
  let s = mul(w, polynomial(w, SIN, xx), xx);
  s = fma(w, s, x, x);

  const two = w.int32(2);
  const four = w.int32(4);
  const odd = w.op('i32x4.eq', w.op('v128.and', q, two), two);
  const [cosine, sine] = [toFloats(w, c), toFloats(w, s)];
  const sign = (of: Value) => w.shift('i32x4.shl', w.op('v128.and', of, four), 29);
  const cos = w.op('v128.xor', w.op('v128.bitselect', sine, cosine, odd), sign(w.op('i32x4.add', q, two)));
  const sin = w.op('v128.xor', w.op('v128.bitselect', cosine, sine, odd), sign(q));
  // + 0 turns -0 into 0, as the mean that PyTorch's kernel adds does.
  const zero = w.float32(0);
  w.store(offset, w.op('f32x4.add', w.op('f32x4.mul', radius, cos), zero));
  w.store(offset + 32, w.op('f32x4.add', w.op('f32x4.mul', radius, sin), zero));
}

/** Four float32 as float64, two and two: there the product of two of them is exact, and a fused step can be made. */
type Four = readonly [Value, Value];

function fromFloats(w: WasmLoop, floats: Value): Four {
  const upper = w.halves('high', floats, floats);
  return [w.op('f64x2.promote_low_f32x4', floats), w.op('f64x2.promote_low_f32x4', upper)];
}

function fromIntegers(w: WasmLoop, integers: Value): Four {
  const upper = w.halves('high', integers, integers);
  return [w.op('f64x2.convert_low_i32x4_s', integers), w.op('f64x2.convert_low_i32x4_s', upper)];
}

function toFloats(w: WasmLoop, [a, b]: Four): Value {
  return w.halves('low', w.op('f32x4.demote_f64x2_zero', a), w.op('f32x4.demote_f64x2_zero', b));
}

function splat(w: WasmLoop, value: number): Four {
  const both = w.float64(value);
  return [both, both];
}

function round(w: WasmLoop, value: Value): Value {
  return w.op('f64x2.promote_low_f32x4', w.op('f32x4.demote_f64x2_zero', value));
}

function mul(w: WasmLoop, a: Four, b: Four): Four {
  return [round(w, w.op('f64x2.mul', a[0], b[0])), round(w, w.op('f64x2.mul', a[1], b[1]))];
}

function add(w: WasmLoop, a: Four, b: Four): Four {
  return [round(w, w.op('f64x2.add', a[0], b[0])), round(w, w.op('f64x2.add', a[1], b[1]))];
}

/** a b + c, rounded once. */
function fma(w: WasmLoop, a: Four, b: Four, c: Four): Four {
  const half = (i: 0 | 1) => round(w, w.op('f64x2.add', w.op('f64x2.mul', a[i], b[i]), c[i]));
  return [half(0), half(1)];
}

/** Horner's scheme with fused steps; coefficients from the highest power. */
function polynomial(w: WasmLoop, [first, ...rest]: readonly number[], x: Four): Four {
  return rest.reduce((y, coefficient) => fma(w, y, x, splat(w, coefficient)), splat(w, first!));
}
