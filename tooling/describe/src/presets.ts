import { presets as autoencoders } from '@mezzotint/autoencoders';
import { MezzotintError, type Preset } from '@mezzotint/core';
import { presets as dit } from '@mezzotint/dit';
import { presets as mmdit } from '@mezzotint/mmdit';
import { presets as rin } from '@mezzotint/rin';
import { presets as textEncoders } from '@mezzotint/text-encoders';
import { presets as unet } from '@mezzotint/unet';
import { presets as uvit } from '@mezzotint/uvit';
import { presets as zigma } from '@mezzotint/zigma';
import { nearest } from './nearest.js';

/** A preset and the package that it is from. */
export interface Listed {
  readonly package: string;
  readonly preset: Preset;
}

const packages: Readonly<Record<string, readonly Preset[]>> = {
  '@mezzotint/autoencoders': autoencoders,
  '@mezzotint/unet': unet,
  '@mezzotint/dit': dit,
  '@mezzotint/mmdit': mmdit,
  '@mezzotint/uvit': uvit,
  '@mezzotint/rin': rin,
  '@mezzotint/zigma': zigma,
  '@mezzotint/text-encoders': textEncoders,
};

/** Every preset of every package. A package that gets presets is added above. */
export const listed: readonly Listed[] = Object.entries(packages).flatMap(([name, presets]) =>
  presets.map((preset) => ({ package: name, preset })),
);

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
