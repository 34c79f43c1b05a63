import type { ActivationKind } from '@mezzotint/layers';

const ACTIVATIONS: Readonly<Record<string, ActivationKind>> = {
  silu: 'silu',
  swish: 'silu',
  mish: 'mish',
  gelu: 'erf',
  relu: 'relu',
};

/** Our name of diffusers' activation; an unknown one is added to the problems. */
export function activationOf(key: string, name: unknown, problems: string[]): ActivationKind {
  const plain = typeof name === 'string' ? name.toLowerCase() : '';
  if (Object.hasOwn(ACTIVATIONS, plain)) return ACTIVATIONS[plain]!;
  problems.push(`${key}: expected one of ${Object.keys(ACTIVATIONS).join(', ')}, got ${JSON.stringify(name)}`);
  return 'silu';
}

/** The name of a block, which first versions of diffusers began with `UNetRes`. */
export function presentName(type: unknown): string {
  return String(type).replace(/^UNetRes/, '');
}
