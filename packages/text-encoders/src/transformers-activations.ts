import type { ActivationKind } from '@mezzotint/layers';

const ACTIVATIONS: Readonly<Record<string, ActivationKind>> = {
  quick_gelu: 'quick',
  gelu: 'erf',
  gelu_python: 'erf',
  gelu_new: 'tanh',
  gelu_fast: 'tanh',
  gelu_accurate: 'tanh',
  gelu_pytorch_tanh: 'tanh',
  relu: 'relu',
  silu: 'silu',
  swish: 'silu',
  mish: 'mish',
};

/** The names that {@link activationOf} knows. */
export const activationNames: readonly string[] = Object.keys(ACTIVATIONS);

/** Our name of transformers' nonlinearity; undefined when it is unknown. */
export function activationOf(name: unknown): ActivationKind | undefined {
  return typeof name === 'string' && Object.hasOwn(ACTIVATIONS, name) ? ACTIVATIONS[name] : undefined;
}
