/** Opcodes of WebAssembly and its 128-bit vectors that our loops use (WebAssembly core specification 2.0, section 5.4). */
const LOCAL_GET = 0x20;
const LOCAL_SET = 0x21;
const I32_CONST = 0x41;
const I32_ADD = 0x6a;
const I32_MUL = 0x6c;
const I32_LESS = 0x48;
const LOOP = 0x03;
const BRANCH_IF = 0x0d;
const END = 0x0b;
const EMPTY = 0x40;
const VECTOR = 0xfd;
const I32 = 0x7f;
const F32 = 0x7d;
const V128 = 0x7b;
const FUNCTION = 0x60;

const VECTOR_OPS = { load: 0, store: 11, splat: 19, add: 228, sub: 229, mul: 230, div: 231, sqrt: 227 } as const;
/** Vectors are 16 bytes; addresses are multiples of 2^4. */
const ALIGNMENT = 4;

/** A vector of four float32 as the instructions that leave it on the stack. */
export type Vector = readonly number[];

export const add = (a: Vector, b: Vector): Vector => [...a, ...b, ...vector('add')];
export const sub = (a: Vector, b: Vector): Vector => [...a, ...b, ...vector('sub')];
export const mul = (a: Vector, b: Vector): Vector => [...a, ...b, ...vector('mul')];
export const div = (a: Vector, b: Vector): Vector => [...a, ...b, ...vector('div')];
export const sqrt = (a: Vector): Vector => [...a, ...vector('sqrt')];

/** What the body of a loop may use. */
export interface Body {
  /** Elements `[at, at + 4)` of an array, by its number. */
  load(array: number): Vector;
  store(array: number, value: Vector): void;
  /** The function's numbers, each the same for all elements. */
  readonly numbers: readonly Vector[];
  /** Computes a vector once, to be used several times. */
  let(value: Vector): Vector;
}

export interface LoopOptions {
  /** How many numbers the function takes. */
  readonly numbers: number;
  /** Bytes between the starts of two arrays in memory. */
  readonly stride: number;
  /** 64 KiB pages of memory. */
  readonly pages: number;
}

/** The parts of JavaScript's WebAssembly interface that we use: Node's types lack its values. */
interface WebAssemblyInterface {
  readonly Memory: new (size: { initial: number; maximum: number }) => { readonly buffer: ArrayBuffer };
  readonly Module: new (bytes: Uint8Array) => object;
  readonly Instance: new (module: object, imports: object) => { readonly exports: Readonly<Record<string, unknown>> };
}

export interface SimdLoop {
  /** Computes elements 0 .. n - 1, n at least 1, and those up to the next multiple of four. */
  run(n: number, ...numbers: readonly number[]): void;
  readonly memory: ArrayBuffer;
}

/**
 * A loop over four elements at a time, compiled: `write` describes one turn. Its arrays lie in its memory, `stride`
 * bytes apart. (V8 computes floats one by one and in float64, so its own loop takes five times as long.)
 */
export function simdLoop(options: LoopOptions, write: (body: Body) => void): SimdLoop {
  const { Memory, Module, Instance } = (globalThis as unknown as { WebAssembly: WebAssemblyInterface }).WebAssembly;
  const memory = new Memory({ initial: options.pages, maximum: options.pages });
  const { exports } = new Instance(new Module(assemble(options, write)), { env: { memory } });
  return { run: exports.run as SimdLoop['run'], memory: memory.buffer };
}

/** A module that exports `run` and imports `env.memory`. */
function assemble({ numbers, stride, pages }: LoopOptions, write: (body: Body) => void): Uint8Array {
  // Locals: the count n, the numbers, the byte at which we are, vectors of the numbers, and what `let` makes.
  const at = 1 + numbers;
  const firstVector = at + 1;
  let vectors = numbers;
  const turn: number[] = [];
  write({
    load: (array) => [LOCAL_GET, ...unsigned(at), ...vector('load'), ALIGNMENT, ...unsigned(array * stride)],
    store: (array, value) => {
      turn.push(LOCAL_GET, ...unsigned(at), ...value, ...vector('store'), ALIGNMENT, ...unsigned(array * stride));
    },
    numbers: Array.from({ length: numbers }, (_, index) => [LOCAL_GET, ...unsigned(firstVector + index)]),
    let: (value) => {
      const local = unsigned(firstVector + vectors++);
      turn.push(...value, LOCAL_SET, ...local);
      return [LOCAL_GET, ...local];
    },
  });
  const splats = Array.from({ length: numbers }, (_, index) => [
    ...[LOCAL_GET, ...unsigned(1 + index), ...vector('splat'), LOCAL_SET, ...unsigned(firstVector + index)],
  ]).flat();
  const advance = [LOCAL_GET, ...unsigned(at), I32_CONST, 16, I32_ADD, LOCAL_SET, ...unsigned(at)];
  // at < 4 n
  const more = [LOCAL_GET, ...unsigned(at), LOCAL_GET, 0, I32_CONST, 4, I32_MUL, I32_LESS, BRANCH_IF, 0];
  const locals = [2, 1, I32, ...unsigned(vectors), V128];
  const code = [...locals, ...splats, LOOP, EMPTY, ...turn, ...advance, ...more, END, END];
  const type = [FUNCTION, ...list([[I32], ...Array.from({ length: numbers }, () => [F32])]), 0];
  return Uint8Array.from([
    ...[0, 0x61, 0x73, 0x6d, 1, 0, 0, 0],
    ...section(1, list([type])),
    ...section(2, list([[...text('env'), ...text('memory'), 2, 1, ...unsigned(pages), ...unsigned(pages)]])),
    ...section(3, list([[0]])),
    ...section(7, list([[...text('run'), 0, 0]])),
    ...section(10, list([[...unsigned(code.length), ...code]])),
  ]);
}

function vector(op: keyof typeof VECTOR_OPS): number[] {
  return [VECTOR, ...unsigned(VECTOR_OPS[op])];
}

function section(id: number, content: readonly number[]): number[] {
  return [id, ...unsigned(content.length), ...content];
}

function list(items: readonly (readonly number[])[]): number[] {
  return [...unsigned(items.length), ...items.flat()];
}

function text(value: string): number[] {
  return list([...value].map((letter) => [letter.charCodeAt(0)]));
}

/** LEB128. */
function unsigned(value: number): number[] {
  return value < 128 ? [value] : [(value % 128) | 128, ...unsigned(Math.floor(value / 128))];
}
