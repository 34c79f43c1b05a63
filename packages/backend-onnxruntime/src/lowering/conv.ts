import type { Layout } from '../graph/layout.js';
import { operation } from '../graph/node.js';
import type { GraphBuilder, Physical } from './builder.js';
import { channelsBlocked, channelsFirst, filterBlocked, filterOutputBlocked, filterPlain } from './image-layout.js';

type Shape4 = readonly [number, number, number, number];

/** Geometry of a two-dimensional convolution of `[N, H, W, I]` with a filter `[KH, KW, I, O]`. */
export interface ConvGeometry {
  readonly input: Shape4;
  readonly filter: Shape4;
  readonly output: Shape4;
  readonly strides: readonly [number, number];
  readonly dilations: readonly [number, number];
  /** Top, left, bottom, right. */
  readonly pads: readonly [number, number, number, number];
}

const NCHWC = 'com.microsoft.nchwc';

type Kind = 'blocked' | 'narrow input' | 'narrow output' | 'plain';

/**
 * Which convolution serves. ONNX Runtime's direct kernels want channels in blocks: 310-355 GFLOP/s against 155-250 of
 * the general one. Few input channels (an image) are read unblocked; few output channels are padded to one block.
 */
function kindOf(b: { readonly blockSize: number }, input: number, output: number): Kind {
  const { blockSize } = b;
  if (blockSize < 2) return 'plain';
  if (output % blockSize === 0)
    return input % blockSize === 0 ? 'blocked' : input < blockSize ? 'narrow input' : 'plain';
  return input % blockSize === 0 && output < blockSize ? 'narrow output' : 'plain';
}

/** The layout in which a convolution wants to find its filter. */
export function filterLayout(blockSize: number, filter: Shape4): Layout {
  switch (kindOf({ blockSize }, filter[2], filter[3])) {
    case 'blocked':
      return filterBlocked(filter, blockSize);
    case 'narrow input':
      return filterOutputBlocked(filter, blockSize);
    default:
      return filterPlain(filter);
  }
}

/** y = x * filter (+ bias) (+ sum): what later additions can still be folded into. */
export function convolve(
  b: GraphBuilder,
  x: Physical,
  filter: Physical,
  geometry: ConvGeometry,
  extra: { readonly bias?: string | undefined; readonly sum?: Physical | undefined } = {},
): Physical {
  const { input, filter: filterShape, output, strides, dilations, pads } = geometry;
  const [kh, kw, inputs, outputs] = filterShape;
  const kind = kindOf(b, inputs, outputs);
  const attributes = { kernel_shape: [kh, kw], strides: [...strides], dilations: [...dilations], pads: [...pads] };
  const channels = (x: Physical, shape: Shape4, layout: Layout): string =>
    b.view(b.relayout(x, layout), [shape[0], shape[3], shape[1], shape[2]]);
  const weights = b.relayout(filter, filterLayout(b.blockSize, filterShape));
  const oihw = b.view(weights, [outputs, inputs, kh, kw]);

  let made: Physical;
  if (kind === 'plain') {
    const source = channels(x, input, channelsFirst(input));
    const name = b.one('Conv', [source, oihw, ...(extra.bias === undefined ? [] : [extra.bias])], attributes);
    made = { name, dims: [output[0], output[3], output[1], output[2]], type: 'float32', layout: channelsFirst(output) };
  } else if (kind === 'narrow output') {
    made = narrowOutput(b, x, filter, geometry, extra.bias);
  } else {
    const source = channels(x, input, kind === 'blocked' ? channelsBlocked(input, b.blockSize) : channelsFirst(input));
    const layout = channelsBlocked(output, b.blockSize);
    const dims = [output[0], output[3], output[1], output[2]];
    const operands = [source, oihw];
    if (extra.bias !== undefined || extra.sum !== undefined) operands.push(extra.bias ?? '');
    if (extra.sum !== undefined) operands.push(b.view(b.relayout(extra.sum, layout), dims));
    made = { name: b.one('Conv', operands, attributes, NCHWC), dims, type: 'float32', layout };
  }
  const canAdd = (kind === 'blocked' || kind === 'narrow input') && extra.sum === undefined;
  return {
    ...made,
    fusable: {
      bias:
        extra.bias === undefined && extra.sum === undefined
          ? (vector) => convolve(b, x, filter, geometry, { ...extra, bias: b.plain(vector) })
          : undefined,
      sum: canAdd ? (other) => convolve(b, x, filter, geometry, { ...extra, sum: other }) : undefined,
    },
  };
}

