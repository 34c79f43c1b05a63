import { InvalidArgumentError } from '@mezzotint/core';
import type { ImageSet } from '@mezzotint/data';
import { ADMUNet, NoisyClassifier, presets } from '@mezzotint/unet';

const families = { ADMUNet, NoisyClassifier } as const;

/** The network's whole configuration, from a preset's name or as given, and checked against the images. */
export function networkConfig<F extends keyof typeof families>(
  family: F,
  network: string | Record<string, unknown>,
  images: ImageSet,
  classes: number | null,
): InstanceType<(typeof families)[F]>['config'] {
  const config = typeof network === 'string' ? presetConfig(family, network) : network;
  const problems: string[] = [];
  const expect = (what: string, got: unknown, expected: unknown) => {
    if (got !== expected) problems.push(`${what} is ${got}, the data needs ${expected}`);
  };
  if (images.height !== images.width) problems.push(`images must be square, got ${images.height} x ${images.width}`);
  expect('imageSize', config.imageSize, images.height);
  expect('inChannels', config.inChannels, images.channels);
  expect('classes', config.classes, classes);
  if (problems.length > 0) throw new InvalidArgumentError('network', problems);
  return config as unknown as InstanceType<(typeof families)[F]>['config'];
}

function presetConfig(family: keyof typeof families, name: string): Record<string, unknown> {
  const preset = presets.find((p) => p.name === name);
  const model = preset?.build();
  if (!(model instanceof families[family])) {
    const known = presets.filter((p) => p.build() instanceof families[family]).map((p) => p.name);
    throw new InvalidArgumentError('network', `expected a preset of ${family} (${known.join(', ')}), got '${name}'`);
  }
  return model.config as unknown as Record<string, unknown>;
}
