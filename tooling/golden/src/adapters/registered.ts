import { architectures } from '@mezzotint/architectures';
import type { DenoiserArchitecture, DenoisingNetwork, NetworkInputs, ReferenceClass } from '@mezzotint/core';
import type * as tf from '@tensorflow/tfjs-core';
import type { Adapter } from '../adapter.js';
import { toChannelsFirst, toChannelsLast } from '../axes.js';
import { input } from '../inputs.js';

/**
 * The adapter of a class that a registered architecture stands for, where its record says how that class calls its inputs and
 * its output, and its weights have our names.
 */
export function registeredAdapter(className: string): Adapter<DenoisingNetwork> | undefined {
  for (const architecture of architectures) {
    if (architecture.kind !== 'denoiser') continue;
    const reference = architecture.references?.find((other) => other.className === className);
    if (reference?.inputs !== undefined && reference.output !== undefined) {
      return adapterOfReference(architecture, reference, reference.inputs, reference.output);
    }
  }
  return undefined;
}

function adapterOfReference(
  architecture: DenoiserArchitecture,
  reference: ReferenceClass<DenoisingNetwork>,
  names: Readonly<Record<string, string>>,
  output: string,
): Adapter<DenoisingNetwork> {
  return {
    classes: [reference.className],
    build: (config) => architecture.build(reference.config(config)),
    run(model, inputs) {
      const { conditions } = architecture.signature((model as DenoisingNetwork & { config: unknown }).config);
      const given = Object.keys(conditions).flatMap((name) => {
        const tensor = inputs[names[name] ?? name];
        return tensor === undefined ? [] : [[name, tensor.rank === 4 ? toChannelsLast(tensor) : tensor]];
      });
      const x = toChannelsLast(input(inputs, names.x!));
      const time = input<tf.Tensor1D>(inputs, names.time!);
      const out = model.forward(x, time, Object.fromEntries(given) as NetworkInputs);
      return { [output]: toChannelsFirst(out) };
    },
  };
}
