// What needs no files and no native code: runs in browsers.
export { type Bitmap, checkBitmap } from './bitmap.js';
export { toBytes, toFloat } from './pixels.js';
export type { ResizeFilter } from './resample-weights.js';
export { type FloatImage, type ImageSize, resize, resizeFloat } from './resize.js';
