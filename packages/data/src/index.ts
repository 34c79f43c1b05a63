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
export { type DecodeOptions, decodeImage } from './decode-image.js';
export { loadDigits } from './digits.js';
export { type FolderImages, type FolderOptions, imageFolder } from './image-folder.js';
export { type GridOptions, imageGrid } from './image-grid.js';
export { fingerprint, type ImageSet, splitImages, subset } from './image-set.js';
export { pictureFiles } from './picture-files.js';
export { toBytes, toFloat } from './pixels.js';
export { type PlotOptions, type PlotSeries, plotLines } from './plot-lines.js';
export { encodePng, type PngOptions, writePng } from './png.js';
export type { PngText } from './png-text.js';
export { readImage, readPngText } from './read-image.js';
export type { ResizeFilter } from './resample-weights.js';
export { type FloatImage, type ImageSize, type ImageWindow, resize, resizeFloat, resizeWindow } from './resize.js';