/** Output channels padded with zeros to one block; the block's extra channels are cut off, which leaves N, H, W, C. */
function narrowOutput(
  b: GraphBuilder,
  x: Physical,
  filter: Physical,
  geometry: ConvGeometry,
  bias: string | undefined,
): Physical {
  const block = b.blockSize;
  const { filter: shape, output } = geometry;
  const [kh, kw, inputs, outputs] = shape;
  const more = block - outputs;
  const wide = b.one('Pad', [b.plain(filter), b.ints([0, 0, 0, 0, 0, 0, 0, more])]);
  const padded: Physical = b.result(wide, { shape: [kh, kw, inputs, block], type: 'float32' });
  const wideOutput: Shape4 = [output[0], output[1], output[2], block];
  const vector = bias === undefined ? undefined : b.one('Pad', [bias, b.ints([0, more])]);
  const y = convolve(
    b,
    x,
    padded,
    { ...geometry, filter: [kh, kw, inputs, block], output: wideOutput },
    { bias: vector },
  );
  const cut = b.one('Slice', [b.view(y, wideOutput), b.ints([0]), b.ints([outputs]), b.ints([3])]);
  return b.result(cut, { shape: output, type: 'float32' });
}

/** dX: for stride 1 a convolution of dY with the filter turned round and its channels swapped. */
export function inputGradient(b: GraphBuilder, dy: Physical, filter: Physical, geometry: ConvGeometry): Physical {
  const { input, filter: shape, output, strides, dilations, pads } = geometry;
  const [kh, kw, inputs, outputs] = shape;
  const reach = [(kh - 1) * dilations[0], (kw - 1) * dilations[1]] as const;
  const turnedPads = [reach[0] - pads[0], reach[1] - pads[1], reach[0] - pads[2], reach[1] - pads[3]] as const;
  if (strides[0] === 1 && strides[1] === 1 && turnedPads.every((size) => size >= 0)) {
    return convolve(b, dy, turned(b, filter, shape), {
      input: output,
      filter: [kh, kw, outputs, inputs],
      output: input,
      strides: [1, 1],
      dilations,
      pads: turnedPads,
    });
  }
  const rest = [
    input[1] + pads[0] + pads[2] - ((output[1] - 1) * strides[0] + reach[0] + 1),
    input[2] + pads[1] + pads[3] - ((output[2] - 1) * strides[1] + reach[1] + 1),
  ];
  const name = b.one(
    'ConvTranspose',
    [
      b.view(b.relayout(dy, channelsFirst(output)), [output[0], output[3], output[1], output[2]]),
      b.view(b.relayout(filter, filterPlain(shape)), [outputs, inputs, kh, kw]),
    ],
    {
      kernel_shape: [kh, kw],
      strides: [...strides],
      dilations: [...dilations],
      pads: [...pads],
      output_padding: rest,
    },
  );
  return { name, dims: [input[0], input[3], input[1], input[2]], type: 'float32', layout: channelsFirst(input) };
}

