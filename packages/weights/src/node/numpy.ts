import { type NumpyFile, openNpy, openNpz } from '../numpy/open.js';
import { openWith } from './file-source.js';

/** Opens an `.npz` archive of arrays; see `openNpz`. */
export function readNpz(path: string): Promise<NumpyFile> {
  return openWith(path, openNpz);
}

/** Opens an `.npy` array; see `openNpy`. */
export function readNpy(path: string): Promise<NumpyFile> {
  return openWith(path, openNpy);
}
