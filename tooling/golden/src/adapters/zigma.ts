import { Param } from '@mezzotint/core';
import { ZigMa, type ZigMaInputs, zigmaFromOriginal } from '@mezzotint/zigma';
import * as tf from '@tensorflow/tfjs-core';
import type { Adapter } from '../adapter.js';
import { toChannelsFirst, toChannelsLast } from '../axes.js';
import { input } from '../inputs.js';

/** ZigMa; `grad_*` are gradients of sum(weight out) with respect to the image and two parameters of the first block. */
export const zigma: Adapter<ZigMa> = {
  classes: ['ZigMa'],
  build: (config) => new ZigMa(zigmaFromOriginal(config)),
  run: (model, inputs) => {
    const { y, context } = inputs;
    const conditions = { ...(y && { labels: y }), ...(context && { context }) } as ZigMaInputs;
    const [x, weight] = [toChannelsLast(input(inputs, 'x')), toChannelsLast(input(inputs, 'weight'))];
    const forward = (x: tf.Tensor) => model.forward(x as tf.Tensor4D, input(inputs, 't'), conditions);
    const names = ['blocks.0.mixer.A_log', 'blocks.0.mixer.dt_proj.weight'];
    const params = names.map((name) => model.params().get(name)!);
    const loss = (x: tf.Tensor, ...values: tf.Tensor[]) =>
      Param.substituteAll(
        params.map((param, i) => [param, values[i]!] as const),
        () => tf.sum(tf.mul(weight, forward(x))),
      );
    const [gradX, ...gradients] = tf.grads(loss)([x, ...params.map((param) => param.value)]);
    return {
      out: toChannelsFirst(forward(x)),
      grad_x: toChannelsFirst(gradX!),
      ...Object.fromEntries(names.map((name, i) => [`grad_${name}`, gradients[i]!])),
    };
  },
};
