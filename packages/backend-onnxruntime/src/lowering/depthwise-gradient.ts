import { operation } from '../graph/node.js';
import type { ConvGeometry } from './conv.js';
import { channelsLast, channelsSecond } from './pooling.js';

/** dX of a depthwise convolution with a filter `[KH, KW, C, M]`: a transposed convolution in C groups. */
export const depthwiseInputGradient = operation<ConvGeometry>(
  'DepthwiseInputGradient',
  (b, [dy, filter], [out], { input, filter: shape, output, strides, dilations, pads }) => {
    const [kh, kw, channels, multiplier] = shape;
    const turned = b.one('Transpose', [b.plain(filter!)], { perm: [2, 3, 0, 1] });
    const weights = b.one('Reshape', [turned, b.ints([channels * multiplier, 1, kh, kw])]);
    const rest = [kh, kw].map((size, axis) => {
      const reach = (size - 1) * dilations[axis]! + 1;
      return input[axis + 1]! + pads[axis]! + pads[axis + 2]! - ((output[axis + 1]! - 1) * strides[axis]! + reach);
    });
    const made = b.one('ConvTranspose', [channelsSecond(b, dy!, 4), weights], {
      kernel_shape: [kh, kw],
      strides: [...strides],
      dilations: [...dilations],
      pads: [...pads],
      output_padding: rest,
      group: channels,
    });
    return [channelsLast(b, made, out!)];
  },
);

/** dW of a depthwise convolution: every map of every image convolved with its dY as the kernel, summed over images. */
export const depthwiseFilterGradient = operation<ConvGeometry>(
  'DepthwiseFilterGradient',
  (b, [x, dy], [out], { input, filter, output, strides, dilations, pads }) => {
    const [kh, kw, channels, multiplier] = filter;
    const [n, h, w] = input;
    const [, oh, ow] = output;
    const maps = b.one('Reshape', [channelsSecond(b, x!, 4), b.ints([1, n * channels, h, w])]);
    const kernels = b.one('Reshape', [channelsSecond(b, dy!, 4), b.ints([n * channels * multiplier, 1, oh, ow])]);
    const made = b.one('Conv', [maps, kernels], {
      kernel_shape: [oh, ow],
      strides: [...dilations],
      dilations: [...strides],
      pads: [...pads],
      group: n * channels,
    });
    const cut = b.one('Slice', [made, b.ints([0, 0]), b.ints([kh, kw]), b.ints([2, 3])]);
    const images = b.one('Reshape', [cut, b.ints([n, channels, multiplier, kh, kw])]);
    const sum = b.one('ReduceSum', [images, b.ints([0])], { keepdims: 0 });
    return [b.result(b.one('Transpose', [sum], { perm: [2, 3, 0, 1] }), out!)];
  },
);
