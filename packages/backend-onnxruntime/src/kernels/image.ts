import type {
  AvgPoolAttrs,
  KernelConfig,
  ResizeBilinearAttrs,
  ResizeNearestNeighborAttrs,
} from '@tensorflow/tfjs-core';
import { backend_util } from '@tensorflow/tfjs-core';
import { pool, resize } from '../lowering/image.js';
import { kernel } from './kernel.js';

type Size4 = [number, number, number, number];

export const imageKernels: readonly KernelConfig[] = [
  ...(
    [
      ['AvgPool', 'AveragePool'],
      ['MaxPool', 'MaxPool'],
    ] as const
  ).map(([name, op]) =>
    kernel<AvgPoolAttrs>(name, (tracer, { input }, { filterSize, strides, pad, dimRoundingMode }) => {
      const x = input('x');
      if (x.type !== 'float32') return undefined;
      const shape = [...x.shape] as Size4;
      const info = backend_util.computePool2DInfo(shape, filterSize, strides, 1, pad, dimRoundingMode);
      const { top, left, bottom, right } = info.padInfo;
      const window = [info.filterHeight, info.filterWidth] as const;
      // ONNX wants pads smaller than the window; TensorFlow.js allows what cannot be.
      if (Math.max(top, bottom) >= window[0] || Math.max(left, right) >= window[1]) return undefined;
      const output = info.outShape as Size4;
      return tracer.one(
        pool({
          op,
          input: shape,
          output,
          window,
          strides: [info.strideHeight, info.strideWidth],
          pads: [top, left, bottom, right],
        }),
        [x],
        { shape: output, type: 'float32' },
      );
    }),
  ),
  kernel<ResizeBilinearAttrs>('ResizeBilinear', (tracer, { input }, { size, alignCorners, halfPixelCenters }) => {
    const x = input('images');
    const [n, , , c] = x.shape as Size4;
    if (x.type !== 'float32' || (alignCorners && halfPixelCenters) || (alignCorners && size.includes(1)))
      return undefined;
    return tracer.one(resize({ mode: 'linear', alignCorners, halfPixelCenters }), [x], {
      shape: [n, size[0], size[1], c],
      type: 'float32',
    });
  }),
  kernel<ResizeNearestNeighborAttrs>(
    'ResizeNearestNeighbor',
    (tracer, { input }, { size, alignCorners, halfPixelCenters }) => {
      const x = input('images');
      const [n, h, w, c] = x.shape as Size4;
      const whole = size[0] % h === 0 && size[1] % w === 0;
      if (x.type !== 'float32' || alignCorners || (halfPixelCenters && !whole)) return undefined;
      return tracer.one(resize({ mode: 'nearest', alignCorners: false, halfPixelCenters: false }), [x], {
        shape: [n, size[0], size[1], c],
        type: 'float32',
      });
    },
  ),
];
