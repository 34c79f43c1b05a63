import { architectures as autoencoders } from '@mezzotint/autoencoders';
import { type Architecture, type ArchitectureOfKind, InvalidArgumentError, type Preset } from '@mezzotint/core';
import { architectures as dit } from '@mezzotint/dit';
import { architectures as efficientUNet } from '@mezzotint/efficient-unet';
import { architectures as features } from '@mezzotint/features';
import { architectures as mmdit } from '@mezzotint/mmdit';
import { architectures as rin } from '@mezzotint/rin';
import { architectures as textEncoders } from '@mezzotint/text-encoders';
import { architectures as unet } from '@mezzotint/unet';
import { architectures as uvit } from '@mezzotint/uvit';
import { architectures as zigma } from '@mezzotint/zigma';

/** Every architecture of every package. A package that gets one is added here, and nowhere else. */
export const architectures: readonly Architecture[] = [
  ...unet,
  ...dit,
  ...uvit,
  ...rin,
  ...zigma,
  ...mmdit,
  ...efficientUNet,
  ...autoencoders,
  ...textEncoders,
  ...features,
];

/** A preset and the architecture that it is a configuration of. */
export interface ListedPreset {
  readonly preset: Preset;
  readonly architecture: Architecture;
}

/** Every preset of a list of architectures. */
export function listPresets(list: readonly Architecture[] = architectures): readonly ListedPreset[] {
  return list.flatMap((architecture) => architecture.presets.map((preset: Preset) => ({ preset, architecture })));
}

/**
 * The architecture that `config.json` calls `name`, by its own or a former name.
 *
 * @param list what is looked through; give `[...architectures, mine]` for one of your own
 * @throws InvalidArgumentError when there is none, with the names that there are
 */
export function architectureNamed(name: string, list: readonly Architecture[] = architectures): Architecture {
  const found =
    list.find((architecture) => architecture.name === name) ??
    list.find(({ formerNames = [] }) => formerNames.includes(name));
  if (found !== undefined) return found;
  throw new InvalidArgumentError(
    'architecture',
    `expected one of ${list.map((a) => a.name).join(', ')}, got '${name}'`,
  );
}

/**
 * The architecture of a kind that `config.json` calls `name`.
 *
 * @throws InvalidArgumentError when there is none, with the names of that kind
 */
export function architectureOfKind<K extends Architecture['kind']>(
  kind: K,
  name: string,
  list: readonly Architecture[] = architectures,
): ArchitectureOfKind<K> {
  const ofKind = list.filter((architecture) => architecture.kind === kind);
  return architectureNamed(name, ofKind) as ArchitectureOfKind<K>;
}

/**
 * The architecture that stands for a class of another library, for example `DiTTransformer2DModel` of `diffusers`; undefined
 * when there is none.
 */
export function architectureOfClass(
  className: string,
  list: readonly Architecture[] = architectures,
): Architecture | undefined {
  return list.find(({ references = [] }) => references.some((reference) => reference.className === className));
}

/**
 * The preset called `name`.
 *
 * @throws InvalidArgumentError when there is none
 */
export function presetNamed(name: string, list: readonly Architecture[] = architectures): ListedPreset {
  const presets = listPresets(list);
  const found = presets.find(({ preset }) => preset.name === name);
  if (found !== undefined) return found;
  const known = presets.map(({ preset }) => preset.name).join(', ');
  throw new InvalidArgumentError('preset', `expected one of ${known}, got '${name}'`);
}
