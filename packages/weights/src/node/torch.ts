import { type OpenTorchOptions, openTorch, type TorchFile } from '../torch/open.js';
import { openWith } from './file-source.js';

/** Opens a torch file (`.pt .pth .ckpt .bin .pkl`) without executing anything of it; see `openTorch`. */
export function readTorch(path: string, options: OpenTorchOptions = {}): Promise<TorchFile> {
  return openWith(path, (file) => openTorch(file, options));
}
