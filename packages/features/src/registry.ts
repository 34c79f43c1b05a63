import { InvalidArgumentError, type Preset } from '@mezzotint/core';
import { classifierRecord } from './classifier.js';
import { clipRecords } from './clip.js';
import { dinoV2Architecture, dinoV2Records } from './dinov2.js';
import type { FeatureNetworkRecord } from './feature-network.js';
import { inceptionArchitecture, inceptionRecords } from './inception.js';
import { lpipsArchitecture, lpipsRecord } from './lpips.js';

/** Every feature network of this package. */
export const featureNetworks: readonly FeatureNetworkRecord[] = [
  ...inceptionRecords,
  ...clipRecords,
  ...dinoV2Records,
  lpipsRecord,
  classifierRecord,
];

/**
 * A feature network by its name.
 *
 * @throws InvalidArgumentError that lists those there are
 */
export function featureNetworkNamed(name: string): FeatureNetworkRecord {
  const found = featureNetworks.find((record) => record.name === name);
  if (found !== undefined) return found;
  const known = featureNetworks.map((record) => record.name).join(', ');
  throw new InvalidArgumentError('features', `expected one of ${known}, got '${name}'`);
}

/** Where a network's makers publish its weights, as one sentence for messages and documentation. */
export function whereToGet({ name, about, weights }: FeatureNetworkRecord): string {
  if (weights.length === 0) return `${name}: take a folder that train made: ${about}`;
  const files = weights.map(
    ({ file, url, sha256 }) =>
      `${file} from ${url}${sha256 === undefined ? '' : ` (SHA-256 ${sha256}${sha256.length < 64 ? '…' : ''})`}`,
  );
  return `${name}: its makers publish ${files.join(' and ')}`;
}

/** The networks of this package as architectures, for lists of what there is and what it costs. CLIP's are in `@mezzotint/text-encoders`. */
export const architectures = [inceptionArchitecture, dinoV2Architecture, lpipsArchitecture] as const;

/** Every preset of this package. */
export const presets: readonly Preset[] = architectures.flatMap(({ presets }): readonly Preset[] => presets);
