import { textOf } from '@mezzotint/core';
import { type ActivationKind, activationNames } from '@mezzotint/layers';

/** Those that diffusers' UNets have. */
const ACTIVATIONS = ['silu', 'swish', 'mish', 'gelu', 'relu'];

/** Our name of diffusers' activation; an unknown one is added to the problems. */
export function activationOf(key: string, name: unknown, problems: string[]): ActivationKind {
  const plain = typeof name === 'string' ? name.toLowerCase() : '';
  if (ACTIVATIONS.includes(plain)) return activationNames[plain]!;
  problems.push(`${key}: expected one of ${ACTIVATIONS.join(', ')}, got ${JSON.stringify(name)}`);
  return 'silu';
}

/** The name of a block, which first versions of diffusers began with `UNetRes`. */
export function presentName(type: unknown): string {
  return textOf(type).replace(/^UNetRes/, '');
}
