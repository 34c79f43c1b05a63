import { architectureOfKind } from '@mezzotint/architectures';
import type { DataShape, DenoiserArchitecture } from '@mezzotint/core';

/** A network of an architecture that is trained on the digits. */
export interface Contestant {
  readonly name: string;
  readonly architecture: DenoiserArchitecture;
  readonly config: unknown;
}

/** Changes of an architecture's small size for the digits. */
type Changes = Readonly<Record<string, unknown>>;

const transformer = (width: number, depth: number, patchSize: number): Changes => ({
  ...{ width, depth, patchSize, heads: width / 32 },
});

/** The lecture's scaling plots, small: DiT by size and by patch, UNet by width; and the other architectures about as large. */
const entrants: ReadonlyArray<readonly [name: string, architecture: string, changes: Changes]> = [
  ['DiT 64 x 4 /4', 'DiT', transformer(64, 4, 4)],
  ['DiT 128 x 4 /4', 'DiT', transformer(128, 4, 4)],
  ['DiT 192 x 6 /4', 'DiT', transformer(192, 6, 4)],
  ['DiT 128 x 4 /7', 'DiT', transformer(128, 4, 7)],
  ['DiT 128 x 4 /2', 'DiT', transformer(128, 4, 2)],
  ['UNet 8', 'ADMUNet', { modelChannels: 8, groups: 4, heads: { channels: 8 }, headsUp: { channels: 8 } }],
  ['UNet 16', 'ADMUNet', { modelChannels: 16, groups: 8, heads: { channels: 16 }, headsUp: { channels: 16 } }],
  ['UNet 32', 'ADMUNet', { modelChannels: 32, groups: 8, heads: { channels: 32 }, headsUp: { channels: 32 } }],
  ['U-ViT 128 x 4 /4', 'UViT', transformer(128, 4, 4)],
  ['RIN 128 / 64 /4', 'RIN', { patchSize: 4, latents: 32, latentWidth: 128, tokenWidth: 64, tokenMlpRatio: 2 }],
  ['ZigMa 128 x 4 /4', 'ZigMa', { width: 128, depth: 4, patchSize: 4 }],
  [
    'simple diffusion 16, 32; 128 x 4',
    'SimpleDiffusionUViT',
    {
      ...{ patchSize: 1, width: 128, depth: 4, headWidth: 32, embeddingWidth: 128, groups: 8 },
      levels: [16, 32].map((channels) => ({ channels, blocks: 1, dropout: 0 })),
    },
  ],
];

/** The networks for images of a kind, each by its architecture's small size with the changes above. */
export function contestants(data: DataShape): Contestant[] {
  return entrants.map(([name, architectureName, changes]) => {
    const architecture = architectureOfKind('denoiser', architectureName);
    const base = architecture.sized!('small', data) as Changes;
    // Only what the configuration has: heads of a transformer are no setting of ZigMa's.
    const known = Object.fromEntries(Object.entries(changes).filter(([key]) => Object.hasOwn(base, key)));
    return { name, architecture, config: { ...base, ...known } };
  });
}
