export { type WriteOptions, writeFileAtomically } from './atomic-file.js';
export {
  type BatchesSource,
  type BatchesState,
  type BatchOptions,
  batches,
  epochOrder,
  type ImageBatch,
  type ImageBatches,
} from './batches.js';
export type { Bitmap } from './bitmap.js';
export { loadDigits } from './digits.js';
export { type GridOptions, imageGrid } from './image-grid.js';
export { type ImageSet, splitImages, subset } from './image-set.js';
export { toBytes, toFloat } from './pixels.js';
export { encodePng, type PngOptions, writePng } from './png.js';
export type { PngText } from './png-text.js';
