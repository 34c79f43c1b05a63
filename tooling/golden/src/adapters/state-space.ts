import { Module } from '@mezzotint/core';
import { selectiveScan, silu, ssd } from '@mezzotint/layers';
import * as tf from '@tensorflow/tfjs-core';
import type { Adapter, NamedTensors } from '../adapter.js';
import { input } from '../inputs.js';

/** Operations have no weights. */
class Operation extends Module {}

/** Gradients of sum(weight y) with respect to each input, by the reference's names. */
function gradients(
  names: readonly string[],
  inputs: NamedTensors,
  y: (...args: tf.Tensor[]) => tf.Tensor,
): NamedTensors {
  const loss = (...args: tf.Tensor[]) => tf.sum(tf.mul(input(inputs, 'weight'), y(...args)));
  const all = tf.grads(loss)(names.map((name) => input(inputs, name)));
  return Object.fromEntries(names.map((name, i) => [`grad_${name}`, all[i]!]));
}

/** The reference's `[N, E, L]` as our `[N, L, E]`, and back. */
const turned = (t: tf.Tensor): tf.Tensor3D => tf.transpose(t as tf.Tensor3D, [0, 2, 1]);

/** Mamba's selective scan with its skip D, gate z, and the softplus of the biased steps. */
export const selectiveScanReference: Adapter<Operation> = {
  classes: ['selective_scan_ref'],
  weightless: true,
  build: () => new Operation(),
  run: (_, inputs) => {
    const names = ['u', 'delta', 'A', 'B', 'C', 'D', 'z', 'delta_bias'];
    const scan = (...args: tf.Tensor[]) => {
      const [u, raw, a, b, c, d, z, bias] = args as [tf.Tensor, ...tf.Tensor[]] & { length: 8 };
      const delta = tf.softplus(tf.add(raw!, tf.reshape(bias!, [-1, 1])));
      const { y, state } = selectiveScan(turned(u), turned(delta), a as tf.Tensor2D, turned(b!), turned(c!));
      const gated = tf.mul(tf.add(y, tf.mul(turned(u), d!)), silu(turned(z!)));
      return { y: turned(gated), last_state: state, y_plain: turned(y) };
    };
    const outputs = scan(...names.map((name) => input(inputs, name)));
    return { ...outputs, ...gradients(names, inputs, (...args) => scan(...args).y) };
  },
};

/** Mamba-2's state space dual, from nothing and from a given state. */
export const ssdReference: Adapter<Operation> = {
  classes: ['ssd_minimal_discrete'],
  weightless: true,
  build: () => new Operation(),
  run: (_, inputs) => {
    const names = ['x', 'dt', 'A', 'B', 'C', 'initial'];
    const dual = (...args: tf.Tensor[]) => {
      const [x, dt, a, b, c, initial] = args as [
        tf.Tensor4D,
        tf.Tensor3D,
        tf.Tensor1D,
        tf.Tensor4D,
        tf.Tensor4D,
        tf.Tensor?,
      ];
      return ssd(x, dt, a, b, c, { initial: initial && (tf.squeeze(initial, [1]) as tf.Tensor4D), chunk: 8 });
    };
    const given = names.map((name) => input(inputs, name));
    const plain = dual(...given.slice(0, 5));
    const started = dual(...given);
    return {
      y: plain.y,
      final_state: plain.state,
      y_initial: started.y,
      final_state_initial: started.state,
      ...gradients(names, inputs, (...args) => dual(...args).y),
    };
  },
};
