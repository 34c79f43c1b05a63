import { operation } from '../graph/node.js';
import type { GraphBuilder, OutputSpec, Physical } from './builder.js';

/** Geometry of windows over the spatial axes of `[N, ..., C]`. */
export interface WindowGeometry {
  readonly input: readonly number[];
  readonly output: readonly number[];
  readonly window: readonly number[];
  readonly strides: readonly number[];
  /** Padding before each spatial axis, then after each. */
  readonly pads: readonly number[];
}

/** `[N, ..., C]` as `[N, C, ...]`. */
export function channelsSecond(b: GraphBuilder, x: Physical, rank: number): string {
  const spatial = Array.from({ length: rank - 2 }, (_, at) => at + 1);
  return b.one('Transpose', [b.plain(x)], { perm: [0, rank - 1, ...spatial] });
}

/** `[N, C, ...]` as `[N, ..., C]`. */
export function channelsLast(b: GraphBuilder, name: string, spec: OutputSpec): Physical {
  const rank = spec.shape.length;
  const spatial = Array.from({ length: rank - 2 }, (_, at) => at + 2);
  return b.result(b.one('Transpose', [name], { perm: [0, ...spatial, 1] }), spec);
}

function attributesOf({ window, strides, pads }: WindowGeometry): Record<string, number[]> {
  return { kernel_shape: [...window], strides: [...strides], pads: [...pads] };
}

/** What the last windows leave over of each spatial axis: elements that no window reaches. */
export function leftOver({ input, output, window, strides, pads }: WindowGeometry): number[] {
  return window.map((size, axis) => {
    const extent = input[axis + 1]! + pads[axis]! + pads[axis + window.length]!;
    return extent - ((output[axis + 1]! - 1) * strides[axis]! + size);
  });
}

/** Mean (without the padding) or maximum of windows, in any number of spatial axes. */
export const poolWindows = operation<WindowGeometry & { op: 'AveragePool' | 'MaxPool' }>(
  'PoolWindows',
  (b, [x], [out], { op, ...geometry }) => {
    const made = b.one(op, [channelsSecond(b, x!, geometry.input.length)], attributesOf(geometry));
    return [channelsLast(b, made, out!)];
  },
);

/** dX of a mean over windows: each window's dY, divided by the window's size, goes to all its elements. */
export const averageGradient = operation<WindowGeometry>('AverageGradient', (b, [dy], [out], geometry) => {
  const { input, output, window } = geometry;
  const [n, channels] = [input[0]!, input.at(-1)!];
  const size = window.reduce((count, length) => count * length, 1);
  const maps = b.one('Reshape', [
    channelsSecond(b, dy!, input.length),
    b.ints([n * channels, 1, ...output.slice(1, -1)]),
  ]);
  const weights = b.one('Expand', [b.scalar(1 / size), b.ints([1, 1, ...window])]);
  const spread = b.one('ConvTranspose', [maps, weights], {
    ...attributesOf(geometry),
    output_padding: leftOver(geometry),
  });
  const whole = b.one('Reshape', [spread, b.ints([n, channels, ...input.slice(1, -1)])]);
  return [channelsLast(b, whole, out!)];
});

/** dX of a maximum over windows: each window's dY goes to the first of its largest elements. */
export const maximumGradient = operation<WindowGeometry>('MaximumGradient', (b, [x, dy], [out], geometry) => {
  const { input } = geometry;
  const source = channelsSecond(b, x!, input.length);
  const [, places] = b.emit('MaxPool', [source], { attributes: attributesOf(geometry), outputs: 2 }) as [
    string,
    string,
  ];
  const size = input.reduce((count, length) => count * length, 1);
  const zeros = b.one('Expand', [b.scalar(0), b.ints([size])]);
  const flat = (name: string): string => b.one('Reshape', [name, b.ints([-1])]);
  const sums = b.one('ScatterElements', [zeros, flat(places), flat(channelsSecond(b, dy!, input.length))], {
    axis: 0,
    reduction: 'add',
  });
  const shape = [input[0]!, input.at(-1)!, ...input.slice(1, -1)];
  return [channelsLast(b, b.one('Reshape', [sums, b.ints(shape)]), out!)];
});
