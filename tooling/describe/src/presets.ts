import { listPresets } from '@mezzotint/architectures';
import { MezzotintError, type Preset } from '@mezzotint/core';
import { nearest } from './nearest.js';

/** A preset and the package that it is from. */
export interface Listed {
  readonly package: string;
  readonly preset: Preset;
}

/** Every preset of every registered architecture. */
export const listed: readonly Listed[] = listPresets().map(({ preset, architecture }) => ({
  package: architecture.package,
  preset,
}));

/**
 * The preset called `name`.
 *
 * @throws MezzotintError when there is none, with the names that are nearest
 */
export function presetNamed(name: string, presets: readonly Listed[] = listed): Listed {
  const found = presets.find(({ preset }) => preset.name === name);
  if (found !== undefined) return found;
  const near = nearest(
    name,
    presets.map(({ preset }) => preset.name),
  );
  throw new MezzotintError(
    'MEZZOTINT_UNKNOWN_PRESET',
    `no preset is called '${name}'. Near: ${near.join(', ')} (pnpm describe lists all)`,
    { name, near },
  );
}
