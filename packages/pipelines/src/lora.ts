import { InvalidArgumentError, type WeightSource } from '@mezzotint/core';
import { type LoraModelName, mergeLora, parseLora, type WeightFile } from '@mezzotint/weights';
import type { ModelFiles } from './family.js';
import type { Part } from './stage.js';

/** A LoRA file and how strongly it counts. */
export interface LoraFile {
  readonly path: string;
  readonly scale?: number | undefined;
}

/** Parts whose weights change as they are read, and what closes the LoRA files. */
export interface MergedParts {
  readonly parts: readonly Part[];
  close(): void;
}

/**
 * Merges LoRA files into the parts that they may change, one after the other; nothing is read but headers and alphas. A note
 * says of each how many of its tensors were applied.
 *
 * @throws InvalidArgumentError when a layer finds no home, or a file changes nothing
 */
export async function mergeLoras(
  parts: readonly Part[],
  loras: readonly LoraFile[],
  files: (path: string) => ModelFiles,
  note: (line: string) => void,
): Promise<MergedParts> {
  const open: WeightFile[] = [];
  const close = () => {
    for (const file of open) file.close();
  };
  let models: Partial<Record<LoraModelName, WeightSource>> = {};
  for (const { lora, weights } of parts) if (lora !== undefined) models[lora] = weights;
  try {
    for (const { path, scale = 1 } of loras) {
      const at = files(path);
      const file = await (at.lora?.() ?? at.weights(''));
      open.push(file);
      if (parseLora(file).length === 0) throw new InvalidArgumentError(path, 'holds no layer of a LoRA');
      models = await mergeLora(models, file, {
        scale,
        onApplied: ({ tensors, total }) => note(`${path}: applied ${tensors} of ${total} tensors`),
      });
    }
  } catch (error) {
    close();
    throw error;
  }
  return {
    parts: parts.map((part) => (part.lora === undefined ? part : { ...part, weights: models[part.lora]! })),
    close,
  };
}
