import type {
  AvgPoolAttrs,
  KernelConfig,
  ResizeBilinearAttrs,
  ResizeNearestNeighborAttrs,
} from '@tensorflow/tfjs-core';
import { type PoolGeometry, pool, resize } from '../lowering/image.js';
import { gatherValue } from './gather.js';
import { kernel } from './kernel.js';
import { planar } from './pooling.js';
import { nearestOf } from './resize-gradient.js';

type Size4 = [number, number, number, number];

export const imageKernels: readonly KernelConfig[] = [
  ...(
    [
      ['AvgPool', 'AveragePool'],
      ['MaxPool', 'MaxPool'],
    ] as const
  ).map(([name, op]) =>
    kernel<AvgPoolAttrs>(name, (tracer, { input }, attributes) => {
      const x = input('x');
      if (x.type !== 'float32') return undefined;
      const where = planar(tracer.kernel, x.shape, attributes);
      if (where === undefined) return undefined;
      return tracer.one(pool({ op, ...(where as PoolGeometry) }), [x], { shape: where.output, type: 'float32' });
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
      if (x.type !== 'float32') return undefined;
      if (size[0] % h === 0 && size[1] % w === 0 && !alignCorners) {
        return tracer.one(resize({ mode: 'nearest', alignCorners: false, halfPixelCenters: false }), [x], {
          shape: [n, size[0], size[1], c],
          type: 'float32',
        });
      }
      // By index: ONNX Runtime's Resize divides in float32, which falls below a whole number (14 pixels to 2).
      const how = { alignCorners, halfPixelCenters };
      const rows = gatherValue(tracer, x, tracer.whole(nearestOf(h, size[0], how)), 1);
      return gatherValue(tracer, rows, tracer.whole(nearestOf(w, size[1], how)), 2);
    },
  ),
];
