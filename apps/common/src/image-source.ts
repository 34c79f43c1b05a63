import { existsSync } from 'node:fs';
import { InvalidArgumentError } from '@mezzotint/core';
import { type ImageSet, imageFolder, splitImages } from '@mezzotint/data';
import { loadDigits } from '@mezzotint/data/digits';
import { z } from 'zod';

/** Digits kept out of training: 2,000 of the 10,000, by this seed, in every app. */
const digitsSplit = { train: 8000, heldOut: 2000, seed: 0 } as const;

/** Which images: the digits that come with the project, or a folder with one folder of images for each class. */
export const imageSourceSchema = z.discriminatedUnion('kind', [
  z.strictObject({
    kind: z.literal('digits'),
    /** 8,000 digits to train on, the other 2,000, or all. */
    part: z.enum(['train', 'held-out', 'all']).default('train'),
  }),
  z.strictObject({
    kind: z.literal('folder'),
    path: z.string().min(1),
    /** Images are cropped to a square and resized to this side, in pixels. */
    size: z.int().min(1).max(4096),
    channels: z.union([z.literal(1), z.literal(3)]).default(3),
  }),
]);

export type ImageSource = z.infer<typeof imageSourceSchema>;

/** Reads the images that a configuration names. */
export async function openImages(source: ImageSource): Promise<ImageSet> {
  if (source.kind === 'folder') {
    if (!existsSync(source.path)) throw new InvalidArgumentError(source.path, 'no such folder of images');
    return imageFolder(source.path, { size: source.size, channels: source.channels });
  }
  const digits = loadDigits();
  if (source.part === 'all') return digits;
  const [train, heldOut] = splitImages(digits, [digitsSplit.train, digitsSplit.heldOut], digitsSplit.seed);
  return source.part === 'train' ? train : heldOut;
}

/** `digits`, `digits:train`, `digits:held-out` or a folder's path, as a flag takes it. */
export function parseImageSource(text: string, size: number, channels: 1 | 3): ImageSource {
  const digits = /^digits(?::(train|held-out|all))?$/.exec(text);
  if (digits) return { kind: 'digits', part: (digits[1] ?? 'all') as 'train' | 'held-out' | 'all' };
  return { kind: 'folder', path: text, size, channels };
}
