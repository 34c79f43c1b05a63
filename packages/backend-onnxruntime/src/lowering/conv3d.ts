import { operation } from '../graph/node.js';
import type { GraphBuilder, Physical } from './builder.js';
import { channelsLast, channelsSecond } from './pooling.js';

type Shape5 = readonly [number, number, number, number, number];

/** Geometry of a three-dimensional convolution of `[N, D, H, W, I]` with a filter `[KD, KH, KW, I, O]`. */
export interface ConvGeometry3 {
  readonly input: Shape5;
  readonly filter: Shape5;
  readonly output: Shape5;
  readonly strides: readonly [number, number, number];
  readonly dilations: readonly [number, number, number];
  /** Front, top, left, back, bottom, right. */
  readonly pads: readonly [number, number, number, number, number, number];
}

function attributesOf({ filter, strides, dilations, pads }: ConvGeometry3): Record<string, number[]> {
  return { kernel_shape: filter.slice(0, 3), strides: [...strides], dilations: [...dilations], pads: [...pads] };
}

/** The filter as `[O, I, KD, KH, KW]`. */
function outputsFirst(b: GraphBuilder, filter: Physical): string {
  return b.one('Transpose', [b.plain(filter)], { perm: [4, 3, 0, 1, 2] });
}

export const conv3d = operation<ConvGeometry3>('Conv3D', (b, [x, filter], [out], geometry) => {
  const made = b.one('Conv', [channelsSecond(b, x!, 5), outputsFirst(b, filter!)], attributesOf(geometry));
  return [channelsLast(b, made, out!)];
});

export const conv3dInputGradient = operation<ConvGeometry3>(
  'Conv3DInputGradient',
  (b, [dy, filter], [out], geometry) => {
    const { input, filter: size, output, strides, dilations, pads } = geometry;
    const rest = strides.map((stride, axis) => {
      const reach = (size[axis]! - 1) * dilations[axis]! + 1;
      return input[axis + 1]! + pads[axis]! + pads[axis + 3]! - ((output[axis + 1]! - 1) * stride + reach);
    });
    const made = b.one('ConvTranspose', [channelsSecond(b, dy!, 5), outputsFirst(b, filter!)], {
      ...attributesOf(geometry),
      output_padding: rest,
    });
    return [channelsLast(b, made, out!)];
  },
);

/** dW as a convolution of x with dy as its kernel: images and channels change places, strides and dilations too. */
export const conv3dFilterGradient = operation<ConvGeometry3>(
  'Conv3DFilterGradient',
  (b, [x, dy], [out], { filter, output, strides, dilations, pads }) => {
    const turned = (value: Physical): string => b.one('Transpose', [b.plain(value)], { perm: [4, 0, 1, 2, 3] });
    const made = b.one('Conv', [turned(x!), turned(dy!)], {
      kernel_shape: output.slice(1, 4),
      strides: [...dilations],
      dilations: [...strides],
      pads: [...pads],
    });
    // Elements that no window reached give positions beyond the filter.
    const cut = b.one('Slice', [made, b.ints([0, 0, 0]), b.ints(filter.slice(0, 3)), b.ints([2, 3, 4])]);
    return [b.result(b.one('Transpose', [cut], { perm: [2, 3, 4, 0, 1] }), out!)];
  },
);
