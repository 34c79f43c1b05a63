import { operation } from '../graph/node.js';
import type { GraphBuilder, OutputSpec, Physical } from './builder.js';
import { channelsBlocked, channelsFirst } from './image-layout.js';

type Shape4 = readonly [number, number, number, number];

const NCHWC = 'com.microsoft.nchwc';

/** An image `[N, H, W, C]` as an operator of ONNX takes it, in blocks of channels where they are whole. */
function image(b: GraphBuilder, x: Physical, shape: Shape4): { name: string; blocked: boolean } {
  const [n, h, w, c] = shape;
  const blocked = b.blockSize > 1 && c % b.blockSize === 0;
  const layout = blocked ? channelsBlocked(shape, b.blockSize) : channelsFirst(shape);
  return { name: b.view(b.relayout(x, layout), [n, c, h, w]), blocked };
}

function fromImage(b: GraphBuilder, name: string, shape: Shape4, blocked: boolean): Physical {
  const [n, h, w, c] = shape;
  const layout = blocked ? channelsBlocked(shape, b.blockSize) : channelsFirst(shape);
  return { name, dims: [n, c, h, w], type: 'float32', layout };
}

/** Every pixel becomes a block of `factor` x `factor` equal ones. */
export function repeatPixels(b: GraphBuilder, x: Physical, input: Shape4, factor: number): Physical {
  const { name, blocked } = image(b, x, input);
  const output: Shape4 = [input[0], input[1] * factor, input[2] * factor, input[3]];
  const out = blocked
    ? b.one('Upsample', [name], { scales: [1, 1, factor, factor], mode: 'nearest' }, NCHWC)
    : b.one('Resize', [name, '', b.floats([1, 1, factor, factor])], {
        mode: 'nearest',
        coordinate_transformation_mode: 'asymmetric',
        nearest_mode: 'floor',
      });
  return fromImage(b, out, output, blocked);
}

export interface PoolGeometry {
  readonly input: Shape4;
  readonly output: Shape4;
  readonly window: readonly [number, number];
  readonly strides: readonly [number, number];
  /** Top, left, bottom, right. */
  readonly pads: readonly [number, number, number, number];
}

/** Mean (without the padding) or maximum of windows. */
export function poolImage(
  b: GraphBuilder,
  op: 'AveragePool' | 'MaxPool',
  x: Physical,
  geometry: PoolGeometry,
): Physical {
  const { input, output, window, strides, pads } = geometry;
  const { name, blocked } = image(b, x, input);
  const attributes = { kernel_shape: [...window], strides: [...strides], pads: [...pads] };
  return fromImage(b, b.one(op, [name], attributes, blocked ? NCHWC : undefined), output, blocked);
}

/** x times a number, in whatever layout. */
export function scaled(b: GraphBuilder, x: Physical, factor: number): Physical {
  return { ...x, name: b.one('Mul', [x.name, b.scalar(factor)]), fusable: undefined, origin: undefined };
}

function shape4({ shape }: OutputSpec): Shape4 {
  return shape as unknown as Shape4;
}

export const pool = operation<PoolGeometry & { op: 'AveragePool' | 'MaxPool' }>(
  'Pool',
  (b, [x], _, { op, ...geometry }) => [poolImage(b, op, x!, geometry)],
);

/** Nearest neighbour, twice the pixels a side; and the sum of each 2 x 2 block, which is its gradient. */
export const upsample2x = operation<object>('Upsample2x', (b, [x], [out]) => {
  const [n, h, w, c] = shape4(out!);
  return [repeatPixels(b, x!, [n, h / 2, w / 2, c], 2)];
});

/** Mean of each 2 x 2 block, times `factor`. */
export const halve = operation<{ factor: number }>('Halve', (b, [x], [out], { factor }) => {
  const [n, h, w, c] = shape4(out!);
  const mean = poolImage(b, 'AveragePool', x!, {
    input: [n, 2 * h, 2 * w, c],
    output: [n, h, w, c],
    window: [2, 2],
    strides: [2, 2],
    pads: [0, 0, 0, 0],
  });
  return [factor === 1 ? mean : scaled(b, mean, factor)];
});

/** Every pixel over 2 x 2, times a quarter: the gradient of a 2 x 2 mean. */
export const spread2x = operation<object>('Spread2x', (b, [dy], [out]) => {
  const [n, h, w, c] = shape4(out!);
  return [repeatPixels(b, scaled(b, dy!, 0.25), [n, h / 2, w / 2, c], 2)];
});

/** Resampling of an image to another size, with TensorFlow's two conventions for pixel centres. */
export const resize = operation<{ mode: 'nearest' | 'linear'; alignCorners: boolean; halfPixelCenters: boolean }>(
  'Resize',
  (b, [x], [out], { mode, alignCorners, halfPixelCenters }) => {
    const [n, h, w, c] = shape4(out!);
    const [, inputHeight, inputWidth] = x!.layout.axes.map((atoms) => Math.abs(atoms.reduce((p, atom) => p * atom, 1)));
    const source: Shape4 = [n, inputHeight!, inputWidth!, c];
    const name = b.view(b.relayout(x!, channelsFirst(source)), [n, c, inputHeight!, inputWidth!]);
    const made = b.one('Resize', [name, '', '', b.ints([n, c, h, w])], {
      mode,
      coordinate_transformation_mode: alignCorners ? 'align_corners' : halfPixelCenters ? 'half_pixel' : 'asymmetric',
      ...(mode === 'nearest' ? { nearest_mode: alignCorners ? 'round_prefer_ceil' : 'floor' } : {}),
    });
    return [fromImage(b, made, [n, h, w, c], false)];
  },
);
