import type { WeightFile } from '@mezzotint/weights';
import type { ModelFiles } from './family.js';

/** The weights of a part: of the variant, or, where that part has none, the plain ones, as diffusers does; a note says so. */
export async function ofVariant(
  files: ModelFiles,
  part: string,
  variant: string | undefined,
  note: (line: string) => void,
): Promise<WeightFile> {
  if (variant === undefined) return files.weights(part);
  try {
    return await files.weights(part, { variant });
  } catch (error) {
    const plain = await files.weights(part).catch(() => undefined);
    if (plain === undefined) throw error;
    note(`${part} has no weights of the variant ${variant}: the plain ones are taken`);
    return plain;
  }
}
