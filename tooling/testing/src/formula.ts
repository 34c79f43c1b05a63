import type { HostTensor } from '@mezzotint/core';

/** CRC-32 of zlib and PNG. */
function crc32(text: string): number {
  let crc = 0xffffffff;
  for (const byte of new TextEncoder().encode(text)) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ 0xedb88320 : crc >>> 1;
  }
  return (crc ^ 0xffffffff) >>> 0;
}

/** The hash that formula-made weights and pictures come from: that of tooling/golden/scripts and of fid-inception-v3/origin.json. */
export function bits(name: string): (i: number) => number {
  const start = crc32(name);
  return (i) => {
    let x = (start + i) >>> 0;
    x = Math.imul(x ^ (x >>> 16), 0x7feb352d);
    x = Math.imul(x ^ (x >>> 15), 0x846ca68b);
    return (x ^ (x >>> 16)) >>> 0;
  };
}

/** How the value v in [-1, 1) of each element becomes a weight, by name and shape. */
export type FormulaRule = (name: string, shape: readonly number[]) => (v: number) => number;

/** A weight by its name: the value v in [-1, 1) of each element goes through `rule`. */
export function formulaTensor(name: string, shape: readonly number[], rule: FormulaRule): HostTensor {
  const [of, at] = [rule(name, shape), bits(name)];
  const size = shape.reduce((n, d) => n * d, 1);
  return { shape, data: Float32Array.from({ length: size }, (_, i) => of(2 * (at(i) / 2 ** 32) - 1)) };
}

/** All weights of a module by their formula. */
export function formulaWeights(
  module: { params(): ReadonlyMap<string, { readonly fileShape: readonly number[] }> },
  rule: FormulaRule,
): Record<string, HostTensor> {
  return Object.fromEntries(
    [...module.params()].map(([name, { fileShape }]) => [name, formulaTensor(name, fileShape, rule)]),
  );
}

const fanIn = (shape: readonly number[]) => shape.slice(1).reduce((n, d) => n * d, 1);

/** Of fid-inception-v3: `conv_weight`, `bn_weight`, ... in its origin.json. */
export function inceptionWeight(name: string, shape: readonly number[]): (v: number) => number {
  if (name.endsWith('running_var')) return (v) => 1 + 0.5 * Math.abs(v);
  if (name.endsWith('bn.weight')) return (v) => 1 + 0.1 * v;
  const size = Math.sqrt(6 / fanIn(shape));
  return shape.length > 1 ? (v) => size * v : (v) => 0.1 * v;
}

/** `lpips_weight` of tooling/golden/scripts/features.py. */
export function lpipsWeight(name: string, shape: readonly number[]): (v: number) => number {
  if (name.startsWith('lin')) return (v) => 0.05 * Math.abs(v);
  const size = Math.sqrt(6 / fanIn(shape));
  return shape.length > 1 ? (v) => size * v : (v) => 0.1 * v;
}

/** `plain_weight` of tooling/golden/scripts/features.py. */
export function plainWeight(name: string, shape: readonly number[]): (v: number) => number {
  const placed = /embeddings?\.|token|position/.test(name) && !/projection|patch/.test(name);
  if (placed) return (v) => 0.5 * v;
  const size = Math.sqrt(3 / fanIn(shape));
  if (shape.length > 1) return (v) => size * v;
  return /(weight|lambda1)$/.test(name) ? (v) => 1 + 0.1 * v : (v) => 0.1 * v;
}

/** `picture` of tooling/golden/scripts/features.py: bytes HWC, a ramp at the top and noise at the bottom. */
export function picture(name: string, height: number, width: number): Uint8Array {
  const at = bits(name);
  return Uint8Array.from({ length: height * width * 3 }, (_, i) => {
    const [c, x, y] = [i % 3, Math.floor(i / 3) % width, Math.floor(i / 3 / width)];
    if (y >= height / 2) return at(i) >>> 24;
    const [right, down] = [x / (width - 1), y / (height - 1)];
    return Math.floor([255 * right, 255 * down, 127.5 * (right + down)][c]!);
  });
}

/** `picture` of tooling/golden/scripts/evaluate.py: bytes HWC, a slanted ramp of the colours that the name says under noise. */
export function noisyRamp(name: string, size: number, smooth: number): Uint8Array {
  const at = bits(name);
  return Uint8Array.from({ length: size * size * 3 }, (_, i) => {
    const [c, x, y] = [i % 3, Math.floor(i / 3) % size, Math.floor(i / 3 / size)];
    const slope = (axis: number) => (at(axis * 3 + c) >>> 24) / 255;
    const ramp = (255 * (slope(0) * (x / (size - 1)) + slope(1) * (y / (size - 1)))) / 2;
    return Math.floor(smooth * ramp + (1 - smooth) * (at(6 + i) >>> 24));
  });
}