/** The filter `[KH, KW, I, O]` as `[KH, KW, O, I]` with both spatial axes reversed. */
function turned(b: GraphBuilder, filter: Physical, [kh, kw, inputs, outputs]: Shape4): Physical {
  const block = b.blockSize;
  const pixels = kh * kw;
  const backwards = b.ints([...Array(pixels).keys()].reverse());
  if (kindOf(b, inputs, outputs) === 'blocked') {
    // O/16, I/16, pixels, 16 I, 16 O: reverse the pixels, turn each 16 x 16 tile, swap the two outer axes.
    const [o, i] = [outputs / block, inputs / block];
    const stored = b.relayout(filter, filterBlocked([kh, kw, inputs, outputs], block));
    const reversed =
      pixels === 1
        ? stored.name
        : b.one('Gather', [b.view(stored, [o * i, pixels, block * block]), backwards], { axis: 1 });
    const tiles = b.one(
      'ReorderInput',
      [
        b.view({ ...stored, name: reversed, dims: pixels === 1 ? stored.dims : [o * i, pixels, block * block] }, [
          o * i * pixels,
          block,
          1,
          block,
        ]),
      ],
      undefined,
      NCHWC,
    );
    const view = b.view({ ...stored, name: tiles, dims: [o * i * pixels, block, 1, block] }, [
      o,
      i,
      pixels * block * block,
    ]);
    const name = o === 1 || i === 1 ? view : b.one('Transpose', [view], { perm: [1, 0, 2] });
    return {
      name,
      dims: [i, o, pixels * block * block],
      type: 'float32',
      layout: filterBlocked([kh, kw, outputs, inputs], block),
    };
  }
  const stored = b.relayout(filter, filterPlain([kh, kw, inputs, outputs]));
  const reversed =
    pixels === 1
      ? b.view(stored, [outputs, inputs, 1])
      : b.one('Gather', [b.view(stored, [outputs, inputs, pixels]), backwards], { axis: 2 });
  const name = b.one('Transpose', [reversed], { perm: [1, 0, 2] });
  return { name, dims: [inputs, outputs, pixels], type: 'float32', layout: filterPlain([kh, kw, outputs, inputs]) };
}

/** The image without the zeros that were put around it, and the convolution that puts them there itself. */
export function unpadded<G extends ConvGeometry>(x: Physical, geometry: G): { x: Physical; geometry: G } {
  const padded = x.origin?.padded;
  if (padded === undefined) return { x, geometry };
  const [n, h, w, c] = geometry.input;
  const { pads } = padded;
  return {
    x: padded.x,
    geometry: {
      ...geometry,
      input: [n, h - pads[0] - pads[2], w - pads[1] - pads[3], c],
      pads: geometry.pads.map((size, side) => size + pads[side]!) as [number, number, number, number],
    },
  };
}

export const conv2d = operation<ConvGeometry & { blockSize: number }>(
  'Conv2D',
  (b, [image, filter, bias], _, attributes) => {
    const { x, geometry } = unpadded(image!, attributes);
    return [convolve(b, x, filter!, geometry, { bias: bias === undefined ? undefined : b.plain(bias) })];
  },
  (_, { blockSize, filter }) => [undefined, filterLayout(blockSize, filter)],
);

export const conv2dInputGradient = operation<ConvGeometry & { blockSize: number }>(
  'Conv2DInputGradient',
  (b, [dy, filter], _, geometry) => [inputGradient(b, dy!, filter!, geometry)],
  (_, { blockSize, filter }) => [undefined, filterLayout(blockSize, filter)],
);

/** Depthwise convolution, filter `[KH, KW, C, M]`: C groups of M outputs. */
export const depthwiseConv2d = operation<ConvGeometry>('DepthwiseConv2D', (b, [x, filter, bias], [out], geometry) => {
  const { input, filter: shape, output, strides, dilations, pads } = geometry;
  const [kh, kw, channels, multiplier] = shape;
  const weights = b.one('Transpose', [b.plain(filter!)], { perm: [2, 3, 0, 1] });
  const name = b.one(
    'Conv',
    [
      b.view(b.relayout(x!, channelsFirst(input)), [input[0], input[3], input[1], input[2]]),
      b.view({ ...out!, name: weights, dims: [channels, multiplier, kh, kw], layout: x!.layout }, [
        channels * multiplier,
        1,
        kh,
        kw,
      ]),
      ...(bias === undefined ? [] : [b.plain(bias)]),
    ],
    { kernel_shape: [kh, kw], strides: [...strides], dilations: [...dilations], pads: [...pads], group: channels },
  );
  const dims = [output[0], output[3], output[1], output[2]];
  return [{ name, dims, type: 'float32', layout: channelsFirst(output) }];
});
